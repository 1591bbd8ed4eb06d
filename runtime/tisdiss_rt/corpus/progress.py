"""How far a run is, and its log."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Protocol

from tisdiss_rt.errors import OutputError

LOGGED_S = 60.0  # from one line on the progress to the next


@dataclass
class Progress:
    """How far a run is.

    Attributes:
        total: entries of the manifest, or of the share of it.
        before: those that were done before.
        done: all that are done, those included.
        failed: those in which something is wrong, those of before included.
        audio_s: seconds of audio that were separated in this run.
        voices: how many were written in this run.
    """

    total: int
    before: int = 0
    done: int = 0
    failed: int = 0
    audio_s: float = 0.0
    voices: int = 0
    _begin_s: float = field(default_factory=time.monotonic)

    @property
    def taken_s(self) -> float:
        """Seconds since it began."""
        return time.monotonic() - self._begin_s

    @property
    def left_s(self) -> float | None:
        """Seconds that the rest will take if it is like what was done; None before anything was."""
        now = self.done - self.before
        return (self.total - self.done) * self.taken_s / now if now else None

    def __str__(self) -> str:
        rate = self.audio_s / max(self.taken_s, 1e-9)
        left = f", {_clock(self.left_s)} left" if self.left_s else ""
        return (
            f"{self.done} of {self.total} entries, {self.failed} failed, {self.audio_s / 3600:.2f} h of "
            f"audio in {_clock(self.taken_s)} ({rate:.1f} times real time){left}"
        )


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"


class Display(Protocol):
    """Whoever looks on."""

    def tell(self, line: str) -> None:
        """Show what is good to know."""

    def warn(self, line: str) -> None:
        """Show what is wrong with an entry."""

    def update(self, progress: Progress) -> None:
        """Show how far the run is."""


class Log:
    """A text file that says, with the time, what a display shows; what is there stays. A context manager."""

    def __init__(self, path: Path, display: Display) -> None:
        self._display, self._last_s = display, time.monotonic()
        try:
            self._file = path.open("a", encoding="utf-8", errors="backslashreplace", buffering=1)
        except OSError as error:
            raise OutputError(f"cannot write to {path.parent}: {error.strerror}") from error

    def tell(self, line: str) -> None:
        """Write a line, and show it."""
        self._write(line)
        self._display.tell(line)

    def warn(self, line: str) -> None:
        """Write what is wrong with an entry, and show it."""
        self._write(line)
        self._display.warn(line)

    def update(self, progress: Progress) -> None:
        """Show how far the run is, and write it from time to time."""
        self._display.update(progress)
        if time.monotonic() - self._last_s >= LOGGED_S:
            self._last_s = time.monotonic()
            self._write(str(progress))

    def _write(self, line: str) -> None:
        try:
            self._file.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {line}\n")
        except OSError as error:
            raise OutputError(f"cannot write the log: {error.strerror}") from error

    def __enter__(self) -> Log:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
