"""Part of `speed.py`: how well budgets are kept, idle and beside other programs."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import time
import warnings
from typing import NamedTuple

import numpy as np
import soundfile

import tisdiss_rt
from benchmarks.holdups import HELD_UP_S, HoldUps
from benchmarks.speed.tools import EXAMPLE
from tisdiss_rt.planning.controller import run_step
from tisdiss_rt.planning.plan import Plan
from tisdiss_rt.priority import raised_priority

STEPS = 10_000
PAUSE_SHARE = 0.1  # between steps: systems stop real-time programs that never rest
BUDGETS_MS = {"live-16k": (2.0, 4.0, 6.0, 8.0), "edge-16k": (40.0,)}


class Taken(NamedTuple):
    """What a step took: when it began, milliseconds, depth, mean milliseconds of a repetition."""

    begin_s: float
    ms: float
    depth: int
    repetition_ms: float


def budgets() -> str:
    """Measure ten thousand steps at each budget on one core, idle and beside busy programs on all of them."""
    cores = sorted(os.sched_getaffinity(0))
    lines = [
        f"{STEPS} steps each, at real-time priority where that is allowed; load is 2 busy processes a core.",
        "Over budget at the least depth, one repetition: nothing was left to leave out. Of the deeper ones,",
        f"the machine stood still where a process before all others woke up {1e3 * HELD_UP_S:g} ms late.",
        "Of the steps in time, below the most depth: the share of the budget that they used, and the share",
        "with as many more whole repetitions as still fitted, each as long as the mean of its step.",
        "",
        "| bundle | budget | load | over budget | at the least depth | the machine stood still | others "
        "| used | most that fitted | depth, mean | most |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for name, values in BUDGETS_MS.items():
        for budget_ms in values:
            for load in ("idle", "load"):
                busy = []
                if load == "load":
                    command = [sys.executable, "-c", "while True: pass"]
                    busy = [subprocess.Popen(command) for _ in range(2 * len(cores))]
                try:
                    os.sched_setaffinity(0, cores[:1])
                    with raised_priority(), HoldUps(cores[:1]) as holdups:
                        lines.append(budget_row(name, budget_ms, load, holdups))
                finally:
                    os.sched_setaffinity(0, cores)
                    for process in busy:
                        process.kill()
                        process.wait()
    return "\n".join(lines) + "\n"


def budget_row(name: str, budget_ms: float, load: str, holdups: HoldUps) -> str:
    separator = tisdiss_rt.Separator(name, provider="cpu", threads=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", tisdiss_rt.SeparationWarning)  # that it is too small: the row says it
        plan = separator.plan(budget_ms=budget_ms)
    if not plan.fits:
        return f"| {name} | {budget_ms:g} ms, too small here | {load} | | | | | | | | |"
    timings = separator._planner.measure(plan.window_samples)
    engine = separator.engine
    runner = engine.open(plan.max_depth)
    mix = np.resize(soundfile.read(EXAMPLE, dtype="float32")[0], plan.window_samples * 50)
    windows = mix.reshape(50, plan.window_samples)
    steps = []
    gc.collect()
    gc.freeze()  # as `live` does: what was loaded until now need not be looked through again
    for window in windows:  # `live` warms up as well
        run_step(runner, window, plan, timings)
    for number in range(STEPS):
        begin_s = time.monotonic()
        result = run_step(runner, windows[number % 50], plan, timings)
        steps.append(Taken(begin_s, result.elapsed_ms, result.depth, timings.repetition[-1]))
        time.sleep(PAUSE_SHARE * result.elapsed_ms / 1e3)
    time.sleep(0.5)  # until all that was found has arrived
    missed = [step for step in steps if step.ms > budget_ms]
    deeper = [step for step in missed if step.depth > plan.min_depth]
    held_s = [holdups.longest_s(step.begin_s, step.begin_s + step.ms / 1e3) for step in deeper]
    others = held_s.count(0.0)
    apart = f"{share(len(deeper) - others)} | {share(others)}"
    if np.isnan(held_s).any():
        apart = "unknown | unknown"
    depth_mean = np.mean([step.depth for step in steps])
    lengths = f", {plan.window_s:g} s windows" if plan.overlaps else ""
    return (
        f"| {name}{lengths} | {budget_ms:g} ms | {load} | {share(len(missed))} "
        f"| {share(len(missed) - len(deeper))} | {apart} "
        f"| {used(steps, plan)} | {depth_mean:.2f} | {plan.max_depth} |"
    )


def used(steps: list[Taken], plan: Plan) -> str:
    """Return two cells: the share of the budget that steps used, and that they could have used."""
    assert plan.budget_ms is not None
    took_ms, fitted_ms = [], []
    for step in steps:
        if step.depth < plan.max_depth and step.ms <= plan.budget_ms:
            more = min(plan.max_depth - step.depth, int((plan.budget_ms - step.ms) / step.repetition_ms))
            took_ms.append(step.ms)
            fitted_ms.append(step.ms + more * step.repetition_ms)
    if not took_ms:
        return "all depth reached | "
    return " | ".join(f"{100 * np.mean(each) / plan.budget_ms:.0f} %" for each in (took_ms, fitted_ms))


def share(count: int) -> str:
    return f"{count} ({100 * count / STEPS:.2f} %)"
