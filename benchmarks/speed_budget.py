"""Part of `speed.py`: how well budgets are kept, idle and beside other programs."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import time
import warnings

import numpy as np
import soundfile
from holdups import HoldUps
from speed_tools import EXAMPLE

import tisdiss_rt
from tisdiss_rt.budget import run_step
from tisdiss_rt.priority import raised_priority
from tisdiss_rt.stream_engine import StreamEngine

STEPS = 10_000
PAUSE_SHARE = 0.1  # between steps: systems stop real-time programs that never rest
BUDGETS_MS = {"live-16k": (2.0, 4.0, 6.0, 10.0), "edge-16k": (40.0,)}


def budgets() -> str:
    """Ten thousand steps at each budget on one core, idle and beside busy programs on all of them."""
    cores = sorted(os.sched_getaffinity(0))
    lines = [
        f"{STEPS} steps each, at real-time priority where that is allowed; load is 2 busy processes a core.",
        "At the least depth, one repetition, there is nothing that a step could leave out to be in time.",
        "Of deeper steps over budget, the machine stood still in those where a process before all others",
        "woke up at least 1 ms late.",
        "Used, and with room for one more repetition of median length: of the steps below the most depth.",
        "",
        "| bundle | budget | load | over budget | deeper than the least | without those where the machine "
        "stood still | share of the budget used | steps with room for one more | depth, mean | most |",
        "|---|---|---|---|---|---|---|---|---|---|",
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
        return f"| {name} | {budget_ms:g} ms, too small here | {load} | | | | | | | |"
    timings = separator._planner.measure(plan.window_samples)
    engine = separator.engine
    runner = engine.open(plan.max_depth) if isinstance(engine, StreamEngine) else engine
    mix = np.resize(soundfile.read(EXAMPLE, dtype="float32")[0], plan.window_samples * 50)
    windows = mix.reshape(50, plan.window_samples)
    steps = []  # begin in seconds, milliseconds, depth
    gc.collect()
    gc.freeze()  # as `live` does: what was loaded until now need not be looked through again
    for number in range(STEPS):
        begin_s = time.monotonic()
        _, depth, elapsed_ms = run_step(runner, windows[number % 50], plan, timings)
        steps.append((begin_s, elapsed_ms, depth))
        time.sleep(PAUSE_SHARE * elapsed_ms / 1e3)
    time.sleep(0.5)  # until all that was found has arrived
    missed = [step for step in steps if step[1] > budget_ms]
    deeper = [(begin_s, ms) for begin_s, ms, depth in missed if depth > plan.min_depth]
    held_s = [holdups.longest_s(begin_s, begin_s + ms / 1e3) for begin_s, ms in deeper]
    own = "unknown" if np.isnan(held_s).any() else share(held_s.count(0.0))
    shallower = [ms for _, ms, depth in steps if depth < plan.max_depth]
    used, room = "all depth reached", ""
    if shallower:
        used = f"{100 * np.mean(shallower) / budget_ms:.0f} %"
        more_ms = np.median(timings.repetition)
        room = f"{100 * np.mean(budget_ms - np.array(shallower) > more_ms):.0f} %"
    depth_mean = np.mean([depth for _, _, depth in steps])
    window = f", {plan.window_s:g} s windows" if separator.bundle.manifest.stream is None else ""
    return (
        f"| {name}{window} | {budget_ms:g} ms | {load} "
        f"| {share(len(missed))} | {share(len(deeper))} | {own} "
        f"| {used} | {room} | {depth_mean:.2f} | {plan.max_depth} |"
    )


def share(count: int) -> str:
    return f"{count} ({100 * count / STEPS:.2f} %)"
