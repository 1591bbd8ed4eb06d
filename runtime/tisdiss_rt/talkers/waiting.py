"""Where separated voices wait until the last one has come: on disk beside the results, or in memory."""

from __future__ import annotations

import io
import tempfile
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

import numpy as np

from tisdiss_rt.audio import Array
from tisdiss_rt.errors import OutputError


class Waiting:
    """A place where voices wait: a file without a name beside the results, or memory.

    A context manager. The file is gone when the program ends, however it ends. Attribute ``samples`` counts
    what was written.

    Args:
        folder: of the results, which may not be there yet; None for memory.
        sources: number of voices.

    Raises OutputError where there is no room.
    """

    def __init__(self, folder: Path | None, sources: int) -> None:
        self._sources, self._folder = sources, folder
        self.samples = 0
        try:
            self._file = io.BytesIO() if folder is None else _file_in(folder)
        except OSError as error:
            raise self._error(error) from error

    def write(self, piece: Array) -> None:
        """Append a piece (sources, m)."""
        try:
            self._file.write(np.ascontiguousarray(piece.T, np.float32).tobytes())
        except OSError as error:
            raise self._error(error) from error
        self.samples += piece.shape[1]

    def read(self, begin: int, end: int) -> Array:
        """Return the samples from ``begin`` up to, not including, ``end``: (sources, m)."""
        width = 4 * self._sources
        try:
            self._file.seek(width * begin)
            data = self._file.read(width * (end - begin))
        except OSError as error:
            raise self._error(error) from error
        samples: Array = np.frombuffer(data, np.float32).reshape(-1, self._sources).T
        return samples

    def __enter__(self) -> Waiting:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def _error(self, error: OSError) -> OutputError:
        return OutputError(f"cannot write to {self._folder}: {error.strerror or error}")


def _file_in(folder: Path) -> BinaryIO:
    there = next((path for path in (folder, *folder.parents) if path.is_dir()), None)
    file: BinaryIO = tempfile.TemporaryFile(dir=there)  # noqa: SIM115 - `Waiting` closes it
    return file
