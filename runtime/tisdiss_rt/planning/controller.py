"""The controller: when to stop repeating, decided in every step of what the planner has chosen.

Stem, ``min_depth`` repetitions and the decoder always run; before each further repetition it asks whether
that repetition and the decoder are expected to finish within the budget::

    0 ms                      elapsed                                  budget_ms
    |---- stem ----|-- rep --|-- rep --|.. one more? ..|.. decoder ..|      |

What is expected, and how early it plans to be ready, is in `forecast.py`.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from tisdiss_rt.audio import Array
from tisdiss_rt.engine.base import StepEngine
from tisdiss_rt.planning.forecast import Forecast, Timings
from tisdiss_rt.planning.need import Need
from tisdiss_rt.planning.plan import Plan, StepResult

Clock = Callable[[], float]
Join = Callable[[Array], Array]

RETRY_STEPS = 128  # without a repetition, where none must run; then one runs, to see what it takes now


class _TimedStep:
    """A step under way, and the milliseconds that each of its graphs took."""

    def __init__(self, engine: StepEngine, clock: Clock, need: Need | None, may_be_alone: bool) -> None:
        self._engine, self._clock, self._need = engine, clock, need
        self._may_be_alone = may_be_alone
        self._voices: Array | None = None  # at the depth of now, where they are known
        self._begin_s = clock()
        self.repetitions_ms: list[float] = []
        self.decoder_ms = 0.0
        if need is not None:
            need.begin()

    def asks_for_more(self) -> bool:
        """Return whether the next repetition is expected to add enough."""
        if self._need is None:
            return True
        if self._may_be_alone and self._need.tells_alone():
            self._voices = self._decode()
            alone = self._need.alone(self._mix, self._voices)
            if alone is not None:
                self._voices = alone
                return False
        return self._need.asks_for_more()

    @property
    def elapsed_ms(self) -> float:
        return (self._clock() - self._begin_s) * 1e3

    def start(self, mix: Array) -> float:
        """Run the stem; returns its milliseconds."""
        before_ms = self.elapsed_ms
        self._mix, self._state = mix, self._engine.start(mix)
        return self.elapsed_ms - before_ms

    def repeat(self) -> None:
        """Run the block once."""
        before_ms = self.elapsed_ms
        self._voices = None
        self._engine.repeat(self._state)
        if self._need is not None:
            self._need.add(self._engine.change(self._state))
        self.repetitions_ms.append(self.elapsed_ms - before_ms)

    def end(self, join: Join) -> Array:
        """Return the estimate: of the decoder or a voice that is alone, joined, which counts as decoding."""
        voices = self._decode() if self._voices is None else self._voices
        before_ms = self.elapsed_ms
        estimate = join(voices)
        self.decoder_ms += self.elapsed_ms - before_ms
        return estimate

    def _decode(self) -> Array:
        before_ms = self.elapsed_ms
        voices = self._engine.decode(self._state)
        self.decoder_ms = self.elapsed_ms - before_ms
        return voices


def run_step(
    engine: StepEngine,
    mix: Array,
    plan: Plan,
    timings: Timings,
    clock: Clock = time.perf_counter,
    need: Need | None = None,
    join: Join = lambda voices: voices,
) -> StepResult:
    """Separate one window within the plan and remember how long each graph took.

    Args:
        engine: runs the graphs.
        mix: (samples,) at the bundle's sample rate.
        plan: bounds of the depth, and the budget.
        timings: measurements for this window length; used for prediction and added to.
        clock: seconds, as ``time.perf_counter``.
        need: takes what repetitions change, and may end the step before time does; only with a bundle that
            tells changes. Whether a voice is alone is not asked with a budget, which counts on one decoder.
        join: makes the estimate of voices (sources, samples), within the budget.
    """
    forecast = None if plan.budget_ms is None else Forecast(plan.budget_ms, timings)
    step = _TimedStep(engine, clock, need, may_be_alone=forecast is None)
    timings.stem.append(step.start(mix))
    expected_ms = math.inf
    if forecast is not None:
        expected_ms = _repeat_in_time(step, forecast, plan, timings)
    else:
        while step.asks_for_more() and len(step.repetitions_ms) < plan.max_depth:
            step.repeat()
    depth = len(step.repetitions_ms)
    if depth:
        timings.repetition.append(sum(step.repetitions_ms) / depth)
    estimate = step.end(join)
    timings.decoder.append(step.decoder_ms)
    took_ms = step.elapsed_ms
    if forecast is not None:
        timings.skipped = 0 if depth else timings.skipped + 1
        late_ms = forecast.counted_ms(took_ms - expected_ms, plan.min_depth)
        timings.late_steps.add(late_ms, plan.advance_s)
    missed = plan.budget_ms is not None and took_ms > plan.budget_ms
    return StepResult(estimate, depth, took_ms, missed)


def _repeat_in_time(step: _TimedStep, forecast: Forecast, plan: Plan, timings: Timings) -> float:
    """Run as many repetitions as the plan demands and time allows.

    Returns the milliseconds after which the step was expected to be done when the last of them began.
    """
    expected_ms = timings.step_ms(0)
    while (depth := len(step.repetitions_ms)) < plan.max_depth:
        if depth >= plan.min_depth and not step.asks_for_more():
            break
        now_ms = step.elapsed_ms
        slowdown = forecast.slowdown(now_ms, step.repetitions_ms)
        done_ms = now_ms + forecast.finish_ms(slowdown)
        if depth >= plan.min_depth and done_ms > forecast.ready_ms:
            if depth > 0 or timings.skipped < RETRY_STEPS:
                break
            # None ran for long. This one tells what they take now, instead of what they took then.
            timings.repetition.clear()
            timings.overrun.clear()
        expected_ms = done_ms
        step.repeat()
        timings.overrun.append(step.repetitions_ms[-1] / forecast.repetition_ms(slowdown))
    return expected_ms
