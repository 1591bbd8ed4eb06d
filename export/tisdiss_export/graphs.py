"""The parts of a network (`tisdiss_models.parts`) as ONNX graphs with fixed names and free lengths."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path

import onnx
import torch
from onnx_ir.passes.common import DeduplicateInitializersPass
from torch import Tensor, nn
from torch.export import Dim

from tisdiss_models import Network, StreamingNetwork
from tisdiss_rt.bundle import FileRef, Graph, Graphs, TensorSpec, sha256_of

OPSET = 18


def write_graphs(network: Network | StreamingNetwork, folder: Path) -> Graphs:
    """Write ``stem.onnx``, ``block.onnx`` and ``decoder.onnx``, checked by ``onnx.checker``.

    Args:
        network: on the CPU.
        folder: where to.

    Returns:
        What the manifest says of the graphs.
    """
    graphs = {}
    for name, part in network.eval().export_parts().items():
        inputs, outputs = (
            tuple(TensorSpec(name, shape) for name, shape in shapes.items())
            for shapes in (part.inputs, part.outputs)
        )
        path = folder / f"{name}.onnx"
        write_graph(part.module, Graph(inputs, outputs, {}), part.example, path)
        graphs[name] = Graph(inputs, outputs, {"fp32": FileRef(path.name, sha256_of(path))})
    return Graphs(**graphs)


def write_graph(module: nn.Module, graph: Graph, tensors: dict[str, Tensor], path: Path) -> None:
    """Write one graph; the dimensions that have names in its tensors are free."""
    free = tuple({i: Dim.DYNAMIC for i, d in enumerate(t.shape) if isinstance(d, str)} for t in graph.inputs)
    with quiet(), torch.no_grad():
        program = torch.onnx.export(
            module,
            tuple(tensors[t.name] for t in graph.inputs),
            input_names=[t.name for t in graph.inputs],
            output_names=[t.name for t in graph.outputs],
            dynamic_shapes=free if any(free) else None,
            dynamo=True,
            opset_version=OPSET,
            verbose=False,
        )
        assert program is not None
        DeduplicateInitializersPass(size_limit=2**40)(program.model)
        model = program.model_proto
    _clean(model, graph)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, str(path))


def _clean(model: onnx.ModelProto, graph: Graph) -> None:
    """Drop what only the exporter needs, and give the free dimensions their names."""
    proto = model.graph
    for item in (model, proto, *proto.node, *proto.input, *proto.output, *proto.initializer):
        del item.metadata_props[:]
        item.doc_string = ""
    del proto.value_info[:]
    del model.functions[:]
    model.producer_name, model.producer_version = "tisdiss-rt", ""
    for values, specs in ((proto.input, graph.inputs), (proto.output, graph.outputs)):
        for value, spec in zip(values, specs, strict=True):
            dims = value.type.tensor_type.shape.dim
            for dim, size in zip(dims, spec.shape, strict=True):
                if isinstance(size, str):
                    dim.dim_param = size
                else:
                    dim.dim_value = size


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep progress and remarks of libraries from users; errors are raised all the same."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)
