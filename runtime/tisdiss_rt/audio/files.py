"""Audio files and arrays in, in blocks, so that an hour of audio needs no more memory than a second.

What would give a wrong result later (NaN) is refused, and what is missing of a truncated file is told.
"""

from __future__ import annotations

import io
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import soundfile
import soxr

from tisdiss_rt.audio import Array, media
from tisdiss_rt.audio.lengths import Measured, measure
from tisdiss_rt.errors import AudioError

BLOCK_FRAMES = 4096  # where a file is damaged, so much before is lost, too
MOST_CHANNELS = 32  # of an array
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
# libsndfile shortens a file whose header promises more than there is, and says so only in its log.
_SHORTENED = re.compile(r"(?:SSND|Data Size|riff)\s*:\s*(\d+) \(should be (\d+)\)")
_UNKNOWN_BYTES = 0x7F000000  # sizes from here on mean "unknown", as programs that write to a pipe put
_UNKNOWN_FRAMES = 2**60
_MENTIONED_FRAMES = 16  # fewer that are missing are rounding
_MENTIONED_S = 0.25  # of media files, which begin and end with what encoders add


class AudioReader:
    """An audio file, or standard input for ``-``, as mono blocks.

    Attributes ``sample_rate`` (Hz), ``frames`` (as the header says; None if it cannot), ``subtype`` (of the
    WAV files to write), ``done`` (samples that were read).
    Raises AudioError for anything of which nothing can be read.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._label = "standard input" if os.fspath(path) == STDIN else os.fspath(path)
        self.done = 0
        self._damage = ""
        with ExitStack() as resources:
            measured = self._open(path, resources)
            self.sample_rate: int = self._file.samplerate
            self.subtype = _OUTPUT_SUBTYPE.get(self._file.subtype, "PCM_16")
            frames = sum(file.frames for file in (self._file, *self._rest))
            is_media = isinstance(self._file, media.MediaFile)
            self._mentioned = round(_MENTIONED_S * self.sample_rate) if is_media else _MENTIONED_FRAMES
            is_open = measured.is_open or frames >= _UNKNOWN_FRAMES or (is_media and frames == 0)
            self.frames: int | None = None if is_open else frames
            self._beyond = _beyond(self._file, measured)  # frames
            if measured.is_cut:
                self._damage = "cut off, nobody can tell how much is missing"
            if self.frames == 0:
                raise AudioError(f"{self._label}: has no samples")
            self._resources = resources.pop_all()

    def _open(self, path: str | os.PathLike[str], resources: ExitStack) -> Measured:
        """Open the file; what cannot seek is copied, as most formats need to."""
        try:
            source, file = self._source(path, resources)
        except OSError as error:
            raise AudioError(f"{self._label}: {error.strerror}") from error
        measured = measure(file)
        file.seek(0)
        self._file: Any
        try:
            self._file = resources.enter_context(_ForwardFile(measured.source or native_path(source)))
            self._rest = [resources.enter_context(_ForwardFile(each)) for each in measured.rest]
        except (soundfile.LibsndfileError, TypeError) as error:  # TypeError: headerless .raw
            file.seek(0)
            self._file, self._rest = resources.enter_context(self._media(file, error)), []
        return measured

    def _media(self, file: BinaryIO, refused: Exception) -> media.MediaFile:
        """Open what libsndfile refused with FFmpeg, or say how to install it where it may help."""
        reason, is_media = reason_of(refused), self._label.lower().endswith(media.SUFFIXES)
        if media.is_installed():
            try:
                return media.MediaFile(file)
            except media.MediaError as error:
                reason = str(error) if is_media else reason
        elif is_media:
            reason += f"; {media.INSTALL} reads it"
        raise AudioError(f"{self._label}: not readable as audio: {reason}") from refused

    def _source(self, path: str | os.PathLike[str], resources: ExitStack) -> tuple[Any, BinaryIO]:
        """Return what libsndfile opens, and the file to look into before."""
        if os.fspath(path) == STDIN:
            if sys.stdin is None:
                raise AudioError("standard input: is closed")
            copy = _seekable_copy(sys.stdin.buffer, resources)
            return copy, copy
        source = Path(path)
        if not source.exists():
            raise AudioError(f"{self._label}: no such file")
        if source.is_dir():
            raise AudioError(f"{self._label}: is a folder")
        file = resources.enter_context(source.open("rb"))
        if file.seekable():
            return source, file
        copy = _seekable_copy(file, resources)
        return copy, copy

    def blocks(self) -> Iterator[Array]:
        """Yield the mono mixture as (m,) float32; their lengths add up to ``done``."""
        for file in (self._file, *self._rest):
            if file.samplerate != self.sample_rate:
                self._damage = f"what follows has {file.samplerate} Hz"
                break
            while len(block := self._read(file)):
                self.done += len(block)
                yield mix_down(block, self._label)
        if self.done == 0:
            reason = f"damaged: {self._damage}" if self._damage else "has no samples"
            raise AudioError(f"{self._label}: {reason}")

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
        missing = (self.frames or self.done) - self.done + self._beyond
        return missing / self.sample_rate if missing >= self._mentioned else 0.0

    @property
    def problem(self) -> str | None:
        """What of the file could not be read, in one line; for after the last block."""
        done_s = self.done / self.sample_rate
        reason = f": {self._damage}" if self._damage else ""
        if self.missing_s:
            total_s = done_s + self.missing_s
            return f"{self._label}: truncated: {self.missing_s:.1f} s of {total_s:.1f} s are missing{reason}"
        return f"{self._label}: damaged after {done_s:.1f} s{reason}" if reason else None

    def __enter__(self) -> AudioReader:
        return self

    def __exit__(self, *_: object) -> None:
        self._resources.close()


def _seekable_copy(file: BinaryIO, resources: ExitStack) -> BinaryIO:
    """Copy what comes to a temporary file, or into memory where there is no place for one."""
    try:
        copy: BinaryIO = resources.enter_context(tempfile.TemporaryFile())  # noqa: SIM115
    except OSError:
        copy = io.BytesIO()
    shutil.copyfileobj(file, copy)
    copy.seek(0)
    return copy


def _beyond(file: Any, measured: Measured) -> int:
    """Return how many frames the header of a file promises beyond ``file.frames``."""
    frames: int = file.frames
    if measured.missing is not None:
        return round(frames * measured.missing)
    for declared, there in _SHORTENED.findall(file.extra_info):
        if 0 < int(there) < int(declared) < _UNKNOWN_BYTES:
            return round(frames * (int(declared) - int(there)) / int(there))
    return 0


class _ForwardFile(soundfile.SoundFile):  # type: ignore[misc]
    """Read from start to end. Where it can, soundfile seeks after every block, which leaves gaps in MP3."""

    def seekable(self) -> bool:
        return False


def in_columns(signal: npt.NDArray[Any], label: str) -> npt.NDArray[Any]:
    """Return an array (n,) or (n, channels) as the latter.

    Raises AudioError for one that is not floating point, or has so many channels that it must be turned.
    """
    if not np.issubdtype(signal.dtype, np.floating):
        raise AudioError(f"{label} must be floating point with full scale 1, not {signal.dtype}")
    if signal.ndim == 2 and signal.shape[1] > MOST_CHANNELS:
        raise AudioError(
            f"{label} is {signal.shape}, which is {signal.shape[1]} channels; where the channels come first, "
            "transpose it: .T"
        )
    return signal.reshape(len(signal), -1) if signal.size else signal.reshape(len(signal), 1)


def mix_down(block: Array, label: str = "the mixture") -> Array:
    """Average (m, channels) to mono (m,); raises AudioError for NaN or infinity."""
    with np.errstate(all="ignore"):
        mono: Array = block.mean(axis=1, dtype=np.float32)
    if not np.isfinite(mono).all():
        raise AudioError(f"{label}: has samples that are NaN or infinite")
    return mono


def resample(blocks: Iterable[Array], from_hz: int, to_hz: int) -> Iterator[Array]:
    """Resample a stream of (m,) or (m, channels) blocks, without delay.

    The result is about ``length * to_hz / from_hz`` long, rounded either way.
    """
    if from_hz == to_hz:
        yield from blocks
        return
    stream: Any = None
    for block in blocks:
        if stream is None:
            channels = 1 if block.ndim == 1 else block.shape[1]
            stream = soxr.ResampleStream(from_hz, to_hz, channels, dtype="float32")
            empty = block[:0]
        yield stream.resample_chunk(np.ascontiguousarray(block))
    if stream is not None:
        yield stream.resample_chunk(empty, last=True)


def fit_length(blocks: Iterable[Array], length: Callable[[], int], channels: int) -> Iterator[Array]:
    """Cut a stream of (m, channels) to a length, or fill it up with zeros.

    The length may grow while the blocks come; the last one is what counts.
    """
    done = 0
    for block in blocks:
        fitting = block[: length() - done]
        if len(fitting):
            yield fitting
            done += len(fitting)
    if done < length():
        yield np.zeros((length() - done, channels), np.float32)


def reporting(
    pieces: Iterable[Array],
    sample_rate: int,
    total_s: float | None,
    progress: Callable[[float, float | None], None],
) -> Iterator[Array]:
    """Yield pieces (channels, m), and call ``progress(done_s, total_s)`` before each."""
    done = 0
    for piece in pieces:
        done += piece.shape[1]
        done_s = done / sample_rate
        progress(done_s if total_s is None else min(done_s, total_s), total_s)
        yield piece


def native_path(source: Any) -> Any:
    """Return a path as soundfile takes names that are not valid text: in bytes, except on Windows."""
    return os.fsencode(source) if isinstance(source, Path) and sys.platform != "win32" else source


def reason_of(error: Exception) -> str:
    """Return libsndfile's message without its prefix and full stop."""
    return str(getattr(error, "error_string", error)).rstrip(".").lower()
