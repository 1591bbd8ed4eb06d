"""The separator as the three modules that become the three graphs: stem, shared block, decoder.

    mix (B, n) --Stem--> z (B S, T, F, D), and what later modules need
                 Block, N times: z --> z
                 Decoder: z --> est (B S, n)

Sources are folded into the batch, so that with one mixture the feature map is (S, T, F, D).
Follows Feng et al., "TISDiSS", arXiv 2509.15666.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .config import NetworkConfig
from .depth_loss import DepthScorer, Scorer
from .frontends import BandDecoder, BandEncoder, FullBandDecoder, FullBandEncoder
from .layers import GatedConv, Layer
from .parts import Part, change_of, offline_parts
from .stft import InverseStft, Stft

SILENCE = 1e-8  # standard deviation under which a mixture counts as silent and is not amplified further


class Mixed(NamedTuple):
    """What the stem gives: the split feature map and what block and decoder need beside it."""

    z: Tensor  # (B S, T, F, D)
    z0: Tensor  # (B, T, F, D) the encoded mixture
    spec: Tensor  # (B, 2, T, bins) of the normalised mixture
    scale: Tensor  # (B, 1) standard deviation of the mixture


class Residual(nn.Module):
    """Lead the encoded mixture back in: a weight and a bias per channel, and one slope below zero."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(dim))
        self.bias = nn.Parameter(torch.zeros(dim))
        self.slope = nn.Parameter(torch.full((1,), 0.25))

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, D, T, F) to the same shape."""
        x = x * self.weight[:, None, None] + self.bias[:, None, None]
        return x.clamp(min=0) + self.slope * x.clamp(max=0)


class Splitter(nn.Module):
    """One feature map (B, D, T, F) into one per source (B S, D, T, F) by 3x3 convolutions."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        out = config.dim * config.sources
        self.sources = config.sources
        self.gated = config.splitter == "swiglu_conv_deconv2d"
        self.conv = nn.Conv2d(config.dim, 4 * out if self.gated else out, 3, padding=1)
        self.deconv = nn.ConvTranspose2d(2 * out, out, 3, padding=1) if self.gated else None

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        x = self.conv(x)  # (B, C, T, F)
        if self.deconv is not None:
            value, gate = x.chunk(2, 1)
            x = self.deconv(value * F.silu(gate))
        return x.unflatten(1, (self.sources, -1)).flatten(0, 1)


class Stem(nn.Module):
    """Everything before the first repetition: normalisation, STFT, encoder, separator, early split."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.repeats = config.separator_repeats
        # Else the last samples lie under the end of one window only, and undoing that window magnifies what
        # a mask leaves there a thousandfold: a click. The published network takes mixtures as they are.
        self.completed_hop = config.hop if config.bands else None
        self.stft = Stft(config.n_fft, config.hop)
        self.encoder = BandEncoder(config) if config.bands else FullBandEncoder(config)
        self.layers = nn.ModuleList(Layer(config, over_sources=False) for _ in range(config.separator_layers))
        self.residual = Residual(config.dim) if config.separator_residual else None
        self.splitter = Splitter(config)

    def forward(self, mix: Tensor) -> Mixed:
        """Encode and split mixtures (B, samples), float32."""
        spec, scale = self.analyse(mix)
        return self.split(spec, scale)

    def analyse(self, mix: Tensor) -> tuple[Tensor, Tensor]:
        """Return the spectrum (B, 2, T, bins) of the normalised mixture and its scale (B, 1)."""
        centred = mix - mix.mean(1, keepdim=True)
        variance = centred.square().sum(1, keepdim=True) / (mix.shape[1] - 1)
        scale = variance.sqrt().clamp(min=SILENCE)  # (B, 1)
        normalised = mix / scale
        if self.completed_hop:
            normalised = F.pad(normalised, (0, -mix.shape[1] % self.completed_hop))
        return self.stft(normalised), scale

    def split(self, spec: Tensor, scale: Tensor) -> Mixed:
        """Run encoder, separator and splitter."""
        z0 = x = self.encoder(spec)
        for repeat in range(self.repeats):
            for index, layer in enumerate(self.layers):
                if self.residual is not None and repeat + index > 0:
                    x = self.residual(z0 + x)
                x = layer(x)
        return Mixed(self.splitter(x).permute(0, 2, 3, 1), z0.permute(0, 2, 3, 1), spec, scale)


class Block(nn.Module):
    """The shared block: applied N times to the split feature map, with the same weights every time."""

    def __init__(self, config: NetworkConfig, residual: Residual | None) -> None:
        super().__init__()
        self.sources = config.sources
        self.layers = nn.ModuleList(Layer(config, over_sources=True) for _ in range(config.block_layers))
        self.residual = residual

    def forward(self, z: Tensor, z0: Tensor) -> Tensor:
        """Map (B S, T, F, D) to the same shape; `z0` (B, T, F, D) is used with `block_residual` only."""
        x, x0 = z.permute(0, 3, 1, 2), z0.permute(0, 3, 1, 2)  # (B S, D, T, F), (B, D, T, F)
        for layer in self.layers:
            if self.residual is not None:
                x = self.residual((x.unflatten(0, (-1, self.sources)) + x0[:, None]).flatten(0, 1))
            x = layer(x)
        return x.permute(0, 2, 3, 1)


class Decoder(nn.Module):
    """One waveform per source from the feature map at any depth, at the level it has in the mixture."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.sources = config.sources
        self.head = BandDecoder(config) if config.bands else FullBandDecoder(config)
        self.inverse = InverseStft(config.n_fft, config.hop)

    def forward(self, z: Tensor, spec: Tensor, scale: Tensor, mix: Tensor) -> Tensor:
        """Return (B S, samples); of `mix` (B, samples) only the length is used."""
        wave = self.inverse(self.head(z, spec), mix.shape[1])
        return (wave.unflatten(0, (-1, self.sources)) * scale[:, None]).flatten(0, 1)


class Network(nn.Module):
    """Stem, block and decoder of one configuration."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config
        self.stem = Stem(config)
        self.block = Block(config, self.stem.residual if config.block_residual else None)
        self.decoder = Decoder(config)

    def forward(self, mix: Tensor, depth: int | None = None) -> Tensor:
        """Separate mixtures (B, samples) at `depth`, by default the trained one: (B, S, samples)."""
        *_, deepest = self.every_depth(mix, self.config.trained_depth if depth is None else depth)
        return deepest

    def make_scorer(self, compile_parts: bool) -> Scorer:
        """Return what judges all depths at once in training; arguments as `depth_loss.DepthScorer`."""
        return DepthScorer(self, compile_parts)

    def export_parts(self) -> dict[str, Part]:
        """Return what becomes the graphs ``stem``, ``block`` and ``decoder``."""
        return offline_parts(self.stem, self.block, self.decoder, self.config)

    @property
    def timing(self) -> tuple[int, int] | None:
        """Samples of a step and of the latency where it runs step by step; None for whole mixtures."""
        return None

    def switching_example(self, mix: Tensor, deepest: int) -> dict[str, Tensor]:
        """Return nothing: the depth of a whole mixture does not change."""
        return {}

    def adopt_offline_norm(self, mix: Tensor) -> None:
        """Do nothing: the norm over whole mixtures is there, as weights of an offline network expect."""

    def changes(self, mix: Tensor, depth: int) -> Tensor:
        """Return how much each repetition changes the map of each source of one mixture: (1, depth, S)."""
        mixed = self.stem(mix[None])
        z, found = mixed.z, []
        for _ in range(depth):
            before, z = z, self.block(z, mixed.z0)
            found.append(change_of(before, z))
        return torch.stack(found)[None]

    def every_depth(self, mix: Tensor, depth: int) -> Iterator[Tensor]:
        """Separate mixtures (B, samples) at depths 0 to `depth`: (B, S, samples) each."""
        mixed = self.stem(mix)
        z = mixed.z
        for n in range(depth + 1):
            if n:
                z = self.block(z, mixed.z0)
            est = self.decoder(z, mixed.spec, mixed.scale, mix)
            yield est.unflatten(0, (-1, self.config.sources))


def use_gemm(network: nn.Module, gemm: bool = True) -> None:
    """Choose the form of a network's feed-forward convolutions; the result is the same, see `layers`."""
    for module in network.modules():
        if isinstance(module, GatedConv):
            module.gemm = gemm
