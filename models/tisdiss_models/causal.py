"""Paths that look back only, so that a network can run on a stream, one frame after the other.

Frequency and source paths see one frame at a time and stay as they are. Along time, convolutions are
shifted into the past, attention sees a fixed number of the latest frames, and what they need of earlier
frames is a `Memory`: the same code runs a whole recording (training), or one frame (the exported graphs).

    kept entries        frames of this call
    [-L .. -1]          [0 .. T-1]
    `-------- extended ---------'      frame t sees the entries t-L .. t;  kept afterwards: the last L

What one position along the bins needs lies together, its frames in a row: frames that lie far apart in memory
are slow to gather.

Before a stream begins all entries are zeros. They take part in the attention: its softmax then has
something to give weight to while there is little to look at, and nothing needs to be counted.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .config import NetworkConfig
from .layers import BINS, SOURCES, Path, RMSGroupNorm

QUERIES = 64  # frames whose attention is computed at once: the more, the more products are masked away


class Buffer(NamedTuple):
    """The entries of earlier frames that are kept: their shape, and the axis along which the frames lie."""

    shape: tuple[int, ...]
    axis: int


class Memory:
    """What a module remembers of earlier frames while it runs once.

    Args:
        past: kept entries by name, (..., L, ...) along the axis of their `Buffer`, oldest first.
        ran: (B, T), true where this repetition runs; None where it always does.
        shallower: the newest entries of the repetition before this one, with `ran`. They are what a skipped
            repetition remembers of a frame.

    Attributes:
        newest: the entries of this run by name, to be appended to `past`.
    """

    def __init__(
        self,
        past: Mapping[str, Tensor],
        ran: Tensor | None = None,
        shallower: Mapping[str, Tensor] | None = None,
    ) -> None:
        self.past = past
        self.ran = ran
        self.shallower = shallower
        self.newest: dict[str, Tensor] = {}

    def remember(self, name: str, entries: Tensor, axis: int) -> tuple[Tensor, Tensor]:
        """Store `entries`, whose frames lie along `axis`; return those kept, and the new ones."""
        if self.ran is not None:
            shallower = torch.zeros_like(entries) if self.shallower is None else self.shallower[name]
            ran = self.ran.view(len(self.ran), *[1] * (axis - 1), -1, *[1] * (entries.ndim - axis - 1))
            entries = torch.where(ran, entries, shallower)
        self.newest[name] = entries
        return self.past[name].to(entries.dtype), entries

    def recur(self, name: str, keep: Tensor, new: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Prepare a recurrence ``h[t] = keep[t] h[t-1] + new[t]`` of (B, T, F, C), see `recurrent`.

        Where the repetition is skipped, its state becomes that of the repetition before.

        Returns:
            The state before the first frame (B, 1, F, C), and what to keep and to add in each frame.
        """
        if self.ran is not None:
            shallower = torch.zeros_like(new) if self.shallower is None else self.shallower[name]
            ran = self.ran[..., None, None]
            keep, new = torch.where(ran, keep, 0.0), torch.where(ran, new, shallower)
        return self.past[name], keep, new

    def extend(self, name: str, entries: Tensor, axis: int) -> Tensor:
        """Store `entries`; return them after the kept ones, along the axis of the frames."""
        return torch.cat(self.remember(name, entries, axis), axis)


class CausalGatedConv(nn.Module):
    """`layers.GatedConv` along the frames, shifted into the past; the weights are the same.

    The first convolution sees the frames t-K+1 .. t, and so does the second one of its results; the matrix
    products are those of `layers`. Inputs and results of the first are remembered side by side.
    """

    def __init__(self, config: NetworkConfig, hidden: int, name: str) -> None:
        super().__init__()
        self.conv = nn.Conv1d(config.dim, 2 * hidden, config.ffn_kernel)
        self.deconv = nn.ConvTranspose1d(hidden, config.dim, config.ffn_kernel)
        self.kernel = config.ffn_kernel
        self.name = name

    def forward(self, x: Tensor, gain: Tensor, memory: Memory) -> Tensor:
        """Map (B, F, T, D), a factor `gain` (D,) for each channel, to the same shape."""
        weight = (self.conv.weight * gain[:, None]).permute(0, 2, 1).flatten(1)  # (2 H, K D)
        inputs = self._copies(memory.extend(f"{self.name}_in", x, axis=2))
        value, gate = F.linear(inputs, weight, self.conv.bias).chunk(2, -1)
        hidden = self._copies(memory.extend(f"{self.name}_hidden", value * F.silu(gate), axis=2))
        weight = self.deconv.weight.flip(2).permute(1, 2, 0).flatten(1)  # (D, K H)
        return F.linear(hidden, weight, self.deconv.bias)

    def _copies(self, x: Tensor) -> Tensor:
        """Put the K frames that each frame sees beside each other: (B, F, K - 1 + T, C), (B, F, T, K C)."""
        frames = x.shape[2] - self.kernel + 1
        if frames == 1:  # they lie beside each other already
            return x.flatten(2)[:, :, None]
        return torch.cat([x[:, :, k : k + frames] for k in range(self.kernel)], -1)


class RecentAttention(nn.Module):
    """Multi-head self-attention of every frame over the last `lookback` frames, itself included.

    A learnt bias for each head and distance stands for positions, so that nothing depends on how long the
    stream has been running.
    """

    def __init__(self, config: NetworkConfig, name: str) -> None:
        super().__init__()
        self.heads, self.lookback, self.name = config.heads, config.lookback, name
        self.qkv = nn.Linear(config.dim, 3 * config.attention_dim, bias=False)
        self.out = nn.Linear(config.attention_dim, config.dim, bias=False)
        self.bias = nn.Parameter(torch.zeros(config.heads, config.lookback))  # the oldest frame first

    def forward(self, x: Tensor, gain: Tensor, memory: Memory) -> Tensor:
        """Map (B, F, T, D), a factor `gain` (D,) for each channel, to the same shape."""
        q, k, v = (self.qkv.weight * gain).chunk(3)
        weight = torch.cat([q * (self.out.in_features // self.heads) ** -0.5, k, v])
        heads = F.linear(x, weight).unflatten(-1, (3 * self.heads, -1))  # (B, F, T, 3 H, d)
        q, k, v = heads.transpose(2, 3).chunk(3, 2)  # (B, F, H, T, d) each
        attend = self._one_frame if x.shape[2] == 1 else self._frames
        key, value = memory.remember(f"{self.name}_key", k, 3), memory.remember(f"{self.name}_value", v, 3)
        return self.out(attend(q, key, value).transpose(2, 3).flatten(3))

    def _one_frame(self, q: Tensor, k: tuple[Tensor, Tensor], v: tuple[Tensor, Tensor]) -> Tensor:
        """Attend for one frame (B, F, H, 1, d), as a runtime does it, without copying what is kept."""
        own = (q * k[1]).sum(-1, keepdim=True)
        scores = torch.cat([q @ k[0].transpose(3, 4), own], -1) + self.bias[:, None]  # (B, F, H, 1, W)
        of_kept, of_own = scores.softmax(-1).split([self.lookback - 1, 1], -1)
        return of_kept @ v[0] + of_own * v[1]

    def _frames(self, q: Tensor, k: tuple[Tensor, Tensor], v: tuple[Tensor, Tensor]) -> Tensor:
        """Attend for many frames (B, F, H, T, d), some at a time."""
        streams, bins, _, frames, _ = q.shape
        group = min(frames, QUERIES)
        groups = -(-frames // group)
        surplus = groups * group - frames

        def grouped(x: Tensor, seen: int) -> Tensor:
            x = F.pad(x, (0, 0, 0, surplus))
            x = torch.stack([x[:, :, :, g * group : g * group + seen] for g in range(groups)], 2)
            return x.flatten(0, 2)  # (B F G, H, seen, d)

        seen = group + self.lookback - 1
        queries, keys, values = (
            grouped(q, group),
            grouped(torch.cat(k, 3), seen),
            grouped(torch.cat(v, 3), seen),
        )
        bias = self._band(group)
        if self.training and q.is_cuda:
            attended = F.scaled_dot_product_attention(
                queries, keys, values, attn_mask=bias.to(queries.dtype), scale=1.0
            )
        else:
            weights = (queries @ keys.transpose(-1, -2) + bias).softmax(-1)
            attended = weights.to(values.dtype) @ values  # (B F G, H, C, d)
        attended = attended.unflatten(0, (streams, bins, groups)).transpose(2, 3)  # (B, F, H, G, C, d)
        return attended.flatten(3, 4)[:, :, :, :frames]

    def _band(self, group: int) -> Tensor:
        """Lay the biases along the diagonal: (H, C, W - 1 + C) for C frames, minus infinity beside it."""
        # Rows of W + C entries, read as rows of W + C - 1: each is shifted by one more than that above.
        rows = F.pad(self.bias, (0, group), value=-torch.inf)[:, None].expand(-1, group, -1)
        width = self.lookback + group - 1
        return rows.flatten(1)[:, : group * width].unflatten(1, (group, width))


def swap_bins_and_frames(x: Tensor) -> Tensor:
    """Map (B, T, F, D) to (B, F, T, D) and back; of one frame or bin nothing has to move."""
    batch, first, second, size = x.shape
    return x.reshape(batch, second, first, size) if 1 in (first, second) else x.transpose(1, 2)


class CausalPath(nn.Module):
    """`layers.Path` along the frames that looks back only."""

    def __init__(self, config: NetworkConfig, name: str) -> None:
        super().__init__()

        def norm() -> RMSGroupNorm:
            return RMSGroupNorm(config.dim, config.norm_groups, config.eps, axis=-1)

        before, after = config.ffn_dims
        self.ffn_before_norm = norm()
        self.ffn_before = CausalGatedConv(config, before, f"{name}_before")
        self.attention_norm = norm()
        self.attention = RecentAttention(config, f"{name}_attention")
        self.ffn_after_norm = norm()
        self.ffn_after = CausalGatedConv(config, after, f"{name}_after")

    def forward(self, x: Tensor, memory: Memory) -> Tensor:
        """Map (B, D, T, F) to the same shape."""
        x = swap_bins_and_frames(x.permute(0, 2, 3, 1))  # (B, F, T, D)
        for norm, part in (
            (self.ffn_before_norm, self.ffn_before),
            (self.attention_norm, self.attention),
            (self.ffn_after_norm, self.ffn_after),
        ):
            x = x + part(norm.without_gain(x), norm.gain, memory)
        return swap_bins_and_frames(x).permute(0, 3, 1, 2)


class CausalLayer(nn.Module):
    """`layers.Layer` whose time path looks back only."""

    def __init__(self, config: NetworkConfig, over_sources: bool, name: str) -> None:
        super().__init__()
        self.freq_path = Path(config, BINS)
        self.time_path = CausalPath(config, name)
        self.source_path = Path(config, SOURCES) if over_sources else None

    def forward(self, x: Tensor, memory: Memory) -> Tensor:
        """Map (B, T, F, D) to the same shape."""
        x = self.time_path(self.freq_path(x.permute(0, 3, 1, 2)), memory)
        return (x if self.source_path is None else self.source_path(x)).permute(0, 2, 3, 1)


class CausalSplitter(nn.Module):
    """`network.Splitter` of one 3x3 convolution, which sees a frame and the two before it."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.sources = config.sources
        self.conv = nn.Conv2d(config.dim, config.dim * config.sources, 3, padding=(0, 1))

    def forward(self, x: Tensor, memory: Memory) -> Tensor:
        """Map (B, T, F, D) to (B S, T, F, D)."""
        x = memory.extend("splitter", x.permute(0, 3, 1, 2), axis=2)  # (B, D, 2 + T, F)
        return self.conv(x).unflatten(1, (self.sources, -1)).flatten(0, 1).permute(0, 2, 3, 1)


def layer_memory(config: NetworkConfig, name: str, streams: int) -> dict[str, Buffer]:
    """Return the state of a `CausalLayer` of that name."""
    place = (streams, len(config.bands))
    buffers: dict[str, Buffer] = {}
    for part, hidden in zip(("before", "after"), config.ffn_dims, strict=True):
        for what, size in (("in", config.dim), ("hidden", hidden)):
            buffers[f"{name}_{part}_{what}"] = Buffer((*place, config.ffn_kernel - 1, size), axis=2)
    size = config.attention_dim // config.heads
    for part in ("key", "value"):
        buffers[f"{name}_attention_{part}"] = Buffer(
            (*place, config.heads, config.lookback - 1, size), axis=3
        )
    return buffers
