"""What the rest of a step will take, from what the graphs took here, and how early to plan to be ready.

Expectations are what a repetition usually takes here, times the slowdown of the step under way, times a high
quantile of how much longer repetitions took than expected (`Forecast`): processors slow down for moments,
when others use the same caches, and what was slow a millisecond ago still is. So contention on the machine
shows up as less depth and not as late audio. Pauses too rare for that quantile, such as another program
getting the core for a few milliseconds, would still make one step in twenty late. So the controller also
remembers by how much steps were later than expected (`LateSteps`), and plans to be ready earlier by the worst
but for a few, and by `MARGIN` at least. A pause that not even the least depth could have absorbed does not
count: less depth would not help.
"""

from __future__ import annotations

import heapq
import math
import statistics
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

MARGIN = 0.04  # of the budget, to be ready earlier by
QUANTILE = 0.95
HISTORY = 64  # measurements remembered of each graph
MEMORY_STEPS = 3000  # for which pauses are remembered
TOLERATED = 4  # pauses within that time that may make a step late
CALM_S, CALM_GAPS = 0.9, 3  # pauses are over after so much audio, and so many times the gap between them
MOST_LATE_STEPS = 512
LEAST_MS = 1e-3  # that a graph takes


def _history() -> deque[float]:
    return deque(maxlen=HISTORY)


class LateSteps:
    """By how much steps were later than expected, and how early the next one must plan to be ready.

    About one step in a thousand may be late: to give up depth in all others for it would be a bad bargain.
    So the worst ``TOLERATED`` of ``MEMORY_STEPS`` do not count, and the next one sets the time. When other
    programs stop computing, depth should be back at once: pauses are over when none at least half as long
    has come for ``CALM_S``, and for ``CALM_GAPS`` times the mean gap between them. Then some are tolerated
    again::

        pauses  ___|_____|__|_|_||__|_|____|____|___________________
                   few: no matter   many                over here
    """

    def __init__(self) -> None:
        self._step = 0
        # step, by how much it was later than its last decision expected, whether that is over; oldest first
        self._late = deque[tuple[int, float, bool]](maxlen=MOST_LATE_STEPS)

    def add(self, late_ms: float, step_s: float) -> None:
        """Record the next step, this long after the last; discard what is over."""
        self._step += 1
        if late_ms > 0:
            self._late.append((self._step, late_ms, False))
        while self._late and self._late[0][0] <= self._step - MEMORY_STEPS:
            self._late.popleft()
        while early_ms := self.early_ms():
            alike = [step for step, late_ms, _ in self._late if late_ms >= early_ms / 2]
            gap = (alike[-1] - alike[0]) / (len(alike) - 1)
            if self._step - alike[-1] < max(int(CALM_S / step_s), CALM_GAPS * gap):
                break
            ended = [(step, late_ms, over or late_ms >= early_ms / 2) for step, late_ms, over in self._late]
            self._late = deque(ended, maxlen=MOST_LATE_STEPS)

    def early_ms(self) -> float:
        """Return how early to plan to be ready: the worst lateness that is not tolerated; 0 if none."""
        worst_ms = heapq.nlargest(TOLERATED + 1, (late_ms for _, late_ms, over in self._late if not over))
        return worst_ms[TOLERATED] if len(worst_ms) > TOLERATED else 0.0


@dataclass
class Timings:
    """Milliseconds that each graph took in the last steps on this machine, for one window length.

    Attributes:
        stem: times of the stem.
        repetition: mean time of a repetition in each step.
        decoder: times of the decoder.
        overrun: how many times as long as expected single repetitions took.
        skipped: number of consecutive steps, up to the last, that ran no repetition.
        late_steps: by how much steps were late.
    """

    stem: deque[float] = field(default_factory=_history)
    repetition: deque[float] = field(default_factory=_history)
    decoder: deque[float] = field(default_factory=_history)
    overrun: deque[float] = field(default_factory=_history)
    skipped: int = 0
    late_steps: LateSteps = field(default_factory=LateSteps)

    def step_ms(self, depth: int) -> float:
        """Return the predicted time of a whole step that has not begun."""
        return high(self.stem) + depth * high(self.repetition) + high(self.decoder)


class Forecast:
    """How long the rest of a step will take, from what was measured and the slowdown of the step until now.

    Attribute ``ready_ms``: when to plan to be ready.
    """

    def __init__(self, budget_ms: float, timings: Timings) -> None:
        self.ready_ms = min(budget_ms - timings.late_steps.early_ms(), planned_ms(budget_ms))
        self._budget_ms = budget_ms
        usual_ms = [
            max(LEAST_MS, statistics.median_low(history))
            for history in (timings.stem, timings.repetition, timings.decoder)
        ]
        self._stem_ms, self._repetition_ms, self._decoder_ms = usual_ms
        overruns = timings.overrun or [high(timings.repetition) / self._repetition_ms]
        self._overrun = high(overruns)

    def slowdown(self, elapsed_ms: float, repetitions_ms: Sequence[float]) -> float:
        """Return how many times as long as usual the step has taken, or its last repetition; at least 1."""
        last_ms = repetitions_ms[-1] if repetitions_ms else 0.0
        usual_ms = self._stem_ms + len(repetitions_ms) * self._repetition_ms
        return max(1.0, elapsed_ms / usual_ms, last_ms / self._repetition_ms)

    def repetition_ms(self, slowdown: float) -> float:
        """Return the expected time of a repetition."""
        return slowdown * self._repetition_ms

    def finish_ms(self, slowdown: float) -> float:
        """Return the time within which one more repetition and the decoder are expected to finish."""
        return slowdown * (self._overrun * self._repetition_ms + self._decoder_ms)

    def counted_ms(self, late_ms: float, min_depth: int) -> float:
        """Return this lateness if planning to be ready earlier helps against it, otherwise 0.

        It does not help where not even the least depth absorbs it, and is not needed where the margin does.
        """
        least_ms = self._stem_ms + min_depth * self._repetition_ms + self._decoder_ms
        helps = MARGIN * self._budget_ms / 2 < late_ms <= self._budget_ms - least_ms
        return late_ms if helps else 0.0


def high(measured: Iterable[float]) -> float:
    """Return the high quantile that predictions are made from; the largest of a few values."""
    ordered = sorted(measured)
    return ordered[math.ceil(QUANTILE * len(ordered)) - 1]


def planned_ms(budget_ms: float) -> float:
    """Return the part of a budget that repetitions beyond the least may use."""
    return (1 - MARGIN) * budget_ms
