"""Signals end live sound in order: they are noted, and what closes devices and files is never interrupted.

An exception from a signal handler comes anywhere, also while a file is closed because of the signal before.
And a signal that comes while Python itself ends kills it; so does a thread that is left behind in a library.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import NoReturn

_PATIENCE_S = 3.0  # for closing, before a further signal ends the process at once
_MOST = 3  # signals, of which that is the last


class Stop:
    """What signals have asked for. Attribute ``number`` is the first signal, 0 if none came."""

    def __init__(self) -> None:
        self.number = 0
        self._count, self._first_s = 0, 0.0

    def note(self, number: int, frame: FrameType | None) -> None:
        """Handle a signal."""
        self._count += 1
        if self._count == 1:
            self.number, self._first_s = number, time.monotonic()
        elif self._count >= _MOST and time.monotonic() - self._first_s > _PATIENCE_S:
            os._exit(128 + number)  # recordings are valid at any moment

    def exit(self) -> None:
        """End the program as the signal would have; Ctrl-C is the usual way to stop, and no failure."""
        if self.number:
            end_at_once(0 if self.number == signal.SIGINT else 128 + self.number)


def end_at_once(status: int) -> NoReturn:
    """End the program, whose files are closed, without what may come in between."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):  # nobody reads it any more
            stream.flush()
    os._exit(status)


@contextmanager
def signals_noted() -> Iterator[Stop]:
    """While the block runs, note Ctrl-C, SIGTERM and, but with nohup, a closed terminal."""
    stop = Stop()
    numbers = [signal.SIGINT, signal.SIGTERM]
    if sys.platform != "win32" and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        numbers.append(signal.SIGHUP)
    before = {number: signal.signal(number, stop.note) for number in numbers}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
