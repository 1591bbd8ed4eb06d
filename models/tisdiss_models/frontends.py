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
        """Return (B S, 2, T, F); `spec` (B, 2, T, F) is the mixture's, used with a mask only."""
        out = self.deconv(z.permute(0, 3, 1, 2))  # (B S, 2, T, F)
        return apply_mask(out, spec, self.sources) if self.mask else out


def apply_mask(mask: Tensor, spec: Tensor, sources: int) -> Tensor:
    """Multiply complex masks (B S, 2, T, F) with mixtures (B, 2, T, F): (B S, 2, T, F)."""
    if len(spec) > 1:
        spec = spec.repeat_interleave(sources, 0)
    mask_re, mask_im = mask.chunk(2, 1)  # (B S, 1, T, F)
    re, im = spec.chunk(2, 1)
    return torch.cat([mask_re * re - mask_im * im, mask_re * im + mask_im * re], 1)


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


def parameters(layers: nn.ModuleList, name: str) -> list[Tensor]:
    """Return the parameter of that name of each layer."""
    return [layer.get_parameter(name) for layer in layers]


class EvenBands(nn.Module):
    """Bands of different widths as if all had the largest: one gather or product instead of one for each run.

    Runtimes take longer for calls than for products with zeros where there is one frame only.

    Attributes:
        bins: (bands, largest width) the bin at each place of a band; beyond its width the band's last one.
        places: (bins + 1,) where each bin lies in a row of all places; the Nyquist bin as its neighbour.
    """

    bins: Tensor
    places: Tensor

    def __init__(self, bands: tuple[int, ...]) -> None:
        super().__init__()
        self.width = max(bands)
        starts = torch.tensor([0, *bands]).cumsum(0)[:-1, None]
        widths = torch.tensor(bands)[:, None]
        within = torch.arange(self.width)
        self.register_buffer("bins", starts + within.minimum(widths - 1), persistent=False)
        places = (within < widths).flatten().nonzero()[:, 0]
        self.register_buffer("places", torch.cat([places, places[-1:]]), persistent=False)

    def widen(self, parameter: Tensor, axis: int) -> Tensor:
        """Fill the axis of a run's parameter that counts its bins up with zeros."""
        shape = list(parameter.shape)
        shape[axis] = self.width - shape[axis]
        return torch.cat([parameter, parameter.new_zeros(shape)], axis)


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
        self.norm = ChannelAffine(config.dim) if config.streaming else GlobalNorm(config.dim, config.eps)
        self.even = EvenBands(config.bands) if config.streaming else None

    def forward(self, spec: Tensor) -> Tensor:
        """See the class."""
        return self.norm(self.embed(spec))

    def embed(self, spec: Tensor) -> Tensor:
        """Return the feature maps before the norm."""
        power = spec.square().sum(1) + 1e-6  # (B, T, F)
        compressed = spec * power.pow(-0.35)[:, None]
        features = torch.cat([compressed, 0.2 * power.log()[:, None]], 1)  # (B, 3, T, F)
        if self.even is not None and features.shape[2] == 1:
            return self._one_frame(features, self.even)
        features = features.permute(0, 2, 3, 1)  # (B, T, F, 3)
        batch, frames = features.shape[:2]
        maps, start = [], 0
        for (bands, width), linear in zip(self.runs, self.linears, strict=True):
            run = features[:, :, start : start + bands * width]
            maps.append(linear(run.reshape(batch * frames, bands, width * 3)))
            start += bands * width
        return torch.cat(maps, 1).unflatten(0, (batch, frames)).permute(0, 3, 1, 2)

    def _one_frame(self, features: Tensor, even: EvenBands) -> Tensor:
        """Embed (B, 3, 1, F), all bands in one product: (B, D, 1, bands)."""
        weights = [weight.unflatten(1, (-1, 3)) for weight in parameters(self.linears, "weight")]
        weight = torch.cat([even.widen(w, 1) for w in weights]).transpose(1, 2).flatten(1, 2)
        bias = torch.cat(parameters(self.linears, "bias"))
        bands = features[:, :, 0][:, :, even.bins].permute(2, 0, 1, 3).flatten(2)  # (bands, B, 3 width)
        return (bands @ weight + bias).permute(1, 2, 0)[:, :, None]  # from (bands, B, D)


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
        self.even = EvenBands(config.bands) if config.streaming else None
        for out in self.out:
            assert isinstance(out, BandLinear)
            nn.init.constant_(out.bias[..., : out.bias.shape[-1] // 2], 1.0 / config.sources)

    def forward(self, z: Tensor, spec: Tensor) -> Tensor:
        """Return (B S, 2, T, F) from maps and the mixture's spectrum (B, 2, T, F)."""
        batch, frames = z.shape[:2]
        z = self.norm(z).flatten(0, 1)  # (B S T, bands, D)
        if self.even is not None and frames == 1:
            return apply_mask(self._one_frame(z, self.even), spec, self.sources)
        masks, start = [], 0
        for (bands, width), hidden, out in zip(self.runs, self.hidden, self.out, strict=True):
            mask = out(torch.nn.functional.silu(hidden(z[:, start : start + bands])))
            masks.append(mask.reshape(-1, bands, 2, width).transpose(1, 2).flatten(2))  # (B S T, 2, bins)
            start += bands
        masks.append(masks[-1][..., -1:])
        mask = torch.cat(masks, -1).reshape(batch, frames, 2, -1).transpose(1, 2)  # (B S, 2, T, F)
        return apply_mask(mask.float(), spec, self.sources)

    def _one_frame(self, z: Tensor, even: EvenBands) -> Tensor:
        """Return masks (B S, 2, 1, F) of one frame (B S, bands, D), all bands in one product."""

        def widened(name: str) -> Tensor:
            halves = [parameter.unflatten(2, (2, -1)) for parameter in parameters(self.out, name)]
            return torch.cat([even.widen(half, 3) for half in halves]).flatten(2)

        weight, bias = (torch.cat(parameters(self.hidden, name)) for name in ("weight", "bias"))
        hidden = torch.nn.functional.silu(z.transpose(0, 1) @ weight + bias)  # (bands, B S, H)
        masks = (hidden @ widened("weight") + widened("bias")).unflatten(2, (2, -1))
        return masks.permute(1, 2, 0, 3).flatten(2)[:, :, None, even.places]
