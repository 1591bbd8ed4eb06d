"""The three modules of a network as three ONNX graphs with fixed names and free lengths.

    stem     mix (1, samples)                      -> z (sources, frames, bins, channels), scale[, spec][, z0]
    block    z[, z0]                               -> z_next
    decoder  z, scale, mix[, spec]                 -> est (sources, samples)

`spec` is there where the decoder masks the mixture, `z0` where the block leads the mixture back in.
"""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import onnx
import torch
from onnx_ir.passes.common import DeduplicateInitializersPass
from torch import Tensor, nn
from torch.export import Dim

from tisdiss_models import Network, NetworkConfig

OPSET = 18
FRAMES, SAMPLES = "frames", "samples"


@dataclass(frozen=True)
class TensorShape:
    """A tensor between graphs: its name, and its shape with names for the free dimensions."""

    name: str
    shape: tuple[int | str, ...]


@dataclass(frozen=True)
class GraphShape:
    """Inputs and outputs of one graph, in order."""

    inputs: tuple[TensorShape, ...]
    outputs: tuple[TensorShape, ...]


def graph_shapes(config: NetworkConfig) -> dict[str, GraphShape]:
    """Say which tensors each of the three graphs of a configuration takes and gives."""
    size = (config.positions, config.dim)
    mix = TensorShape("mix", (1, SAMPLES))
    z = TensorShape("z", (config.sources, FRAMES, *size))
    scale = TensorShape("scale", (1, 1))
    spec = (TensorShape("spec", (1, 2, FRAMES, config.bins)),) if config.bands or config.mask else ()
    z0 = (TensorShape("z0", (1, FRAMES, *size)),) if config.block_residual else ()
    return {
        "stem": GraphShape((mix,), (z, scale, *spec, *z0)),
        "block": GraphShape((z, *z0), (TensorShape("z_next", z.shape),)),
        "decoder": GraphShape((z, scale, mix, *spec), (TensorShape("est", (config.sources, SAMPLES)),)),
    }


class _Stem(nn.Module):
    def __init__(self, network: Network, names: list[str]) -> None:
        super().__init__()
        self.stem, self.names = network.stem, names

    def forward(self, mix: Tensor) -> tuple[Tensor, ...]:
        mixed = self.stem(mix)._asdict()
        return tuple(mixed[name] for name in self.names)


class _Block(nn.Module):
    def __init__(self, network: Network) -> None:
        super().__init__()
        self.block = network.block

    def forward(self, z: Tensor, z0: Tensor | None = None) -> Tensor:
        return self.block(z, z if z0 is None else z0)  # looked at with block_residual only


class _Decoder(nn.Module):
    def __init__(self, network: Network) -> None:
        super().__init__()
        self.decoder = network.decoder

    def forward(self, z: Tensor, scale: Tensor, mix: Tensor, spec: Tensor | None = None) -> Tensor:
        return self.decoder(z, spec, scale, mix)


def write_graphs(network: Network, folder: Path) -> dict[str, GraphShape]:
    """Write ``stem.onnx``, ``block.onnx`` and ``decoder.onnx``, checked by ``onnx.checker``.

    Args:
        network: on the CPU.
        folder: where to.

    Returns:
        The inputs and outputs of each graph.
    """
    network = network.eval()
    shapes = graph_shapes(network.config)
    modules = {
        "stem": _Stem(network, [t.name for t in shapes["stem"].outputs]),
        "block": _Block(network),
        "decoder": _Decoder(network),
    }
    # Lengths that no dimension shares with another, or the exporter would take them for one.
    mix = 0.1 * torch.randn(1, 37 * network.config.hop + 11, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        tensors = {"mix": mix, **network.stem(mix)._asdict()}
    for name, module in modules.items():
        _write_graph(module, shapes[name], tensors, folder / f"{name}.onnx")
    return shapes


def _write_graph(module: nn.Module, shape: GraphShape, tensors: dict[str, Tensor], path: Path) -> None:
    free = tuple({i: Dim.DYNAMIC for i, d in enumerate(t.shape) if isinstance(d, str)} for t in shape.inputs)
    with _quiet(), torch.no_grad():
        program = torch.onnx.export(
            module,
            tuple(tensors[t.name] for t in shape.inputs),
            input_names=[t.name for t in shape.inputs],
            output_names=[t.name for t in shape.outputs],
            dynamic_shapes=free,
            dynamo=True,
            opset_version=OPSET,
            verbose=False,
        )
        assert program is not None
        DeduplicateInitializersPass(size_limit=2**40)(program.model)
        model = program.model_proto
    _clean(model, shape)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, str(path))


def _clean(model: onnx.ModelProto, shape: GraphShape) -> None:
    """Drop what only the exporter needs, and give the free dimensions their names."""
    graph = model.graph
    for item in (model, graph, *graph.node, *graph.input, *graph.output, *graph.initializer):
        del item.metadata_props[:]
        item.doc_string = ""
    del graph.value_info[:]
    del model.functions[:]
    model.producer_name, model.producer_version = "tisdiss-rt", ""
    for values, specs in ((graph.input, shape.inputs), (graph.output, shape.outputs)):
        for value, spec in zip(values, specs, strict=True):
            dims = value.type.tensor_type.shape.dim
            for dim, size in zip(dims, spec.shape, strict=True):
                if isinstance(size, str):
                    dim.dim_param = size
                else:
                    dim.dim_value = size


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's progress and remarks from users; errors are raised all the same."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)
