"""Toy bundles whose result is known exactly.

The stem splits the mixture into its positive and its negative samples (``sign``) or into 0.7 and 0.3 of it
(``gain``), scaled by the peak, and starts at half of that. Each repetition halves the distance, so that after
N of them the estimate is ``(1 - 0.5 ** (N + 1))`` of the split. With ``swap`` the sources change places
whenever the first sample is positive. Silence gives NaN on purpose: the runtime must not depend on the graph.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tisdiss_rt import bundle as bundles

ToyMaker = Callable[..., Path]
RATE = 16000


def toy_split(mix: np.ndarray, split: str = "sign") -> np.ndarray:
    """What the toy converges to: (2, n)."""
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
    else:
        nodes += [node("Mul", ["unit", "seven"], ["one"]), node("Mul", ["unit", "three"], ["two"])]
    nodes.append(node("Concat", ["one", "two"], ["both"], axis=0))
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


def make_toy(folder: Path, split: str = "sign", swap: bool = False, **changes: Any) -> Path:
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
    feature = [2, "samples", 1, 1]
    tensors = {
        "stem": ({"mix": [1, "samples"]}, {"z": feature, "z0": feature, "scale": [1, 1]}),
        "block": ({"z": feature, "z0": feature}, {"z_next": feature}),
        "decoder": ({"z": feature, "scale": [1, 1]}, {"est": [2, "samples"]}),
    }
    nodes = {
        "stem": (_stem_nodes(split, swap), constants),
        "block": ([node("Add", ["z", "z0"], ["sum"]), node("Mul", ["sum", "half"], ["z_next"])], [half]),
        "decoder": (
            [node("Squeeze", ["z", "axes"], ["flat"]), node("Mul", ["flat", "scale"], ["est"])],
            [_constant("axes", np.array([2, 3]))],
        ),
    }
    graphs = {}
    for name, (inputs, outputs) in tensors.items():
        path = folder / f"{name}.onnx"
        _save(path, nodes[name][0], inputs, outputs, nodes[name][1])
        files = {"fp32": bundles.FileRef(path.name, bundles.sha256_of(path))}
        graphs[name] = bundles.Graph(_specs(inputs), _specs(outputs), files)
    mix = np.linspace(-1, 1, 100, dtype=np.float32)
    expected = {f"est_{n}": (1 - 0.5 ** (n + 1)) * toy_split(mix, split) for n in range(5)}
    np.savez(folder / "conformance.npz", mix=mix, **expected)
    manifest = bundles.Manifest(
        format=1,
        name="toy",
        kind="offline",
        sample_rate=RATE,
        sources=2,
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


@pytest.fixture
def toy_maker(tmp_path: Path) -> ToyMaker:
    """Makes a toy bundle to change: ``toy_maker(name, split=..., swap=..., **manifest_entries)``."""
    return lambda name="bundle", **options: make_toy(tmp_path / name, **options)


@pytest.fixture(scope="session")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The toy bundle that splits by sign and swaps its sources; not to be changed."""
    return make_toy(tmp_path_factory.mktemp("toys") / "toy", swap=True)


@pytest.fixture(scope="session")
def gain_toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The linear toy bundle; not to be changed."""
    return make_toy(tmp_path_factory.mktemp("toys") / "gain", split="gain")


@pytest.fixture(scope="session")
def split() -> Callable[..., np.ndarray]:
    return toy_split


@pytest.fixture
def noise() -> Callable[..., np.ndarray]:
    """Reproducible noise of a shape, well inside full scale."""
    return lambda *shape: np.random.default_rng(1).uniform(-0.5, 0.5, shape).astype(np.float32)
