"""The small networks that the paper's claims are measured on: one family, one difference each.

Every variant is built of the parts of the shipped networks. What differs from the base, which is split early,
has one block for all repetitions, and is judged at every depth with one assignment of the sources:

    late      the map is split after the last repetition, just before the decoder; no path along the sources
    unshared  each repetition has a block of its own
    loss      only the last depth is judged, or every depth with an assignment of its own
    depths    more repetitions, or a random number of them for each batch

`RECIPES` are the base with one difference in how it is trained or built, for `recipes.py`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.cost import giga_macs
from tisdiss_models import NetworkConfig, SceneConfig, TrainingConfig
from tisdiss_models.layers import Layer
from tisdiss_models.losses import best_assignment, multi_depth_loss, pairwise_soft_snr_db
from tisdiss_models.network import Decoder, Stem, use_gemm

STATES = Path(__file__).parents[1] / "states" / "claims"
SEEDS = (0, 1, 2)
OVERLAPPING = SceneConfig(alone_share=0.0, late_share=0.05, speed_range=0.0)
BASE = NetworkConfig(
    sample_rate=16000,
    n_fft=1024,
    hop=512,
    bands=(8,) * 6 + (24,) * 6 + (80,) * 4,
    dim=24,
    heads=2,
    attention_dim=16,
    ffn_dims=(32, 24),
    separator_repeats=1,
    splitter="conv2d",
    trained_depth=3,
    head_dim=48,
)
TRAINING = TrainingConfig(
    steps=2500,
    batch=4,
    crop_s=0.75,
    learning_rate=2e-3,
    warmup_steps=200,
    ema=0.998,
    depth_weights=(1.0,) * 7,
    scenes=OVERLAPPING,
)
COUNTED_S = 4.0  # length of the mixture that operations are counted on


def _scenes(**changes: Any) -> dict[str, SceneConfig]:
    return {"scenes": dataclasses.replace(OVERLAPPING, **changes)}


@dataclasses.dataclass(frozen=True)
class Variant:
    """One way to build and train; `loss` is ``joint``, ``own`` (assignment of each depth) or ``last``."""

    title: str
    depth: int = 3
    random_depth: bool = False
    late: bool = False
    unshared: bool = False
    over_sources: bool = True
    loss: str = "joint"
    block: Mapping[str, Any] = dataclasses.field(default_factory=dict)  # options of the repeated block alone
    network: Mapping[str, Any] = dataclasses.field(default_factory=dict)  # options that differ from `BASE`
    training: Mapping[str, Any] = dataclasses.field(default_factory=dict)  # ... from `TRAINING`
    first: Mapping[str, Any] = dataclasses.field(default_factory=dict)  # ... in the first third of the steps

    @property
    def network_config(self) -> NetworkConfig:
        return dataclasses.replace(BASE, **self.network)

    @property
    def training_config(self) -> TrainingConfig:
        return dataclasses.replace(TRAINING, **self.training)


VARIANTS = {
    "base": Variant("early split, shared block, every depth judged"),
    "last": Variant("early split, only the last depth judged", loss="last"),
    "late": Variant("late split, six repetitions, only the last depth judged", 6, late=True, loss="last"),
    "late-multi": Variant("late split, six repetitions, every depth judged", 6, late=True),
    "unshared": Variant("three blocks of their own", unshared=True),
    "unshared-small": Variant(
        "three blocks with the parameters of one",
        unshared=True,
        block={"ffn_dims": (9, 8), "attention_dim": 8},
    ),
    "own": Variant("an assignment of the sources for each depth", loss="own"),
    "deep": Variant("trained with 6 repetitions", 6),
    "random": Variant("trained with 1 to 6 repetitions at random", 6, random_depth=True),
}

FINE_BANDS = (4,) * 12 + (8,) * 6 + (16,) * 6 + (32,) * 10
COARSE_BANDS = (16,) * 4 + (48,) * 4 + (128,) * 2
RECIPES = {
    "short-first": Variant("a third of the steps with crops of 0.375 s", first={"crop_s": 0.375, "batch": 8}),
    "long-crops": Variant("crops of 1.5 s, half as many", training={"crop_s": 1.5, "batch": 2}),
    "levels-first": Variant(
        "a third of the steps with levels up to 15 dB apart", first=_scenes(level_db=(0.0, 15.0))
    ),
    "speed": Variant("voices played up to 15 % slower or faster", training=_scenes(speed_range=0.15)),
    "no-equaliser": Variant("no random equaliser", training=_scenes(equaliser_db=0.0)),
    "absent": Variant("4 % of the mixtures with one voice alone", training=_scenes(alone_share=0.04)),
    "no-pauses": Variant("nobody starts late or stops early", training=_scenes(late_share=0.0)),
    "rate-1e-3": Variant("half the learning rate", training={"learning_rate": 1e-3}),
    "rate-4e-3": Variant("twice the learning rate", training={"learning_rate": 4e-3}),
    "late-decay": Variant("learning rate constant in the first half", training={"decay_share": 0.5}),
    "no-average": Variant("the last weights, not their average", training={"ema": 0.0}),
    "rising-weights": Variant(
        "deeper estimates weigh more", training={"depth_weights": (0.25, 0.5, 0.75, 1.0)}
    ),
    "no-limit": Variant("loss not limited at 30 dB", training={"soft_limit_db": 80.0}),
    "wide": Variant("width 32", network={"dim": 32, "ffn_dims": (43, 32), "attention_dim": 20}),
    "narrow": Variant("width 16", network={"dim": 16, "ffn_dims": (21, 16), "attention_dim": 12}),
    "fine-bands": Variant("34 bands", network={"bands": FINE_BANDS}),
    "coarse-bands": Variant("10 bands", network={"bands": COARSE_BANDS}),
    "hop-16ms": Variant("hop of 16 ms instead of 32", network={"hop": 256}),
    "two-layers": Variant("two layers before the split", network={"separator_layers": 2}),
    "gated-split": Variant(
        "splitter of two gated convolutions", network={"splitter": "swiglu_conv_deconv2d"}
    ),
    "time-first": Variant("frames before bands in each layer", network={"time_first": True}),
    "no-sources": Variant("no path along the sources", over_sources=False),
}
ALL = VARIANTS | RECIPES


class Fft(nn.Module):
    """Waveforms (B, samples) to spectra (B, 2, frames, bins), as `tisdiss_models.stft.Stft`.

    There, transforms are matrix products, for the graphs; for networks as small as these, they would be half
    of the operations of training.
    """

    window: Tensor

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.n_fft, self.hop = config.n_fft, config.hop
        self.register_buffer("window", torch.hann_window(config.n_fft), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        spec = torch.stft(x, self.n_fft, self.hop, window=self.window, return_complex=True)
        return torch.view_as_real(spec).permute(0, 3, 2, 1)


class InverseFft(Fft):
    """Spectra (B, 2, frames, bins) to waveforms (B, samples), as `tisdiss_models.stft.InverseStft`."""

    def forward(self, spec: Tensor, samples: int) -> Tensor:  # type: ignore[override]
        """See the class."""
        spec = torch.view_as_complex(spec.permute(0, 3, 2, 1).contiguous())
        return torch.istft(spec, self.n_fft, self.hop, window=self.window, length=samples)


class VariantNetwork(nn.Module):
    """Stem, repeated layers and decoder; maps are (B S, D, T, F), before a late split (B, D, T, F)."""

    def __init__(self, variant: Variant) -> None:
        super().__init__()
        self.variant = variant
        config = variant.network_config
        block = dataclasses.replace(config, **variant.block)
        self.stem = Stem(config)
        self.stem.stft = Fft(config)  # type: ignore[assignment]
        count = variant.depth if variant.unshared else 1
        over_sources = variant.over_sources and not variant.late
        self.blocks = nn.ModuleList(Layer(block, over_sources=over_sources) for _ in range(count))
        self.decoder = Decoder(config)
        self.decoder.inverse = InverseFft(config)  # type: ignore[assignment]

    def encode(self, spec: Tensor) -> Tensor:
        """Compute the map before the first repetition, from the spectrum (B, 2, T, bins)."""
        x = self.stem.encoder(spec)
        for layer in self.stem.layers:
            x = layer(x)
        return x if self.variant.late else self.stem.splitter(x)

    def block(self, repetition: int) -> nn.Module:
        """Return the layer of a repetition, counted from 1."""
        return self.blocks[min(repetition, len(self.blocks)) - 1]

    def estimate(self, x: Tensor, spec: Tensor, scale: Tensor, samples: int) -> Tensor:
        """Decode a map of any depth to (B, S, samples)."""
        return self.waves(self.estimate_spec(x, spec), scale, samples)

    def estimate_spec(self, x: Tensor, spec: Tensor) -> Tensor:
        """Decode a map of any depth to (B S, 2, T, bins)."""
        if self.variant.late:
            x = self.stem.splitter(x)
        return self.decoder.head(x.permute(0, 2, 3, 1), spec)

    def waves(self, estimated: Tensor, scale: Tensor, samples: int) -> Tensor:
        """Return the signals (B, S, samples) of spectra (B S, 2, T, bins)."""
        return self.decoder.inverse(estimated, samples).unflatten(0, (len(scale), -1)) * scale[:, :, None]

    def separate(self, mix: Tensor, depth: int) -> Tensor:
        """Separate mixtures (B, samples) at one depth, decoding once: (B, S, samples)."""
        spec, scale = self.stem.analyse(mix)
        x = self.encode(spec)
        for n in range(1, depth + 1):
            x = self.block(n)(x)
        return self.estimate(x, spec, scale, mix.shape[1])

    def every_depth(self, mix: Tensor, depth: int) -> Iterator[Tensor]:
        """Separate mixtures (B, samples) at depths 0 to `depth`: (B, S, samples) each."""
        spec, scale = self.stem.analyse(mix)
        x = self.encode(spec)
        for n in range(depth + 1):
            if n:
                x = self.block(n)(x)
            yield self.estimate(x, spec, scale, mix.shape[1])


class Objective(nn.Module):
    """The training loss of a variant, its parts compiled.

    In 32-bit floats: processors without bfloat16 take six times as long for it.
    """

    def __init__(self, network: VariantNetwork, compile_parts: bool = True) -> None:
        super().__init__()
        self.network, self._config = network, network.variant.training_config
        use_gemm(network)
        wrap = (lambda part: torch.compile(part, dynamic=False)) if compile_parts else (lambda part: part)
        self._encode = wrap(network.encode)
        self._blocks = [wrap(block.forward) for block in network.blocks]
        self._spec = wrap(network.estimate_spec)
        self._score = wrap(pairwise_soft_snr_db)

    def forward(self, mix: Tensor, sources: Tensor, depth: int) -> Tensor:
        """Compute the loss in dB at a depth of mixtures (B, samples) with sources (B, S, samples)."""
        loss = self.network.variant.loss
        with torch.no_grad():
            spec, scale = self.network.stem.analyse(mix)
        scores = []
        x = self._encode(spec)
        for n in range(depth + 1):
            if n:
                x = self._blocks[min(n, len(self._blocks)) - 1](x)
            if n == depth or loss != "last":
                est = self.network.waves(self._spec(x, spec), scale, mix.shape[1])
                scores.append(self._score(est, sources, mix, self._config.soft_limit_db))
        return depth_loss(scores, self._config.depth_weights, own=loss == "own")


def step_gmacs(variant: Variant) -> float:
    """Compute the GMAC of a training step, forward and backward, per second of mixture."""
    network = VariantNetwork(variant).eval()
    mix = torch.randn(1, int(COUNTED_S * BASE.sample_rate))

    def judged(depth: int) -> None:
        if variant.loss == "last":
            network.separate(mix, depth)
        else:
            list(network.every_depth(mix, depth))

    depths = (1, variant.depth) if variant.random_depth else (variant.depth,)  # as good as all between
    return sum(3 * giga_macs(partial(judged, depth), COUNTED_S) for depth in depths) / len(depths)


def depth_loss(scores: Sequence[Tensor], weights: Sequence[float], own: bool) -> Tensor:
    """Compute the mean loss over depths from the (B, S, S) of each, with one assignment or one of its own."""
    if own:
        return -torch.stack([best_assignment(score).mean() for score in scores]).mean()
    return multi_depth_loss(scores, weights[: len(scores)])
