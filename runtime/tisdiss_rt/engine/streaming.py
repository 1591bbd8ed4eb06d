"""The graphs of a streaming bundle, step by step: the state of each graph is kept outside of it.

One `StreamingEngine` holds the sessions and serves any number of streams; each of them has `StatefulSteps`
with its buffers, those of the block once for each repetition::

    mix ──> stem ──────> block ──────> block ──────> decoder ──> est        one step
            buffers      buffers 1     buffers 2     buffers

A step may run fewer repetitions than the one before. What it skips would then have a hole in its history, so
every skipped repetition is given the newest entries of the deepest one that ran. Arrays go to the sessions
by plain ``run``: for steps of a millisecond it costs half of what binding the tensors does.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tisdiss_rt.audio import Array
from tisdiss_rt.bundle import CHANGE, GRAPHS, Bundle
from tisdiss_rt.engine.base import Engine
from tisdiss_rt.errors import BundleError, first_line

ROOM = 128  # slots behind the entries of a buffer
APART = 37  # no common factor with ROOM: that many buffers of that room move back in different steps


class Fifo:
    """The newest L entries along one axis, always in one piece and in order, zeros at the start.

    Seen as a row of slots, a slot for each entry of each place before the axis, all entries of a place move
    by one slot where the beginning of the row does. Then the last slot of each place has an entry of its
    neighbour, and the newest goes there. With two places and L = 3, before and after c and z are pushed::

        slot      0   1   2   3   4   5   6   7
        content   0   a   b   0   x   y   .   .
                  |<------ window ----->|
        content       a   b   c   x   y   z   .
                      |<------ window ----->|

    Only where the room behind the row is used up, the window moves back to the beginning.

    Args:
        shape: of the buffer.
        axis: along which the entries lie.
        count: entries that each push appends, at most L.
        begin: slot at which the window begins at first, modulo the room: buffers of equal room that begin
            at different ones do not move back in the same step.
    """

    def __init__(self, shape: tuple[int, ...], axis: int, count: int, begin: int) -> None:
        places, length, entry = math.prod(shape[:axis]), shape[axis], math.prod(shape[axis + 1 :])
        self._shape, self._divided, self._count = shape, (places, length, entry), count
        self._row, self._entry = places * length, entry
        self._room = min(max(ROOM, count), self._row)
        self._numbers = np.zeros((self._row + self._room) * entry, np.float32)  # of all slots
        self._begin = begin % self._room

    @property
    def window(self) -> Array:
        """All entries, oldest first: a view that the next push changes."""
        return self._slots(self._begin).reshape(self._shape)

    def push(self, newest: Array) -> None:
        """Append (..., count, ...) entries; as many of the oldest are dropped."""
        places, length, entry = self._divided
        if self._begin + self._count > self._room:
            self._slots(0)[:] = self._slots(self._begin)  # flat views: others would be copied twice
            self._begin = 0
        self._begin += self._count
        window = self._slots(self._begin).reshape(self._divided)
        window[:, length - self._count :] = newest.reshape(places, self._count, entry)

    def _slots(self, begin: int) -> Array:
        return self._numbers[begin * self._entry : (begin + self._row) * self._entry]

    def clear(self) -> None:
        """Make all entries zeros."""
        self._numbers[:] = 0.0


def push_all(memory: list[Fifo], newest: list[Array]) -> None:
    """Append to every buffer of a graph what is new for it."""
    for fifo, entries in zip(memory, newest, strict=True):
        fifo.push(entries)


@dataclass(frozen=True)
class _Call:
    """How to run a graph: its tensors by name, and those that are its memory."""

    inputs: tuple[str, ...]  # without the buffers
    outputs: tuple[str, ...]
    buffers: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]  # of the buffers
    axes: tuple[int, ...]  # along which they are first in, first out
    newest: tuple[int, ...]  # which output belongs to each buffer
    zeros: tuple[Array, ...]  # what a buffer gets if nothing ran


class StreamingEngine(Engine):
    """The graphs of a streaming bundle; arguments, attributes and errors as `Engine`, but one thread.

    A step is too short to be worth sharing between threads.
    """

    KIND = "streaming"

    def __init__(
        self,
        bundle: Bundle,
        provider: str = "auto",
        threads: int | None = None,
        precision: str = "auto",
        provider_options: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(bundle, provider, 1 if threads is None else threads, precision, provider_options)
        stream = self.manifest.stream
        assert stream is not None
        self._step_samples = stream.step_samples
        self.delay_samples = stream.latency_samples - stream.step_samples
        self._calls = {name: self._call(name) for name in GRAPHS}
        self._buffers = itertools.count()

    def open(self, max_depth: int) -> StatefulSteps:
        """See `Engine`."""
        return StatefulSteps(self, max_depth)

    def every_depth(self, mix: Array, deepest: int, changes: list[Array] | None = None) -> list[Array]:
        """See `Engine`; every step runs all repetitions, and after each a decoder with its own memory."""
        steps = self.open(deepest)
        decoders = [self.memory("decoder") for _ in range(deepest + 1)]
        estimates: list[list[Array]] = [[] for _ in decoders]
        for part in self.cut(mix):
            step, changed = steps.start(part), []
            for depth, memory in enumerate(decoders):
                if depth:
                    steps.repeat(step)
                    if changes is not None:
                        changed.append(steps.change(step).copy())
                estimates[depth].append(self.run("decoder", step.tensors, memory)[0]["est"])
            if changes is not None:
                changes.append(np.array(changed, np.float32))
        return [self.join(of_depth, len(mix)) for of_depth in estimates]

    def cut(self, mix: Array) -> Sequence[Array]:
        """See `Engine`; silence follows until all of the mixture has come out."""
        count = -(-(len(mix) + self.delay_samples) // self._step_samples)
        padded: Array = np.pad(mix, (0, count * self._step_samples - len(mix)))
        return list(padded.reshape(count, -1))

    def join(self, estimates: Sequence[Array], samples: int) -> Array:
        """See `Engine`."""
        return np.concatenate(estimates, axis=1)[:, self.delay_samples : self.delay_samples + samples]

    def memory(self, graph: str) -> list[Fifo]:
        """Make the buffers of a graph, or of one repetition."""
        call = self._calls[graph]
        return [
            Fifo(shape, axis, newest.shape[axis], begin=APART * next(self._buffers))
            for shape, axis, newest in zip(call.shapes, call.axes, call.zeros, strict=True)
        ]

    def no_news(self, graph: str) -> list[Array]:
        """Return what to append to the buffers of a graph that did not run."""
        return list(self._calls[graph].zeros)

    def run(
        self, graph: str, tensors: dict[str, Array], memory: list[Fifo]
    ) -> tuple[dict[str, Array], list[Array]]:
        """Run a graph with inputs found by name and append what is new to its memory.

        Returns:
            The outputs by name, and those among them that were appended, one for each buffer.
        """
        call = self._calls[graph]
        inputs = {name: tensors[name] for name in call.inputs}
        for name, fifo in zip(call.buffers, memory, strict=True):
            inputs[name] = fifo.window
        try:
            outputs = self._graphs[graph].run_arrays(inputs)
        except Exception as error:  # what runs them has no common base for its exceptions
            raise BundleError(f"the {graph} graph failed: {first_line(error)}") from error
        newest = [outputs[index] for index in call.newest]
        if any(found.shape != zeros.shape for found, zeros in zip(newest, call.zeros, strict=True)):
            raise BundleError(f"the {graph} graph returned other shapes than the manifest lists")
        push_all(memory, newest)
        return dict(zip(call.outputs, outputs, strict=True)), newest

    def _call(self, name: str) -> _Call:
        graph = getattr(self.manifest.graphs, name)
        state = [buffer for buffer in self.manifest.state if buffer.graph == name]
        buffers = tuple(buffer.input for buffer in state)
        outputs = tuple(spec.name for spec in graph.outputs)
        shapes: dict[str, tuple[Any, ...]] = {spec.name: spec.shape for spec in graph.inputs + graph.outputs}
        return _Call(
            inputs=tuple(spec.name for spec in graph.inputs if spec.name not in buffers),
            outputs=outputs,
            buffers=buffers,
            shapes=tuple(shapes[name] for name in buffers),
            axes=tuple(buffer.axis for buffer in state),
            newest=tuple(outputs.index(buffer.newest) for buffer in state),
            zeros=tuple(np.zeros(shapes[buffer.newest], np.float32) for buffer in state),
        )


@dataclass
class StepState:
    """A step under way: its tensors by name, where ``z`` is the current feature map."""

    tensors: dict[str, Array]
    depth: int
    newest: list[Array]  # what the deepest repetition so far has appended to its buffers
    change: Array | None = None  # of the last repetition


class StatefulSteps:
    """One stream on an engine: its buffers, and the three calls that the controller makes in every step.

    Made by `StreamingEngine.open`.
    """

    def __init__(self, engine: StreamingEngine, max_depth: int) -> None:
        self._engine = engine
        self._stem = engine.memory("stem")
        self._block = [engine.memory("block") for _ in range(max_depth)]
        self._decoder = engine.memory("decoder")

    def reset(self) -> None:
        """Clear all buffers: the next step is the first."""
        for memory in (self._stem, *self._block, self._decoder):
            for fifo in memory:
                fifo.clear()

    def start(self, mix: Array) -> StepState:
        """Run the stem on ``mix`` (step_samples,)."""
        tensors = {"mix": np.ascontiguousarray(mix, np.float32)[None]}  # (1, step_samples)
        tensors.update(self._engine.run("stem", tensors, self._stem)[0])
        return StepState(tensors, 0, self._engine.no_news("block"))

    def repeat(self, step: StepState) -> None:
        """Run the block once: ``step`` is one repetition deeper afterwards."""
        outputs, step.newest = self._engine.run("block", step.tensors, self._block[step.depth])
        step.tensors["z"] = next(iter(outputs.values()))
        step.change = outputs.get(CHANGE)
        step.depth += 1

    def change(self, step: StepState) -> Array:
        """See `StepEngine`."""
        assert step.change is not None
        return step.change

    def decode(self, step: StepState) -> Array:
        """Run the decoder, and end the step for the repetitions that it skipped.

        Returns the estimate (sources, step_samples); raises BundleError if it has NaN or infinity.
        """
        outputs, _ = self._engine.run("decoder", step.tensors, self._decoder)
        for skipped in self._block[step.depth :]:
            push_all(skipped, step.newest)
        estimate = outputs["est"]
        if not np.isfinite(estimate).all():
            name = self._engine.manifest.name
            raise BundleError(
                f"bundle {name} returned NaN or infinity at depth {step.depth}; reset() begins a new stream"
            )
        return estimate
