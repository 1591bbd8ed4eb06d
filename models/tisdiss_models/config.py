"""What a network is made of and how it is trained, as frozen dataclasses.

A checkpoint carries its configuration, so that a network is rebuilt from one file; unknown keys fail,
because a silently ignored option results in a network that separates a little worse for no visible reason.
"""

from __future__ import annotations

import dataclasses
import math
import reprlib

MOST_SIZE = 2**31 - 1  # as in manifests of bundles
DEEPEST = 64  # repetitions of the block that a bundle may have


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

    Either of two options above 0 makes it a network for streams (`streaming`), which looks back only. With
    `lookback` its layers are paths, with attention over that many of the latest frames (`causal`). With
    `recurrent_dim` they are those of `recurrent`, where each band remembers that many numbers; they take less
    time for a frame, and use neither ``norm_groups`` nor the first of ``ffn_dims``; with an ``ffn_kernel``
    above 1, their feed-forward networks get so many frames and the two neighbours of a band.
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
    recurrent_dim: int = 0

    def __post_init__(self) -> None:
        """Fail early, naming the option.

        Raises:
            ConfigError: if two options contradict each other or a value is not allowed.
        """
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            least = 0 if field.name in ("lookback", "recurrent_dim") else 1
            sizes = value if field.type.startswith("tuple") else [value] if field.type == "int" else []
            if any(type(size) is not int or not least <= size <= MOST_SIZE for size in sizes):
                raise ConfigError(
                    f"{field.name} must be positive whole numbers of at most {MOST_SIZE}, "
                    f"not {reprlib.repr(value)}"
                )
        for ok, message in (*self._size_rules(), *self._combination_rules()):
            if not ok:
                raise ConfigError(message)

    def _size_rules(self) -> list[tuple[bool, str]]:
        """Return which sizes fit each other, and what to say where they do not."""
        return [
            (
                self.n_fft % 2 == 0 and self.n_fft % self.hop == 0 and self.n_fft >= 2 * self.hop,
                f"n_fft ({self.n_fft}) must be even, and twice hop ({self.hop}) or a larger multiple of it",
            ),
            (self.sources >= 2, f"sources must be at least 2, not {self.sources}"),
            (
                self.trained_depth <= DEEPEST,
                f"trained_depth must be at most {DEEPEST}, not {self.trained_depth}",
            ),
            (self.dim % self.norm_groups == 0, f"dim ({self.dim}) must be a multiple of norm_groups"),
            (
                self.attention_dim % (2 * self.heads) == 0,
                f"attention_dim ({self.attention_dim}) must be a multiple of 2 * heads ({self.heads})",
            ),
            (
                not self.bands or sum(self.bands) == self.n_fft // 2,
                f"bands add up to {sum(self.bands)} bins, but n_fft / 2 is {self.n_fft // 2}",
            ),
        ]

    def _combination_rules(self) -> list[tuple[bool, str]]:
        """Return which options go together, and what to say where they do not."""
        return [
            (
                self.splitter in ("swiglu_conv_deconv2d", "conv2d"),
                f"splitter must be swiglu_conv_deconv2d or conv2d, not {self.splitter!r}",
            ),
            (not (self.bands and self.mask), "mask is for the full band; the band-split head always masks"),
            (
                not self.lookback or min(self.lookback, self.ffn_kernel) >= 2,
                "lookback and ffn_kernel of a network for streams must be at least 2",
            ),
            (
                not self.streaming or self._can_stream,
                "lookback and recurrent_dim are for band-split networks with splitter conv2d, one separator "
                "repeat, and without time_first and residuals",
            ),
            (not (self.lookback and self.recurrent_dim), "lookback and recurrent_dim exclude each other"),
            (
                self.separator_residual or not self.block_residual,
                "block_residual shares the weights of separator_residual and needs it",
            ),
        ]

    @property
    def streaming(self) -> bool:
        """Whether it is a network for streams."""
        return bool(self.lookback or self.recurrent_dim)

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
class SceneConfig:
    """What mixtures are like: who talks when and how loud, room, noise, channel.

    A share is the probability of a part, drawn for each mixture by itself; a pair is the range of an even
    distribution. The defaults are clean voices that overlap all the time, see `tisdiss_models.acoustics`.

    Attributes:
        level_db: difference between the two talkers' levels, whoever is the louder one.
        speed_range: a voice is played slower or faster by up to this share.
        equaliser_db: strength of a smooth random frequency response for each voice.
        splice_share: a voice is cut, and goes on from another place of the same talker's recordings.
        alone_share: the second talker is silent throughout.
        late_share: the second talker starts late or stops early.
        turns_share: both talk in turn.
        turn_s, gap_s: length of a turn, and time from its end to the next one's start, negative to overlap.
        pause_share, pause_s: share of the gaps that are a longer silence, and its length.
        muted_share, muted_s: the mixture begins with digital silence, and its length.
        room_share: voices are reverberant; the voice to be estimated is, too.
        decay_s: time in which sound in the room decays by 60 dB.
        distance_m: from talker to microphone.
        field_share: a recorded noise.
        coloured_share: stationary noise, from white to brown.
        fan_share: low noise with the tones of blades and motor.
        hum_share: harmonics of the mains.
        babble_share: three to eight other talkers at once.
        noise_db: level of the voices above each noise.
        swell_share: a noise swells and fades, or comes and goes.
        lowpass_share: a channel that ends anywhere from 3 to 7.5 kHz.
        narrowband_share: a recording of 8 kHz.
        telephone_share: a channel from about 300 to 3400 Hz.
        microphone_db: strength of a smooth random frequency response for the whole mixture.
        clip_share: the mixture is clipped, mildly; the voices to be estimated are not.
        codec_share: the mixture has noise of coding; the voices to be estimated have none.
    """

    level_db: tuple[float, float] = (0.0, 6.0)
    speed_range: float = 0.15
    equaliser_db: float = 4.0
    splice_share: float = 0.0
    alone_share: float = 0.04
    late_share: float = 0.15
    turns_share: float = 0.0
    turn_s: tuple[float, float] = (0.5, 3.0)
    gap_s: tuple[float, float] = (-0.8, 1.2)
    pause_share: float = 0.1
    pause_s: tuple[float, float] = (1.0, 8.0)
    muted_share: float = 0.0
    muted_s: tuple[float, float] = (0.2, 2.0)
    room_share: float = 0.0
    decay_s: tuple[float, float] = (0.1, 0.9)
    distance_m: tuple[float, float] = (0.3, 3.0)
    field_share: float = 0.0
    coloured_share: float = 0.0
    fan_share: float = 0.0
    hum_share: float = 0.0
    babble_share: float = 0.0
    noise_db: tuple[float, float] = (0.0, 28.0)
    swell_share: float = 0.5
    lowpass_share: float = 0.0
    narrowband_share: float = 0.0
    telephone_share: float = 0.0
    microphone_db: float = 0.0
    clip_share: float = 0.0
    codec_share: float = 0.0

    def __post_init__(self) -> None:
        """Fail early, naming the option.

        Raises:
            ConfigError: if a value is not allowed.
        """
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            most = 0.5 if field.name.endswith("_range") else 1
            if field.name.endswith(("_share", "_range")) and not 0 <= value <= most:
                raise ConfigError(f"{field.name} must be from 0 to {most}, not {value}")
            if isinstance(value, tuple) and value[0] > value[1]:
                raise ConfigError(f"{field.name} must be the least and the most, not {list(value)}")
        for names in ("alone_share late_share turns_share", "lowpass_share narrowband_share telephone_share"):
            if sum(getattr(self, name) for name in names.split()) > 1 + 1e-9:
                raise ConfigError(f"{names.replace(' ', ' + ')} exclude each other and must not exceed 1")
        for name in ("turn_s", "decay_s", "distance_m", "pause_s", "muted_s"):
            if not getattr(self, name)[0] > 0:
                raise ConfigError(f"{name} must be above 0, not {list(getattr(self, name))}")
        if sum(self.gap_s) < -0.5 * sum(self.turn_s):
            raise ConfigError(
                f"gap_s: turns of {list(self.turn_s)} s may overlap by half on average, not by "
                f"{list(self.gap_s)}"
            )


@dataclasses.dataclass(frozen=True)
class TrainingConfig:
    """How a network is trained; lengths in seconds, levels in dB, see `tisdiss_models.training`.

    A share of the steps (`extra_depth_share`) goes up to `extra_depth` repetitions beyond the trained depth,
    another one (`shallow_share`) stops at a repetition before it, which takes less time. In streams, a
    share of the mixtures (`carried_share`) goes on where the one before ended, whose people were others.
    """

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
    shallow_share: float = 0.0
    switch_share: float = 0.5
    carried_share: float = 0.0
    soft_limit_db: float = 30.0
    validation_speakers: int = 8
    seed: int = 0
    scenes: SceneConfig = SceneConfig()

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
        for name in ("extra_depth_share", "shallow_share", "switch_share", "carried_share", "ema"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"{name} must be from 0 to 1, not {getattr(self, name)}")
        if self.extra_depth_share + self.shallow_share > 1 + 1e-9:
            raise ConfigError("extra_depth_share + shallow_share exclude each other and must not exceed 1")
        if not self.depth_weights or min(self.depth_weights) < 0 or not any(self.depth_weights):
            raise ConfigError(f"depth_weights must be some numbers, not all 0: {list(self.depth_weights)}")
        if self.shallow_share and not any(self.depth_weights[:2]):
            raise ConfigError("with a shallow_share, one of the first two depth_weights must be above 0")
