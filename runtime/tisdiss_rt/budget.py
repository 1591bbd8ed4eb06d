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
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from tisdiss_rt.bundle import Manifest
from tisdiss_rt.forecast import Forecast, Timings, planned_ms

Array = npt.NDArray[np.float32]
Clock = Callable[[], float]

RETRY_STEPS = 128  # without a repetition, where none must run; then one runs, to see what it takes now
LIVE_SHARE = 0.75  # of a step's duration that computing may take by default; the rest is for all else
MEASURED_STEPS = 3
MEASURED_DEPTH = 2  # both feature buffers get used
MEASURING_S = 0.5  # stop measuring a window after this time


class StepEngine(Protocol):
    """What the controller needs of an engine: one call for each graph."""

    def start(self, mix: Array) -> Any:
        """Run the stem."""

    def repeat(self, state: Any) -> None:
        """Run the block once."""

    def decode(self, state: Any) -> Array:
        """Run the decoder."""


@dataclass(frozen=True)
class Step:
    """One window, or one step of a stream: where it starts, its length, the depth that ran, its time.

    ``missed`` says that it took longer than the budget. A silent window runs nothing and has depth 0.
    """

    start_s: float
    window_s: float
    depth: int
    elapsed_ms: float
    missed: bool


@dataclass(frozen=True)
class Plan:
    """What every step will do.

    ``depth`` is what the planner expects; the controller stays between ``min_depth`` and ``max_depth``.
    ``predicted_ms`` is the time of a step at ``depth``, ``quality_db`` what the manifest promises for it;
    both None where unknown.
    """

    window_s: float
    window_samples: int
    depth: int
    min_depth: int
    max_depth: int
    budget_ms: float | None
    predicted_ms: float | None
    quality_db: float | None

    @property
    def fits(self) -> bool:
        """Whether a step is expected to keep the budget; True without one."""
        return self.budget_ms is None or self.predicted_ms is None or self.predicted_ms <= self.budget_ms


def window_samples(manifest: Manifest, window_s: float) -> int:
    """Length of a window in samples: even, so that its halves overlap exactly."""
    return max(2, 2 * round(window_s * manifest.sample_rate / 2))


def window_quality(manifest: Manifest, window_s: float) -> dict[int, float]:
    """Quality in dB that was measured for a window, by depth."""
    if manifest.quality is None:
        return {}
    return {entry.depth: entry.si_sdri_db for entry in manifest.quality.windows if entry.window_s == window_s}


def fixed_plan(manifest: Manifest, window_s: float, depth: int) -> Plan:
    """The plan without a budget: always the same depth."""
    quality_db = window_quality(manifest, window_s).get(depth)
    samples = window_samples(manifest, window_s)
    return Plan(window_s, samples, depth, depth, depth, None, None, quality_db)


def budget_plan(
    manifest: Manifest,
    windows_s: Iterable[float],
    budget_ms: float,
    min_depth: int,
    measure: Callable[[int], Timings],
) -> Plan:
    """Choose the pair of window and depth of best measured quality whose predicted time fits.

    Where the manifest has no measurement the planner assumes that depth matters most, up to the trained
    depth, and then a longer window. The most that a step may do is the depth of best measured quality for
    its window, or the trained depth.

    Args:
        manifest: says what was measured.
        windows_s: the candidates in rising order; measuring stops at the first that does not fit.
        budget_ms: time that a step may take.
        min_depth: repetitions that always run.
        measure: times a window of so many samples on this machine.

    Returns:
        The best plan; if none fits, the first window at ``min_depth`` (see ``Plan.fits``).
    """
    best: Plan | None = None
    best_rank: tuple[float, ...] = ()
    for window_s in windows_s:
        samples = window_samples(manifest, window_s)
        timings = measure(samples)
        quality = window_quality(manifest, window_s)
        limit = max(min_depth, max(quality, key=lambda d: quality[d]) if quality else manifest.depth.trained)
        for depth in range(min_depth, limit + 1):
            predicted_ms = timings.step_ms(depth)
            if best is not None and predicted_ms > planned_ms(budget_ms):
                break
            rank = (quality.get(depth, -math.inf), min(depth, manifest.depth.trained), window_s)
            if best is None or rank > best_rank:
                best_rank = rank
                best = Plan(
                    window_s, samples, depth, min_depth, limit, budget_ms, predicted_ms, quality.get(depth)
                )
        if timings.step_ms(min_depth) > budget_ms:
            break
    assert best is not None
    return best


def stream_plan(
    manifest: Manifest, budget_ms: float | None, depth: int | None, min_depth: int, timings: Timings
) -> Plan:
    """The plan for the steps of a streaming bundle, whose length is given.

    With a budget the most that a step may do is the depth of best measured quality, or the trained depth;
    without, it always does ``depth``, by default the trained one.

    Args:
        manifest: of a streaming bundle.
        budget_ms: time that a step may take.
        depth: fixed depth; only without a budget.
        min_depth: repetitions that always run, with a budget.
        timings: of some steps on this machine.
    """
    assert manifest.stream is not None
    samples = manifest.stream.step_samples
    measured = manifest.quality.depths if manifest.quality else ()
    quality_db = {entry.depth: entry.si_sdri_db for entry in measured}
    least = most = chosen = manifest.depth.trained if depth is None else depth
    predicted_ms = None
    if budget_ms is not None:
        best = max(quality_db, key=lambda d: quality_db[d]) if quality_db else manifest.depth.trained
        least, most = min_depth, max(min_depth, best)
        fitting = [d for d in range(least, most + 1) if timings.step_ms(d) <= planned_ms(budget_ms)]
        chosen = max(fitting, default=least)
        predicted_ms = timings.step_ms(chosen)
    promise_db = quality_db.get(chosen)
    return Plan(
        samples / manifest.sample_rate, samples, chosen, least, most, budget_ms, predicted_ms, promise_db
    )


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
            pace = forecast.pace(now_ms, repetitions_ms)
            done_ms = now_ms + forecast.finish_ms(pace)
            if depth >= plan.min_depth and done_ms > forecast.ready_ms:
                if depth > 0 or timings.skipped < RETRY_STEPS:
                    break
                # None ran for long. This one tells what they take now, instead of what they took then.
                timings.repetition.clear()
                timings.surprise.clear()
            expected_ms = done_ms
        timed(repetitions_ms, engine.repeat, state)
        if forecast is not None:
            timings.surprise.append(repetitions_ms[-1] / forecast.repetition_ms(pace))
    if repetitions_ms:
        timings.repetition.append(sum(repetitions_ms) / depth)
    estimate: Array = timed(timings.decoder, engine.decode, state)
    took_ms = elapsed_ms()
    if forecast is not None:
        timings.skipped = 0 if depth else timings.skipped + 1
        late_ms = forecast.counted_ms(took_ms - expected_ms, plan.min_depth)
        timings.pauses.add(late_ms, advance_s or plan.window_s)
    return estimate, depth, took_ms


def measure_steps(
    engine: StepEngine, manifest: Manifest, samples: int, clock: Clock = time.perf_counter
) -> Timings:
    """Time a few steps on noise of so many samples, after one for warming up."""
    mix = np.random.default_rng(0).standard_normal(samples).astype(np.float32) * np.float32(0.1)
    depth = min(MEASURED_DEPTH, manifest.depth.max)
    plan = fixed_plan(manifest, samples / manifest.sample_rate, depth)
    run_step(engine, mix, plan, Timings(), clock)
    timings = Timings()
    begin = clock()
    for _ in range(MEASURED_STEPS):
        run_step(engine, mix, plan, timings, clock)
        if clock() - begin > MEASURING_S:
            break
    return timings
