"""Two sound devices have two clocks: without a correction the queue between them slowly runs empty or full.

Clocks of sound devices differ by up to some hundred parts in a million, which is a second in an hour. So what
goes to the output is sped up or slowed down by an inaudible amount, depending on the fill of the queue::

    fill ──> slow average ──> minus target ──> nothing within the tolerance ──> speed, 1 ± MAX_SPEED_CHANGE
                                          ___/
                                    ___|  |___  excess
                                      /

While the clocks agree the speed is exactly 1, and every sample passes as it is. Otherwise samples are wanted
between the input's samples; a windowed sinc gives them, as in `resampling`, but for any position: the row of
coefficients is interpolated between the two nearest of a table.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tisdiss_rt.audio import Array
from tisdiss_rt.audio.filters import windowed_sinc

REACH = 16  # input samples on each side of an output sample: flat up to 0.87 of the Nyquist frequency
ROWS = 512  # of the table, between one input sample and the next: row r is for r / ROWS after a sample
SETTLING_S = 3.0  # whose average is the delay to keep
AVERAGE_S = 5.0  # time constant of the average afterwards
CORRECTION_S = 10.0  # an excess would be gone after about this time
TOLERANCE_S = 0.003
MAX_SPEED_CHANGE = 0.002  # of change in speed: 3 cents


class VariableSpeed:
    """Plays mono sound at a speed that every chunk may change; ``REACH`` samples late.

    Output i lies at the sum of all speeds before it, from the first input sample on.
    """

    def __init__(self) -> None:
        self._rows = windowed_sinc(REACH, np.arange(ROWS + 1) / ROWS)
        self._history: Array = np.zeros(REACH - 1, np.float32)  # from the first sample that is needed next
        self._position = 0.0  # of the next output after heard[REACH - 1]

    def process(self, x: Array, speed: float) -> Array:
        """Push (n,); return the (m,) that have become ready; ``speed`` is input samples per output sample."""
        self._history = np.concatenate([self._history, x])
        end = len(self._history) - 2 * REACH + 1  # positions before it have all that they need
        most = max(0, int((end - self._position) / speed) + 1)
        positions = self._position + speed * np.arange(most + 1, dtype=np.float64)
        count = int(np.count_nonzero(positions < end))
        positions = positions[: count + 1]
        wholes = positions.astype(np.int64)
        self._position = float(positions[-1] - wholes[-1])
        if speed == 1.0 and self._position == 0.0:
            y: Array = self._history[REACH - 1 : REACH - 1 + count].copy()
        else:
            y = self._evaluate(wholes[:-1], positions[:-1] - wholes[:-1])
        self._history = self._history[wholes[-1] :]
        return y

    def _evaluate(self, starts: npt.NDArray[np.int64], fractions: npt.NDArray[np.floating]) -> Array:
        """Weigh the input from each start (m,) for the position so much after its sample (m,)."""
        if len(starts) == 0:
            return np.zeros(0, np.float32)
        rows = fractions * ROWS
        lower = rows.astype(np.int64)
        share = (rows - lower).astype(np.float32)[:, None]
        weights = self._rows[lower] * (1 - share) + self._rows[lower + 1] * share  # (m, 2 * REACH)
        stretches = np.lib.stride_tricks.sliding_window_view(self._history, 2 * REACH)[starts]
        weighed: Array = np.einsum("mt,mt->m", stretches, weights)  # (m,)
        return weighed


class DelayControl:
    """Finds the speed that keeps the delay between input and output as it was at the beginning, or less.

    Args:
        sample_rate: in Hz.

    Attribute ``average`` is of the delay in samples; 0 before anything was heard.
    """

    def __init__(self, sample_rate: int) -> None:
        self._sample_rate = sample_rate
        self.average = self._target = 0.0
        self.restart(0.0)

    def restart(self, most: float) -> None:
        """Begin anew: what comes now is the delay to keep, if it is no more than ``most``."""
        self._heard_s = 0.0
        self._most = most

    def update(self, delay: float, frames: int) -> None:
        """Take note of the delay, in samples, ``frames`` after the last time."""
        self._heard_s += frames / self._sample_rate
        is_settling = self._heard_s < SETTLING_S
        since_s = self._heard_s if is_settling else AVERAGE_S
        self.average += min(1.0, frames / self._sample_rate / since_s) * (delay - self.average)
        if is_settling:
            self._target = min(self.average, self._most)

    def shorten(self, samples: int) -> None:
        """Keep a delay that is so much shorter from now on."""
        self._target -= samples

    @property
    def speed(self) -> float:
        """Input samples for each output sample: above 1 where the delay has become too long."""
        if self._heard_s < SETTLING_S:
            return 1.0
        excess_s = (self.average - self._target) / self._sample_rate
        beyond_s = excess_s - float(np.clip(excess_s, -TOLERANCE_S, TOLERANCE_S))
        return 1.0 + float(np.clip(beyond_s / CORRECTION_S, -MAX_SPEED_CHANGE, MAX_SPEED_CHANGE))
