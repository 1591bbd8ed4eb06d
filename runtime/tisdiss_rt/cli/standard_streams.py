"""Standard streams as services and launchers leave them: closed, or on a disk that is full.

Results matter more than what is said about them: messages that cannot be written are lost, and the work
goes on.
"""

from __future__ import annotations

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


def drop_output() -> None:
    """Lose what standard output still holds: written once more when the program ends, it would fail again."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.close(nowhere)


class _NeverFailing(io.FileIO):
    """A file that drops what cannot be written."""

    def write(self, data: Any) -> int:
        try:
            return super().write(data)
        except OSError:
            return len(data)
