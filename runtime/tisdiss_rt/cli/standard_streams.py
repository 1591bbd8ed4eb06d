"""Standard streams as services, launchers and old terminals leave them: closed, full, or short of letters.

Results matter more than what is said about them: messages that cannot be written are lost, and the work
goes on.
"""

from __future__ import annotations

import codecs
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any


def mend() -> None:
    """Replace closed streams, and make standard error one that never fails."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number, which no other file must get
    if sys.stdout is None:
        sys.stdout = os.fdopen(1, "w", closefd=False)
    if sys.stderr is None:
        sys.stderr = os.fdopen(2, "w", closefd=False)
    elif sys.stderr is sys.__stderr__ and sys.platform != "win32":  # where consoles are no files
        sys.stderr = _never_failing(2, sys.__stderr__.encoding if sys.__stderr__ else None, closefd=False)
    if isinstance(sys.stdout, io.TextIOWrapper):
        codecs.register_error("tisdiss_rt", _escaped)
        sys.stdout.reconfigure(errors="tisdiss_rt")


def drop_output() -> None:
    """Lose what standard output still holds: written once more when the program ends, it would fail again."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.close(nowhere)


@contextmanager
def quiet_libraries() -> Iterator[None]:
    """While the block runs, keep what PortAudio and ALSA print themselves off standard error; ours stays."""
    if sys.stderr is None:  # closed, and another file may have its number
        yield
        return
    sys.stderr.flush()
    kept = os.dup(2)
    encoding = None if sys.platform == "win32" else getattr(sys.stderr, "encoding", None)
    ours, python_stderr = _never_failing(os.dup(2), encoding, closefd=True), sys.stderr
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        is_plain = sys.stderr.fileno() == 2
    except (OSError, AttributeError):
        is_plain = False
    os.dup2(nowhere, 2)
    if is_plain:
        sys.stderr = ours
    try:
        yield
    finally:
        sys.stderr = python_stderr
        os.dup2(kept, 2)
        ours.close()
        os.close(kept)
        os.close(nowhere)


def _never_failing(number: int, encoding: str | None, closefd: bool) -> io.TextIOWrapper:
    """Return a text file that drops what cannot be written, and escapes letters that the encoding has not."""
    file = io.BufferedWriter(_NeverFailing(number, "w", closefd=closefd))
    return io.TextIOWrapper(file, encoding, "backslashreplace", line_buffering=True)


def _escaped(error: UnicodeError) -> tuple[str | bytes, int]:
    """Return the bytes of a file name that is no text, and escapes for letters that the encoding has not."""
    try:
        return codecs.lookup_error("surrogateescape")(error)
    except UnicodeEncodeError:
        return codecs.lookup_error("backslashreplace")(error)


class _NeverFailing(io.FileIO):
    """A file that drops what cannot be written."""

    def write(self, data: Any) -> int:
        written: int | None = None  # also where the other end takes nothing just now
        with suppress(OSError):
            written = super().write(data)
        return len(data) if written is None else written
