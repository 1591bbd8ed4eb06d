"""Part of `tuning.py`: what each way of writing the block gains, over the way in which it is published.

Each row undoes one of them and leaves the others. The published forms are written down here, from the paper's
description, on the same weights, so that the outputs must agree. For streams: where keys and values lie.
"""

from __future__ import annotations

import copy
import statistics
import tempfile
import types
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.designs.networks import ATTENTION
from benchmarks.shipped import shipped_network
from benchmarks.speed.tools import (
    FEW_ROUNDS,
    ROUNDS,
    THREADS,
    WINDOW_S,
    Call,
    ratio,
    session,
    take_turns,
)
from tisdiss_export.graphs import write_graphs
from tisdiss_models import Network, NetworkConfig, StreamingNetwork, build_network
from tisdiss_models.causal import RecentAttention
from tisdiss_models.layers import BINS, SOURCES, Attention, GatedConv, RMSGroupNorm
from tisdiss_models.layers import Path as AlongAxis
from tisdiss_models.network import use_gemm

REPETITIONS, STEPS, STREAM_ROUNDS = 6, 20, 15

Pair = tuple[Tensor, Tensor]  # what is kept of earlier frames, and the newest


def sequences(x: Tensor, axis: str, sources: int) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
    """Return maps (B, D, T, F) as sequences (N, L, D) along an axis, and the way back."""
    x = x.unflatten(0, (-1, sources))  # (B, S, D, T, F)
    order = {BINS: (0, 1, 3, 4, 2), SOURCES: (0, 3, 4, 1, 2)}.get(axis, (0, 1, 4, 3, 2))
    x = x.permute(order)
    inverse = [order.index(place) for place in range(5)]
    outer = x.shape[:3]
    return x.flatten(0, 2), lambda y: y.reshape(*outer, *y.shape[1:]).permute(inverse).flatten(0, 1)


def published_convolution(self: GatedConv, x: Tensor, gain: Tensor) -> Tensor:
    """Transpose to 1-D sequences, pad on both sides, convolve, convolve back, and cut."""
    x, back = sequences(x * gain[:, None, None], self.axis, self.sources)
    length = x.shape[1]
    x = F.pad(x.transpose(1, 2), (self.pad, self.pad))
    value, gate = F.conv1d(x, self.conv.weight, self.conv.bias).chunk(2, 1)
    x = F.conv_transpose1d(value * F.silu(gate), self.deconv.weight, self.deconv.bias)
    return back(x[:, :, self.pad : self.pad + length].transpose(1, 2))


def published_attention(self: Attention, x: Tensor, gain: Tensor) -> Tensor:
    """Multiply matrices along any axis; the rotation acts on neighbouring channels."""
    x, back = sequences(x * gain[:, None, None], self.axis, self.sources)
    qkv = F.linear(x, self.qkv.weight).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
    cos, sin = self._angles(x.shape[1])  # (L, d / 2)

    def turned(t: Tensor) -> Tensor:
        even, odd = t[..., 0::2], t[..., 1::2]
        return torch.stack([even * cos - odd * sin, even * sin + odd * cos], -1).flatten(-2)

    weights = (turned(qkv[0]) @ turned(qkv[1]).transpose(2, 3) * self.scale).softmax(-1)
    return back(self.out((weights @ qkv[2]).transpose(1, 2).flatten(2)))


def published_norm(self: RMSGroupNorm, x: Tensor) -> Tensor:
    """Normalise with channels last, by mean of squares and square root; the gain is left to what follows."""
    groups = x.movedim(self.axis, -1).unflatten(-1, (self.groups, -1))
    rms = groups.pow(2).mean(-1, keepdim=True).sqrt()
    root = groups.shape[-1] ** 0.5  # in the gain
    return (groups / (root * (rms + self.eps))).flatten(-2).movedim(-1, self.axis)


def published_path(self: AlongAxis, x: Tensor) -> Tensor:
    """Apply the norms with their gains."""
    steps = [(self.attention_norm, self.attention), (self.ffn_after_norm, self.ffn_after)]
    if self.ffn_before_norm is not None and self.ffn_before is not None:
        steps.insert(0, (self.ffn_before_norm, self.ffn_before))
    for norm, part in steps:
        x = x + part(norm(x), torch.ones_like(norm.gamma))
    return x


def split_convolution(self: GatedConv, x: Tensor, weight: Tensor) -> Tensor:
    """Convolve to all channels at once, and split into values and gates afterwards."""
    at, padding = (2, (0, self.pad)) if self.axis == BINS else (3, (self.pad, 0))
    value, gate = F.conv2d(x, weight.unsqueeze(at), self.conv.bias, padding=padding).chunk(2, 1)
    kernel = self.deconv.weight.flip(2).transpose(0, 1).unsqueeze(at)
    return F.conv2d(value * F.silu(gate), kernel, self.deconv.bias)


def split_products(self: GatedConv, x: Tensor, weight: Tensor) -> Tensor:
    """Do the same along the sources."""
    shape = x.shape
    spread, spread_bias, gather, gather_bias = self._unrolled(weight)
    x = x.reshape(-1, self.sources * shape[1], *shape[2:])  # (B, S D, T, F)
    value, gate = F.conv2d(x, spread[:, :, None, None], spread_bias).chunk(2, 1)
    return F.conv2d(value * F.silu(gate), gather[:, :, None, None], gather_bias).reshape(shape)


def replace(
    network: Network,
    kind: type[nn.Module],
    form: Callable[..., Tensor],
    axes: str | None,
    name: str = "forward",
) -> None:
    """Replace a method of all modules of a kind; `axes` is ``sources``, ``others``, or None for all."""
    for module in network.block.modules():
        if isinstance(module, kind):
            is_source = getattr(module, "axis", None) == SOURCES
            if axes is None or (axes == "sources") == is_source:
                setattr(module, name, types.MethodType(form, module))


def split_halves(network: Network) -> None:
    """Compute both halves of the gated convolutions at once."""
    replace(network, GatedConv, split_convolution, None, "_conv")
    replace(network, GatedConv, split_products, None, "_along_sources")


UNDO: dict[str, Callable[[Network], None]] = {
    "source path: both convolutions as one matrix each, without the products with padding": lambda n: replace(
        n, GatedConv, published_convolution, "sources"
    ),
    "source path: attention in closed form": lambda n: replace(n, Attention, published_attention, "sources"),
    "bins and frames: convolutions on the map as it lies, one-sided padding": lambda n: replace(
        n, GatedConv, published_convolution, "others"
    ),
    "bins and frames: convolutions instead of products of shifted copies": use_gemm,
    "bins and frames: rotation of all heads at once, rows of channels move as they are": lambda n: replace(
        n, Attention, published_attention, "others"
    ),
    "values and gates of convolutions computed apart": split_halves,
    "norm over channels where they lie": lambda n: replace(
        n, RMSGroupNorm, published_norm, None, "without_gain"
    ),
    "gain of the norms in the weights that follow": lambda n: replace(n, AlongAxis, published_path, None),
}


def undo_all(network: Network) -> None:
    """Rewrite the block as it is published."""
    replace(network, GatedConv, published_convolution, None)
    replace(network, Attention, published_attention, None)
    replace(network, RMSGroupNorm, published_norm, None, "without_gain")
    replace(network, AlongAxis, published_path, None)


def block_call(network: Network, z: np.ndarray) -> Call:
    """Export the network's block and return a call that runs it on ``z``."""
    with tempfile.TemporaryDirectory() as folder:
        write_graphs(network, Path(folder))
        running = session((Path(folder) / "block.onnx").read_bytes(), THREADS)
    return lambda: running.run(None, {"z": z})[0]


def frames_first(self: RecentAttention, q: Tensor, k: Pair, v: Pair) -> Tensor:
    """Attend with keys and values kept frame by frame, all bands of each."""
    kept = [t[0].reshape(-1, *q.shape[:3], q.shape[4]).permute(1, 2, 3, 0, 4) for t in (k, v)]
    return RecentAttention._one_frame(self, q, (kept[0], k[1]), (kept[1], v[1]))


def stream_steps(network: StreamingNetwork, is_frames_first: bool) -> Call:
    """Return a call that runs many repetitions of one step, each with buffers of its own, to the last map."""
    network, rng = copy.deepcopy(network), np.random.default_rng(0)
    for module in network.block.modules():
        if is_frames_first and isinstance(module, RecentAttention):
            module._one_frame = types.MethodType(frames_first, module)  # type: ignore[method-assign]
    with tempfile.TemporaryDirectory() as folder:
        write_graphs(network, Path(folder))
        running = session((Path(folder) / "block.onnx").read_bytes(), 1)
    inputs = []
    for _ in range(REPETITIONS):
        tensors = {i.name: rng.standard_normal(i.shape, dtype=np.float32) for i in running.get_inputs()}
        for name, kept in tensors.items():
            if is_frames_first and name.endswith(("key", "value")):  # (B, F, H, L, d) to (L, B, F, H, d)
                tensors[name] = np.ascontiguousarray(np.moveaxis(kept, 3, 0)).reshape(kept.shape)
        inputs.append(tensors)
    return lambda: [running.run(None, tensors)[0] for _ in range(STEPS) for tensors in inputs][-1]


def stream_rewrite() -> str:
    """Report what is gained by reading the keys and values of each band and head in one piece."""
    torch.manual_seed(0)
    network = build_network(ATTENTION).eval()
    assert isinstance(network, StreamingNetwork)
    calls = {name: stream_steps(network, name == "frames first") for name in ("ours", "frames first")}
    ours, theirs = (np.asarray(call()) for call in calls.values())
    difference = float(np.abs(ours - theirs).max() / np.abs(ours).max())
    taken = take_turns(calls, STREAM_ROUNDS)
    each_ms = 1e3 * statistics.median(taken["ours"]) / (STEPS * REPETITIONS)
    return (
        f"One repetition of a step of live-16k of version 0.1.0, 1 thread, {REPETITIONS} of them with\n"
        f"buffers of their own: {each_ms:.2f} ms. Where keys and values are kept frame by frame, not by\n"
        f"band, it takes {ratio(taken['ours'], taken['frames first'])} times as long.\n"
        f"Outputs differ by {difference:.0e}.\n"
    )


def rewrites() -> str:
    """Report the times of the block with each rewrite undone over those of the block as it is."""
    torch.manual_seed(0)
    networks = {
        "edge-16k": shipped_network("edge-16k"),
        "published size": Network(NetworkConfig(separator_residual=True)).eval(),
    }
    rounds = dict(zip(networks, (ROUNDS, FEW_ROUNDS), strict=True))
    cells: dict[str, list[str]] = {name: [] for name in [*UNDO, "all of them"]}
    each_ms: list[list[float]] = []
    worst = 0.0
    for size, network in networks.items():
        each_ms.append([])
        assert isinstance(network, Network)
        mix = 0.1 * torch.randn(1, int(WINDOW_S * network.config.sample_rate))
        with torch.inference_mode():
            z = network.stem(mix).z.numpy()
        ours = block_call(network, z)
        expected = np.asarray(ours())
        for name, undo in {**UNDO, "all of them": undo_all}.items():
            other = copy.deepcopy(network)
            undo(other)
            theirs = block_call(other, z)  # one beside ours at a time: they keep gigabytes
            worst = max(worst, float(np.abs(theirs() - expected).max() / np.abs(expected).max()))
            taken = take_turns({"ours": ours, name: theirs}, rounds[size])
            cells[name].append(ratio(taken["ours"], taken[name]))
            each_ms[-1] += [1e3 * s for s in taken["ours"]]
            del theirs
    lines = [
        f"One repetition on {WINDOW_S:g} s, {THREADS} threads: how many times as long it takes without the "
        "rewrite (quartiles);",
        f"as it is, {' and '.join(f'{statistics.median(ms):.0f} ms' for ms in each_ms)}. Outputs differ by "
        f"at most {worst:.0e} of the peak.",
        "",
        f"| rewrite | {' | '.join(networks)} |",
        "|---|---|---|",
        *(f"| {name} | {' | '.join(column)} |" for name, column in cells.items()),
    ]
    return "\n".join(lines) + "\n\n" + stream_rewrite()
