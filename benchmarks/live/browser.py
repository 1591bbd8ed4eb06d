"""Measures the page of `runtime/web/demo` in Chromium: how soon it can be used, and how it is live.

    make web && python -m benchmarks.live.browser

writes the table of `docs/web.md`. Nothing else may run on the machine.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

from benchmarks.pages import fill
from benchmarks.speed.page import instructions
from tisdiss_rt.planning.timing_cache import processor

REPOSITORY = Path(__file__).parents[2]
BUILD = REPOSITORY / "build" / "web"
EXAMPLE = REPOSITORY / "runtime" / "tisdiss_rt" / "example" / "two_voices.wav"
PAGE = REPOSITORY / "docs" / "web.md"


def measure(seconds: int) -> dict[str, Any]:
    """Return what `tests/web/programs/measure.mjs` found."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None or not (BUILD / "page").is_dir():
        raise SystemExit("this needs Chromium, and what `make web` builds")
    program = BUILD / "tests" / "web" / "programs" / "measure.mjs"
    command: list[str | Path] = ["node", program, BUILD / "page", EXAMPLE, str(seconds)]
    done = subprocess.run(
        command, env={**os.environ, "CHROMIUM": chromium}, stdout=subprocess.PIPE, text=True, check=True
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def table(found: dict[str, Any]) -> str:
    """Return the table, and what it was measured on."""
    (first, *_, last), (held_up, *_, end) = found["live"], found["afterwards"]
    late = last["lateChunks"] - first["lateChunks"]
    longest = max(second["waitingMs"] for second in found["live"])
    rows = {
        "until it can be used": f"{found['usableS']:.1f} s",
        "until the example (6 s) is separated at depth 4": f"{found['separatedS']:.1f} s",
        "files that this takes, compressed": f"{found['bytes'] / 1e6:.1f} MB",
        f"live for {len(found['live'])} s at 6 ms: mean depth": f"{last['meanDepth']:.2f}",
        "chunks too late after the first second": f"{late} of {last['steps'] - first['steps']}",
        "steps over 6 ms": f"{last['misses']} of {last['steps']}",
        "sound on its way, at the end and at most": f"{last['waitingMs']:.0f} ms and {longest:.0f} ms",
        "the same after the worker was held up for 300 ms, at first and 5 s later": (
            f"{held_up['waitingMs']:.0f} ms and {end['waitingMs']:.0f} ms"
        ),
    }
    lines = "".join(f"| {what} | {value} |\n" for what, value in rows.items())
    machine = f"{processor()}, {os.cpu_count()} cores, {instructions()}"
    return f"| page | Chromium, one thread of WebAssembly |\n|---|---|\n{lines}\nMeasured on {machine}.\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=60)
    fill(PAGE, "page measured", table(measure(parser.parse_args().seconds)))


if __name__ == "__main__":
    main()
