"""The modules of a network as graphs compute them: tensors in and tensors out, in order and by name.

    stem     mix (1, samples)                      -> z (sources, frames, bins, channels), scale[, spec][, z0]
    block    z[, z0]                               -> z_next, change (sources)
    decoder  z, scale, mix[, spec]                 -> est (sources, samples)

`spec` is there where the decoder masks the mixture, `z0` where the block leads the mixture back in. `change`
is how much the repetition changed the map of each source, see `change_of`.

Those of a network for streams run one step of fixed length. They also take what they remember of earlier
steps, and give what is to be remembered of this one:

    stem     mix (1, hop), buffers                 -> z (sources, 1, bins, channels), spec, newest
    block    z, buffers                            -> z_next, change (sources), newest
    decoder  z, spec, buffers                      -> est (sources, hop), newest
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from .causal import Buffer, Memory
from .config import NetworkConfig

FRAMES, SAMPLES = "frames", "samples"  # dimensions that vary
TINY = 1e-12  # length under which a map counts as empty
NEWEST = "_new"  # what the name of an output adds to that of the buffer it belongs to

Shape = tuple[int | str, ...]


@dataclass(frozen=True)
class Part:
    """A module that becomes a graph.

    Attributes:
        module: takes the inputs in order and returns the outputs in order.
        inputs: shapes by name; a dimension that varies has a name instead of a number.
        outputs: likewise.
        example: inputs by name, of the shapes that they may have.
        buffers: those of the inputs that are memory, with the axis along which they are first in, first out.
    """

    module: nn.Module
    inputs: dict[str, Shape]
    outputs: dict[str, Shape]
    example: dict[str, Tensor]
    buffers: dict[str, int] = field(default_factory=dict)


def change_of(z: Tensor, repeated: Tensor, over: tuple[int, ...] = (1, 2, 3)) -> Tensor:
    """Compute how far a repetition has moved maps (S, T, F, D), as a share of their length after it: (S,).

    ``over`` are the axes that a length is taken over; by default one map is one length.
    """
    length = torch.linalg.vector_norm(repeated, dim=over).clamp(min=TINY)
    change: Tensor = torch.linalg.vector_norm(repeated - z, dim=over) / length
    return change


class _Stem(nn.Module):
    def __init__(self, stem: nn.Module, names: list[str]) -> None:
        super().__init__()
        self.stem, self.names = stem, names

    def forward(self, mix: Tensor) -> tuple[Tensor, ...]:
        mixed = self.stem(mix)._asdict()
        return tuple(mixed[name] for name in self.names)


class _Block(nn.Module):
    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        self.block = block

    def forward(self, z: Tensor, z0: Tensor | None = None) -> tuple[Tensor, Tensor]:
        repeated: Tensor = self.block(z, z if z0 is None else z0)  # looked at with block_residual only
        return repeated, change_of(z, repeated)


class _Decoder(nn.Module):
    def __init__(self, decoder: nn.Module) -> None:
        super().__init__()
        self.decoder = decoder

    def forward(self, z: Tensor, scale: Tensor, mix: Tensor, spec: Tensor | None = None) -> Tensor:
        est: Tensor = self.decoder(z, spec, scale, mix)
        return est


class _Step(nn.Module):
    """A module of a network for streams, its memory as further inputs and outputs."""

    def __init__(self, module: nn.Module, memory: list[str], is_block: bool) -> None:
        super().__init__()
        self.module, self.memory, self.is_block = module, memory, is_block

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        inputs, past = tensors[: -len(self.memory)], tensors[-len(self.memory) :]
        memory = Memory(dict(zip(self.memory, past, strict=True)))
        outputs = self.module(*inputs, memory)
        outputs = (outputs,) if isinstance(outputs, Tensor) else outputs
        if self.is_block:
            outputs = (*outputs, change_of(inputs[0], outputs[0]))
        return (*outputs, *(memory.newest[name] for name in self.memory))


def offline_parts(
    stem: nn.Module, block: nn.Module, decoder: nn.Module, config: NetworkConfig
) -> dict[str, Part]:
    """Return the parts of a network for whole mixtures."""
    size = (config.positions, config.dim)
    mix: dict[str, Shape] = {"mix": (1, SAMPLES)}
    z: dict[str, Shape] = {"z": (config.sources, FRAMES, *size)}
    scale: dict[str, Shape] = {"scale": (1, 1)}
    spec: dict[str, Shape] = {"spec": (1, 2, FRAMES, config.bins)} if config.bands or config.mask else {}
    z0: dict[str, Shape] = {"z0": (1, FRAMES, *size)} if config.block_residual else {}
    given = z | scale | spec | z0
    # Lengths that no dimension shares with another, or the exporter would take them for one.
    noise = 0.1 * torch.randn(1, 37 * config.hop + 11, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        example = {"mix": noise, **stem(noise)._asdict()}
    return {
        "stem": Part(_Stem(stem, list(given)), mix, given, example),
        "block": Part(_Block(block), z | z0, {"z_next": z["z"], "change": (config.sources,)}, example),
        "decoder": Part(
            _Decoder(decoder), z | scale | mix | spec, {"est": (config.sources, SAMPLES)}, example
        ),
    }


def step_parts(
    modules: Mapping[str, nn.Module], buffers: Mapping[str, Mapping[str, Buffer]], config: NetworkConfig
) -> dict[str, Part]:
    """Return the parts of a network for streams; modules and what they remember are by the part's name."""
    z: Shape = (config.sources, 1, config.positions, config.dim)
    spec: Shape = (1, 2, 1, config.bins)
    tensors: dict[str, tuple[dict[str, Shape], dict[str, Shape]]] = {
        "stem": ({"mix": (1, config.hop)}, {"z": z, "spec": spec}),
        "block": ({"z": z}, {"z_next": z, "change": (config.sources,)}),
        "decoder": ({"z": z, "spec": spec}, {"est": (config.sources, config.hop)}),
    }
    parts = {}
    for name, (inputs, outputs) in tensors.items():
        for buffer, (shape, axis) in buffers[name].items():
            inputs[buffer] = shape
            outputs[buffer + NEWEST] = (*shape[:axis], 1, *shape[axis + 1 :])
        example = {key: torch.randn([int(size) for size in shape]) for key, shape in inputs.items()}
        axes = {buffer: axis for buffer, (_, axis) in buffers[name].items()}
        parts[name] = Part(_Step(modules[name], list(axes), name == "block"), inputs, outputs, example, axes)
    return parts
