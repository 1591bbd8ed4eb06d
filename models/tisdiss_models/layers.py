"""The layers of a TISDiSS path: norm, attention and gated convolution along one axis of a feature map.

Feature maps are (batch, channel, frame, bin); sources are folded into the batch. A path runs along the
bins, the frames or the sources. Every layer is written the way in which inference runtimes run it
fastest; where training on a GPU wants another form of the same sums, the layer has both, and
`network.use_gemm` chooses:

    convolution of kernel K over x, padded by K - 1:   y[j] = sum_k W[k] x[j + k - K + 1],  j = 0 .. L + K - 2
    transposed convolution, K - 1 cut from its start:  o[l] = sum_k U[k] h[l + K - 1 - k],  l = 0 .. L - 1

Both are plain convolutions (the second with its kernel reversed, without padding), or one matrix product
over K shifted copies. Along the sources, where L is 2 or 3, all positions are written out at once as
one matrix product with blocks of W or U, which skips the products with padding.

On small maps, moving numbers takes longer than multiplying them. So the gain of a norm goes into the weights
that follow it, the two halves of a gated convolution are computed apart instead of being split, and a map is
turned round only where rows of channels move as they are.
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
        axis: where the channels are.
    """

    def __init__(self, dim: int, groups: int, eps: float, axis: int = 1) -> None:
        super().__init__()
        self.groups = groups
        self.eps = eps
        self.axis = axis
        self.gamma = nn.Parameter(torch.ones(dim))

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, D, T, F), or with ``axis=-1`` (..., D), to the same shape."""
        return self.without_gain(x) * self.gamma.view(-1, *[1] * (x.ndim - 1 - self.axis % x.ndim))

    def without_gain(self, x: Tensor) -> Tensor:
        """Do the same but for the factor `gamma` of each channel."""
        axis = self.axis % x.ndim
        groups = x.float().unflatten(axis, (self.groups, -1))  # (B, G, D / G, T, F)
        size = groups.shape[axis + 1]
        rms = torch.linalg.vector_norm(groups, dim=axis + 1, keepdim=True) * size**-0.5
        return (groups / (rms + self.eps)).flatten(axis, axis + 1)


class Attention(nn.Module):
    """Multi-head self-attention with rotary embedding along one axis of a feature map."""

    freqs: Tensor
    order: Tensor

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
        # Rotation acts on channel pairs (2i, 2i + 1). The first of all pairs, then the second, make two
        # contiguous halves; products of queries and keys do not depend on the order.
        rows = torch.arange(3 * config.attention_dim).view(3, config.heads, size)
        halves = rows[:2, :, 0::2], rows[:2, :, 1::2]  # (2, H, d / 2)
        if axis == SOURCES:  # the halves of each head side by side
            order = torch.cat([torch.cat(halves, -1), rows[2:]])
        else:  # the first halves of all heads, then the second
            order = torch.cat([torch.stack(halves, 1).flatten(), rows[2].flatten()])
        self.register_buffer("order", order.flatten(), persistent=False)

    def forward(self, x: Tensor, gain: Tensor) -> Tensor:
        """Map (B, D, T, F), a factor `gain` (D,) for each channel, to the same shape.

        Along the sources B is mixtures times sources.
        """
        weight = self.qkv.weight[self.order] * gain
        return self._along_sources(x, weight) if self.axis == SOURCES else self._along_axis(x, weight)

    def _angles(self, length: int) -> tuple[Tensor, Tensor]:
        angles = torch.arange(length, device=self.freqs.device)[:, None] * self.freqs  # (L, d / 2)
        return angles.cos(), angles.sin()

    def _along_axis(self, x: Tensor, weight: Tensor) -> Tensor:
        """Attend along bins or frames; until all is done, channels come last, and move in rows."""
        qkv = F.linear(x.permute(0, 2, 3, 1), weight)  # (B, T, F, 3 H d)
        half = self.out.in_features // 2
        q_first, q_second, k_first, k_second, v = qkv.split([half] * 4 + [2 * half], -1)
        if self.axis == BINS:
            order = back = (0, 1, 3, 2, 4)
            cos, sin = (t.repeat(1, self.heads) for t in self._angles(x.shape[3]))  # (F, H d / 2)
        else:
            order, back = (0, 2, 3, 1, 4), (0, 3, 1, 2, 4)
            cos, sin = (t.repeat(1, self.heads)[:, None] for t in self._angles(x.shape[2]))

        def turned(first: Tensor, second: Tensor) -> Tensor:
            first, second = first.float(), second.float()
            halves = first * cos - second * sin, first * sin + second * cos
            return torch.cat([t.unflatten(-1, (self.heads, -1)) for t in halves], -1).to(qkv.dtype)

        heads = turned(q_first, q_second), turned(k_first, k_second), v.unflatten(-1, (self.heads, -1))
        q, k, v = (t.permute(order) for t in heads)  # (B, others, H, L, d)
        if self.training and x.is_cuda:  # on a CPU slower for so many short sequences
            attended = F.scaled_dot_product_attention(q.flatten(0, 1), k.flatten(0, 1), v.flatten(0, 1))
            attended = attended.unflatten(0, (len(x), -1))
        else:
            attended = (q @ k.transpose(3, 4) * self.scale).softmax(-1) @ v
        return self.out(attended.permute(back).flatten(3)).permute(0, 3, 1, 2)

    def _along_sources(self, x: Tensor, weight: Tensor) -> Tensor:
        """Attend over the few sources at each position without products of tiny matrices."""
        batch, _, frames, bins = x.shape
        qkv = F.conv2d(x, weight[:, :, None, None])  # (B S, 3 H d, T, F)
        shape = (-1, self.sources, 3, self.heads, weight.shape[0] // (3 * self.heads), frames * bins)
        qkv = qkv.reshape(shape)  # (B, S, 3, H, d, T F)
        first, second = qkv[:, :, :2].float().chunk(2, 4)  # (B, S, 2, H, d / 2, T F)
        cos, sin = (t[:, None, None, :, None] for t in self._angles(self.sources))
        turned = torch.cat([first * cos - second * sin, first * sin + second * cos], 4)
        q, k = turned[:, :, 0, None] * self.scale, turned[:, None, :, 1]
        scores = (q * k).sum(4, keepdim=True)  # (B, S, S, H, 1, T F)
        attended = (scores.softmax(2) * qkv[:, None, :, 2].float()).sum(2)  # (B, S, H, d, T F)
        attended = attended.to(qkv.dtype).reshape(batch, -1, frames, bins)
        return F.conv2d(attended, self.out.weight[:, :, None, None])


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
            x = x + self.ffn_before(norm.without_gain(x), norm.gamma)
        norm = self.attention_norm
        x = x + self.attention(norm.without_gain(x), norm.gamma)
        norm = self.ffn_after_norm
        return x + self.ffn_after(norm.without_gain(x), norm.gamma)


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
