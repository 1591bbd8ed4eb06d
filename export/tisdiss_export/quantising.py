"""Stem and block in 8-bit integers, two more files beside the floats, for processors that gain by it.

Only the convolutions over maps are quantised, which are most of the work; norms, attention, gates and the sum
that goes on to the next repetition stay floats, so that rounding does not add up with depth:

    z --> norm --> quantise --> convolution in int8 --> dequantise --> gate --> ... --> + --> z_next
      '------------------------------- floats ------------------------------------------'

Weights have a scale for each output channel and 7 bits, because processors without VNNI add pairs of
products in 16 bits. Activations have the range that they have on speech-like mixtures, at every depth up to
the trained one. Spectra and masks need all their digits: the stem's way to the first map and the decoder stay
floats.
"""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

from tisdiss_rt import bundle
from tisdiss_rt.engine.offline import OfflineEngine

from .graphs import quiet

INT8 = "int8"
QUANTISED = ("block", "stem")  # graphs
FEWEST_CHANNELS = 8  # into a convolution over maps; spectra have fewer


class _Inputs(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime has no types
    """Yields the inputs of a graph, those of the block at each depth, one mixture after the other."""

    def __init__(self, exported: bundle.Bundle, graph: str, mixtures: list[np.ndarray]) -> None:
        self._inputs = self._run(exported, graph, mixtures)

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self._inputs, None)

    @staticmethod
    def _run(
        exported: bundle.Bundle, graph: str, mixtures: list[np.ndarray]
    ) -> Iterator[dict[str, np.ndarray]]:
        engine = OfflineEngine(exported, provider="cpu")
        names = [spec.name for spec in getattr(exported.manifest.graphs, graph).inputs]
        times = exported.manifest.depth.trained if graph == "block" else 1
        for mix in mixtures:
            state = engine.start(mix)
            for _ in range(times):
                yield {name: state.tensors[name].numpy() for name in names}
                engine.repeat(state)


def add_int8(exported: bundle.Bundle, graph: str, mixtures: list[np.ndarray]) -> bundle.Bundle:
    """Write ``block.int8.onnx`` or ``stem.int8.onnx`` beside the bundle's floats and name it in the manifest.

    Args:
        exported: an offline bundle.
        graph: of `QUANTISED`.
        mixtures: signals (samples,) at its sample rate whose activations set the ranges.

    Returns:
        The bundle as a runtime loads it.
    """
    path = exported.folder / f"{graph}.{INT8}.onnx"
    with tempfile.TemporaryDirectory() as work:
        floats = Path(work) / "floats.onnx"
        fold_constants(exported.read_graph(graph, "fp32"), floats)
        _quantise(floats, path, _Inputs(exported, graph, mixtures))
    return carry(exported, graph, path)


def carry(exported: bundle.Bundle, graph: str, path: Path) -> bundle.Bundle:
    """Name a file in the bundle's folder in its manifest: that graph in int8, beside the floats."""
    graphs = exported.manifest.graphs
    spec = getattr(graphs, graph)
    files = {**spec.files, INT8: bundle.FileRef(path.name, bundle.sha256_of(path))}
    graphs = dataclasses.replace(graphs, **{graph: dataclasses.replace(spec, files=files)})
    bundle.write_manifest(exported.folder, dataclasses.replace(exported.manifest, graphs=graphs))
    return bundle.load(exported.folder)


def fold_constants(graph: bytes, path: Path) -> None:
    """Write the graph with its weights as constants: kernels are reshaped and turned around in it."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(path)
    options.log_severity_level = 3
    ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])


def _quantise(floats: Path, path: Path, inputs: _Inputs) -> None:
    graph = onnx.load(floats).graph
    shapes = {constant.name: constant.dims for constant in graph.initializer}
    kernels = {n for n, dims in shapes.items() if len(dims) == 4 and dims[1] >= FEWEST_CHANNELS}
    with quiet():  # of advice to prepare the graph, as `fold_constants` does
        quantize_static(
            str(floats),
            str(path),
            inputs,
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=["Conv"],
            nodes_to_quantize=[node.name for node in graph.node if kernels.intersection(node.input)],
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            per_channel=True,
            reduce_range=True,
        )
