"""Files that grow while others may read them: one process at a time, and all of a piece or an error."""

from __future__ import annotations

import os
import sys
from io import FileIO


def lock(file: FileIO, problem: str) -> None:
    """Keep other processes away as long as the file is open, where the system can.

    Raises OSError with ``problem`` as its text where one has it already.
    """
    if sys.platform != "win32":
        import fcntl

        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise OSError(error.errno, problem) from error


def write(descriptor: int, data: bytes, at: int) -> None:
    """Write all of it at a position, or raise OSError."""
    done = 0
    os.lseek(descriptor, at, os.SEEK_SET)
    while done < len(data):
        done += os.write(descriptor, data[done:])
