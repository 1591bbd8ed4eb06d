"""When the machine itself stood still because its host was busy, which no program on it is to blame for.

On each core, a process of the highest priority sleeps for `WATCH_S` again and again, and reports when it
wakes up late.
"""

from __future__ import annotations

import math
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterable

WATCH_S, HELD_UP_S = 0.0005, 0.0005


class HoldUps:
    """Watches some cores while it is entered, where real-time scheduling is allowed.

    Attribute ``found``: begin and end of each hold-up, by the monotonic clock.
    """

    def __init__(self, cores: Iterable[int]) -> None:
        self.found: list[tuple[float, float]] = []
        self._cores = cores

    def __enter__(self) -> HoldUps:
        self._running = [
            subprocess.Popen([sys.executable, __file__, str(core)], stdout=subprocess.PIPE, text=True)
            for core in self._cores
        ]
        self._readers = [threading.Thread(target=self._read, args=(each,)) for each in self._running]
        for reader in self._readers:
            reader.start()
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._running:
            process.kill()
            process.wait()
        for reader in self._readers:
            reader.join()

    def _read(self, process: subprocess.Popen[str]) -> None:
        for line in process.stdout or ():
            begin_s, end_s = map(float, line.split())
            self.found.append((begin_s, end_s))

    def longest_s(self, begin_s: float, end_s: float) -> float:
        """Return the length of the longest hold-up beyond `HELD_UP_S` that touches this time, or 0.

        NaN where watching is not possible. Call it inside the block.
        """
        if any(process.poll() is not None for process in self._running):
            return math.nan
        return max((end - begin for begin, end in self.found if begin < end_s and end > begin_s), default=0.0)


def watch(core: int) -> None:
    """Print hold-ups until killed."""
    os.sched_setaffinity(0, {core})
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(90))
    while True:
        due_s = time.monotonic() + WATCH_S
        time.sleep(WATCH_S)
        now_s = time.monotonic()
        if now_s - due_s > HELD_UP_S:
            print(due_s, now_s, flush=True)


if __name__ == "__main__":
    watch(int(sys.argv[1]))
