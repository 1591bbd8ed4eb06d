"""The latency budget: which window and depth are worth trying, and when to stop repeating.

The *planner* runs once. It chooses the window whose measured quality is best among those that fit this
machine. The *controller* runs in every step. Stem, ``min_depth`` repetitions and the decoder always run;
before each further repetition it asks whether that repetition and the decoder are expected to finish within
the budget::

    0 ms                      elapsed                                  budget_ms
    |---- stem ----|-- rep --|-- rep --|.. one more? ..|.. decoder ..|      |

What is expected, and how early it plans to be ready, is in `forecast.py`.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from tisdiss_rt.engine.base import StepEngine
from tisdiss_rt.planning.forecast import Forecast, Timings
from tisdiss_rt.planning.plan import Plan

Array = npt.NDArray[np.float32]
Clock = Callable[[], float]

RETRY_STEPS = 128  # without a repetition, where none must run; then one runs, to see what it takes now


def run_step(
    engine: StepEngine,
    mix: Array,
    plan: Plan,
    timings: Timings,
    clock: Clock = time.perf_counter,
    advance_s: float | None = None,
) -> tuple[Array, int, float]:
    """Separate one window within the plan and remember how long each graph took.

    Args:
        engine: runs the graphs.
        mix: (samples,) at the bundle's sample rate.
        plan: bounds of the depth, and the budget.
        timings: measurements for this window length; used for prediction and added to.
        clock: seconds, as ``time.perf_counter``.
        advance_s: of audio from one step to the next; None is the plan's window.

    Returns:
        The estimate (sources, samples), the depth that ran, and the elapsed milliseconds.
    """
    begin = clock()

    def elapsed_ms() -> float:
        return (clock() - begin) * 1e3

    def timed(history: deque[float] | list[float], call: Callable[[Any], Any], argument: Any) -> Any:
        before_ms = elapsed_ms()
        result = call(argument)
        history.append(elapsed_ms() - before_ms)
        return result

    forecast = None if plan.budget_ms is None else Forecast(plan.budget_ms, timings)
    state = timed(timings.stem, engine.start, mix)
    repetitions_ms: list[float] = []
    expected_ms = timings.step_ms(0) if forecast else math.inf
    while (depth := len(repetitions_ms)) < plan.max_depth:
        if forecast is not None:
            now_ms = elapsed_ms()
            slowdown = forecast.slowdown(now_ms, repetitions_ms)
            done_ms = now_ms + forecast.finish_ms(slowdown)
            if depth >= plan.min_depth and done_ms > forecast.ready_ms:
                if depth > 0 or timings.skipped < RETRY_STEPS:
                    break
                # None ran for long. This one tells what they take now, instead of what they took then.
                timings.repetition.clear()
                timings.overrun.clear()
            expected_ms = done_ms
        timed(repetitions_ms, engine.repeat, state)
        if forecast is not None:
            timings.overrun.append(repetitions_ms[-1] / forecast.repetition_ms(slowdown))
    if repetitions_ms:
        timings.repetition.append(sum(repetitions_ms) / depth)
    estimate: Array = timed(timings.decoder, engine.decode, state)
    took_ms = elapsed_ms()
    if forecast is not None:
        timings.skipped = 0 if depth else timings.skipped + 1
        late_ms = forecast.counted_ms(took_ms - expected_ms, plan.min_depth)
        timings.late_steps.add(late_ms, advance_s or plan.window_s)
    return estimate, depth, took_ms
