"""The three modules of a network as three ONNX graphs with fixed names and free lengths.

    stem     mix (1, samples)                      -> z (sources, frames, bins, channels), scale[, spec][, z0]
    block    z[, z0]                               -> z_next
    decoder  z, scale, mix[, spec]                 -> est (sources, samples)

`spec` is there where the decoder masks the mixture, `z0` where the block leads the mixture back in.

Those of a network for streams run one step of fixed length. They also take what they remember of earlier
steps, and give what is to be remembered of this one:

    stem     mix (1, hop), buffers                 -> z (sources, 1, bins, channels), spec, newest
    block    z, buffers                            -> z_next, newest
    decoder  z, spec, buffers                      -> est (sources, hop), newest
"""

from __future__ import annotations

import contextlib
import dataclasses
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

from tisdiss_models import Network, NetworkConfig, StreamingNetwork
from tisdiss_models.causal import Memory
from tisdiss_models.streaming import memory_buffers
from tisdiss_rt.bundle import FileRef, Graph, Graphs, TensorSpec, sha256_of

OPSET = 18
FRAMES, SAMPLES = "frames", "samples"
NEWEST = "_new"  # what the name of a graph's output adds to that of the buffer it belongs to


def graph_tensors(config: NetworkConfig) -> dict[str, Graph]:
    """Say which tensors each of the three graphs of a configuration takes and gives; no files yet."""
    if config.streaming:
        return _streaming_tensors(config)
    size = (config.positions, config.dim)
    mix = TensorSpec("mix", (1, SAMPLES))
    z = TensorSpec("z", (config.sources, FRAMES, *size))
    scale = TensorSpec("scale", (1, 1))
    spec = (TensorSpec("spec", (1, 2, FRAMES, config.bins)),) if config.bands or config.mask else ()
    z0 = (TensorSpec("z0", (1, FRAMES, *size)),) if config.block_residual else ()
    return {
        "stem": Graph((mix,), (z, scale, *spec, *z0), {}),
        "block": Graph((z, *z0), (TensorSpec("z_next", z.shape),), {}),
        "decoder": Graph((z, scale, mix, *spec), (TensorSpec("est", (config.sources, SAMPLES)),), {}),
    }


def _streaming_tensors(config: NetworkConfig) -> dict[str, Graph]:
    z = TensorSpec("z", (config.sources, 1, config.positions, config.dim))
    spec = TensorSpec("spec", (1, 2, 1, config.bins))
    tensors: dict[str, tuple[list[TensorSpec], list[TensorSpec]]] = {
        "stem": ([TensorSpec("mix", (1, config.hop))], [z, spec]),
        "block": ([z], [TensorSpec("z_next", z.shape)]),
        "decoder": ([z, spec], [TensorSpec("est", (config.sources, config.hop))]),
    }
    for graph, buffers in memory_buffers(config).items():
        inputs, outputs = tensors[graph]
        for name, (shape, axis) in buffers.items():
            inputs.append(TensorSpec(name, shape))
            outputs.append(TensorSpec(name + NEWEST, (*shape[:axis], 1, *shape[axis + 1 :])))
    return {graph: Graph(tuple(i), tuple(o), {}) for graph, (i, o) in tensors.items()}


class _Step(nn.Module):
    """A module of a network for streams, its memory as further inputs and outputs."""

    def __init__(self, module: nn.Module, memory: list[str]) -> None:
        super().__init__()
        self.module, self.memory = module, memory

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        inputs, past = tensors[: -len(self.memory)], tensors[-len(self.memory) :]
        memory = Memory(dict(zip(self.memory, past, strict=True)))
        outputs = self.module(*inputs, memory)
        outputs = (outputs,) if isinstance(outputs, Tensor) else outputs
        return (*outputs, *(memory.newest[name] for name in self.memory))


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


def write_graphs(network: Network | StreamingNetwork, folder: Path) -> Graphs:
    """Write ``stem.onnx``, ``block.onnx`` and ``decoder.onnx``, checked by ``onnx.checker``.

    Args:
        network: on the CPU.
        folder: where to.

    Returns:
        What the manifest says of the graphs.
    """
    graphs = graph_tensors(network.config)
    for name, (module, tensors) in _modules(network.eval(), graphs).items():
        path = folder / f"{name}.onnx"
        _write_graph(module, graphs[name], tensors, path)
        graphs[name] = dataclasses.replace(graphs[name], files={"fp32": FileRef(path.name, sha256_of(path))})
    return Graphs(**graphs)


def _modules(
    network: Network | StreamingNetwork, graphs: dict[str, Graph]
) -> dict[str, tuple[nn.Module, dict[str, Tensor]]]:
    """Give for each graph the module that computes it and example inputs by name."""
    if isinstance(network, StreamingNetwork):
        parts = {"stem": network.stem, "block": network.block, "decoder": network.decoder}
        buffers = memory_buffers(network.config)
        return {
            name: (
                _Step(part, list(buffers[name])),
                {t.name: torch.randn([int(size) for size in t.shape]) for t in graphs[name].inputs},
            )
            for name, part in parts.items()
        }
    # Lengths that no dimension shares with another, or the exporter would take them for one.
    mix = 0.1 * torch.randn(1, 37 * network.config.hop + 11, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        tensors = {"mix": mix, **network.stem(mix)._asdict()}
    modules = {
        "stem": _Stem(network, [t.name for t in graphs["stem"].outputs]),
        "block": _Block(network),
        "decoder": _Decoder(network),
    }
    return {name: (module, tensors) for name, module in modules.items()}


def _write_graph(module: nn.Module, graph: Graph, tensors: dict[str, Tensor], path: Path) -> None:
    free = tuple({i: Dim.DYNAMIC for i, d in enumerate(t.shape) if isinstance(d, str)} for t in graph.inputs)
    with _quiet(), torch.no_grad():
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
