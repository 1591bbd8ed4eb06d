"""Part of `faults.py`: sound that goes on for hours takes no more memory than minutes of it.

An hour goes through one stream of `live-16k`, and `edge-16k` separates a file of a day, both at depth 0. The
file is sparse: every hour begins with the example, and the rest is silence that takes no room on the disk.
What is separated of it does: 0.7 GB for an hour while it runs.
"""

from __future__ import annotations

import multiprocessing as mp
import os
import resource
import struct
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

import tisdiss_rt
from tisdiss_rt.separator import Separator

EXAMPLE = Path(tisdiss_rt.__file__).parent / "example" / "two_voices.wav"
RATE = 16000
CHUNK = 1600
STREAM_GROWTH_MB = 10.0
FILE_GROWTH_MB = 20.0, 5.0  # at once, and for every hour: the descriptions of the voices
MOST_MB = 1000.0  # at any moment
AFTER = 0.1  # of the sound, memory is what it remains


def memory_mb() -> float:
    """Return the memory that this process holds now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


class Growth:
    """What memory was when a share of the sound had passed, and how much it grew from there."""

    def __init__(self) -> None:
        self.first_mb: float | None = None
        self.most_mb = 0.0

    def look(self, done: float) -> None:
        self.most_mb = memory_mb()
        if done >= AFTER and self.first_mb is None:
            self.first_mb = self.most_mb

    def told(self, what: str, allowed_mb: float) -> tuple[str, bool]:
        grown_mb = self.most_mb - (self.first_mb or 0)
        peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        line = (
            f"{what}: {self.first_mb:.0f} MB after a tenth, {grown_mb:+.0f} MB at the end, "
            f"at most {peak_mb:.0f} MB"
        )
        return line, grown_mb <= allowed_mb and peak_mb <= MOST_MB


def stream(hours: float) -> tuple[str, bool]:
    """Send the example through one stream, over and over."""
    sound = soundfile.read(EXAMPLE, dtype="float32")[0]
    opened = Separator("live-16k", provider="cpu", precision="fp32", threads=1).stream(RATE, depth=0)
    growth, total = Growth(), round(hours * 3600 * RATE)
    count = 0
    for begin in range(0, total, CHUNK):
        at = begin % (len(sound) - CHUNK)
        count += opened.process(sound[at : at + CHUNK]).shape[1]
        if begin % (600 * CHUNK) == 0:
            growth.look(begin / total)
    count += opened.flush().shape[1]
    growth.look(1.0)
    line, is_good = growth.told(f"{hours:g} h through one stream", STREAM_GROWTH_MB)
    return line, is_good and count == -(-total // CHUNK) * CHUNK


def file(hours: float) -> tuple[str, bool]:
    """Separate a sparse file."""
    growth, frames = Growth(), round(hours * 3600 * RATE)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "long.wav"
        write_sparse(path, frames)
        separator = Separator("edge-16k", provider="cpu", precision="fp32", threads=1)
        targets = [Path(folder) / f"{number}.wav" for number in (1, 2)]
        separator.separate_file(
            path, targets, depth=0, progress=lambda done_s, _: growth.look(done_s / hours / 3600)
        )
        growth.look(1.0)
        lengths = {soundfile.info(target).frames for target in targets}
    at_once_mb, hourly_mb = FILE_GROWTH_MB
    line, is_good = growth.told(f"a file of {hours:g} h", at_once_mb + hourly_mb * hours)
    return line, is_good and lengths == {frames}


def write_sparse(path: Path, frames: int) -> None:
    """Write an RF64 file of so many frames, with the example at the beginning of every hour."""
    sound = soundfile.read(EXAMPLE, dtype="int16")[0][:frames]
    chunks = b"fmt " + struct.pack("<IHHIIHH", 16, 1, 1, RATE, 2 * RATE, 2, 16)
    sizes = struct.pack("<4sIqqqI", b"ds64", 28, 2 * frames + 72, 2 * frames, frames, 0)
    head = b"RF64\xff\xff\xff\xffWAVE" + sizes + chunks + b"data\xff\xff\xff\xff"
    with path.open("wb") as out:
        out.write(head)
        for begin in range(0, frames - len(sound) + 1, 3600 * RATE):
            out.seek(len(head) + 2 * begin)
            out.write(np.ascontiguousarray(sound).tobytes())
        out.truncate(len(head) + 2 * frames)


def _in_process(measure: Callable[[float], Any], hours: float) -> tuple[str, bool]:
    with mp.get_context("spawn").Pool(1) as pool:
        result: tuple[str, bool] = pool.apply(measure, (hours,))
    return result


def faults(hours: float) -> list[str]:
    """Print how memory grew, each in a process of its own; returns where it was too much."""
    bad = []
    for measure, length in ((stream, min(hours, 1.0)), (file, hours)):
        line, is_good = _in_process(measure, length)
        print(line, flush=True)
        if not is_good:
            bad.append(f"grows, or has another length: {line}")
    return bad
