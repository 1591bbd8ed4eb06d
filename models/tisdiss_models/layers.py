"""The layers of a TISDiSS path: norm, attention and gated convolution over one axis of a feature map.

Feature maps are (batch, frame, bin, channel), channels last, because every layer but the convolutions
acts on the channel vector of one position. A path runs along the frame or the bin axis; the source
path runs along the sources, which are folded into the batch.

The feed-forward network has two equal forms. `conv` uses convolution operators, which inference
runtimes run fastest; `gemm` is one matrix product over shifted copies, which trains fastest:

    conv of kernel 4 over x padded by 3:     y[j] = sum_k W[k] x[j + k - 3],  j = 0 .. L + 2
    transposed conv, 3 cut from the start:   o[l] = sum_k U[k] h[l + 3 - k],  l = 0 .. L - 1
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .config import NetworkConfig


class RMSGroupNorm(nn.Module):
    """Divide groups of channels by their root mean square, per position.

    Args:
        dim: channels.
        groups: groups that the channels are split into.
        eps: added to the root mean square.
    """

    def __init__(self, dim: int, groups: int, eps: float) -> None:
        super().__init__()
        self.groups = groups
        self.eps = eps
        self.gamma = nn.Parameter(torch.ones(dim))

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., channel) to the same shape."""
        groups = x.float().unflatten(-1, (self.groups, -1))  # (..., G, D / G)
        rms = torch.linalg.vector_norm(groups, dim=-1, keepdim=True) * groups.shape[-1] ** -0.5
        return (groups / (rms + self.eps)).flatten(-2) * self.gamma


class Attention(nn.Module):
    """Multi-head self-attention with rotary embedding along the next to last axis of (N, L, D)."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.heads = config.heads
        size = config.attention_dim // config.heads
        self.qkv = nn.Linear(config.dim, 3 * config.attention_dim, bias=False)
        self.out = nn.Linear(config.attention_dim, config.dim, bias=False)
        exponents = torch.arange(0, size, 2)[: size // 2] / size
        self.register_buffer("freqs", 1.0 / 10000.0**exponents)  # (d / 2,)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, L, D) to (N, L, D)."""
        q, k, v = self.qkv(x).unflatten(-1, (3, self.heads, -1)).unbind(-3)  # (N, L, H, d) each
        q, k = self._rotate(q), self._rotate(k)
        if x.shape[1] <= 4:
            attended = self._attend_few(q, k, v)
        else:
            q, k, v = (t.transpose(1, 2) for t in (q, k, v))  # (N, H, L, d)
            attended = F.scaled_dot_product_attention(q, k, v).transpose(1, 2)  # (N, L, H, d)
        return self.out(attended.flatten(-2))

    def _rotate(self, x: Tensor) -> Tensor:
        """Rotate channel pairs (2i, 2i + 1) of (N, L, H, d) by position times frequency i.

        The results are returned as all first, then all second halves: the products of queries and
        keys do not depend on the order, and putting them back would cost a copy.
        """
        angles = torch.arange(x.shape[1], device=x.device)[:, None] * self.freqs  # (L, d / 2)
        cos, sin = angles.cos()[:, None], angles.sin()[:, None]  # (L, 1, d / 2)
        even, odd = x.float().unflatten(-1, (-1, 2)).unbind(-1)  # (N, L, H, d / 2)
        return torch.cat([even * cos - odd * sin, even * sin + odd * cos], -1).to(x.dtype)

    @staticmethod
    def _attend_few(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Attend over a handful of entries (N, L, H, d) without products of tiny matrices."""
        q = q.float() * q.shape[-1] ** -0.5
        scores = (q[:, :, None] * k.float()[:, None]).sum(-1, keepdim=True)  # (N, L, L, H, 1)
        return (scores.softmax(2) * v.float()[:, None]).sum(2).to(v.dtype)  # (N, L, H, d)


class GatedConv(nn.Module):
    """Feed-forward network of a convolution, a SiLU gate and a transposed convolution.

    Args:
        dim: channels in and out.
        hidden: channels between the convolutions.
        kernel: kernel size; the sequence is padded by ``kernel - 1`` on both sides.
    """

    def __init__(self, dim: int, hidden: int, kernel: int) -> None:
        super().__init__()
        self.conv = nn.Conv1d(dim, 2 * hidden, kernel)
        self.deconv = nn.ConvTranspose1d(hidden, dim, kernel)
        self.kernel = kernel
        self.gemm = False

    def forward(self, x: Tensor) -> Tensor:
        """Map sequences (N, L, D) to (N, L, D)."""
        return self._gemm(x) if self.gemm else self._conv(x)

    def _conv(self, x: Tensor) -> Tensor:
        pad = self.kernel - 1
        value, gate = F.conv1d(x.transpose(1, 2), self.conv.weight, self.conv.bias, padding=pad).chunk(
            2, 1
        )  # (N, H, L + pad) each
        return self.deconv(value * F.silu(gate))[:, :, pad : pad + x.shape[1]].transpose(1, 2)

    def _gemm(self, x: Tensor) -> Tensor:
        pad, length = self.kernel - 1, x.shape[1]
        padded = F.pad(x, (0, 0, pad, pad))
        copies = torch.cat([padded[:, k : k + length + pad] for k in range(self.kernel)], -1)
        weight = self.conv.weight.permute(0, 2, 1).flatten(1)  # (2 H, K D)
        value, gate = F.linear(copies, weight, self.conv.bias).chunk(2, -1)  # (N, L + pad, H) each
        weight = self.deconv.weight.permute(2, 1, 0).flatten(0, 1)  # (K D, H)
        shifted = F.linear(value * F.silu(gate), weight).unflatten(-1, (self.kernel, -1))
        parts = [shifted[:, pad - k : pad - k + length, k] for k in range(self.kernel)]
        return torch.stack(parts).sum(0) + self.deconv.bias


class Path(nn.Module):
    """Pre-norm feed-forward, attention, feed-forward over sequences; the source path lacks the first."""

    def __init__(self, config: NetworkConfig, macaron: bool = True) -> None:
        super().__init__()

        def norm() -> RMSGroupNorm:
            return RMSGroupNorm(config.dim, config.norm_groups, config.eps)

        before, after = config.ffn_dims
        self.ffn_before_norm = norm() if macaron else None
        self.ffn_before = GatedConv(config.dim, before, config.ffn_kernel) if macaron else None
        self.attention_norm = norm()
        self.attention = Attention(config)
        self.ffn_after_norm = norm()
        self.ffn_after = GatedConv(config.dim, after, config.ffn_kernel)

    def forward(self, x: Tensor) -> Tensor:
        """Map sequences (N, L, D) to (N, L, D)."""
        if self.ffn_before is not None and self.ffn_before_norm is not None:
            x = x + self.ffn_before(self.ffn_before_norm(x))
        x = x + self.attention(self.attention_norm(x))
        return x + self.ffn_after(self.ffn_after_norm(x))


class SeparatorLayer(nn.Module):
    """A frequency path and a time path over (batch, frame, bin, channel)."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.freq_path = Path(config)
        self.time_path = Path(config)
        self.time_first = config.time_first

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, T, F, D) to (B, T, F, D)."""
        if self.time_first:
            return self._along_freq(self._along_time(x))
        return self._along_time(self._along_freq(x))

    def _along_freq(self, x: Tensor) -> Tensor:
        frames = x.shape[1]
        return self.freq_path(x.flatten(0, 1)).unflatten(0, (-1, frames))  # (B T, F, D)

    def _along_time(self, x: Tensor) -> Tensor:
        bins = x.shape[2]
        sequences = self.time_path(x.transpose(1, 2).flatten(0, 1))  # (B F, T, D)
        return sequences.unflatten(0, (-1, bins)).transpose(1, 2)


class BlockLayer(SeparatorLayer):
    """A separator layer followed by a path over the sources, which are folded into the batch."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__(config)
        self.source_path = Path(config, macaron=False)
        self.sources = config.sources

    def forward(self, x: Tensor) -> Tensor:
        """Map (B S, T, F, D) to (B S, T, F, D)."""
        x = super().forward(x).unflatten(0, (-1, self.sources))  # (B, S, T, F, D)
        batch, _, frames, bins, dim = x.shape
        x = self.source_path(x.movedim(1, 3).reshape(-1, self.sources, dim))  # (B T F, S, D)
        return x.reshape(batch, frames, bins, self.sources, dim).movedim(3, 1).flatten(0, 1)
