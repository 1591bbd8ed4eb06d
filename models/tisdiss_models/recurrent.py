"""Layers for streams that take little time for one frame: attention along the bands, a recurrence in time.

One frame is a small map, and a runtime takes as long for a call as for its sums. So a layer is three parts of
few operations each, channels last throughout, with a plain layer norm before each part:

    x + attention along the bands        a learnt bias for each head and pair of bands stands for positions
    x + recurrence in time               for each band by itself, the same weights for all
    x + feed-forward network             gated, of a band, its neighbours and its past; in the shared block
                                         also of the mean over the sources

The recurrence is linear in what it remembers, with gates that see the present frame only:

    h[t] = keep[t] h[t-1] + (1 - keep[t]) new[t]        keep = sigmoid(..), new = linear(..) of frame t
    result[t] = linear(h[t] SiLU(gate[t]))

Its state is one entry of `recurrent_dim` numbers for each band: a buffer of length one. It starts with time
constants from two frames to two hundred. Beside it, the feed-forward network remembers its latest inputs. A
repetition that is skipped remembers what the deepest one that ran does, which has seen the same past.

L. Feng et al., "Were RNNs all we needed?", arXiv 2410.01201.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .causal import Buffer, Memory
from .config import NetworkConfig

SHORTEST, LONGEST = 2.0, 200.0  # time constants at first, in frames


@torch.library.custom_op("tisdiss::recurrence", mutates_args=())
def recurrence(keep: Tensor, new: Tensor, before: Tensor) -> Tensor:
    """Compute ``h[t] = keep[t] h[t-1] + new[t]``.

    One operation for compilers, which would write out every frame otherwise.

    Args:
        keep: (B, T, ...).
        new: (B, T, ...).
        before: (B, 1, ...), the state before the first frame; it gets no gradient.

    Returns:
        The states (B, T, ...).
    """
    states = torch.empty_like(new)
    state = before[:, 0]
    for t in range(new.shape[1]):
        state = torch.addcmul(new[:, t], keep[:, t], state, out=states[:, t])
    return states


@torch.library.custom_op("tisdiss::recurrence_backward", mutates_args=())
def _recurrence_backward(grad: Tensor, keep: Tensor) -> Tensor:
    """Return the gradient of `new` from that of the states: the same recurrence from the end to the start."""
    grad_new = torch.empty_like(keep)
    state = grad_new[:, -1].copy_(grad[:, -1])
    for t in range(grad.shape[1] - 2, -1, -1):
        state = torch.addcmul(grad[:, t], keep[:, t + 1], state, out=grad_new[:, t])
    return grad_new


@recurrence.register_fake
def _(keep: Tensor, new: Tensor, before: Tensor) -> Tensor:
    return torch.empty_like(new)


@_recurrence_backward.register_fake
def _(grad: Tensor, keep: Tensor) -> Tensor:
    return torch.empty_like(keep)


def _remember_states(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor], output: Tensor) -> None:
    ctx.save_for_backward(inputs[0], inputs[2], output)


def _gradients(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:
    keep, before, states = ctx.saved_tensors
    grad_new = _recurrence_backward(grad, keep)
    return grad_new * torch.cat([before, states[:, :-1]], 1), grad_new, None


recurrence.register_autograd(_gradients, setup_context=_remember_states)


class BandAttention(nn.Module):
    """Multi-head self-attention along the bands of each frame."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.norm = nn.LayerNorm(config.dim)
        self.qkv = nn.Linear(config.dim, 3 * config.attention_dim, bias=False)
        self.bias = nn.Parameter(torch.zeros(config.heads, len(config.bands), len(config.bands)))
        self.out = nn.Linear(config.attention_dim, config.dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, T, F, D) to the same shape."""
        q, k, v = self.qkv.weight.chunk(3)
        weight = torch.cat([q * (self.out.in_features // self.heads) ** -0.5, k, v])
        qkv = F.linear(self.norm(x), weight).flatten(0, 1)  # (B T, F, 3 H d)
        q, k, v = qkv.unflatten(-1, (3 * self.heads, -1)).transpose(1, 2).chunk(3, 1)  # (B T, H, F, d) each
        weights = (q @ k.transpose(2, 3) + self.bias).softmax(-1)
        attended = (weights.to(v.dtype) @ v).transpose(1, 2).flatten(2)  # (B T, F, H d)
        return self.out(attended.unflatten(0, x.shape[:2]))


class Recurrence(nn.Module):
    """A linear recurrence along the frames of each band, see the module."""

    def __init__(self, config: NetworkConfig, name: str) -> None:
        super().__init__()
        self.name = name
        size = config.recurrent_dim
        self.norm = nn.LayerNorm(config.dim)
        self.inner = nn.Linear(config.dim, 3 * size)
        self.out = nn.Linear(size, config.dim, bias=False)
        with torch.no_grad():
            self.inner.bias.zero_()
            self.inner.bias[:size] = torch.linspace(math.log(SHORTEST), math.log(LONGEST), size)

    def forward(self, x: Tensor, memory: Memory) -> Tensor:
        """Map (B, T, F, D) to the same shape."""
        keep, new, gate = self.inner(self.norm(x)).chunk(3, -1)
        keep, new = keep.float().sigmoid(), new.float()
        before, keep, new = memory.recur(self.name, keep, new - keep * new)
        states = keep * before + new if x.shape[1] == 1 else recurrence(keep, new, before)
        memory.newest[self.name] = states
        return self.out(states.to(gate.dtype) * F.silu(gate))


class FeedForward(nn.Module):
    """A SiLU-gated network at every position, which also gets what lies around it in the map.

    Args:
        config: sizes. An ``ffn_kernel`` above 1 gives it the latest so many frames of its band, and the two
            bands beside it in the present frame.
        outputs: channels of the result.
        over_sources: whether it gets the mean over the sources beside each of them.
        name: of what it remembers; without one, it gets its own position only.
    """

    def __init__(self, config: NetworkConfig, outputs: int, over_sources: bool, name: str = "") -> None:
        super().__init__()
        hidden = config.ffn_dims[1]
        self.sources = config.sources
        self.kernel = config.ffn_kernel if name else 1
        self.name = name
        self.norm = nn.LayerNorm(config.dim)
        self.inner = nn.Linear(config.dim * (self.kernel + 2 if self.kernel > 1 else 1), 2 * hidden)
        self.shared = nn.Linear(config.dim, 2 * hidden, bias=False) if over_sources else None
        self.out = nn.Linear(hidden, outputs, bias=False)

    def forward(self, x: Tensor, memory: Memory) -> Tensor:
        """Map (B, T, F, D) to (B, T, F, outputs); over sources B is mixtures times sources."""
        x = self.norm(x)
        inner = self.inner(self._around(x, memory) if self.kernel > 1 else x)
        if self.shared is not None:
            mean = x.unflatten(0, (-1, self.sources)).mean(1)
            shared = self.shared(mean)
            inner = inner + (shared.repeat_interleave(self.sources, 0) if len(shared) > 1 else shared)
        value, gate = inner.chunk(2, -1)
        return self.out(value * F.silu(gate))

    def _around(self, x: Tensor, memory: Memory) -> Tensor:
        """Put what each position sees beside each other: (B, T, F, (K + 2) D)."""
        below, above = F.pad(x, (0, 0, 1, 0))[:, :, :-1], F.pad(x, (0, 0, 0, 1))[:, :, 1:]
        frames = memory.extend(self.name, x, axis=1)  # (B, K - 1 + T, F, D)
        before = [frames[:, k : k + x.shape[1]] for k in reversed(range(self.kernel - 1))]
        return torch.cat([below, x, above, *before], -1)


class RecurrentLayer(nn.Module):
    """The three parts one after the other; takes and gives what `causal.CausalLayer` does."""

    def __init__(self, config: NetworkConfig, over_sources: bool, name: str) -> None:
        super().__init__()
        self.bands = BandAttention(config)
        self.frames = Recurrence(config, name)
        self.positions = FeedForward(config, config.dim, over_sources, f"{name}_before")

    def forward(self, x: Tensor, memory: Memory) -> Tensor:
        """Map (B, T, F, D) to the same shape."""
        x = x + self.bands(x)
        x = x + self.frames(x, memory)
        return x + self.positions(x, memory)


class RecurrentSplitter(nn.Module):
    """One feature map into one for each source: itself, and what a gated network adds for each of them."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.sources = config.sources
        self.positions = FeedForward(config, config.sources * config.dim, over_sources=False)

    def forward(self, x: Tensor, memory: Memory) -> Tensor:
        """Map (B, T, F, D) to (B S, T, F, D); nothing is remembered."""
        maps = [x + part for part in self.positions(x, memory).chunk(self.sources, -1)]
        return torch.stack(maps, 1).flatten(0, 1)


def recurrent_memory(config: NetworkConfig, name: str, streams: int) -> dict[str, Buffer]:
    """Return the state of a `RecurrentLayer` of that name."""
    bands = len(config.bands)
    buffers = {name: Buffer((streams, 1, bands, config.recurrent_dim), axis=1)}
    if config.ffn_kernel > 1:
        buffers[f"{name}_before"] = Buffer((streams, config.ffn_kernel - 1, bands, config.dim), axis=1)
    return buffers
