"""Standard streams as services, launchers and old terminals leave them: closed, full, or short of letters.

Results matter more than what is said about them: messages that cannot be written are lost, and the work
goes on.
"""

from __future__ import annotations

import codecs
import io
import os
import sys
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
        file = io.BufferedWriter(_NeverFailing(2, "w", closefd=False))
        encoding = sys.__stderr__.encoding if sys.__stderr__ else None
        sys.stderr = io.TextIOWrapper(file, encoding, "backslashreplace", line_buffering=True)
    if isinstance(sys.stdout, io.TextIOWrapper):
        codecs.register_error("tisdiss_rt", _escaped)
        sys.stdout.reconfigure(errors="tisdiss_rt")


def drop_output() -> None:
    """Lose what standard output still holds: written once more when the program ends, it would fail again."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.close(nowhere)


def _escaped(error: UnicodeError) -> tuple[str | bytes, int]:
    """Return the bytes of a file name that is no text, and escapes for letters that the encoding has not."""
    try:
        return codecs.lookup_error("surrogateescape")(error)
    except UnicodeEncodeError:
        return codecs.lookup_error("backslashreplace")(error)


class _NeverFailing(io.FileIO):
    """A file that drops what cannot be written."""

    def write(self, data: Any) -> int:
        try:
            return super().write(data)
        except OSError:
            return len(data)
