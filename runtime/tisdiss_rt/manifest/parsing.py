"""Turns decoded JSON into a `Manifest`.

Unknown keys are errors, so that a misspelt or newer entry is never silently ignored.
"""

from __future__ import annotations

import dataclasses
import json
import math
import types
import typing
from collections.abc import Mapping
from typing import Any, TypeVar

from tisdiss_rt.errors import BundleError
from tisdiss_rt.manifest.checks import check
from tisdiss_rt.manifest.limits import MOST_INTEGER
from tisdiss_rt.manifest.schema import FORMAT, Manifest

_T = TypeVar("_T")


def parse_manifest(data: Any) -> Manifest:
    """Turn decoded JSON into a Manifest; raises BundleError that names the offending entry."""
    version = data.get("format") if isinstance(data, dict) else None
    if type(version) is int and version > FORMAT:
        raise BundleError(f"made for a newer tisdiss-rt (format {version}, this one reads {FORMAT}); upgrade")
    is_old = type(version) is int and version == 1
    manifest: Manifest = _parse(Manifest, _as_format_2(data) if is_old else data, "manifest")
    check(manifest)
    return manifest


def _as_format_2(data: dict[str, Any]) -> dict[str, Any]:
    quality = data.get("quality")
    if "parts" in data or (isinstance(quality, dict) and "scenes" in quality):
        raise BundleError("parts and quality.scenes are unknown to format 1")
    if isinstance(quality, dict):
        data = {**data, "quality": {**quality, "scenes": []}}
    return {**data, "format": 2, "parts": []}


def _parse(kind: Any, value: Any, where: str) -> Any:
    """Convert JSON to a type of the schema: dataclasses, tuples, dicts, unions and plain values."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if dataclasses.is_dataclass(kind):
        return _parse_dataclass(typing.cast(type, kind), value, where)
    if origin is tuple and isinstance(value, list):
        return tuple(_parse(arguments[0], item, f"{where}[{i}]") for i, item in enumerate(value))
    if origin is dict and isinstance(value, dict):
        return {
            _parse(str, key, where): _parse(arguments[1], item, f"{where}.{key}")
            for key, item in value.items()
        }
    if origin in (types.UnionType, typing.Union):
        if value is None and type(None) in arguments:
            return None
        chosen = next((a for a in arguments if type(value) is a), arguments[0])
        return _parse(chosen, value, where)
    if kind is float and type(value) is int and abs(value) < 1e300:
        value = float(value)
    if type(value) is kind and _is_portable(value):
        return value
    wanted = _WANTED.get(kind, getattr(kind, "__name__", kind))
    raise BundleError(f"{where} is {json.dumps(value)[:40]}, which is not {wanted}")


_WANTED = {int: f"a whole number from 0 to {MOST_INTEGER}", float: "a finite number", str: "a text"}


def _is_portable(value: Any) -> bool:
    """Return whether every language can hold a plain value: counts, finite numbers, valid text."""
    if type(value) is int:
        return 0 <= value <= MOST_INTEGER
    if type(value) is float:
        return math.isfinite(value)
    return not isinstance(value, str) or not any(c == "\0" or "\ud800" <= c <= "\udfff" for c in value)


def _parse_dataclass(kind: type[_T], value: Any, where: str) -> _T:
    """Convert a JSON object to a dataclass that has exactly its keys."""
    if not isinstance(value, Mapping):
        raise BundleError(f"{where} is not an object")
    hints = typing.get_type_hints(kind)
    missing, unknown = hints.keys() - value.keys(), value.keys() - hints.keys()
    if missing:
        raise BundleError(f"{where} lacks {', '.join(sorted(missing))}")
    if unknown:
        raise BundleError(f"{where} has unknown {', '.join(sorted(unknown))}; known are {', '.join(hints)}")
    return kind(**{name: _parse(hint, value[name], f"{where}.{name}") for name, hint in hints.items()})
