"""What a corpus costs: by depth, over workers and their memory, and on Ray against plain workers.

    python -m benchmarks.speed.corpus                        # all of it, printed
    python -m benchmarks.speed.corpus --only depth --update  # one part, and it goes into CORPUS.md

Files are of the example, which is all overlap: the dearest there is. What is compared runs in turn, on one
thread each. The part `ray` needs the extra `[ray]`; it starts a cluster on this machine and ends it.
"""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import partial
from multiprocessing import active_children
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile

from benchmarks.speed.page import run
from benchmarks.speed.tools import EXAMPLE
from tisdiss_rt.corpus.entries import Entry
from tisdiss_rt.corpus.on_ray import OnRay
from tisdiss_rt.corpus.run import Separating
from tisdiss_rt.corpus.workers import Task, Workers

BUNDLE = "edge-16k"
DEPTHS = (0, 1, 2, 4, 8)
SECONDS, FILES = 20.0, 6
ROUNDS = 3
RAY_SECONDS, RAY_FILES = 5.0, 200
HOURS = 1000
MACHINES = (2, 16, 64)  # cores


class Taken(NamedTuple):
    """A run: seconds until each file was done, seconds of their audio, and of the processors' time."""

    done_s: list[float]
    audio_s: list[float]
    core_s: float

    @property
    def rate(self) -> float:
        """Seconds of audio per second from the start to the last file."""
        return sum(self.audio_s) / self.done_s[-1]

    @property
    def steady_rate(self) -> float:
        """Seconds of audio per second from the first file to the last."""
        return sum(self.audio_s[1:]) / (self.done_s[-1] - self.done_s[0])


def write_files(folder: Path, count: int, seconds: float) -> list[Entry]:
    """Write files of which no two are the same."""
    mix, rate = soundfile.read(EXAMPLE, dtype="float32")
    entries = []
    for number in range(count):
        path = folder / f"{number}.flac"
        soundfile.write(path, np.resize(np.roll(mix, 997 * number), round(seconds * rate)), rate)
        entries.append(Entry(number + 1, {"audio_filepath": path.name}, path))
    return entries


def separated(
    opened: Callable[[Task], AbstractContextManager[Separating]], entries: list[Entry], depth: int
) -> Taken:
    """Separate entries, on workers that have started and are warm."""
    engine = {"bundle": BUNDLE, "provider": "cpu", "precision": "fp32", "threads": 1}
    with tempfile.TemporaryDirectory() as name:
        task = Task(engine, {"depth": depth}, Path(name), Path(name) / ".making")
        with opened(task) as separating:
            warm = [entries[0]] * 2
            assert all(outcome.rows for _, outcome in separating.separate(iter(warm)))
            workers = [child.pid for child in active_children() if child.pid is not None]
            begin_s, begin_core_s = time.perf_counter(), sum(map(core_s_of, workers))
            done_s, audio_s = [], []
            for entry, outcome in separating.separate(iter(entries)):
                assert outcome.reason is None, (entry, outcome)
                done_s.append(time.perf_counter() - begin_s)
                audio_s.append(outcome.audio_s)
            core_s = sum(map(core_s_of, workers)) - begin_core_s
    return Taken(done_s, audio_s, core_s)


def core_s_of(process: int) -> float:
    """Return for how many seconds a processor has worked for a process."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def by_depth() -> str:
    """Measure what one worker with one core does at each depth."""
    lines = [
        f"One worker with one thread, in 32-bit floats, {FILES} files of {SECONDS:g} s. A core hour is an",
        f"hour in which one core does nothing else. Days are for {HOURS} hours of audio: core hours over",
        "cores.",
        "",
        f"| depth | hours of audio per core hour | core hours for {HOURS} hours | "
        + " | ".join(f"{cores} cores" for cores in MACHINES)
        + " |",
        "|---|---|---" + "|---" * len(MACHINES) + "|",
    ]
    with tempfile.TemporaryDirectory() as name:
        entries = write_files(Path(name), FILES, SECONDS)
        for depth in DEPTHS:
            taken = separated(partial(Workers, 1), entries, depth)
            rate = sum(taken.audio_s) / taken.core_s
            days = " | ".join(f"{HOURS / rate / cores / 24:.1f} days" for cores in MACHINES)
            lines.append(f"| {depth} | {rate:.1f} | {HOURS / rate:.0f} | {days} |")
    return "\n".join(lines) + "\n"


def over_workers() -> str:
    """Compare workers with one, and their memory with that of one `separate`."""
    cores = len(os.sched_getaffinity(0))
    depth = 2
    counts = [count for count in (1, 2, 4, 8, 16) if count <= cores]
    lines = [
        f"Depth {depth}, one thread each, {2 * FILES} files of {SECONDS:g} s, median of {ROUNDS} rounds",
        "(least and greatest). Memory is the most that any worker had; `separate` is one run of it on one of",
        "the files.",
        "",
        "| workers | times real time | times as fast as one | memory of each |",
        "|---|---|---|---|",
    ]
    with tempfile.TemporaryDirectory() as name:
        entries = write_files(Path(name), 2 * FILES, SECONDS)
        rounds = [
            {count: separated(partial(Workers, count), entries, depth) for count in counts}
            for _ in range(ROUNDS)
        ]
        manifest = Path(name) / "in.jsonl"
        manifest.write_text("".join(json.dumps(entry.fields) + "\n" for entry in entries))
        for count in counts:
            ratios = [taken[count].rate / taken[1].rate for taken in rounds]
            rate = statistics.median(taken[count].rate for taken in rounds)
            words = ["--manifest", manifest, "--workers", count, "--depth", depth, "-o", f"{name}/{count}"]
            lines.append(
                f"| {count} | {rate:.1f} | {statistics.median(ratios):.2f} "
                f"({min(ratios):.2f} to {max(ratios):.2f}) | {memory_mb(words)[1]:.0f} MB |"
            )
        alone_mb, _ = memory_mb([entries[0].path, "--depth", depth, "-o", f"{name}/alone"])
        lines.append(f"| `separate` | | | {alone_mb:.0f} MB |")
    return "\n".join(lines) + "\n"


def memory_mb(words: list[object]) -> tuple[float, float]:
    """Run `separate`; return the most memory that it had itself, and that any of its workers had."""
    program = "from tisdiss_rt.cli.main import main; main()"
    engine = ("--bundle", BUNDLE, "--provider", "cpu", "--precision", "fp32", "--threads", "1", "--quiet")
    command = [sys.executable, "-c", program, "separate", *map(str, words), *engine]
    own, workers = 0.0, 0.0
    with subprocess.Popen(command) as process:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        while process.poll() is None:
            with suppress(OSError, ValueError):  # one of them has just ended
                own = max(own, peak_mb(process.pid))
                workers = max(workers, *map(peak_mb, map(int, children.read_text().split())), 0.0)
            time.sleep(0.02)
    assert process.returncode == 0
    return own, workers


def peak_mb(process: int) -> float:
    """Return the most memory that a process has had."""
    status = Path(f"/proc/{process}/status").read_text()
    (line,) = (line for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) / 1024


@contextmanager
def cluster(nodes: int) -> Iterator[str]:
    """Start a Ray cluster on this machine, with one core a node; yields its address."""
    port = next(port for port in range(20000 + os.getpid() % 10000, 32768) if _is_closed(port))
    address = f"127.0.0.1:{port}"
    environment = {**os.environ, "RAY_worker_niceness": "0", "RAY_AUTH_MODE": "disabled"}
    command = [str(Path(sys.executable).with_name("ray")), "start", "--block", "--num-cpus=1"]
    command += ["--node-ip-address=127.0.0.1", "--disable-usage-stats", "--object-store-memory=100000000"]
    with tempfile.TemporaryDirectory(prefix="ray", ignore_cleanup_errors=True) as folder:
        head = ["--head", f"--port={port}", "--include-dashboard=false", f"--temp-dir={folder}"]
        started = []
        try:
            for own in [head] + [[f"--address={address}"]] * (nodes - 1):
                started.append(
                    subprocess.Popen(
                        [*command, *own],
                        start_new_session=True,
                        env=environment,
                        stdout=subprocess.DEVNULL,
                        stderr=subprocess.DEVNULL,
                    )
                )
                while _is_closed(port):
                    time.sleep(0.2)
            time.sleep(10)  # until all have joined
            yield address
        finally:
            for process in reversed(started):
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def _is_closed(port: int) -> bool:
    with socket.socket() as asking:
        return asking.connect_ex(("127.0.0.1", port)) != 0


def on_ray() -> str:
    """Compare Ray with plain workers."""
    if importlib.util.find_spec("ray") is None:
        return "Ray is not installed.\n"
    count, depth = 2, 1
    lines = [
        f"Depth {depth}, {RAY_FILES} files of {RAY_SECONDS:g} s, {count} workers with one thread each, and",
        f"as many nodes with one actor each; median of {ROUNDS} rounds (least and greatest). The rate is",
        "from the first file to the last; Ray starts its actors before, which takes some seconds.",
        "",
        "| | times real time | of plain workers |",
        "|---|---|---|",
    ]
    with tempfile.TemporaryDirectory() as name, cluster(count) as address:
        entries = write_files(Path(name), RAY_FILES, RAY_SECONDS)
        plain, ray = zip(
            *(
                (
                    separated(partial(Workers, count), entries, depth).steady_rate,
                    separated(partial(OnRay, address, count), entries, depth).steady_rate,
                )
                for _ in range(ROUNDS)
            ),
            strict=True,
        )
    ratios = [100 * one / other for one, other in zip(ray, plain, strict=True)]
    lines += [
        f"| workers | {statistics.median(plain):.1f} | |",
        f"| Ray | {statistics.median(ray):.1f} | {statistics.median(ratios):.0f} % "
        f"({min(ratios):.0f} to {max(ratios):.0f} %) |",
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    run(
        __doc__,
        Path(__file__).parent / "CORPUS.md",
        {
            "depth": ("By depth", by_depth),
            "workers": ("Over workers", over_workers),
            "ray": ("On Ray", on_ray),
        },
        in_overview={"depth": "cost by depth"},
        overview=Path(__file__).parents[2] / "docs" / "corpora.md",
    )
