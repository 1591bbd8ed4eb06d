"""What live sound costs and withstands: latency from end to end, load on all cores, half an hour of it.

    python -m benchmarks.live.live                        # latency and load, printed
    python -m benchmarks.live.live --only long --minutes 30
    python -m benchmarks.live.live --only picture         # draws docs/live.svg

Between a microphone and headphones that are programs (`virtual_sound`); needs Linux and the packages of
Debian that it names. What is heard is tapped from the headphones and compared with what was recorded.
"""

from __future__ import annotations

import argparse
import io
import os
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing, nullcontext
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import numpy as np
import soundfile
import soxr
from rich.console import Console

import tisdiss_rt
from benchmarks.holdups import HoldUps
from benchmarks.live.virtual_sound import VirtualSound, find, missing
from tisdiss_rt.cli.standard_streams import quiet_libraries
from tisdiss_rt.live.devices import choose
from tisdiss_rt.live.display import picture
from tisdiss_rt.live.recorder import Recorder, targets
from tisdiss_rt.live.session import LiveSession, Status
from tisdiss_rt.priority import raised_priority

PICTURE = Path(__file__).parents[2] / "docs" / "live.svg"
EXAMPLE = Path(tisdiss_rt.__file__).parent / "example" / "two_voices.wav"
BUNDLE, BUDGET_MS = "live-16k", 6.0
PHASE_S = 12.0
BUSY_PER_CORE = 2
LOOK_S = 0.1


@dataclass(frozen=True)
class Look:
    """The state at a moment, with how many steps have run at each depth since the beginning."""

    status: Status
    depths: Counter[int]
    at_s: float  # by the monotonic clock


def live(rate: int, seconds: float, look: Callable[[Look], None], is_tapped: bool = True) -> dict[str, float]:
    """Run on the example, repeated, for a time; ``look`` is called ten times a second.

    Gives the ``latency_ms`` from end to end, and the greatest ``difference`` between what the headphones
    played and the recorded first source; nothing without taps, which keep all that they hear in memory.
    """
    mix = np.resize(
        soxr.resample(soundfile.read(EXAMPLE, dtype="float32")[0], 16000, rate), round(seconds * rate)
    )
    with VirtualSound(rate) as sound, tempfile.TemporaryDirectory() as name, quiet_libraries():
        folder = Path(name)
        soundfile.write(folder / "mix.wav", mix, rate, subtype="FLOAT")
        os.environ.update(sound.environment)
        taps = [sound.tap(sink) for sink in ("virtmic", "virtspk")] if is_tapped else []
        separator = tisdiss_rt.Separator(BUNDLE, provider="cpu")
        with closing(Recorder(targets(folder, 2, force=False), rate)) as recorder:
            with raised_priority():
                stream = separator.stream(rate, budget_ms=BUDGET_MS)
                session = LiveSession(stream, 2, choose(None, None, rate, rate), listen=1, recorder=recorder)
            playing: list[object] = []

            def tick(status: Status) -> bool:
                if status.running_s > 1 and not playing:
                    playing.append(sound.play(folder / "mix.wav"))
                look(Look(status, stream.depth_counts.copy(), time.monotonic()))
                time.sleep(LOOK_S)
                return status.running_s < seconds + 2.0

            session.run(tick)
        if not is_tapped:
            return {}
        mixture, source = (
            soundfile.read(folder / f"{n}.wav", dtype="float32")[0] for n in ("mixture", "spk1")
        )
        heard, played = (tap.close() for tap in taps)
        begin = find(mix, mixture)
        source = source[begin : begin + len(mix)]
        at = find(source, played)
        heard_s = taps[0].start_s + find(mix, heard) / rate
        latency_ms = 1e3 * (taps[1].start_s + at / rate - heard_s)
        length = min(len(source), len(played) - at)
        difference = np.abs(played[at : at + length] - source[:length]).max()
    return {"latency_ms": latency_ms, "difference": float(difference)}


def row(name: str, looks: list[Look], holdups: HoldUps | None = None) -> str:
    """Return one line on a part of a run."""
    statuses = [look.status for look in looks]
    first, last = statuses[0], statuses[-1]
    depths = looks[-1].depths - looks[0].depths
    depth = sum(depth * count for depth, count in depths.items()) / depths.total()
    shallow = sum(count for depth, count in depths.items() if depth < 3) / depths.total()
    counts = [getattr(last, key) - getattr(first, key) for key in ("misses", "underflows", "overflows")]
    mean_ms = np.mean([status.compute_ms for status in statuses])
    return (
        f"| {name} | {depth:.1f} | {100 * shallow:.1f} % | {mean_ms:.1f} "
        f"| {counts[0]} of {last.steps - first.steps} | {counts[1]} | {counts[2]} | {last.total_ms:.0f} |"
        + (f" {1e3 * holdups.longest_s(looks[0].at_s, looks[-1].at_s):.0f} ms |" if holdups else "")
    )


HEAD = (
    "| part | depth | below 3 | compute ms | missed | underflows | overflows | latency ms |\n"
    "|---|---|---|---|---|---|---|---|"
)


def latency() -> None:
    """Print the latency from end to end, measured and as `live` reports it."""
    for rate in (16000, 48000):
        looks: list[Look] = []
        found = live(rate, PHASE_S, looks.append)
        parts = ", ".join(f"{name} {part_ms:.1f}" for name, part_ms in looks[-1].status.latency_ms.items())
        print(
            f"{rate} Hz: {found['latency_ms']:.0f} ms from end to end; "
            f"reported {looks[-1].status.total_ms:.0f}: {parts}"
        )
        print(f"greatest difference of heard and recorded: {found['difference']:.1e}\n{HEAD}")
        print(row("quiet machine", looks[10:]), flush=True)


def load() -> None:
    """Print the same with other programs on all cores in the second of three parts, at each priority."""
    above, below = HEAD.split("\n")
    print(f"{above} machine stood still, at most |\n{below}---|")
    load_at("real-time")
    with (
        mock.patch("tisdiss_rt.live.session.raised_priority", lambda: nullcontext("normal")),
        mock.patch("tisdiss_rt.live.open_pair.raised_new_threads", nullcontext),
    ):
        load_at("normal")


def load_at(name: str) -> None:
    """Print rows before, while and after other programs compute; ``name`` is of the priority."""
    looks: list[Look] = []
    busy: list[subprocess.Popen[bytes]] = []

    def look(now: Look) -> None:
        looks.append(now)
        is_time = PHASE_S < now.status.running_s < 2 * PHASE_S
        if is_time and not busy:
            loop = [sys.executable, "-c", "while True: pass"]
            cores = len(os.sched_getaffinity(0))
            busy.extend(subprocess.Popen(loop) for _ in range(BUSY_PER_CORE * cores))
        if not is_time:
            for process in busy:
                process.kill()

    try:
        with HoldUps(os.sched_getaffinity(0)) as holdups:
            live(16000, 3 * PHASE_S, look, is_tapped=False)
            for part, title in enumerate(("before", f"{BUSY_PER_CORE} busy processes per core", "after")):
                inside = [x for x in looks if part * PHASE_S + 1 < x.status.running_s < (part + 1) * PHASE_S]
                print(row(f"{name}: {title}", inside, holdups), flush=True)
    finally:
        for process in busy:
            process.kill()
            process.wait()


def long(minutes: float) -> None:
    """Print memory and latency of a long run."""
    seen: list[tuple[float, float, float]] = []
    looks: list[Look] = []

    def look(now: Look) -> None:
        status = now.status
        if len(seen) < status.running_s * 10 / (6 * minutes):
            pages = int(Path("/proc/self/statm").read_text().split()[1])
            inside_ms = status.total_ms - status.compute_ms
            seen.append((status.running_s, pages * os.sysconf("SC_PAGE_SIZE") / 2**20, inside_ms))
            looks.append(now)

    live(16000, 60 * minutes, look, is_tapped=False)
    print("| minute | memory MiB | latency ms |\n|---|---|---|")
    for running_s, mib, late_ms in seen[:: max(1, len(seen) // 10)]:
        print(f"| {running_s / 60:.1f} | {mib:.1f} | {late_ms:.1f} |")
    print(f"{HEAD}\n{row('all of it', looks)}", flush=True)


def draw() -> None:
    """Draw the display in the middle of a run, as an SVG file."""
    looks: list[Look] = []
    live(16000, 6.0, looks.append)
    console = Console(record=True, width=84, file=io.StringIO())
    depth = tisdiss_rt.Separator(BUNDLE, provider="cpu").bundle.manifest.depth.trained
    title = f"{BUNDLE} on cpu, Microphone to Headphones at 16000 Hz"
    console.print(picture(title, looks[40].status, BUDGET_MS, depth))
    svg = console.export_svg(title="tisdiss-rt live", unique_id="live")
    PICTURE.write_text(re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL), encoding="utf-8")
    print(PICTURE)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", choices=("latency", "load", "long", "picture"))
    parser.add_argument("--minutes", type=float, default=30.0, help="of the long run")
    options = parser.parse_args()
    if missing():
        sys.exit(f"needs packages of Debian: {missing()}")
    parts = {"latency": latency, "load": load, "long": lambda: long(options.minutes), "picture": draw}
    for name in [options.only] if options.only else ["latency", "load"]:
        print(f"## {name}\n")
        parts[name]()


if __name__ == "__main__":
    main()
