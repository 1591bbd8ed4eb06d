"""A whole recording, decided at once: its voices wait until all are there, and then go to the right outputs.

::

    voices ──> described, block by block ──> wait in a file ──> in the order of their talkers ──> voices
                         └──────────> assignment of all blocks ─────────┘

What stays in memory is the description: for an hour about 3 MB.
"""

from __future__ import annotations

import io
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

import numpy as np

from tisdiss_rt.audio import Array
from tisdiss_rt.audio.filters import fade_in
from tisdiss_rt.errors import OutputError
from tisdiss_rt.planning.plan import Step
from tisdiss_rt.talkers.assignment import Order, assign
from tisdiss_rt.talkers.blocks import Describer, Voiceprints

FADE_S = 0.016  # from one order to another
_STEP_S = 0.008  # of the search for the quietest moment
_READ_BLOCKS = 64


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


@dataclass
class Recording:
    """A recording on its way, and what becomes known of it.

    Attributes:
        blocks: its samples (m,), mono.
        sample_rate: of the blocks in Hz.
        length: returns how many samples have come until now.
        expected: how many there will be; None where nobody knows.
        steps: one record for each window or step, as they are done.
        one_talker: whether nobody else talks; known when all has been separated.
    """

    blocks: Iterable[Array]
    sample_rate: int
    length: Callable[[], int]
    expected: int | None
    steps: list[Step] = field(default_factory=list)
    one_talker: bool = False


def settled(
    pieces: Iterable[Array],
    voiceprints: Voiceprints,
    sample_rate: int,
    waiting: Waiting,
    recording: Recording,
) -> Iterator[Array]:
    """Put the voices of a recording into one order from beginning to end.

    Where there is one talker, all that the outputs have is theirs: the first gets it, the others are silent.

    Args:
        pieces: (sources, m), as separated.
        voiceprints: what voices are compared by.
        sample_rate: of the pieces in Hz.
        waiting: where they wait until the last one has come.
        recording: whose ``one_talker`` is filled in.

    Yields:
        Pieces (sources, m), as many samples in all.
    """
    describer: Describer | None = None
    for piece in pieces:
        if describer is None:
            describer = Describer(voiceprints, len(piece), sample_rate)
        describer.take(piece)
        waiting.write(piece)
    if waiting.samples:
        assert describer is not None
        orders = assign(describer.result(), voiceprints)
        recording.one_talker = orders is None
        if orders is None:
            yield from _on_the_first(waiting, _READ_BLOCKS * describer.block)
        else:
            yield from in_order(waiting, orders, describer.block, sample_rate)


def _on_the_first(waiting: Waiting, samples: int) -> Iterator[Array]:
    """Yield what waits in pieces (sources, samples): the sum of the sources, and silence."""
    for begin in range(0, waiting.samples, samples):
        piece = waiting.read(begin, min(begin + samples, waiting.samples))
        alone = np.zeros_like(piece)
        alone[0] = piece.sum(0)
        yield alone


def in_order(waiting: Waiting, orders: Order, block: int, sample_rate: int) -> Iterator[Array]:
    """Yield what waits in pieces (sources, m), the sources of each block in an order (blocks, sources)."""
    fade = round(FADE_S * sample_rate)
    rising = fade_in(fade)
    changes = 1 + np.flatnonzero((orders[1:] != orders[:-1]).any(1))
    starts = [0, *(_quietest(waiting, int(b) * block, block, fade, sample_rate) for b in changes)]
    before: Array | None = None
    for number, (start, end) in enumerate(zip(starts, [*starts[1:], waiting.samples], strict=True)):
        order = orders[0] if number == 0 else orders[changes[number - 1]]
        for begin in range(start, end, _READ_BLOCKS * block):
            piece = waiting.read(begin, min(begin + _READ_BLOCKS * block, end))
            ordered = piece[order]
            if begin == start and before is not None:
                count = min(fade, piece.shape[1])
                old = piece[before, :count]
                ordered[:, :count] = old + rising[:count] * (ordered[:, :count] - old)
            yield ordered
        before = order


def _quietest(waiting: Waiting, boundary: int, block: int, fade: int, sample_rate: int) -> int:
    """Return where, around a boundary of two blocks, a fade meets the least sound."""
    begin = max(boundary - block // 2 + fade, 0)
    around = waiting.read(begin, min(boundary + block // 2 - fade, waiting.samples))
    step = round(_STEP_S * sample_rate)
    power = np.square(around).sum(0)
    steps = len(power) // step
    if steps < 2:
        return min(boundary, waiting.samples)
    loud = power[: steps * step].reshape(steps, step).sum(1)
    return begin + step * int((loud[1:] + loud[:-1]).argmin())
