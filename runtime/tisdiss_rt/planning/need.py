"""Depth by need: a repetition runs only where it is expected to add enough.

What it will add is estimated from how much the repetitions before it changed the voices' maps. Where steps
are too short to judge each by itself, the changes are averaged over the steps before. A window in which one
voice is alone, without noise, needs no separation: the first repetition tells it by its voices.
"""

from __future__ import annotations

import numpy as np

from tisdiss_rt.audio import Array
from tisdiss_rt.estimate.estimator import Estimator


class Need:
    """Follows the repetitions of steps, one step after the other.

    Args:
        estimator: of the bundle.
        window_s: length of a step, or of what its changes are averaged over.
        min_gain_db: what another repetition has to add, in dB; None for any.
        share: of a step in the average of its changes with those of the steps before it; 1 for windows,
            which stand for themselves.

    Attribute ``changes``: how much each repetition of the step under way changed the voices' maps (sources,).
    """

    def __init__(
        self, estimator: Estimator, window_s: float, min_gain_db: float | None, share: float = 1.0
    ) -> None:
        self._estimator, self._window_s, self._min_gain_db = estimator, window_s, min_gain_db
        self._share = np.float32(share)
        self.reset()

    def reset(self) -> None:
        """Forget the steps before."""
        self.changes: list[Array] = []
        self._squares: list[Array] = []  # averages of the squared changes of each repetition

    def begin(self) -> None:
        """Begin a step."""
        self.changes = []

    def add(self, change: Array) -> None:
        """Take the change (sources,) of the next repetition."""
        number, square = len(self.changes), np.square(change)
        if number == len(self._squares):
            self._squares.append(square)
        self._squares[number] = self._squares[number] + self._share * (square - self._squares[number])
        self.changes.append(np.sqrt(self._squares[number]))

    def asks_for_more(self) -> bool:
        """Return whether the next repetition is expected to add enough; the first one always is."""
        if self._min_gain_db is None or not self.changes:
            return True
        return self._estimator.gain_db(self.changes, self._window_s) >= self._min_gain_db

    def tells_alone(self) -> bool:
        """Return whether the voices at this depth would tell that one is alone, which needs no more."""
        return self._min_gain_db is not None and self._estimator.tells_alone(len(self.changes))

    def alone(self, mix: Array, voices: Array) -> Array | None:
        """Return the voices of a window in which one is alone, else None; see `Estimator.alone`."""
        return self._estimator.alone(mix, voices)
