"""The layers of a TISDiSS path: norm, attention and gated convolution along one axis of a feature map.

Feature maps are (batch, channel, frame, bin); sources are folded into the batch. A path runs along the
bins, the frames or the sources. Every layer is written the way in which inference runtimes run it
fastest; where training on a GPU is faster with another form of the same sums, the layer has both, and
`network.use_gemm` chooses:

    convolution of kernel K over x, padded by K - 1:   y[j] = sum_k W[k] x[j + k - K + 1],  j = 0 .. L + K - 2
    transposed convolution, K - 1 cut from its start:  o[l] = sum_k U[k] h[l + K - 1 - k],  l = 0 .. L - 1

Both are plain convolutions (the second with its kernel reversed, without padding), or one matrix product
over K shifted copies. Along the sources, where L is 2 or 3, all positions are written out at once as
one matrix product with blocks of W or U, which skips the products with padding.

On small maps, moving numbers takes longer than multiplying them. So the gain of a norm goes into the weights
that follow it, the two halves of a gated convolution are computed apart instead of being split, and a map is
transposed only where rows of channels move as they are.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .config import NetworkConfig

BINS, FRAMES, SOURCES = "bins", "frames", "sources"


class RMSGroupNorm(nn.Module):
    """Divide groups of channels by their root mean square, per position.

    Args:
        dim: channels.
        groups: groups that the channels are split into.
        eps: added to the root mean square.
        axis: where the channels are: 1 or -1.
    """

    def __init__(self, dim: int, groups: int, eps: float, axis: int = 1) -> None:
        super().__init__()
        assert axis in (1, -1)
        self.groups = groups
        self.eps = eps
        self.axis = axis
        self.gamma = nn.Parameter(torch.ones(dim))
        self._root = (dim // groups) ** 0.5

    @property
    def gain(self) -> Tensor:
        """What `without_gain` leaves to be multiplied with: (D,)."""
        return self.gamma * self._root

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, D, T, F), or with ``axis=-1`` (..., D), to the same shape."""
        return self.without_gain(x) * self.gain.view(-1, *[1] * (x.ndim - 1 - self.axis % x.ndim))

    def without_gain(self, x: Tensor) -> Tensor:
        """Do the same but for the factor `gain` of each channel.

        The root mean square of n numbers is their norm over the root of n; that root is left to the gain.
        """
        if self.axis == 1:
            groups = x.float().unflatten(1, (self.groups, -1))  # (B, G, D / G, T, F)
            return self._divided(groups, 2).flatten(1, 2)
        groups = x.float().unflatten(-1, (self.groups, -1)).flatten(0, -2)  # (places G, D / G)
        return self._divided(groups, 1).reshape(x.shape)

    def _divided(self, groups: Tensor, axis: int) -> Tensor:
        return groups / (torch.linalg.vector_norm(groups, dim=axis, keepdim=True) + self.eps * self._root)


class Attention(nn.Module):
    """Multi-head self-attention with rotary embedding along one axis of a feature map."""

    freqs: Tensor

    def __init__(self, config: NetworkConfig, axis: str) -> None:
        super().__init__()
        self.axis = axis
        self.heads = config.heads
        self.sources = config.sources
        size = config.attention_dim // config.heads
        self.scale = size**-0.5
        self.qkv = nn.Linear(config.dim, 3 * config.attention_dim, bias=False)
        self.out = nn.Linear(config.attention_dim, config.dim, bias=False)
        self.register_buffer("freqs", 1.0 / 10000.0 ** (torch.arange(0, size, 2) / size))  # (d / 2,)

    def forward(self, x: Tensor, gain: Tensor) -> Tensor:
        """Map (B, D, T, F), a factor `gain` (D,) for each channel, to the same shape.

        Along the sources B is mixtures times sources.
        """
        weight = self.qkv.weight * gain
        return self._along_sources(x, weight) if self.axis == SOURCES else self._along_axis(x, weight)

    def _angles(self, length: int) -> tuple[Tensor, Tensor]:
        angles = torch.arange(length, device=self.freqs.device)[:, None] * self.freqs  # (L, d / 2)
        return angles.cos(), angles.sin()

    def _along_axis(self, x: Tensor, weight: Tensor) -> Tensor:
        """Attend along bins or frames; until all is done, channels come last, and move in rows.

        The rotation acts on channel pairs (2i, 2i + 1): the weights give the first of all pairs of queries
        and keys, then the second. Products of queries and keys do not depend on that order.
        """
        qk, v = weight.split([2 * self.out.in_features, self.out.in_features])
        qkv = F.linear(x.permute(0, 2, 3, 1), torch.cat([qk[0::2], qk[1::2], v]))  # (B, T, F, 3 H d)
        first, second, v = qkv.split([self.out.in_features] * 3, -1)
        cos, sin = (t.repeat(1, 2 * self.heads) for t in self._angles(x.shape[3 if self.axis == BINS else 2]))
        if self.axis == BINS:
            order = back = (0, 1, 3, 2, 4)
        else:
            cos, sin = cos[:, None], sin[:, None]
            order, back = (0, 2, 3, 1, 4), (0, 3, 1, 2, 4)
        first, second = first.float(), second.float()
        halves = first * cos - second * sin, first * sin + second * cos
        qk = torch.cat([t.unflatten(-1, (2 * self.heads, -1)) for t in halves], -1).to(qkv.dtype)
        q, k, v = (t.permute(order) for t in (*qk.chunk(2, 3), v.unflatten(-1, (self.heads, -1))))
        if self.training and x.is_cuda:  # on a CPU slower for so many short sequences
            attended = F.scaled_dot_product_attention(q.flatten(0, 1), k.flatten(0, 1), v.flatten(0, 1))
            attended = attended.unflatten(0, (len(x), -1))
        else:
            attended = (q @ k.transpose(3, 4) * self.scale).softmax(-1) @ v  # (B, others, H, L, d)
        return self.out(attended.permute(back).flatten(3)).permute(0, 3, 1, 2)

    def _along_sources(self, x: Tensor, weight: Tensor) -> Tensor:
        """Attend over the few sources at each position without products of tiny matrices.

        Each source has weights of its own, which turn its queries and keys by the angle of its place.
        """
        batch, _, frames, bins = x.shape
        q, k, v = weight.unflatten(0, (3, self.heads, -1))  # (H, d, D) each
        cos, sin = (t[:, None, :, None] for t in self._angles(self.sources))  # (S, 1, d / 2, 1)

        def turned(w: Tensor) -> Tensor:
            first, second = w[:, 0::2], w[:, 1::2]
            return torch.cat([first * cos - second * sin, first * sin + second * cos], 2)  # (S, H, d, D)

        every = torch.stack([turned(q) * self.scale, turned(k), v.expand(self.sources, -1, -1, -1)], 1)
        x = x.reshape(-1, self.sources * x.shape[1], frames, bins)  # (B, S D, T, F)
        qkv = F.conv2d(x, every.flatten(0, 3)[:, :, None, None], groups=self.sources)
        qkv = qkv.float().reshape(-1, *every.shape[:4], frames * bins)  # (B, S, 3, H, d, T F)
        q, k, v = qkv.split(1, 2)
        weights = (q * k.transpose(1, 2)).sum(4, keepdim=True).softmax(2)  # (B, S, S, H, 1, T F)
        attended = (weights * v.transpose(1, 2)).sum(2)  # (B, S, H, d, T F)
        return F.conv2d(attended.reshape(batch, -1, frames, bins), self.out.weight[:, :, None, None])


class GatedConv(nn.Module):
    """Feed-forward network of a convolution, a SiLU gate and a transposed convolution along one axis.

    Args:
        config: sizes.
        hidden: channels between the convolutions.
        axis: `BINS`, `FRAMES` or `SOURCES`.
    """

    def __init__(self, config: NetworkConfig, hidden: int, axis: str) -> None:
        super().__init__()
        self.conv = nn.Conv1d(config.dim, 2 * hidden, config.ffn_kernel)
        self.deconv = nn.ConvTranspose1d(hidden, config.dim, config.ffn_kernel)
        self.axis = axis
        self.sources = config.sources
        self.pad = config.ffn_kernel - 1
        self.gemm = False

    def forward(self, x: Tensor, gain: Tensor) -> Tensor:
        """Map (B, D, T, F), a factor `gain` (D,) for each channel, to the same shape.

        Along the sources B is mixtures times sources.
        """
        weight = self.conv.weight * gain[:, None]  # (2 H, D, K)
        if self.axis == SOURCES:
            return self._along_sources(x, weight)
        return self._gemm(x, weight) if self.gemm else self._conv(x, weight)

    def _conv(self, x: Tensor, weight: Tensor) -> Tensor:
        at, padding = (2, (0, self.pad)) if self.axis == BINS else (3, (self.pad, 0))
        assert self.conv.bias is not None
        halves = zip(weight.unsqueeze(at).chunk(2), self.conv.bias.chunk(2), strict=True)
        value, gate = (F.conv2d(x, w, b, padding=padding) for w, b in halves)
        reversed_kernel = self.deconv.weight.flip(2).transpose(0, 1).unsqueeze(at)
        return F.conv2d(value * F.silu(gate), reversed_kernel, self.deconv.bias)

    def _gemm(self, x: Tensor, weight: Tensor) -> Tensor:
        pad, kernel = self.pad, self.pad + 1
        axis = 2 if self.axis == BINS else 1
        x = x.permute(0, 2, 3, 1)  # (B, T, F, D)
        length = x.shape[axis]
        padded = F.pad(x, (0, 0, pad, pad) if axis == 2 else (0, 0, 0, 0, pad, pad))
        copies = torch.cat([padded.narrow(axis, k, length + pad) for k in range(kernel)], -1)
        weight = weight.permute(0, 2, 1).flatten(1)  # (2 H, K D)
        value, gate = F.linear(copies, weight, self.conv.bias).chunk(2, -1)
        weight = self.deconv.weight.permute(2, 1, 0).flatten(0, 1)  # (K D, H)
        shifted = F.linear(value * F.silu(gate), weight).unflatten(-1, (kernel, -1))
        parts = [shifted.narrow(axis, pad - k, length)[..., k, :] for k in range(kernel)]
        assert self.deconv.bias is not None
        return (torch.stack(parts).sum(0) + self.deconv.bias).permute(0, 3, 1, 2)

    def _along_sources(self, x: Tensor, weight: Tensor) -> Tensor:
        shape = x.shape
        x = x.reshape(-1, self.sources * shape[1], *shape[2:])  # (B, S D, T, F)
        spread, spread_bias, gather, gather_bias = self._unrolled(weight)
        halves = zip(spread[:, :, None, None].chunk(2), spread_bias.chunk(2), strict=True)
        value, gate = (F.conv2d(x, w, b) for w, b in halves)  # (B, (S + K - 1) H, T, F)
        out = F.conv2d(value * F.silu(gate), gather[:, :, None, None], gather_bias)  # (B, S D, T, F)
        return out.reshape(shape)

    def _unrolled(self, weight: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Write both convolutions over `sources` positions as matrices (see the module), with biases."""
        count = self.sources + self.pad  # J positions between the two
        margin = (self.sources - 1, self.sources - 1)  # taps beyond the kernel are zero
        w = F.pad(weight, margin)  # (2 H, D, K + 2 S - 2)
        u = F.pad(self.deconv.weight, margin)  # (H, D, K + 2 S - 2)
        spread = [w[..., count - 1 - j : count - 1 - j + self.sources] for j in range(count)]
        spread_matrix = torch.stack(spread).transpose(2, 3).flatten(2)  # (J, 2 H, S D)
        spread_matrix = spread_matrix.unflatten(1, (2, -1)).transpose(0, 1).flatten(0, 2)  # values first
        gather = [u[..., count - 1 - j : count - 1 - j + self.sources] for j in range(count)]
        gather_matrix = torch.stack(gather).permute(3, 2, 0, 1).flatten(2).flatten(0, 1)  # (S D, J H)
        assert self.conv.bias is not None and self.deconv.bias is not None
        spread_bias = self.conv.bias.view(2, 1, -1).expand(-1, count, -1).flatten()
        return spread_matrix, spread_bias, gather_matrix, self.deconv.bias.repeat(self.sources)


class Path(nn.Module):
    """Pre-norm feed-forward, attention, feed-forward along one axis; along the sources without the first."""

    def __init__(self, config: NetworkConfig, axis: str) -> None:
        super().__init__()

        def norm() -> RMSGroupNorm:
            return RMSGroupNorm(config.dim, config.norm_groups, config.eps)

        before, after = config.ffn_dims
        self.ffn_before_norm = norm() if axis != SOURCES else None
        self.ffn_before = GatedConv(config, before, axis) if axis != SOURCES else None
        self.attention_norm = norm()
        self.attention = Attention(config, axis)
        self.ffn_after_norm = norm()
        self.ffn_after = GatedConv(config, after, axis)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, D, T, F) to the same shape."""
        if self.ffn_before is not None and self.ffn_before_norm is not None:
            norm = self.ffn_before_norm
            x = x + self.ffn_before(norm.without_gain(x), norm.gain)
        norm = self.attention_norm
        x = x + self.attention(norm.without_gain(x), norm.gain)
        norm = self.ffn_after_norm
        return x + self.ffn_after(norm.without_gain(x), norm.gain)


class Layer(nn.Module):
    """A path along the bins and one along the frames; in the shared block one along the sources follows."""

    def __init__(self, config: NetworkConfig, over_sources: bool) -> None:
        super().__init__()
        self.freq_path = Path(config, BINS)
        self.time_path = Path(config, FRAMES)
        self.source_path = Path(config, SOURCES) if over_sources else None
        self.time_first = config.time_first

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, D, T, F) to the same shape."""
        if self.time_first:
            x = self.freq_path(self.time_path(x))
        else:
            x = self.time_path(self.freq_path(x))
        return x if self.source_path is None else self.source_path(x)
