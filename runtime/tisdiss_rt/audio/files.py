"""Audio files in and out, in blocks, so that an hour of audio needs no more memory than a second.

Readers refuse what would give a wrong result later (truncated files, NaN), and writers show their files
only when all of them are complete.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
import tempfile
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import soundfile
import soxr

from tisdiss_rt.audio import Array
from tisdiss_rt.errors import AudioError, OutputError

BLOCK_FRAMES = 65536
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
_BYTES = {"PCM_U8": 1, "PCM_16": 2, "PCM_24": 3, "PCM_32": 4, "FLOAT": 4, "DOUBLE": 8}
_WAV_LIMIT_BYTES = 2**32 - 2**16  # beyond, the 32-bit sizes of a WAV header overflow
# libsndfile shortens a file whose header promises more than there is, and says so only in its log.
_SHORTENED = re.compile(r"(?:data|SSND|Data Size|riff|Riff size)\s*:\s*(\d+) \(should be (\d+)\)")
_UNKNOWN_BYTES = 0x7FFF0000  # sizes from here on mean "unknown", as programs that write to a pipe put
_UNKNOWN_FRAMES = 2**60


class AudioReader:
    """An audio file, or standard input for ``-``, as mono blocks.

    Attributes ``sample_rate`` (Hz), ``frames``, ``subtype`` (of the WAV files to write).
    Raises AudioError for anything that cannot be read to its end.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._label = "standard input" if os.fspath(path) == STDIN else os.fspath(path)
        with ExitStack() as resources:
            self._file = self._open(path, resources)
            self.sample_rate: int = self._file.samplerate
            self.frames: int = self._file.frames
            self.subtype = _OUTPUT_SUBTYPE.get(self._file.subtype, "PCM_16")
            self._refuse_broken()
            self._resources = resources.pop_all()

    def _open(self, path: str | os.PathLike[str], resources: ExitStack) -> Any:
        """Open the file; standard input is copied to a temporary one, as most formats need to seek."""
        source: Any = Path(path)
        if os.fspath(path) == STDIN:
            source = resources.enter_context(tempfile.TemporaryFile())  # noqa: SIM115
            shutil.copyfileobj(sys.stdin.buffer, source)
            source.seek(0)
        elif not source.exists():
            raise AudioError(f"{self._label}: no such file")
        elif source.is_dir():
            raise AudioError(f"{self._label}: is a folder")
        try:
            return resources.enter_context(_ForwardFile(_native(source)))
        except (soundfile.LibsndfileError, TypeError) as error:  # TypeError: headerless .raw
            raise AudioError(f"{self._label}: not readable as audio: {_reason(error)}") from error

    def _refuse_broken(self) -> None:
        """Raise AudioError where the header already shows that the file is of no use."""
        for declared, actual in _SHORTENED.findall(self._file.extra_info):
            if int(actual) < int(declared) < _UNKNOWN_BYTES:
                raise AudioError(f"{self._label}: truncated: {actual} of {declared} bytes of audio are there")
        if self.frames == 0:
            raise AudioError(f"{self._label}: has no samples")
        if self.frames >= _UNKNOWN_FRAMES:
            raise AudioError(f"{self._label}: its header does not say how long it is; convert it to WAV")

    def blocks(self) -> Iterator[Array]:
        """Yield the mono mixture as (m,) float32; their lengths add up to ``frames``."""
        done = 0
        while done < self.frames:
            try:
                block = self._file.read(BLOCK_FRAMES, dtype="float32", always_2d=True)
            except soundfile.LibsndfileError as error:
                at_s = done / self.sample_rate
                raise AudioError(f"{self._label}: damaged after {at_s:.1f} s: {_reason(error)}") from error
            if len(block) == 0:
                raise AudioError(f"{self._label}: truncated: {done} of {self.frames} samples are there")
            yield mix_down(block, self._label)
            done += len(block)

    def __enter__(self) -> AudioReader:
        return self

    def __exit__(self, *_: object) -> None:
        self._resources.close()


class _ForwardFile(soundfile.SoundFile):  # type: ignore[misc]
    """Read from start to end. Where it can, soundfile seeks after every block, which leaves gaps in MP3."""

    def seekable(self) -> bool:
        return False


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


def fit_length(blocks: Iterable[Array], frames: int, channels: int) -> Iterator[Array]:
    """Cut a stream of (m, channels) to ``frames``, or fill it up with zeros."""
    missing = frames
    for block in blocks:
        if len(block) and missing:
            yield block[:missing]
            missing -= min(missing, len(block))
    if missing:
        yield np.zeros((missing, channels), np.float32)


class WavWriters:
    """One mono WAV file for each path, of which none can be seen before all are complete.

    A context manager: leaving it normally shows the files, leaving it by an exception (Ctrl-C too) removes
    every trace. Attribute ``clipped`` counts samples beyond full scale, which PCM cannot hold.
    Raises OutputError.
    """

    def __init__(self, paths: Sequence[Path], sample_rate: int, subtype: str, frames: int) -> None:
        self.clipped = 0
        self._paths = paths
        self._parts = [path.with_name(f".{uuid.uuid4().hex}.part") for path in paths]
        self._clips = subtype.startswith("PCM")
        is_large = frames * _BYTES[subtype] > _WAV_LIMIT_BYTES
        self._format = (sample_rate, 1, subtype, None, "RF64" if is_large else "WAV")
        self._files: list[Any] = []
        self._new_folders: list[Path] = []  # innermost first

    def __enter__(self) -> WavWriters:
        try:
            for path, part in zip(self._paths, self._parts, strict=True):
                if path.is_dir():
                    raise IsADirectoryError(None, f"{path.name} is a folder")
                folder = part.parent
                self._new_folders += [p for p in (folder, *folder.parents) if not p.exists()]
                folder.mkdir(parents=True, exist_ok=True)
                part.touch()  # unlike libsndfile, says what is wrong
                self._files.append(soundfile.SoundFile(_native(part), "w", *self._format))
        except BaseException as error:
            self._discard()
            if isinstance(error, OSError | soundfile.LibsndfileError):
                raise _output_error(part.parent, error) from error
            raise
        return self

    def write(self, block: Array) -> None:
        """Append (m, sources)."""
        if self._clips:
            self.clipped += int(np.count_nonzero(np.abs(block) > 1.0))  # libsndfile limits them
        try:
            for file, channel in zip(self._files, block.T, strict=True):
                file.write(np.ascontiguousarray(channel))
        except soundfile.LibsndfileError as error:
            raise _output_error(self._parts[0].parent, error) from error

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self._discard()
            return
        try:
            for file in self._files:
                file.close()
            for part, path in zip(self._parts, self._paths, strict=True):
                part.replace(path)
        except BaseException as problem:
            self._discard()
            if isinstance(problem, OSError | soundfile.LibsndfileError):
                raise _output_error(self._paths[0].parent, problem) from problem
            raise

    def _discard(self) -> None:
        undo = [file.close for file in self._files] + [part.unlink for part in self._parts]
        for action in undo + [folder.rmdir for folder in self._new_folders]:
            with suppress(OSError, soundfile.LibsndfileError):  # not made yet, or used by somebody else
                action()


def voice_paths(folder: Path, source: str, sources: int) -> list[Path]:
    """Return the files (sources,) in a folder for the voices of an input: talk_spk1.wav ... of talk.wav."""
    stem = "stdin" if source == STDIN else Path(source).stem
    return [folder / f"{stem}_spk{number}.wav" for number in range(1, sources + 1)]


def is_voice_path(path: Path) -> bool:
    """Return whether a file is named as `voice_paths` does."""
    return bool(re.search(r"_spk[1-9][0-9]*$", path.stem))


def _native(source: Any) -> Any:
    """Give soundfile a path as it takes names that are no valid text: in bytes, but not on Windows."""
    return os.fsencode(source) if isinstance(source, Path) and sys.platform != "win32" else source


def _reason(error: Exception) -> str:
    """Say what libsndfile said, without its prefix and full stop."""
    return str(getattr(error, "error_string", error)).rstrip(".").lower()


def _output_error(folder: Path, error: Exception) -> OutputError:
    return OutputError(f"cannot write to {folder}: {getattr(error, 'strerror', None) or _reason(error)}")
