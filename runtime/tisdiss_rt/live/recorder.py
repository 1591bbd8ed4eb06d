"""Recording of live sound: nothing that was played may be lost, however the session ends.

Files of `results.WavWriters` are there whole or not at all, which suits a separation that can be repeated. A
conversation cannot. Here the files have their names from the beginning and are valid WAV files all the time:
after every piece of sound the sizes in the header are brought up to date. All of them are always equally
long; where the disk is full they end at the same sample, and where a WAV file holds no more, at 4 GiB, the
recording goes on in mixture_2.wav and so on.

::

    header, 58 bytes: RIFF size WAVE | fmt, 32-bit float | fact samples | data size | samples ...

A thread of its own writes, since a disk may take its time.
"""

from __future__ import annotations

import queue
import struct
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from io import FileIO
from pathlib import Path

import numpy as np

from tisdiss_rt.audio import Array
from tisdiss_rt.audio.growing import lock, write
from tisdiss_rt.errors import OptionError, OutputError
from tisdiss_rt.priority import raised_priority

HEADER_BYTES = 58
_MOST_BYTES = 2**32 - 2**16  # beyond, the sizes of a WAV header overflow
_PIECE_S = 0.25  # sound to gather before it is written
_MOST_WAITING_S = 30.0  # for a disk that does not keep up
_NEARLY = 0.9  # of it, from which on whoever can has to wait


def header(samples: int, sample_rate: int) -> bytes:
    """Return the header of a mono WAV file of 32-bit floats."""
    data = 4 * samples
    form = struct.pack("<4sIHHIIHHH", b"fmt ", 18, 3, 1, sample_rate, 4 * sample_rate, 4, 32, 0)
    fact = struct.pack("<4sII", b"fact", 4, samples)
    riff = struct.pack("<4sI4s", b"RIFF", HEADER_BYTES - 8 + data, b"WAVE")
    return riff + form + fact + struct.pack("<4sI", b"data", data)


class Recorder:
    """One WAV file for each track, all of one length, valid at any moment; where they are full, further ones.

    Args:
        paths: of the files; existing ones are replaced by the first sound, and stay where none comes.
        sample_rate: in Hz.

    Attributes: ``samples`` written of every track; ``paths`` of all files that have some; ``problem``, an
    OutputError once nothing can be written any more. The files end there, and what comes later is ignored.
    Raises OutputError if they cannot be made, or another process records in them.
    """

    def __init__(self, paths: Sequence[Path], sample_rate: int) -> None:
        self.samples = 0
        self.problem: OutputError | None = None
        self.paths: list[Path] = []
        self._first, self._sample_rate = paths, sample_rate
        self._paths, self._begin = paths, 0  # of the latest files, and the samples before them
        self._folder = paths[0].parent
        self._waiting: queue.SimpleQueue[Array | int | None] = queue.SimpleQueue()
        self._came = self._taken = 0  # samples of sound, by who puts them and by who writes them
        self._files: list[FileIO] = []
        self._full: list[FileIO] = []  # which stay open, so that nobody else records there
        self._ours: list[Path] = []  # but not what was there before, until the first sound
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._open(paths)
        except OSError as error:
            self._leave()
            raise OutputError(f"cannot record in {self._folder}: {error.strerror}") from error
        self._thread = threading.Thread(target=self._run, name="recorder")
        self._thread.start()

    def put(self, tracks: Array) -> None:
        """Add (tracks, n); never waits."""
        if self.problem is None and tracks.shape[1]:
            self._came += tracks.shape[1]
            self._waiting.put(tracks)

    def put_silence(self, samples: int) -> None:
        """Add so many samples of silence to every track; never waits."""
        if self.problem is None and samples:
            self._waiting.put(samples)

    def keep_up(self) -> None:
        """Wait for the disk where it is far behind: for sound that comes faster than it is heard."""
        while self.problem is None and self._behind_s() > _NEARLY * _MOST_WAITING_S:
            time.sleep(_PIECE_S / 10)

    def close(self) -> None:
        """Write what is still waiting and end; files without a single sample are removed."""
        self._waiting.put(None)
        self._thread.join()
        self._leave()

    def _open(self, paths: Sequence[Path]) -> None:
        """Open the files; raises OSError also if another process records in them."""
        for path in paths:
            is_new = not path.exists()
            self._files.append(path.open("xb" if is_new else "r+b", buffering=0))
            lock(self._files[-1], "another run is recording there")
            if is_new:
                self._claim(path, self._files[-1])

    def _go_on(self) -> int:
        """Go on in further files, mixture_2.wav and so on; returns how many samples they hold."""
        number = 1 + len(self.paths) // len(self._first)
        self._full += self._files
        self._files, self._begin = [], self.samples
        self._paths = [_part(path, number) for path in self._first]
        self._open(self._paths)
        return self._room()

    def _claim(self, path: Path, file: FileIO) -> None:
        """Claim a file: write a recording of no length."""
        self._ours.append(path)
        file.truncate(0)
        write(file.fileno(), header(0, self._sample_rate), 0)

    def _leave(self) -> None:
        """Close the files; ours are removed if they have not a single sample."""
        for file in (*self._full, *self._files):
            with suppress(OSError):  # told already
                file.close()
        for path in self._ours if self.samples == 0 else ():
            with suppress(OSError):
                path.unlink()

    def _behind_s(self) -> float:
        return (self._came - self._taken) / self._sample_rate

    def _run(self) -> None:
        with raised_priority():  # as all threads that share Python's lock
            try:
                for piece in self._pieces():
                    self._append(piece)
            except Exception as error:
                self._end_here(error)

    def _pieces(self) -> Iterator[Array | int]:
        """Yield what is to be written, in pieces worth it: (tracks, n), or so many samples of silence."""
        gathered: list[Array] = []
        while True:
            came = self._waiting.get()
            if isinstance(came, np.ndarray):
                gathered.append(came)
                if sum(piece.shape[1] for piece in gathered) < _PIECE_S * self._sample_rate:
                    continue
            if gathered:
                yield np.concatenate(gathered, axis=1)
                gathered = []
            if came is None:
                return
            if isinstance(came, int):
                yield came

    def _append(self, piece: Array | int) -> None:
        """Append (tracks, n), or so many samples of silence; raises OSError."""
        if not isinstance(piece, int):
            self._taken += piece.shape[1]
        if isinstance(piece, int):
            while piece > 0:
                part = min(piece, self._room() or self._go_on())
                self._grow(part)
                piece -= part
            return
        if self._behind_s() > _MOST_WAITING_S:
            raise OSError(0, "the disk is too slow")
        if piece.shape[1] > self._room():
            self._go_on()
        self._grow(piece.shape[1], piece)

    def _room(self) -> int:
        """Return how many samples the latest files still hold."""
        return (_MOST_BYTES - HEADER_BYTES) // 4 - (self.samples - self._begin)

    def _grow(self, samples: int, tracks: Array | None = None) -> None:
        """Append (tracks, samples), or silence, and bring the headers up to date; raises OSError."""
        if self.samples == 0:
            for path in _parts_of(self._first):  # of an older recording, which was longer
                with suppress(OSError):
                    path.unlink()
        for path, file in zip(self._paths, self._files, strict=True):
            if path not in self._ours:
                self._claim(path, file)
        at, after = self.samples - self._begin, self.samples - self._begin + samples
        for number, file in enumerate(self._files):
            if tracks is None:  # what is beyond the end of a file is zero
                file.truncate(HEADER_BYTES + 4 * after)
            else:
                write(file.fileno(), tracks[number].astype("<f4").tobytes(), HEADER_BYTES + 4 * at)
        for file in self._files:
            write(file.fileno(), header(after, self._sample_rate), 0)
        self.samples += samples
        if self._paths[0] not in self.paths:
            self.paths.extend(self._paths)

    def _end_here(self, error: Exception) -> None:
        """Say that the files end with what they have, and cut off what is half."""
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        kept_s = self.samples / self._sample_rate
        self.problem = OutputError(
            f"recording ended, {kept_s:.1f} s are kept in {self._folder}: {reason}; make room, or record "
            "elsewhere"
        )
        for path, file in zip(self._paths, self._files, strict=False):  # not all may be open
            if path not in self._ours:
                continue
            with suppress(OSError):
                kept = self.samples - self._begin
                write(file.fileno(), header(kept, self._sample_rate), 0)
                file.truncate(HEADER_BYTES + 4 * kept)


def targets(folder: Path, sources: int, force: bool) -> list[Path]:
    """Return the files of a recording, mixture first; see `check_free`."""
    paths = [folder / name for name in ("mixture.wav", *(f"spk{n}.wav" for n in range(1, sources + 1)))]
    check_free(paths, force)
    return paths


def check_free(paths: Sequence[Path], force: bool) -> None:
    """Raise OptionError if one of the files of a recording exists, or one in which a long one would go on."""
    further = [
        more for path in paths for more in sorted(path.parent.glob(f"{path.stem}_[0-9]*{path.suffix}"))
    ]
    existing = [path for path in (*paths, *further) if path.exists()]
    if existing and not force:
        raise OptionError(f"{existing[0]} exists; --force overwrites")


def _parts_of(paths: Sequence[Path]) -> list[Path]:
    """Return the files in which a long recording has gone on: mixture_2.wav and so on, without a gap."""
    found: list[Path] = []
    number = 2
    while there := [more for path in paths if (more := _part(path, number)).exists()]:
        found += there
        number += 1
    return found


def _part(path: Path, number: int) -> Path:
    return path.with_stem(f"{path.stem}_{number}")
