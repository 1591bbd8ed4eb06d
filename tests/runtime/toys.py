"""Toy bundles whose result is known exactly.

The stem splits the mixture into its positive and its negative samples (``sign``), into 0.7 and 0.3 of it
(``gain``), or leaves it whole, one source (``none``), scaled by the peak, and starts at half of that. Each
repetition halves the distance, so that after N of them the estimate is ``(1 - 0.5 ** (N + 1))`` of the split.
With ``tells_change`` the block tells how much it changed each map, which is ``1 / (2 ** (N + 1) - 1)``. With
``swap`` the sources change places whenever the first sample is positive. Silence gives NaN on purpose: the
runtime must not depend on the graph.

The toy of a streaming bundle has every kind of state, and `stream_reference` computes the same in numpy
without any buffers, from lists of everything that there ever was.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tisdiss_rt import bundle as bundles
from tisdiss_rt.manifest import schema

RATE = 16000


def toy_split(mix: np.ndarray, split: str = "sign") -> np.ndarray:
    """What the toy converges to: (sources, n)."""
    if split == "none":
        return mix[None]
    if split == "gain":
        return np.stack([0.7 * mix, 0.3 * mix]).astype(np.float32)
    return np.stack([np.maximum(mix, 0), np.minimum(mix, 0)])


def _constant(name: str, value: Any) -> onnx.TensorProto:
    return numpy_helper.from_array(np.asarray(value), name)


def _save(path: Path, nodes: list, inputs: dict, outputs: dict, constants: list) -> None:
    def values(specs: dict) -> list:
        return [helper.make_tensor_value_info(n, TensorProto.FLOAT, shape) for n, shape in specs.items()]

    graph = helper.make_graph(nodes, path.stem, values(inputs), values(outputs), constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    onnx.save(model, path)


def _specs(tensors: dict) -> tuple[bundles.TensorSpec, ...]:
    return tuple(bundles.TensorSpec(name, tuple(shape)) for name, shape in tensors.items())


def _stem_nodes(split: str, swap: bool) -> list:
    node = helper.make_node
    nodes = [
        node("Abs", ["mix"], ["size"]),
        node("ReduceMax", ["size"], ["scale"], axes=[1], keepdims=1),
        node("Div", ["mix", "scale"], ["unit"]),
    ]
    if split == "sign":
        nodes += [node("Relu", ["unit"], ["one"]), node("Sub", ["unit", "one"], ["two"])]
    elif split == "gain":
        nodes += [node("Mul", ["unit", "seven"], ["one"]), node("Mul", ["unit", "three"], ["two"])]
    voices = ["unit"] if split == "none" else ["one", "two"]
    nodes.append(node("Concat", voices, ["both"], axis=0))
    if swap:
        nodes += [
            node("Gather", ["mix", "first"], ["head"], axis=1),
            node("Greater", ["head", "zero"], ["is_positive"]),
            node("Where", ["is_positive", "swapped", "straight"], ["order"]),
            node("Squeeze", ["order", "axis0"], ["order_flat"]),
            node("Gather", ["both", "order_flat"], ["ordered"], axis=0),
        ]
    nodes.append(node("Unsqueeze", ["ordered" if swap else "both", "last_axes"], ["z0"]))
    nodes.append(node("Mul", ["z0", "half"], ["z"]))
    return nodes


def _change_nodes() -> list:
    node = helper.make_node
    return [
        node("Sub", ["z_next", "z"], ["moved"]),
        node("ReduceL2", ["moved"], ["moved_by"], axes=[1, 2, 3], keepdims=0),
        node("ReduceL2", ["z_next"], ["length"], axes=[1, 2, 3], keepdims=0),
        node("Div", ["moved_by", "length"], ["change"]),
    ]


def make_toy(
    folder: Path, split: str = "sign", swap: bool = False, tells_change: bool = False, **changes: Any
) -> Path:
    folder.mkdir(parents=True)
    half = _constant("half", np.float32(0.5))
    constants = [
        half,
        _constant("seven", np.float32(0.7)),
        _constant("three", np.float32(0.3)),
        _constant("first", np.array([0])),
        _constant("zero", np.float32(0)),
        _constant("swapped", np.array([[1, 0]])),
        _constant("straight", np.array([[0, 1]])),
        _constant("axis0", np.array([0])),
        _constant("last_axes", np.array([2, 3])),
    ]
    node = helper.make_node
    sources = 1 if split == "none" else 2
    feature = [sources, "samples", 1, 1]
    tensors = {
        "stem": ({"mix": [1, "samples"]}, {"z": feature, "z0": feature, "scale": [1, 1]}),
        "block": ({"z": feature, "z0": feature}, {"z_next": feature}),
        "decoder": ({"z": feature, "scale": [1, 1]}, {"est": [sources, "samples"]}),
    }
    nodes = {
        "stem": (_stem_nodes(split, swap), constants),
        "block": ([node("Add", ["z", "z0"], ["sum"]), node("Mul", ["sum", "half"], ["z_next"])], [half]),
        "decoder": (
            [node("Squeeze", ["z", "axes"], ["flat"]), node("Mul", ["flat", "scale"], ["est"])],
            [_constant("axes", np.array([2, 3]))],
        ),
    }
    if tells_change:
        tensors["block"][1]["change"] = [sources]
        nodes["block"][0].extend(_change_nodes())
    graphs = {}
    for name, (inputs, outputs) in tensors.items():
        path = folder / f"{name}.onnx"
        _save(path, nodes[name][0], inputs, outputs, nodes[name][1])
        files = {"fp32": bundles.FileRef(path.name, bundles.sha256_of(path))}
        graphs[name] = bundles.Graph(_specs(inputs), _specs(outputs), files)
    mix = np.linspace(-1, 1, 100, dtype=np.float32)
    expected = {f"est_{n}": (1 - 0.5 ** (n + 1)) * toy_split(mix, split) for n in range(5)}
    if tells_change:
        told = [[1 / (2 ** (n + 1) - 1)] * sources for n in range(1, 5)]
        expected["change"] = np.array([told], np.float32)
    np.savez(folder / "conformance.npz", mix=mix, **expected)
    manifest = bundles.Manifest(
        format=bundles.FORMAT,
        name="toy",
        kind="offline",
        sample_rate=RATE,
        sources=sources,
        min_samples=32,
        windows_s=(0.05, 0.1, 0.2),
        depth=bundles.DepthRange(4, 12),
        graphs=bundles.Graphs(**graphs),
        stream=None,
        state=(),
        conformance=bundles.FileRef("conformance.npz", bundles.sha256_of(folder / "conformance.npz")),
        quality=None,
        training=None,
        licence="Apache-2.0",
    )
    bundles.write_manifest(folder, dataclasses.replace(manifest, **changes))
    return folder


RANGE = 60.0  # of the features of the toys' estimate, either side of 0


def _linear(
    of: str, gives: str, features: int, slopes: dict[int, float], constant: float
) -> dict[str, tuple]:
    weights = np.zeros(1 + features + features * (features + 1) // 2)
    weights[0] = constant
    for feature, slope in slopes.items():
        weights[1 + feature] = slope * RANGE
    return {
        f"{of}.low": (-RANGE,) * features,
        f"{of}.high": (RANGE,) * features,
        f"{of}.{gives}": tuple(weights.tolist()),
    }


def toy_estimate(
    level_of: float = 0.5, gain_of: float = 0.05, gain_db: float = 1.0, **values: tuple[float, ...]
) -> bundles.Part:
    """An estimate that is linear: of the level of the voice in the mixture, and of the mean last change.

    `values` may have ``alone``, so that it tells which windows have one voice alone.
    """
    values["interval"] = (1.0, 2.0)
    for of, features, level in (
        ("split", schema.SPLIT_FEATURES, 0),
        ("repeated", schema.REPEATED_FEATURES, 3),
    ):
        values |= _linear(of, "level", features, {level: level_of}, 10.0)
        values |= _linear(of, "spread", features, {}, float(np.log(3.0)))
    values |= _linear("gain", "level", schema.GAIN_FEATURES, {0: gain_of}, gain_db)
    return bundles.Part(bundles.ESTIMATE, required=False, graph=None, values=values)


STEP = 128
# Entries, and entries that every step appends: one, several, several that do not divide, all of them.
HEARD, DELAYED, PAST, EDGES, TAIL = (3, 1), (200, 128), (3, 1), (5, 2), (1, 1)


def stream_reference(mix: np.ndarray, depths: list[int], most: int) -> np.ndarray:
    """What the streaming toy gives for whole steps (steps * STEP,) with a depth for each: (2, samples).

    Before the beginning everything is zeros. ``most`` is the greatest depth that the stream may run.
    """
    hops = mix.reshape(-1, STEP).astype(np.float32)
    heard = np.concatenate([np.zeros((HEARD[0], STEP), np.float32), hops])
    delayed = np.concatenate([np.zeros(DELAYED[0], np.float32), mix.astype(np.float32)])
    past = [[np.zeros((2, STEP), np.float32)] * PAST[0] for _ in range(most)]
    edges = [[np.zeros(2, np.float32)] * EDGES[0] for _ in range(most)]
    tail = np.zeros((2, STEP), np.float32)
    estimates = []
    for k, depth in enumerate(depths):
        echo = delayed[k * STEP : (k + 1) * STEP]  # 200 samples ago
        z = np.stack([0.6 * hops[k] + 0.25 * heard[k], 0.4 * hops[k] - 0.5 * echo])
        news = np.zeros((2, STEP), np.float32), [np.zeros(2, np.float32)] * EDGES[1]
        for r in range(depth):
            news = z, [z[:, 0], z[:, -1]]
            z = np.tanh(z + 0.5 * past[r][k] + 0.25 * edges[r][EDGES[1] * k][:, None])
            past[r].append(news[0])
            edges[r].extend(news[1])
        for r in range(depth, most):
            past[r].append(news[0])
            edges[r].extend(news[1])
        estimates.append(tail + 0.25 * hops[k])
        tail = 0.75 * z
    return np.concatenate(estimates, axis=1)


def aligned_reference(mix: np.ndarray, depths: int | list[int], most: int | None = None) -> np.ndarray:
    """What a stream gives for a mixture (n,) of any length at the model's rate: (2, n)."""
    steps = -(-(len(mix) + STEP) // STEP)
    if isinstance(depths, int):
        depths = [depths] * steps
    padded = np.zeros(steps * STEP, np.float32)
    padded[: len(mix)] = mix
    return stream_reference(padded, depths, most or max(depths))[:, STEP : STEP + len(mix)]


def _stream_nodes() -> dict[str, list]:
    node = helper.make_node
    stem = [
        node("Slice", ["heard", "i0", "i1", "axis0"], ["oldest"]),
        node("Slice", ["delayed", "i0", "i128", "axis0"], ["echo"]),
        node("Mul", ["mix", "c0.6"], ["a"]),
        node("Mul", ["oldest", "c0.25"], ["b"]),
        node("Add", ["a", "b"], ["one"]),
        node("Mul", ["mix", "c0.4"], ["c"]),
        node("Mul", ["echo", "c0.5"], ["d"]),
        node("Sub", ["c", "d"], ["two"]),
        node("Concat", ["one", "two"], ["z"], axis=0),
        node("Identity", ["mix"], ["spec"]),
        node("Identity", ["mix"], ["heard_new"]),
        node("Squeeze", ["mix", "axis0"], ["delayed_new"]),
    ]
    block = [
        node("Gather", ["past", "zero"], ["oldest"], axis=0),
        node("Gather", ["edges", "zero"], ["edge"], axis=1),
        node("Unsqueeze", ["edge", "axis1"], ["column"]),
        node("Mul", ["oldest", "c0.5"], ["a"]),
        node("Mul", ["column", "c0.25"], ["b"]),
        node("Add", ["z", "a"], ["c"]),
        node("Add", ["c", "b"], ["d"]),
        node("Tanh", ["d"], ["z_next"]),
        node("Unsqueeze", ["z", "axis0"], ["past_new"]),
        node("Gather", ["z", "ends"], ["edges_new"], axis=1),
    ]
    decoder = [
        node("Squeeze", ["tail", "axis0"], ["waiting"]),
        node("Mul", ["spec", "c0.25"], ["a"]),
        node("Add", ["waiting", "a"], ["est"]),
        node("Mul", ["z", "c0.75"], ["b"]),
        node("Unsqueeze", ["b", "axis0"], ["tail_new"]),
    ]
    return {"stem": stem, "block": block, "decoder": decoder}


def _stream_tensors() -> dict[str, tuple[dict, dict]]:
    z, mix = [2, STEP], [1, STEP]
    return {
        "stem": (
            {"mix": mix, "heard": [HEARD[0], STEP], "delayed": [DELAYED[0]]},
            {"z": z, "spec": mix, "heard_new": [HEARD[1], STEP], "delayed_new": [DELAYED[1]]},
        ),
        "block": (
            {"z": z, "past": [PAST[0], *z], "edges": [2, EDGES[0]]},
            {"z_next": z, "past_new": [PAST[1], *z], "edges_new": [2, EDGES[1]]},
        ),
        "decoder": (
            {"z": z, "spec": mix, "tail": [TAIL[0], *z]},
            {"est": z, "tail_new": [TAIL[1], *z]},
        ),
    }


def make_stream_toy(folder: Path, tells_change: bool = False, **changes: Any) -> Path:
    """A streaming bundle whose step is 8 ms and whose latency two steps."""
    folder.mkdir(parents=True)
    values = [_constant(f"c{c}", np.float32(c)) for c in (0.25, 0.4, 0.5, 0.6, 0.75)]
    values.append(_constant("told", np.array([0.1, 0.1], np.float32)))
    node_of_change = helper.make_node("Identity", ["told"], ["change"])
    indices = {"i0": [0], "i1": [1], "i128": [128], "axis0": [0], "axis1": [1], "ends": [0, -1], "zero": 0}
    constants = values + [_constant(name, np.array(index)) for name, index in indices.items()]
    nodes, graphs = _stream_nodes(), {}
    tensors = _stream_tensors()
    if tells_change:  # always the same
        tensors["block"][1]["change"] = [2]
        nodes["block"].append(node_of_change)
    for name, (inputs, outputs) in tensors.items():
        path = folder / f"{name}.onnx"
        used = {tensor for node in nodes[name] for tensor in node.input}
        _save(path, nodes[name], inputs, outputs, [c for c in constants if c.name in used])
        files = {"fp32": bundles.FileRef(path.name, bundles.sha256_of(path))}
        graphs[name] = bundles.Graph(_specs(inputs), _specs(outputs), files)
    mix = np.random.default_rng(7).uniform(-0.5, 0.5, 1000).astype(np.float32)
    depths = [3, 1, 0, 4, 2, 4, 1, 1, 3]
    expected = {f"est_{n}": aligned_reference(mix, n) for n in (1, 2, 4)}
    switching = aligned_reference(mix, depths)
    if tells_change:
        expected["change"] = np.full((len(depths), 2, 2), 0.1, np.float32)
    np.savez(folder / "conformance.npz", mix=mix, depths=depths, est_switching=switching, **expected)
    state = [
        ("stem", "heard", 0),
        ("stem", "delayed", 0),
        ("block", "past", 0),
        ("block", "edges", 1),
        ("decoder", "tail", 0),
    ]
    manifest = bundles.Manifest(
        format=bundles.FORMAT,
        name="stream-toy",
        kind="streaming",
        sample_rate=RATE,
        sources=2,
        min_samples=STEP,
        windows_s=(),
        depth=bundles.DepthRange(3, 6),
        graphs=bundles.Graphs(**graphs),
        stream=bundles.StreamTiming(STEP, 2 * STEP),
        state=tuple(bundles.StateBuffer(graph, name, f"{name}_new", axis) for graph, name, axis in state),
        conformance=bundles.FileRef("conformance.npz", bundles.sha256_of(folder / "conformance.npz")),
        quality=None,
        training=None,
        licence="Apache-2.0",
    )
    bundles.write_manifest(folder, dataclasses.replace(manifest, **changes))
    return folder
