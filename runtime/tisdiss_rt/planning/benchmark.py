"""What each depth costs on this machine, measured on steps as they are run.

The depths take turns in short bursts, so that all of them are measured in the same moments, and each with the
processor's caches as they are where this depth alone runs::

    depth 0   ####                    ####
    depth 1       ####                    ####
    depth 2           ####                    ####        ...

The first step of a burst still finds the caches of another depth, and does not count, unless it takes longer
than a burst: windows that long leave nothing in the caches.
"""

from __future__ import annotations

import itertools
import math
import statistics
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tisdiss_rt.audio import Array
from tisdiss_rt.bundle import Manifest
from tisdiss_rt.engine.base import Engine, StepEngine
from tisdiss_rt.planning.controller import Clock, run_step
from tisdiss_rt.planning.forecast import MARGIN, Timings, planned_ms
from tisdiss_rt.planning.plan import LIVE_SHARE, fixed_plan

Milliseconds = npt.NDArray[np.float64]

LEAST_STEPS = 5  # at each depth
BURST_S = 0.05
MEASURED_STEPS = 3
MEASURED_DEPTH = 2  # both feature buffers get used
MEASURING_S = 0.5  # stop measuring a window after this time
NOISE_LEVEL = 0.1  # root mean square, where full scale is 1


def noise(samples: int) -> Array:
    """Return noise (samples,) to run a network on, always the same; silence may take another time."""
    numbers: Array = np.random.default_rng(0).standard_normal(samples).astype(np.float32)
    numbers *= NOISE_LEVEL
    return numbers


@dataclass(frozen=True)
class DepthCost:
    """What a depth costs for one length of window or step.

    Attributes:
        window_s: length of the window, or of the step of a streaming bundle.
        depth: repetitions.
        p50_ms: median time of a step.
        p95_ms: 95th percentile of that time.
        p99_ms: 99th percentile of that time.
        real_time_factor: seconds of computing for a second of audio; windows overlap by half.
        memory_mb: peak memory of this process until then; None where the system does not report it.
        quality_db: measured SI-SDR improvement of the bundle; None where it was not measured.
    """

    window_s: float
    depth: int
    p50_ms: float
    p95_ms: float
    p99_ms: float
    real_time_factor: float
    memory_mb: float | None
    quality_db: float | None


def measure_bundle(engine: Engine, seconds: float) -> tuple[list[DepthCost], dict[int, Timings]]:
    """Measure every depth up to the best, for each window or for the step, about ``seconds`` each.

    Returns the costs in rising order, and the times of the graphs by the length in samples, for the planner.
    """
    costs: list[DepthCost] = []
    timings = {}
    for samples in lengths(engine.manifest):
        rows, timings[samples] = measure_window(engine, samples, seconds)
        costs += rows
    return costs, timings


def lengths(manifest: Manifest) -> list[int]:
    """Return the samples of each window of an offline bundle, in rising order, or of a stream's step."""
    return [manifest.length_samples(length_s) for length_s in manifest.lengths_s()]


def measure_window(engine: Engine, samples: int, seconds: float) -> tuple[list[DepthCost], Timings]:
    """Measure every depth up to the best, about ``seconds``, for windows or the step of this many samples."""
    quality = engine.manifest.quality_db(samples / engine.manifest.sample_rate)
    deepest = max(quality, default=engine.manifest.depth.trained)
    took_ms, timings = measure_depths(engine, samples, deepest, seconds)
    return _summarise(engine.manifest, samples, took_ms, quality), timings


def measure_depths(
    engine: Engine,
    samples: int,
    deepest: int,
    seconds: float,
    clock: Clock = time.perf_counter,
) -> tuple[list[Milliseconds], Timings]:
    """Run steps of noise for about this many seconds, at least `LEAST_STEPS` of them at each depth.

    Args:
        engine: runs the graphs.
        samples: of a window, or of a step of a streaming bundle.
        deepest: repetitions.
        seconds: how long to measure.
        clock: seconds, as ``time.perf_counter``.

    Returns:
        For each depth milliseconds (steps,) of its steps; the last times of each graph at the deepest.
    """
    mix = noise(samples)
    depths = range(deepest + 1)
    runners = [engine.open(depth) for depth in depths]
    took_ms: list[list[float]] = [[] for _ in runners]
    timings = Timings()
    begin_s = clock()
    while len(took_ms[0]) < LEAST_STEPS or clock() - begin_s < seconds:
        for depth, runner in enumerate(runners):
            for stem_ms, *repetitions_ms, decoder_ms in _burst(runner, mix, depth, clock):
                took_ms[depth].append(stem_ms + sum(repetitions_ms) + decoder_ms)
                if depth == deepest:
                    timings.stem.append(stem_ms)
                    if repetitions_ms:
                        timings.repetition.append(statistics.fmean(repetitions_ms))
                    timings.decoder.append(decoder_ms)
    return [np.array(each) for each in took_ms], timings


def _burst(runner: StepEngine, mix: Array, depth: int, clock: Clock) -> Iterator[list[float]]:
    """Run steps for `BURST_S`, and at least one; return the times of their graphs."""
    begin_s = clock()
    first_ms = _time_graphs(runner, mix, depth, clock)
    if clock() - begin_s > BURST_S:
        yield first_ms
        return
    begin_s = clock()
    while True:
        yield _time_graphs(runner, mix, depth, clock)
        if clock() - begin_s > BURST_S:
            return


def _time_graphs(runner: StepEngine, mix: Array, depth: int, clock: Clock) -> list[float]:
    """Run a step; return the milliseconds of the stem, of every repetition and of the decoder."""
    marks = [clock()]
    state = runner.start(mix)
    marks.append(clock())
    for _ in range(depth):
        runner.repeat(state)
        marks.append(clock())
    runner.decode(state)
    marks.append(clock())
    return [1e3 * (after - before) for before, after in itertools.pairwise(marks)]


def _summarise(
    manifest: Manifest, samples: int, took_ms: list[Milliseconds], quality: dict[int, float]
) -> list[DepthCost]:
    """Turn the milliseconds of the steps at each depth into a row for each."""
    window_s = samples / manifest.sample_rate
    memory_mb = peak_memory_mb()
    rows = []
    for depth, steps_ms in enumerate(took_ms):
        p50, p95, p99 = np.percentile(steps_ms, [50, 95, 99]).tolist()
        factor = float(steps_ms.mean()) / 1e3 / manifest.advance_s(window_s)
        rows.append(DepthCost(window_s, depth, p50, p95, p99, factor, memory_mb, quality.get(depth)))
    return rows


def peak_memory_mb() -> float | None:
    """Return the peak memory of this process in MB; None where the system does not report it."""
    try:
        status = Path("/proc/self/status").read_text()
        return int(status.split("VmHWM:")[1].split()[0]) * 1024 / 1e6
    except (OSError, IndexError):  # not Linux, whose getrusage counts what the parent process had, too
        pass
    try:
        import resource
    except ModuleNotFoundError:  # Windows
        return None
    unit = 1e6 if sys.platform == "darwin" else 1e3
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def recommend(manifest: Manifest, costs: list[DepthCost], timings: dict[int, Timings], threads: int) -> str:
    """Describe in a sentence what this machine can do; arguments as `measure_bundle` returns them."""
    cores = "one core" if threads == 1 else f"{threads} cores"
    if manifest.step_s is None:
        best = _best(manifest, costs)
        speed = f"a minute of audio in {60 * best.real_time_factor:.1f} s on {cores}"
        predicted_ms = timings[manifest.length_samples(best.window_s)].step_ms(best.depth)
        budget_ms = math.ceil(max(best.p99_ms, predicted_ms) / (1 - MARGIN))
        return (
            f"files: windows of {best.window_s:g} s at depth {best.depth}{_promise(best)}, {speed}; "
            f"--budget-ms {budget_ms} allows it"
        )
    step_ms = 1e3 * manifest.step_s
    fitting = [cost for cost in costs if cost.depth and cost.p99_ms <= planned_ms(LIVE_SHARE * step_ms)]
    if not fitting:
        return f"too slow for live: depth 1 takes {costs[1].p99_ms:.1f} ms of each {step_ms:g} ms"
    best = _best(manifest, fitting)
    share = f"{100 * best.real_time_factor:.0f} % of {cores}"
    return f"live: depth {best.depth}{_promise(best)} with {step_ms:g} ms steps, {share}"


def _best(manifest: Manifest, costs: list[DepthCost]) -> DepthCost:
    """Return the cost of best measured quality, or that of the depth nearest to the trained one."""

    def rank(cost: DepthCost) -> tuple[float, ...]:
        quality_db = -math.inf if cost.quality_db is None else cost.quality_db
        return quality_db, -abs(cost.depth - manifest.depth.trained), cost.window_s

    return max(costs, key=rank)


def _promise(cost: DepthCost) -> str:
    return "" if cost.quality_db is None else f" ({cost.quality_db:.1f} dB)"


def measure_steps(
    engine: StepEngine, manifest: Manifest, samples: int, clock: Clock = time.perf_counter
) -> Timings:
    """Time a few steps on noise of this many samples, after one to warm up."""
    mix = noise(samples)
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
