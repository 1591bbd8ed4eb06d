"""Audio files and arrays in, in blocks, so that an hour of audio needs no more memory than a second.

What would give a wrong result later (NaN) is refused, and what is missing of a truncated file is told.
"""

from __future__ import annotations

import io
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import soundfile

from tisdiss_rt.audio import Array, media
from tisdiss_rt.audio.blocks import remembered
from tisdiss_rt.audio.channels import BLOCK_FRAMES, Mixture
from tisdiss_rt.audio.lengths import Spliced, measure
from tisdiss_rt.audio.libsndfile import (
    UNKNOWN_FRAMES,
    ForwardFile,
    frames_beyond,
    native_path,
    passed_over,
    reason_of,
)
from tisdiss_rt.errors import AudioError

STDIN = "-"
# What a folder given as input is searched for.
SUFFIXES = (".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aiff", ".aif", ".aifc", ".au", ".caf", ".w64")

# The WAV subtype with the resolution of the input's; 16 bits for lossy and companded formats.
_OUTPUT_SUBTYPE = {
    "PCM_S8": "PCM_U8",
    "PCM_U8": "PCM_U8",
    "PCM_24": "PCM_24",
    "PCM_32": "PCM_32",
    "FLOAT": "FLOAT",
    "DOUBLE": "DOUBLE",
    "ALAC_20": "PCM_24",
    "ALAC_24": "PCM_24",
    "ALAC_32": "PCM_32",
}
_MOST_HZ = 10_000_000  # beyond, no sound is sampled
_MENTIONED_FRAMES = 16  # fewer that are missing are rounding
_MENTIONED_S = 0.25  # of media files, which begin and end with what encoders add
_KEPT_SAMPLES = 2**22  # of all channels: a recording of no more is decoded once and kept, in 16 MB
_ROUNDED_S = 0.1  # of parts, whose times may be rounded


class AudioReader:
    """An audio file, or standard input for ``-``, as blocks; it may be read more than once.

    Args:
        source: the file, or what is in it.
        start_s: where the part begins that is read, by default all of it.
        length_s: how long that is; None for all that follows.

    Attributes ``path``, ``sample_rate`` (Hz), ``channels`` (how many), ``frames`` (as the header says; None
    if it cannot), ``subtype`` (of the WAV files to write), ``label`` (what messages call it), ``done``
    (samples that were read), ``is_part`` (whether not all of the file is wanted).
    Raises AudioError for anything of which nothing can be read.
    """

    def __init__(
        self,
        source: str | os.PathLike[str] | io.BytesIO,
        start_s: float = 0.0,
        length_s: float | None = None,
    ) -> None:
        self.path = STDIN if isinstance(source, io.BytesIO) else source
        self.is_part = start_s > 0 or length_s is not None
        unnamed = "the recording" if isinstance(source, io.BytesIO) else "standard input"
        self.label = unnamed if os.fspath(self.path) == STDIN else os.fspath(self.path)
        self.done = 0
        self._is_begun = False
        with ExitStack() as resources:
            self._source: Any
            try:
                self._source, self._bytes = self._source_of(source, resources)
            except OSError as error:
                raise AudioError(f"{self.label}: {error.strerror}") from error
            self._measured = measure(self._bytes)
            self._opened = resources.enter_context(ExitStack())
            self._files = self._open()
            self._describe(self._files)
            if self.is_part:
                self._take_part(start_s, length_s)
            self._resources = resources.pop_all()

    def _describe(self, files: list[Any]) -> None:
        """Fill in what is known before reading."""
        first = files[0]
        self.sample_rate: int = first.samplerate
        check_rate(self.sample_rate, self.label)
        self.channels: int = first.channels
        self.subtype = _OUTPUT_SUBTYPE.get(first.subtype, "PCM_16")
        frames = sum(file.frames for file in files)
        is_media = isinstance(first, media.MediaFile)
        self._mentioned = round(_MENTIONED_S * self.sample_rate) if is_media else _MENTIONED_FRAMES
        is_open = self._measured.is_open or frames >= UNKNOWN_FRAMES or (is_media and frames == 0)
        self.frames: int | None = None if is_open else frames
        self._beyond = frames_beyond(first, self._measured)  # frames
        self._begin, self._end = 0, sys.maxsize
        self._damage, self._lost = "", 0  # of what is read: in words, and silent frames
        if self.frames == 0:
            raise AudioError(f"{self.label}: has no samples")

    def _take_part(self, start_s: float, length_s: float | None) -> None:
        """Let the part take the place of the file."""
        self._begin = round(start_s * self.sample_rate)
        if length_s is not None:
            self._end = self._begin + max(1, round(length_s * self.sample_rate))
        self._mentioned = max(self._mentioned, round(_ROUNDED_S * self.sample_rate))
        if self.frames is None:
            return
        if self._begin >= self.frames:
            raise self._ends_before(self.frames)
        promised = self.frames + self._beyond if length_s is None else self._end
        self.frames = min(self._end, self.frames) - self._begin
        self._beyond = promised - self._begin - self.frames

    def _ends_before(self, frames: int) -> AudioError:
        """Return what to raise where the file ends after so many frames, before the part begins."""
        there_s, start_s = frames / self.sample_rate, self._begin / self.sample_rate
        return AudioError(f"{self.label}: has {there_s:.1f} s, and the part begins at {start_s:.1f} s")

    def _open(self) -> list[Any]:
        """Open the file, and those that are joined to it, at the beginning."""
        self._bytes.seek(0)
        sources = [self._measured.source or native_path(self._source), *self._measured.rest]
        try:
            for source in sources:
                if isinstance(source, Spliced):
                    source.seek(0)
            return [self._opened.enter_context(ForwardFile(source)) for source in sources]
        except (soundfile.LibsndfileError, TypeError) as error:  # TypeError: headerless .raw
            self._bytes.seek(0)
            return [self._opened.enter_context(self._media(self._bytes, error))]

    def _media(self, file: BinaryIO, refused: Exception) -> media.MediaFile:
        """Open what libsndfile refused with FFmpeg, or say how to install it where it may help."""
        reason, is_media = reason_of(refused), self.label.lower().endswith(media.SUFFIXES)
        if media.is_installed():
            try:
                return media.MediaFile(file)
            except media.MediaError as error:
                reason = str(error) if is_media else reason
        elif is_media:
            reason += f"; {media.INSTALL} reads it"
        raise AudioError(f"{self.label}: not readable as audio: {reason}") from refused

    def _source_of(
        self, path: str | os.PathLike[str] | io.BytesIO, resources: ExitStack
    ) -> tuple[Any, BinaryIO]:
        """Return what libsndfile opens, and the file to look into before."""
        if isinstance(path, io.BytesIO):
            return path, path
        if os.fspath(path) == STDIN:
            if sys.stdin is None:
                raise AudioError("standard input: is closed")
            copy = _seekable_copy(sys.stdin.buffer, resources)
            return copy, copy
        source = Path(path)
        if not source.exists():
            raise AudioError(f"{self.label}: no such file")
        if source.is_dir():
            raise AudioError(f"{self.label}: is a folder")
        file = resources.enter_context(source.open("rb"))
        if file.seekable():
            return source, file
        copy = _seekable_copy(file, resources)
        return copy, copy

    def mixture(self) -> Mixture:
        """Return it as something whose channels can be chosen."""
        is_short = self.frames is not None and self.frames * self.channels <= _KEPT_SAMPLES
        columns = remembered(self.columns) if is_short else self.columns
        about = (self.channels, self.sample_rate, lambda: self.done, self.frames, self.label)
        return Mixture(columns, *about)

    def blocks(self) -> Iterator[Array]:
        """Yield the mean of all channels as (m,) float32; their lengths add up to ``done``."""
        yield from self.mixture().mono(None)

    def columns(self) -> Iterator[Array]:
        """Yield the recording as (m, channels) float32, from the beginning; all it has is in ``done``."""
        if self._is_begun:
            self._opened.close()
            self._files = self._open()
        self._is_begun, self.done = True, 0
        self._lost = 0
        self._damage = "cut off, nobody can tell how much is missing" if self._measured.is_cut else ""
        position = 0
        for file in self._files:
            if file.samplerate != self.sample_rate:
                self._damage = f"what follows has {file.samplerate} Hz"
                break
            position += passed_over(file, self._begin - position)
            while position < self._end and len(block := self._read(file)):
                wanted = block[max(self._begin - position, 0) : self._end - position]
                position += len(block)
                if len(wanted):
                    self.done += len(wanted)
                    yield wanted
            self._lost += getattr(file, "lost", 0)
        if position >= self._end:
            self._damage = ""  # if any, it is behind the part
        if self.done == 0:
            # Of a file whose frames are all damaged, some versions of libsndfile give none without an error.
            damage = self._damage or ("nothing of it can be read" if self.frames else "")
            if position and not damage:
                raise self._ends_before(position)
            raise AudioError(f"{self.label}: " + (f"damaged: {damage}" if damage else "has no samples"))

    def _read(self, file: Any) -> Array:
        """Return the next frames (m, channels), none where the file ends or is damaged."""
        try:
            block: Array = file.read(BLOCK_FRAMES, dtype="float32", always_2d=True)
        except (soundfile.LibsndfileError, media.MediaError) as error:
            self._damage = reason_of(error)
            block = np.zeros((0, 1), np.float32)
        return block

    @property
    def missing_s(self) -> float:
        """Seconds that the header promises beyond what was read; for after the last block."""
        wanted = self.frames or (self.done if self._end == sys.maxsize else self._end - self._begin)
        missing = wanted - self.done + self._beyond
        return missing / self.sample_rate if missing >= self._mentioned else 0.0

    @property
    def fault(self) -> str | None:
        """What of the file could not be read, in one line; for after the last block."""
        done_s, lost_s = self.done / self.sample_rate, self._lost / self.sample_rate
        silent = f"damaged: {lost_s:.1f} s cannot be decoded and are silent" if self._lost else ""
        reason = f": {self._damage}" if self._damage else ""
        if self.missing_s:
            total_s = done_s + self.missing_s
            told = f"truncated: {self.missing_s:.1f} s of {total_s:.1f} s are missing{reason}"
        else:
            told = f"damaged after {done_s:.1f} s{reason}" if reason else ""
        return "; ".join(filter(None, [silent, told])) or None

    @property
    def problem(self) -> str | None:
        """The fault, with the name of the file."""
        return None if self.fault is None else f"{self.label}: {self.fault}"

    def __enter__(self) -> AudioReader:
        return self

    def __exit__(self, *_: object) -> None:
        self._resources.close()


def check_rate(sample_rate: int, label: str) -> None:
    """Raise AudioError for a rate that no sound has."""
    if sample_rate > _MOST_HZ:
        raise AudioError(f"{label}: {sample_rate} Hz is no sample rate; it is at most {_MOST_HZ} Hz")


def _seekable_copy(file: BinaryIO, resources: ExitStack) -> BinaryIO:
    """Copy what comes to a temporary file, or into memory where there is no place for one."""
    try:
        copy: BinaryIO = resources.enter_context(tempfile.TemporaryFile())  # noqa: SIM115
    except OSError:
        copy = io.BytesIO()
    shutil.copyfileobj(file, copy)
    copy.seek(0)
    return copy
