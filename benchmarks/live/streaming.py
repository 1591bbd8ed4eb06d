"""What a stream costs and keeps: changes of depth, latency, offline bundles, load, an hour, what was before.

    python -m benchmarks.live.streaming                       # all of it, printed; docs/load.png is drawn
    python -m benchmarks.live.streaming --only load --update  # one part, and it goes into STREAMING.md

"load" needs stress-ng, a package of Debian.

The dB are those of `quality.py`, on every fourth mixture. Figures of time are of the machine that runs this.
"""

from __future__ import annotations

import argparse
import itertools
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import soundfile

import tisdiss_rt
from benchmarks.pages import update
from benchmarks.quality.quality import improvement_db, interval_db, mixtures, speech_folder
from tisdiss_rt.engine.conformance import run_steps
from tisdiss_rt.priority import raised_priority

REPOSITORY = Path(__file__).parents[2]
PAGE = Path(__file__).parent / "STREAMING.md"
PICTURE = REPOSITORY / "docs" / "load.png"
EXAMPLE = Path(tisdiss_rt.__file__).parent / "example" / "two_voices.wav"
OFFLINE_BUNDLE = "edge-16k"
EVERY = 4  # mixtures: every fourth
DEEPEST = 6  # depth changes between 1 and this
SLOW_CHANGE = 1 / 60  # share of the steps at which a slowly changing depth changes: about twice a second
PHASE_S = 15.0  # length of each phase of the load test
BUDGET_SHARE = 0.75  # of a step's duration
STRESS_PER_CORE = 2
SILENCE_S = 2


def schedules(steps: int, seed: int) -> dict[str, list[int]]:
    """Draw the depth of each step: changing at every step, or about twice a second."""
    rng = np.random.default_rng(seed)
    drawn = rng.integers(1, DEEPEST + 1, steps)
    kept = np.where(rng.random(steps) < SLOW_CHANGE, np.arange(steps), 0)
    return {
        "at every step": drawn.tolist(),
        "about twice a second": drawn[np.maximum.accumulate(kept)].tolist(),
    }


def roughness(estimate: np.ndarray, step: int) -> float:
    """Compute the differences between neighbouring samples at the joins of steps, over those elsewhere."""
    squares = np.diff(estimate, axis=1).astype(np.float64) ** 2
    at_joins = np.arange(1, squares.shape[1] + 1) % step == 0
    return float(np.sqrt(squares[:, at_joins].mean() / squares[:, ~at_joins].mean()))


def switching(bundle: str) -> str:
    """Compare fixed depths with depths that change, on the test set."""
    engine = tisdiss_rt.Separator(bundle, "cpu", precision="fp32").engine
    (step,) = engine.manifest.timing()["step"]
    rate = engine.manifest.sample_rate
    gains: dict[str, list[float]] = {}
    joins: dict[str, list[float]] = {}
    chosen = itertools.islice(mixtures(speech_folder(), rate), 0, None, EVERY)
    for number, (mix, references) in enumerate(chosen):
        print(f"\rmixture {number + 1}", end="", file=sys.stderr, flush=True)
        results = {str(depth): est for depth, est in enumerate(engine.every_depth(mix, DEEPEST)) if depth}
        for name, depths in schedules(len(engine.cut(mix)), number).items():
            results[name] = run_steps(engine, mix, depths)
        for name, estimate in results.items():
            gains.setdefault(name, []).append(improvement_db(estimate, references, mix))
            joins.setdefault(name, []).append(roughness(estimate, step))
    print(file=sys.stderr)
    return _switching_table(gains, joins)


def _switching_table(gains: dict[str, list[float]], joins: dict[str, list[float]]) -> str:
    fixed = np.array([gains[str(depth)] for depth in range(1, DEEPEST + 1)])  # (depths, mixtures)
    lines = ["| depth | SI-SDR improvement | joins against elsewhere |", "|---|---|---|"]
    for name, values in gains.items():
        low, high = interval_db(np.array(values))
        lines.append(
            f"| {name} | {np.mean(values):.2f} dB ({low:.2f} to {high:.2f}) | {np.mean(joins[name]):.3f} |"
        )
    lines += ["", f"Cost of changing between 1 and {DEEPEST}, against the mean of the fixed depths:", ""]
    for name in list(gains)[DEEPEST:]:
        cost = fixed.mean(0) - np.array(gains[name])
        low, high = interval_db(cost)
        lines.append(f"- {name}: {cost.mean():.2f} dB ({low:.2f} to {high:.2f})")
    lines += [
        "",
        "Joins: differences between neighbouring samples at the joins of steps, over those elsewhere.",
    ]
    return "\n".join(lines) + "\n"


def latency(bundle: str) -> str:
    """Report the parts of the latency at usual rates, and the time of a step by depth."""
    separator = tisdiss_rt.Separator(bundle, "cpu", precision="fp32")
    manifest = separator.bundle.manifest
    assert manifest.stream is not None
    step_ms = 1e3 * manifest.stream.step_samples / manifest.sample_rate
    lines = ["| rate | algorithmic | resampling in | resampling out | compute (budget) | total |"]
    lines.append("|---|---|---|---|---|---|")
    for rate in (16000, 44100, 48000):
        parts = separator.stream(rate, budget_ms=BUDGET_SHARE * step_ms).latency_ms
        values = (parts.algorithmic, parts.resampling_in, parts.resampling_out, parts.compute, parts.total)
        lines.append(f"| {rate} Hz | " + " | ".join(f"{value:.1f} ms" for value in values) + " |")
    lines += ["", f"Time of a step of {step_ms:g} ms on one core, median and 99 %:", ""]
    lines += ["| depth | median | 99 % |", "|---|---|---|"]
    mix, _ = soundfile.read(EXAMPLE, dtype="float32")
    for depth in range(manifest.depth.trained + 3):
        stream = separator.stream(manifest.sample_rate, depth=depth)
        stream.process(mix)
        took_ms = [entry.elapsed_ms for entry in stream.steps]
        median_ms, high_ms = np.percentile(took_ms, [50, 99])
        lines.append(f"| {depth} | {median_ms:.2f} ms | {high_ms:.2f} ms |")
    return "\n".join(lines) + "\n"


def offline(bundle: str) -> str:
    """Compare the shipped offline bundle as a stream with whole mixtures at once."""
    separator = tisdiss_rt.Separator(OFFLINE_BUNDLE, "cpu", precision="fp32")
    manifest = separator.bundle.manifest
    rate, depth = manifest.sample_rate, manifest.depth.trained
    stream = separator.stream(rate)
    whole, slid = [], []
    chosen = itertools.islice(mixtures(speech_folder(), rate), 0, None, EVERY)
    for number, (mix, references) in enumerate(chosen):
        print(f"\rmixture {number + 1}", end="", file=sys.stderr, flush=True)
        stream.reset()
        estimate = np.concatenate([stream.process(mix), stream.flush()], axis=1)
        slid.append(improvement_db(estimate, references, mix))
        whole.append(improvement_db(separator.engine.every_depth(mix, depth)[depth], references, mix))
    print(file=sys.stderr)
    step_ms = 1e3 * stream.steps[0].window_s
    return (
        f"`{OFFLINE_BUNDLE}` at depth {depth}, a window of 2 s that slides by {step_ms:g} ms: "
        f"{np.mean(slid):.1f} dB, with an algorithmic latency of {stream.latency_ms.algorithmic:.0f} ms. "
        f"Whole mixtures at once: {np.mean(whole):.1f} dB.\n"
    )


@dataclass(frozen=True)
class Sample:
    """One step of the load test: when it was ready, its depth and time, and how far behind the clock."""

    time_s: float
    depth: int
    elapsed_ms: float
    missed: bool
    behind_s: float


def play(bundle: str, duration_s: float, events: list[tuple[float, Callable[[], None]]]) -> list[Sample]:
    """Run a stream against the clock, in this thread; `events` are called at their times."""
    separator = tisdiss_rt.Separator(bundle, "cpu", precision="fp32")
    manifest = separator.bundle.manifest
    assert manifest.stream is not None
    step, rate = manifest.stream.step_samples, manifest.sample_rate
    mix, _ = soundfile.read(EXAMPLE, dtype="float32")
    stream = separator.stream(rate, budget_ms=BUDGET_SHARE * 1e3 * step / rate)
    waiting = sorted(events, key=lambda event: event[0])
    samples = []
    begin_s = time.perf_counter()
    for number in range(round(duration_s * rate / step)):
        while waiting and number * step / rate >= waiting[0][0]:
            waiting.pop(0)[1]()
        time.sleep(max(0.0, begin_s + (number + 1) * step / rate - time.perf_counter()))
        start = number * step % (len(mix) - step)
        stream.process(mix[start : start + step])
        last = stream.steps[-1]
        ready_s = time.perf_counter() - begin_s
        behind_s = max(0.0, ready_s - (number + 2) * step / rate)  # the step should be ready before the next
        samples.append(Sample(ready_s, last.depth, last.elapsed_ms, last.missed, behind_s))
    return samples


def load(bundle: str) -> str:
    """Measure idle, with two busy processes per core, and idle again, at both priorities; draw them."""
    if shutil.which("stress-ng") is None:
        sys.exit("stress-ng is not installed: apt-get install stress-ng")
    busy = STRESS_PER_CORE * len(os.sched_getaffinity(0))
    running: list[subprocess.Popen[bytes]] = []

    def start() -> None:
        command = ["stress-ng", "--cpu", str(busy), "--timeout", f"{PHASE_S:g}s", "--quiet"]
        running.append(subprocess.Popen(command, stdin=subprocess.DEVNULL))

    runs = {"normal": play(bundle, 3 * PHASE_S, [(PHASE_S, start)])}
    with raised_priority() as priority:
        if priority == "normal":
            print("real-time priority is not allowed here: normal priority only", file=sys.stderr)
        else:
            runs[priority] = play(bundle, 3 * PHASE_S, [(PHASE_S, start)])
    for process in running:
        process.wait()
    _draw(runs, busy)
    lines = ["| priority | | depth, median | 5 % to 95 % | steps over budget | audio behind, at most |"]
    lines.append("|---|---|---|---|---|---|")
    for name, samples in runs.items():
        for number, phase in enumerate(("idle", f"{busy} busy processes", "idle again")):
            within = [s for s in samples if number * PHASE_S <= s.time_s < (number + 1) * PHASE_S]
            lines.append(f"| {name} | {phase} | {_phase_row(within)} |")
    lines.append("")
    for name, samples in runs.items():
        usual = np.median([s.depth for s in samples if s.time_s < PHASE_S])
        times = [s.time_s - 2 * PHASE_S for s in samples if s.time_s >= 2 * PHASE_S and s.depth >= usual]
        lines.append(f"At {name} priority the usual depth is back {times[0]:.2f} s after the load ends.")
    return "\n".join(lines) + "\n"


def _phase_row(samples: list[Sample]) -> str:
    low, median, high = np.percentile([s.depth for s in samples], [5, 50, 95])
    missed = sum(s.missed for s in samples)
    share = f"{missed} of {len(samples)} ({100 * missed / len(samples):.2f} %)"
    return f"{median:g} | {low:g} to {high:g} | {share} | {1e3 * max(s.behind_s for s in samples):.0f} ms"


def _draw(runs: dict[str, list[Sample]], busy: int) -> None:
    figure, axes = plt.subplots(
        2, len(runs), figsize=(10, 4), sharex=True, sharey="row", squeeze=False, layout="constrained"
    )
    for (upper, lower), (name, samples) in zip(axes.T, runs.items(), strict=True):
        times = [sample.time_s for sample in samples]
        upper.plot(times, [sample.depth for sample in samples], linewidth=0.6)
        upper.set(title=f"{name} priority, {busy} busy processes from {PHASE_S:g} to {2 * PHASE_S:g} s")
        lower.plot(times, [sample.elapsed_ms for sample in samples], ".", markersize=1.5)
        late = [sample for sample in samples if sample.missed]
        lower.plot([s.time_s for s in late], [s.elapsed_ms for s in late], "rx", markersize=5)
        lower.axhline(8 * BUDGET_SHARE, color="gray", linewidth=0.8)
        lower.set(xlabel="s", ylim=(0, 16))
        for axis in (upper, lower):
            axis.axvspan(PHASE_S, 2 * PHASE_S, color="orange", alpha=0.15)
    axes[0, 0].set_ylabel("depth")
    axes[1, 0].set_ylabel("ms per step")
    PICTURE.parent.mkdir(exist_ok=True)
    figure.savefig(PICTURE, dpi=90)


def hour(bundle: str, minutes: float = 60.0) -> str:
    """Stream an hour of audio; report memory, and what differs from a stream started 10 s before its end."""
    import resource  # not there on Windows, where tests use other functions of this file

    separator = tisdiss_rt.Separator(bundle, "cpu", precision="fp32")
    rate = separator.bundle.manifest.sample_rate
    mix, _ = soundfile.read(EXAMPLE, dtype="float32")
    stream = separator.stream(rate, depth=2)
    rounds = round(minutes * 60 * rate / len(mix))
    peaks_mb = []
    for number in range(rounds):
        stream.process(mix)
        if number in (9, rounds - 1):
            peaks_mb.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    fresh = separator.stream(rate, depth=2)
    ten_s = np.resize(mix, 10 * rate)
    stream.process(ten_s)
    fresh.process(ten_s)
    old, new = stream.process(mix), fresh.process(mix)
    difference = np.abs(old - new).max() / np.abs(old).max()
    return (
        f"{minutes:g} minutes at depth 2: peak memory {peaks_mb[0]:.1f} MB after the first minute, "
        f"{peaks_mb[-1]:.1f} MB at the end.\n"
        f"A fresh stream started 10 s before differs by {difference:.1e} of the peak.\n"
    )


def before(bundle: str) -> str:
    """Compare mixtures at the start of a stream with the same ones after other sound, at depth 2."""
    engine = tisdiss_rt.Separator(bundle, "cpu", precision="fp32").engine
    rate = engine.manifest.sample_rate
    chosen = list(itertools.islice(mixtures(speech_folder(), rate), 0, None, 2 * EVERY))
    silence = np.zeros(SILENCE_S * rate, np.float32)
    gains: dict[str, list[float]] = {}
    for number, (mix, references) in enumerate(chosen):
        print(f"\rmixture {number + 1}", end="", file=sys.stderr, flush=True)
        other, _ = chosen[number - 1]
        for name, parts in {
            "nothing": [],
            "the same people": [mix],
            "one of them alone": [references[0]],
            "other people": [other],
            f"other people and {SILENCE_S} s of digital silence": [other, silence],
        }.items():
            sound = np.concatenate([*parts, mix])
            estimate = run_steps(engine, sound, [2] * len(engine.cut(sound)))[:, -len(mix) :]
            gains.setdefault(name, []).append(improvement_db(estimate, references, mix))
    print(file=sys.stderr)
    fresh = np.array(gains["nothing"])
    lines = ["| before | SI-SDR improvement | lost |", "|---|---|---|"]
    for name, values in gains.items():
        low, high = interval_db(fresh - np.array(values))
        lost = f"{np.mean(fresh - values):.2f} dB ({low:.2f} to {high:.2f})" if name != "nothing" else ""
        lines.append(f"| {name} | {np.mean(values):.2f} dB | {lost} |")
    return "\n".join(lines) + f"\n\n{len(chosen)} mixtures, without the order of outputs.\n"


PARTS: dict[str, tuple[str, Callable[[str], str]]] = {
    "switching": ("Depth that changes at every step", switching),
    "latency": ("Latency and time by parts", latency),
    "offline": ("An offline bundle as a stream", offline),
    "load": ("Load on the machine", load),
    "hour": ("An hour of audio", hour),
    "before": ("What a stream heard before", before),
}
INTEGERS = "8-bit integers"  # written by `integers`
HEADINGS = [*(title for title, _ in PARTS.values()), INTEGERS]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--bundle", default="live-16k", help="name or folder of a streaming bundle")
    parser.add_argument("--only", choices=PARTS, help="one part instead of all")
    parser.add_argument("--update", action="store_true", help=f"write to {PAGE.name}")
    options = parser.parse_args()
    for name, (title, part) in PARTS.items():
        if options.only in (None, name):
            text = part(options.bundle)
            print(f"## {title}\n\n{text}")
            if options.update:
                update(PAGE, HEADINGS, title, text)


if __name__ == "__main__":
    main()
