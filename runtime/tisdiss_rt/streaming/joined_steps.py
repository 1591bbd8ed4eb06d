"""Steps whose estimates are worked on before they come out, so that a budget counts the time for that."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tisdiss_rt.audio import Array
from tisdiss_rt.engine.base import StepEngine


@dataclass(frozen=True)
class JoinedSteps:
    """A `StepEngine` that hands the decoder's estimates (sources, n) to ``join`` and returns the result."""

    engine: StepEngine
    join: Callable[[Array], Array]

    def start(self, mix: Array) -> Any:
        """See `StepEngine`."""
        return self.engine.start(mix)

    def repeat(self, state: Any) -> None:
        """See `StepEngine`."""
        self.engine.repeat(state)

    def change(self, state: Any) -> Array:
        """See `StepEngine`."""
        return self.engine.change(state)

    def decode(self, state: Any) -> Array:
        """See `StepEngine`."""
        return self.join(self.engine.decode(state))

    def reset(self) -> None:
        """See `StepEngine`."""
        self.engine.reset()
