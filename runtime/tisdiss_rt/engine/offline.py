"""The three graphs of a bundle, one call per graph, so that a budget can be kept between repetitions.

The feature map stays where the provider has it. Two buffers take turns as the block's input and output, and
nothing passes through numpy between the mixture and the estimate::

    mix ──> stem ──> A ──block──> B ──block──> A ──block──> B ──> decoder ──> est
                     └──── other outputs of the stem, used by name ────┘
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tisdiss_rt.audio import Array
from tisdiss_rt.bundle import CHANGE
from tisdiss_rt.engine.base import Engine
from tisdiss_rt.errors import BundleError, first_line


@dataclass
class State:
    """A step under way: tensors by name, on the provider's device. ``z`` is the current feature map."""

    tensors: dict[str, Any]
    spare: Any | None  # the buffer that the next repetition writes to
    depth: int
    samples: int
    change: Any | None = None  # of the last repetition


class OfflineEngine(Engine):
    """The graphs of an offline bundle, ready to run; arguments, attributes and errors as `Engine`."""

    KIND = "offline"

    def open(self, max_depth: int) -> OfflineEngine:
        """See `Engine`; steps remember nothing of each other, so one object is good for all signals."""
        return self

    def reset(self) -> None:
        """See `StepEngine`; there is nothing to forget."""

    def every_depth(self, mix: Array, deepest: int, changes: list[Array] | None = None) -> list[Array]:
        """See `Engine`; the mixture is one window."""
        state = self.start(mix)
        estimates, changed = [self.decode(state)], []
        for _ in range(deepest):
            self.repeat(state)
            if changes is not None:
                changed.append(self.change(state).copy())
            estimates.append(self.decode(state))
        if changes is not None:
            changes.append(np.array(changed, np.float32))
        return estimates

    def cut(self, mix: Array) -> Sequence[Array]:
        """See `Engine`; the mixture is one window."""
        return [mix]

    def join(self, estimates: Sequence[Array], samples: int) -> Array:
        """See `Engine`."""
        return estimates[0]

    def start(self, mix: Array) -> State:
        """Run the stem on ``mix`` (samples,); a mixture shorter than the bundle's minimum is padded."""
        batch = np.zeros((1, max(len(mix), self.manifest.min_samples)), np.float32)
        batch[0, : len(mix)] = mix
        tensors = {"mix": self._graphs["stem"].tensor(batch)}
        tensors.update(self._run("stem", tensors))
        return State(tensors, None, 0, len(mix))

    def repeat(self, state: State) -> None:
        """Run the block once: ``state`` is one repetition deeper afterwards."""
        outputs = self._run("block", state.tensors, state.spare)
        state.spare = state.tensors["z"]
        state.tensors["z"] = next(iter(outputs.values()))
        state.change = outputs.get(CHANGE)
        state.depth += 1

    def change(self, state: State) -> Array:
        """See `StepEngine`."""
        return self._graphs["block"].array(state.change)

    def decode(self, state: State) -> Array:
        """Run the decoder; return the estimate (sources, samples) at the depth reached so far.

        Raises BundleError if the network gave NaN or infinity.
        """
        (output,) = self._run("decoder", state.tensors).values()
        estimate = self._graphs["decoder"].array(output)[:, : state.samples]
        if estimate.shape != (self.manifest.sources, state.samples):
            raise BundleError(
                f"bundle {self.manifest.name} returned {estimate.shape} where its manifest lists "
                f"{(self.manifest.sources, state.samples)}"
            )
        if not np.isfinite(estimate).all():
            raise BundleError(f"bundle {self.manifest.name} returned NaN or infinity at depth {state.depth}")
        return estimate

    def _run(self, graph: str, tensors: dict[str, Any], into: Any | None = None) -> dict[str, Any]:
        """Run a graph with inputs found by name; the first output goes to ``into`` if that is given."""
        try:
            return self._graphs[graph].run(tensors, into)
        except Exception as error:  # what runs them has no common base for its exceptions
            raise BundleError(f"the {graph} graph failed: {first_line(error)}") from error
