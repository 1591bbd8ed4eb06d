"""What a network is made of and how it is trained, as frozen dataclasses.

A checkpoint carries its configuration, so that a network is rebuilt from one file; unknown keys fail,
because a silently ignored option gives a network that separates a little worse and nobody knows why.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import yaml

T = TypeVar("T")


class ConfigError(ValueError):
    """A configuration that cannot be used; the message names the option and what is allowed."""


@dataclasses.dataclass(frozen=True)
class NetworkConfig:
    """Architecture of one separator.

    `bands` empty gives the full-band front end of the published network (one channel vector per bin,
    direct mapping or mask); otherwise it holds the width in bins of each band, from low to high, and
    the front end is band-split with a complex mask per source. The widths add up to ``n_fft / 2``;
    the Nyquist bin follows its neighbour.

    Hidden sizes of the feed-forward networks are (before attention, after attention).

    `lookback` above 0 makes it a network for streams (`streaming`): its time paths look back only, attention
    over that many of the latest frames.
    """

    sample_rate: int = 8000
    sources: int = 2
    n_fft: int = 128
    hop: int = 64
    bands: tuple[int, ...] = ()
    dim: int = 128
    norm_groups: int = 4
    heads: int = 4
    attention_dim: int = 128
    ffn_dims: tuple[int, int] = (384, 384)
    ffn_kernel: int = 4
    eps: float = 1e-5
    time_first: bool = False
    separator_layers: int = 1
    separator_repeats: int = 2
    separator_residual: bool = False
    splitter: str = "swiglu_conv_deconv2d"
    block_layers: int = 1
    block_residual: bool = False
    trained_depth: int = 6
    mask: bool = False
    head_dim: int = 96
    lookback: int = 0

    def __post_init__(self) -> None:
        """Fail early, naming the option.

        Raises:
            ConfigError: if two options contradict each other or a value is not allowed.
        """
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            least = 0 if field.name == "lookback" else 1
            if field.type == "int" and (type(value) is not int or value < least):
                raise ConfigError(f"{field.name} must be a positive whole number, not {value!r}")
        checks = [
            (
                self.n_fft % 2 == 0 and self.n_fft % self.hop == 0 and self.n_fft >= 2 * self.hop,
                f"n_fft ({self.n_fft}) must be even, and twice hop ({self.hop}) or a larger multiple of it",
            ),
            (self.sources >= 2, f"sources must be at least 2, not {self.sources}"),
            (self.dim % self.norm_groups == 0, f"dim ({self.dim}) must be a multiple of norm_groups"),
            (
                self.attention_dim % (2 * self.heads) == 0,
                f"attention_dim ({self.attention_dim}) must be a multiple of 2 * heads ({self.heads})",
            ),
            (
                self.splitter in ("swiglu_conv_deconv2d", "conv2d"),
                f"splitter must be swiglu_conv_deconv2d or conv2d, not {self.splitter!r}",
            ),
            (
                not self.bands or sum(self.bands) == self.n_fft // 2,
                f"bands add up to {sum(self.bands)} bins, but n_fft / 2 is {self.n_fft // 2}",
            ),
            (not (self.bands and self.mask), "mask is for the full band; the band-split head always masks"),
            (
                not self.lookback or min(self.lookback, self.ffn_kernel) >= 2,
                "lookback and ffn_kernel of a network for streams must be at least 2",
            ),
            (
                not self.lookback or self._can_stream,
                "lookback is for band-split networks with splitter conv2d, one separator repeat, and without "
                "time_first and residuals",
            ),
            (
                self.separator_residual or not self.block_residual,
                "block_residual shares the weights of separator_residual and needs it",
            ),
        ]
        for ok, message in checks:
            if not ok:
                raise ConfigError(message)

    @property
    def _can_stream(self) -> bool:
        others = self.time_first or self.separator_residual or self.separator_repeats > 1
        return bool(self.bands) and self.splitter == "conv2d" and not others

    @property
    def bins(self) -> int:
        """Number of one-sided STFT bins."""
        return self.n_fft // 2 + 1

    @property
    def positions(self) -> int:
        """Length of the frequency axis of the feature map: bands, or bins of the full band."""
        return len(self.bands) or self.bins


@dataclasses.dataclass(frozen=True)
class TrainingConfig:
    """How a network is trained; lengths in seconds, levels in dB, see `tisdiss_models.training`."""

    steps: int = 20000
    batch: int = 4
    crop_s: float = 3.0
    learning_rate: float = 1.5e-3
    warmup_steps: int = 500
    decay_share: float = 1.0
    weight_decay: float = 0.01
    gradient_clip: float = 1.0
    ema: float = 0.999
    depth_weights: tuple[float, ...] = (0.2, 0.4, 0.6, 0.8, 1.0)
    extra_depth: int = 2
    extra_depth_share: float = 0.2
    switch_share: float = 0.5
    soft_limit_db: float = 30.0
    level_db: float = 6.0
    speed_range: float = 0.15
    equaliser_db: float = 4.0
    absent_share: float = 0.04
    pause_share: float = 0.15
    validation_speakers: int = 8
    seed: int = 0

    def __post_init__(self) -> None:
        """Fail early, naming the option.

        Raises:
            ConfigError: if a value is not allowed.
        """
        for name in ("steps", "batch", "warmup_steps", "extra_depth"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be at least 1, not {getattr(self, name)}")
        for name in ("crop_s", "learning_rate", "decay_share", "gradient_clip"):
            if not 0 < getattr(self, name) < math.inf:
                raise ConfigError(f"{name} must be above 0, not {getattr(self, name)}")
        shares = ("extra_depth_share", "switch_share", "absent_share", "pause_share", "ema", "speed_range")
        for name in shares:
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"{name} must be from 0 to 1, not {getattr(self, name)}")
        if not self.depth_weights or min(self.depth_weights) < 0 or not any(self.depth_weights):
            raise ConfigError(f"depth_weights must be some numbers, not all 0: {list(self.depth_weights)}")


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
    """Give a value as its field has it, or raise ConfigError; YAML reads ``1e-3`` as text."""
    if type_name.startswith("tuple["):
        if not isinstance(value, list | tuple):
            raise ConfigError(f"{where} must be a list, not {value!r}")
        entries = type_name.removeprefix("tuple[").removesuffix("]").split(", ")
        if entries[-1] != "..." and len(value) != len(entries):
            raise ConfigError(f"{where} must be {len(entries)} numbers, not {value!r}")
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
        raise ConfigError(f"{where} must be {name}, not {value!r}")
    return value


def to_mapping(config: NetworkConfig | TrainingConfig) -> dict[str, Any]:
    """Give the plain values of a configuration, tuples becoming lists."""
    return {k: list(v) if isinstance(v, tuple) else v for k, v in dataclasses.asdict(config).items()}


def read_options(path: Path) -> dict[str, Any]:
    """Read a YAML file of options, plain values only.

    Raises:
        ConfigError: if it is not YAML, or not a mapping.
        OSError: if the file cannot be read.
    """
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
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
