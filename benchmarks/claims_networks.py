"""The small networks that the paper's claims are measured on: one family, one difference each.

Every variant is built of the parts of the shipped networks. What differs from the base, which is split early,
has one block for all repetitions, and is judged at every depth with one assignment of the sources:

    late      the map is split after the last repetition, just before the decoder; no path along the sources
    unshared  each repetition has a block of its own
    loss      only the last depth is judged, or every depth with an assignment of its own
    depths    more repetitions, or a random number of them for each batch
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import torch
from cost import giga_macs
from torch import Tensor, nn

from tisdiss_models import NetworkConfig
from tisdiss_models.layers import Layer
from tisdiss_models.losses import best_assignment, multi_depth_loss, pairwise_soft_snr_db
from tisdiss_models.network import Decoder, Stem, use_gemm

STATES = Path(__file__).parent / "states" / "claims"
SEEDS = (0, 1, 2)
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
SOFT_LIMIT_DB = 30.0
COUNTED_S = 4.0  # length of the mixture that operations are counted on


@dataclasses.dataclass(frozen=True)
class Variant:
    """One way to build and train; `loss` is ``joint``, ``own`` (assignment of each depth) or ``last``."""

    title: str
    depth: int = 3
    random_depth: bool = False
    late: bool = False
    unshared: bool = False
    ffn_dims: tuple[int, int] = BASE.ffn_dims  # of the repeated block
    attention_dim: int = BASE.attention_dim  # of the repeated block
    loss: str = "joint"


VARIANTS = {
    "base": Variant("early split, shared block, every depth judged"),
    "last": Variant("early split, only the last depth judged", loss="last"),
    "late": Variant("late split, six repetitions, only the last depth judged", 6, late=True, loss="last"),
    "late-multi": Variant("late split, six repetitions, every depth judged", 6, late=True),
    "unshared": Variant("three blocks of their own", unshared=True),
    "unshared-small": Variant(
        "three blocks with the parameters of one", unshared=True, ffn_dims=(9, 8), attention_dim=8
    ),
    "own": Variant("an assignment of the sources for each depth", loss="own"),
    "deep": Variant("trained with 6 repetitions", 6),
    "random": Variant("trained with 1 to 6 repetitions at random", 6, random_depth=True),
}


class Fft(nn.Module):
    """Waveforms (B, samples) to spectra (B, 2, frames, bins), as `tisdiss_models.stft.Stft`.

    There, transforms are matrix products, for the graphs; for networks as small as these, they would be half
    of the operations of training.
    """

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

    def forward(self, spec: Tensor, samples: int) -> Tensor:
        """See the class."""
        spec = torch.view_as_complex(spec.permute(0, 3, 2, 1).contiguous())
        return torch.istft(spec, self.n_fft, self.hop, window=self.window, length=samples)


class VariantNetwork(nn.Module):
    """Stem, repeated layers and decoder; maps are (B S, D, T, F), before a late split (B, D, T, F)."""

    def __init__(self, variant: Variant) -> None:
        super().__init__()
        self.variant = variant
        block = dataclasses.replace(BASE, ffn_dims=variant.ffn_dims, attention_dim=variant.attention_dim)
        self.stem = Stem(BASE)
        self.stem.stft = Fft(BASE)
        count = variant.depth if variant.unshared else 1
        self.blocks = nn.ModuleList(Layer(block, over_sources=not variant.late) for _ in range(count))
        self.decoder = Decoder(BASE)
        self.decoder.inverse = InverseFft(BASE)

    def encode(self, spec: Tensor) -> Tensor:
        """Everything before the first repetition, from the spectrum (B, 2, T, bins)."""
        x = self.stem.encoder(spec)
        for layer in self.stem.layers:
            x = layer(x)
        return x if self.variant.late else self.stem.splitter(x)

    def block(self, repetition: int) -> nn.Module:
        """The layer of a repetition, counted from 1."""
        return self.blocks[min(repetition, len(self.blocks)) - 1]

    def estimate(self, x: Tensor, spec: Tensor, scale: Tensor, samples: int) -> Tensor:
        """Decode a map at any depth: (B, S, samples)."""
        return self.waves(self.estimate_spec(x, spec), scale, samples)

    def estimate_spec(self, x: Tensor, spec: Tensor) -> Tensor:
        """Decode a map at any depth: (B S, 2, T, bins)."""
        if self.variant.late:
            x = self.stem.splitter(x)
        return self.decoder.head(x.permute(0, 2, 3, 1), spec)

    def waves(self, estimated: Tensor, scale: Tensor, samples: int) -> Tensor:
        """Give the signals (B, S, samples) of spectra (B S, 2, T, bins)."""
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
        self.network = network
        use_gemm(network)
        wrap = (lambda part: torch.compile(part, dynamic=False)) if compile_parts else (lambda part: part)
        self._encode = wrap(network.encode)
        self._blocks = [wrap(block.forward) for block in network.blocks]
        self._spec = wrap(network.estimate_spec)
        self._score = wrap(pairwise_soft_snr_db)

    def forward(self, mix: Tensor, sources: Tensor, depth: int) -> Tensor:
        """Loss in dB of mixtures (B, samples) with sources (B, S, samples), with `depth` repetitions."""
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
                scores.append(self._score(est, sources, mix, SOFT_LIMIT_DB))
        return depth_loss(scores, own=loss == "own")


def step_gmacs(variant: Variant) -> float:
    """Billions of multiply-accumulates of a training step, forth and back, per second of mixture."""
    network = VariantNetwork(variant).eval()
    mix = torch.randn(1, int(COUNTED_S * BASE.sample_rate))

    def judged(depth: int) -> None:
        if variant.loss == "last":
            network.separate(mix, depth)
        else:
            list(network.every_depth(mix, depth))

    depths = (1, variant.depth) if variant.random_depth else (variant.depth,)  # as good as all between
    return sum(3 * giga_macs(partial(judged, depth), COUNTED_S) for depth in depths) / len(depths)


def depth_loss(scores: Sequence[Tensor], own: bool) -> Tensor:
    """Mean loss over depths, from the (B, S, S) of each: assigned together, or each on its own."""
    if own:
        return -torch.stack([best_assignment(score).mean() for score in scores]).mean()
    return multi_depth_loss(scores, [1.0] * len(scores))
