"""From spectra to feature maps and back: full band as published, or split into bands for the edge.

Both give (B, D, T, F) maps and take (B S, T, F, D) maps, so everything between them is the same code.
"""

from __future__ import annotations

from itertools import groupby

import torch
from torch import Tensor, nn

from .config import NetworkConfig
from .layers import RMSGroupNorm


class GlobalNorm(nn.Module):
    """Layer norm over all frames, bins and channels at once, so that levels within the map survive."""

    def __init__(self, dim: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(dim))
        self.bias = nn.Parameter(torch.zeros(dim))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, D, T, F) to the same shape."""
        x = x - self._mean(x)
        x = x * (self._mean(x.square()) + self.eps).rsqrt()
        return x * self.weight[:, None, None] + self.bias[:, None, None]

    @staticmethod
    def _mean(x: Tensor) -> Tensor:
        """Average one axis after the other: runtimes add millions of float32 values up less exactly."""
        return x.mean(3, keepdim=True).mean(2, keepdim=True).mean(1, keepdim=True)


class ChannelAffine(nn.Module):
    """A gain and an offset for each channel: what is left of `GlobalNorm` where the future is unknown."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(dim))
        self.bias = nn.Parameter(torch.zeros(dim))

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, D, T, F) to the same shape."""
        return x * self.weight[:, None, None] + self.bias[:, None, None]


class FullBandEncoder(nn.Module):
    """Spectra (B, 2, T, F) to feature maps (B, D, T, F) by a 3x3 convolution."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, config.dim, 3, padding=1)
        self.norm = GlobalNorm(config.dim, config.eps)

    def forward(self, spec: Tensor) -> Tensor:
        """See the class."""
        return self.norm(self.conv(spec))


class FullBandDecoder(nn.Module):
    """Feature maps (B S, T, F, D) to one spectrum per source, mapped directly or as a complex mask."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.deconv = nn.ConvTranspose2d(config.dim, 2, 3, padding=1)
        self.mask = config.mask
        self.sources = config.sources

    def forward(self, z: Tensor, spec: Tensor) -> Tensor:
        """Give (B S, 2, T, F); `spec` (B, 2, T, F) is the mixture's, used with a mask only."""
        out = self.deconv(z.permute(0, 3, 1, 2))  # (B S, 2, T, F)
        return apply_mask(out, spec, self.sources) if self.mask else out


def apply_mask(mask: Tensor, spec: Tensor, sources: int) -> Tensor:
    """Multiply complex masks (B S, 2, T, F) with mixtures (B, 2, T, F): (B S, 2, T, F)."""
    mask = mask.unflatten(0, (-1, sources))  # (B, S, 2, T, F)
    mask_re, mask_im = mask[:, :, 0], mask[:, :, 1]
    re, im = spec[:, None, 0], spec[:, None, 1]  # (B, 1, T, F)
    return torch.stack([mask_re * re - mask_im * im, mask_re * im + mask_im * re], 2).flatten(0, 1)


class BandLinear(nn.Module):
    """A linear layer of its own for each of `bands` bands: (N, bands, inputs) to (N, bands, outputs)."""

    def __init__(self, bands: int, inputs: int, outputs: int) -> None:
        super().__init__()
        bound = inputs**-0.5
        self.weight = nn.Parameter(torch.empty(bands, inputs, outputs).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.zeros(bands, 1, outputs))

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        return (x.transpose(0, 1) @ self.weight + self.bias).transpose(0, 1)


def band_runs(bands: tuple[int, ...]) -> list[tuple[int, int]]:
    """Group neighbouring bands of one width: (number of bands, width in bins) per run."""
    return [(len(list(run)), width) for width, run in groupby(bands)]


class BandEncoder(nn.Module):
    """Spectra (B, 2, T, F) to feature maps (B, D, T, bands).

    Per bin: the spectrum with its magnitude compressed to the power 0.3, and the log magnitude beside
    it. One linear layer per band, then one norm over the whole map: a norm per band and frame would
    throw away which band is loud, and that is what tells voices apart. A stream, whose level is followed from
    frame to frame, gets a fixed gain and offset instead.
    """

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.runs = band_runs(config.bands)
        self.linears = nn.ModuleList(BandLinear(n, 3 * width, config.dim) for n, width in self.runs)
        self.norm = ChannelAffine(config.dim) if config.lookback else GlobalNorm(config.dim, config.eps)

    def forward(self, spec: Tensor) -> Tensor:
        """See the class."""
        return self.norm(self.embed(spec))

    def embed(self, spec: Tensor) -> Tensor:
        """Give the feature maps before the norm."""
        power = spec.square().sum(1) + 1e-6  # (B, T, F)
        compressed = spec * power.pow(-0.35)[:, None]
        features = torch.cat([compressed, 0.2 * power.log()[:, None]], 1)  # (B, 3, T, F)
        features = features.permute(0, 2, 3, 1)  # (B, T, F, 3)
        batch, frames = features.shape[:2]
        maps, start = [], 0
        for (bands, width), linear in zip(self.runs, self.linears, strict=True):
            run = features[:, :, start : start + bands * width]
            maps.append(linear(run.reshape(batch * frames, bands, width * 3)))
            start += bands * width
        return torch.cat(maps, 1).unflatten(0, (batch, frames)).permute(0, 3, 1, 2)


class BandDecoder(nn.Module):
    """Feature maps (B S, T, bands, D) to masked spectra (B S, 2, T, F) by a small network per band.

    The last bin (Nyquist) is masked like its neighbour. The masks start as an equal share for each source.
    """

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.runs = band_runs(config.bands)
        self.sources = config.sources
        self.norm = RMSGroupNorm(config.dim, 1, config.eps, axis=-1)
        self.hidden = nn.ModuleList(BandLinear(n, config.dim, config.head_dim) for n, _ in self.runs)
        self.out = nn.ModuleList(BandLinear(n, config.head_dim, 2 * width) for n, width in self.runs)
        for out in self.out:
            assert isinstance(out, BandLinear)
            nn.init.constant_(out.bias[..., : out.bias.shape[-1] // 2], 1.0 / config.sources)

    def forward(self, z: Tensor, spec: Tensor) -> Tensor:
        """Give (B S, 2, T, F) from maps and the mixture's spectrum (B, 2, T, F)."""
        batch, frames = z.shape[:2]
        z = self.norm(z).flatten(0, 1)  # (B S T, bands, D)
        masks, start = [], 0
        for (bands, width), hidden, out in zip(self.runs, self.hidden, self.out, strict=True):
            mask = out(torch.nn.functional.silu(hidden(z[:, start : start + bands])))
            masks.append(mask.reshape(-1, bands, 2, width).transpose(1, 2).flatten(2))  # (B S T, 2, bins)
            start += bands
        masks.append(masks[-1][..., -1:])
        mask = torch.cat(masks, -1).reshape(batch, frames, 2, -1).transpose(1, 2)  # (B S, 2, T, F)
        return apply_mask(mask.float(), spec, self.sources)
