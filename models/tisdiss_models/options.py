"""Configurations from plain values and YAML files, and back.

Values are what their fields say, or an error names the option: what YAML reads is often something else.
"""

from __future__ import annotations

import dataclasses
import math
import reprlib
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import yaml

from .config import ConfigError, NetworkConfig, SceneConfig, TrainingConfig

T = TypeVar("T")


def from_mapping(kind: type[T], values: Mapping[str, Any], where: str) -> T:
    """Make a configuration of `kind` from plain values, lists becoming tuples.

    Raises:
        ConfigError: if a key is unknown, and the message lists the known ones; if a value is of another type
            or not allowed.
    """
    if not isinstance(values, Mapping):
        raise ConfigError(f"{where}: not a mapping of options")
    types = {f.name: str(f.type) for f in dataclasses.fields(kind)}  # type: ignore[arg-type]
    unknown = sorted(str(key) for key in set(values) - set(types))
    if unknown:
        raise ConfigError(f"{where}: unknown option {', '.join(unknown)}; known are {', '.join(types)}")
    plain = {name: _plain(value, types[name], f"{where}: {name}") for name, value in values.items()}
    try:
        return kind(**plain)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from error


def _plain(value: Any, type_name: str, where: str) -> Any:
    """Return a value as its field has it, or raise ConfigError; YAML reads ``1e-3`` as text."""
    if type_name == "SceneConfig":
        return from_mapping(SceneConfig, value, where)
    if type_name.startswith("tuple["):
        if not isinstance(value, list | tuple):
            raise ConfigError(f"{where} must be a list, not {reprlib.repr(value)}")
        entries = type_name.removeprefix("tuple[").removesuffix("]").split(", ")
        if entries[-1] != "..." and len(value) != len(entries):
            raise ConfigError(f"{where} must be {len(entries)} numbers, not {reprlib.repr(value)}")
        return tuple(_plain(entry, entries[0], where) for entry in value)
    kind, name = {
        "int": (int, "a whole number"),
        "float": (float, "a number"),
        "bool": (bool, "true or false"),
        "str": (str, "a word"),
    }[type_name]
    if kind is float and isinstance(value, int | str) and not isinstance(value, bool):
        with suppress(ValueError):
            value = float(value)
    if type(value) is not kind or (isinstance(value, float) and not math.isfinite(value)):
        raise ConfigError(f"{where} must be {name}, not {reprlib.repr(value)}")
    return value


def to_mapping(config: NetworkConfig | TrainingConfig | SceneConfig) -> dict[str, Any]:
    """Return the plain values of a configuration, tuples becoming lists."""

    def plain(values: list[tuple[str, Any]]) -> dict[str, Any]:
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values}

    return dataclasses.asdict(config, dict_factory=plain)


class _Loader(yaml.SafeLoader):
    """Read plain values only, and no option twice, of which all but the last would count for nothing."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Raise ConstructorError for a key that is there before."""
        seen = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.constructor.ConstructorError(None, None, "a key is no word", key.start_mark)
            if key.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"{key.value} is there twice", key.start_mark
                )
            seen.add(str(key.value))
        return super().construct_mapping(node, deep)


def read_options(path: Path) -> dict[str, Any]:
    """Read a YAML file of options, plain values only.

    Raises:
        ConfigError: if it is not YAML, or not a mapping.
        OSError: if the file cannot be read.
    """
    try:
        values = yaml.load(path.read_text(encoding="utf-8"), _Loader)
    except (yaml.YAMLError, ValueError, AttributeError, RecursionError) as error:  # of odd texts, too
        raise ConfigError(f"{path}: not a YAML file of plain values: {error}") from error
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: not a mapping of options")
    return values


def read_yaml(path: Path) -> tuple[NetworkConfig, TrainingConfig]:
    """Read a training file with the two sections ``network`` and ``training``, both with defaults.

    Raises:
        ConfigError: if a section or an option is unknown.
        OSError: if the file cannot be read.
    """
    values = read_options(path)
    if set(values) - {"network", "training"}:
        raise ConfigError(f"{path}: expected the sections network and training")
    return (
        from_mapping(NetworkConfig, values.get("network", {}), f"{path}, network"),
        from_mapping(TrainingConfig, values.get("training", {}), f"{path}, training"),
    )
