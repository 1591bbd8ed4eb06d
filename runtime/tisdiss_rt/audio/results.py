"""The files of the voices: WAV files that appear when all of them are complete.

They hold a digest of the file that was separated, and what was wrong with it. Two recordings of one name are
then never taken for each other, one that was moved is still the same, and of a damaged one the results
say so for as long as they are there.
"""

from __future__ import annotations

import hashlib
import os
import re
import struct
import uuid
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import soundfile

from tisdiss_rt.audio import Array
from tisdiss_rt.audio.files import STDIN
from tisdiss_rt.audio.libsndfile import native_path, reason_of
from tisdiss_rt.errors import OutputError

_BYTES = {"PCM_U8": 1, "PCM_16": 2, "PCM_24": 3, "PCM_32": 4, "FLOAT": 4, "DOUBLE": 8}
_WAV_LIMIT_BYTES = 2**32 - 2**16  # beyond, the 32-bit sizes of a WAV header overflow
_PIECE_BYTES = 2**20
_COMMENT_BYTES = 2**16  # at most, at the end of a file
_SHA256 = "[0-9a-f]{64}"
_COMMENT = "separated by tisdiss-rt, sha256 "
_TURNS = "; turns: sha256 "
_FAULT = "; incomplete: "


@dataclass(frozen=True)
class Origin:
    """What a result says of the file that it was separated from.

    Attributes:
        digest: see `digest_of`.
        fault: what was wrong with it; None if nothing.
        turns: the digest of the file that says who talks when; None where none was written.
    """

    digest: str
    fault: str | None = None
    turns: str | None = None

    @property
    def recording(self) -> str:
        """The digest of the file, whichever of its channels was separated."""
        return self.digest.split()[0]


class WavWriters:
    """One mono WAV file for each path, of which none can be seen before all are complete.

    A context manager: leaving it normally shows the files, leaving it by an exception (Ctrl-C too) removes
    every trace. Attribute ``clipped`` counts samples beyond full scale, which PCM cannot hold; ``fault``, to
    be set before leaving, is what was wrong with the file that is separated.

    Args:
        paths: the files.
        sample_rate: their sample rate in Hz.
        subtype: how they hold a sample, by libsndfile's name.
        frames: how many samples are to come; None where that only shows at the end.
        digest: of the file that is separated, see `digest_of`.

    Raises OutputError.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        sample_rate: int,
        subtype: str,
        frames: int | None,
        digest: str | None = None,
    ) -> None:
        self._digest = digest
        self._turns = ""
        self.fault: str | None = None
        self.clipped = 0
        self._paths = list(paths)
        self._parts = [path.with_name(f".{uuid.uuid4().hex}.part") for path in paths]
        self._clips = subtype.startswith("PCM")
        self._is_open = frames is None
        is_large = frames is None or frames * _BYTES[subtype] > _WAV_LIMIT_BYTES
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
                self._files.append(soundfile.SoundFile(native_path(part), "w", *self._format))
        except BaseException as error:
            self._discard()
            if isinstance(error, OSError | soundfile.LibsndfileError):
                raise _output_error(part.parent, error) from error
            raise
        return self

    def write(self, block: Array, first: int = 0) -> None:
        """Append (m, sources) to as many files, from that of index ``first`` on."""
        if self._clips:
            self.clipped += int(np.count_nonzero(np.abs(block) > 1.0))  # libsndfile limits them
        files = self._files[first : first + block.shape[1]]
        try:
            for file, channel in zip(files, block.T, strict=True):
                file.write(np.ascontiguousarray(channel))
        except soundfile.LibsndfileError as error:
            raise _output_error(self._parts[0].parent, error) from error

    def keep(self, count: int) -> None:
        """Give up all but so many of the files."""
        for file, part in zip(self._files[count:], self._parts[count:], strict=True):
            file.close()
            part.unlink()
        for kept in (self._files, self._parts, self._paths):
            del kept[count:]

    @property
    def paths(self) -> list[Path]:
        """The files of voices."""
        return self._paths[: len(self._files)]

    def add_turns(self, path: Path, text: str) -> None:
        """Write who talks when, to appear with the other files; after it, none can be given up."""
        written = text.encode(errors="surrogateescape")  # names that are no text
        self._turns = _TURNS + hashlib.sha256(written).hexdigest()
        part = path.with_name(f".{uuid.uuid4().hex}.part")
        self._paths.append(path)
        self._parts.append(part)
        try:
            if path.is_dir():
                raise IsADirectoryError(None, f"{path.name} is a folder")
            part.write_bytes(written)
        except OSError as error:
            raise _output_error(path.parent, error) from error

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self._discard()
            return
        try:
            for file in self._files:
                if self._digest is not None:
                    fault = "" if self.fault is None else _FAULT + ascii(self.fault)[1:-1]
                    file.comment = _COMMENT + self._digest + self._turns + fault
                file.close()
            for part in self._parts[: len(self._files)] if self._is_open else ():
                if part.stat().st_size <= _WAV_LIMIT_BYTES:
                    _wav_from_rf64(part)
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


def _wav_from_rf64(path: Path) -> None:
    """Replace the header of a small file that libsndfile wrote as RF64 by that of a plain WAV file."""
    whole = path.stat().st_size
    with path.open("r+b") as file:
        head = file.read(4096)
        at, begin = head.index(b"fmt ") + 8, head.index(b"data") + 8
        (size,) = struct.unpack_from("<q", head, head.index(b"ds64") + 16)
        is_extensible = head[at : at + 2] == b"\xfe\xff"
        tag = head[at + 24 : at + 26] if is_extensible else head[at : at + 2]  # first bytes of the GUID
        chunks = b"fmt " + struct.pack("<I", 16) + tag + head[at + 2 : at + 16]
        unused = begin - 8 - 12 - len(chunks) - 8
        chunks += struct.pack("<4sI", b"JUNK", unused) + bytes(unused)
        riff = struct.pack("<4sI4s", b"RIFF", whole - 8, b"WAVE")
        file.seek(0)
        file.write(riff + chunks + struct.pack("<4sI", b"data", size))


def voice_paths(folder: Path, source: str, sources: int, channels: int | None = None) -> list[Path]:
    """Return the files in a folder for the voices of an input: talk_spk1.wav, talk_spk2.wav ... of talk.wav.

    With a number of channels that are separated one by one, talk_ch1_spk1.wav ...
    """
    stem = "stdin" if source == STDIN else Path(source).stem
    parts = [""] if channels is None else [f"_ch{number}" for number in range(1, channels + 1)]
    return [folder / f"{stem}{part}_spk{number}.wav" for part in parts for number in range(1, sources + 1)]


def turns_path(folder: Path, source: str) -> Path:
    """Return the file in a folder that says who talks when in an input: talk.rttm of talk.wav."""
    return folder / ("stdin.rttm" if source == STDIN else f"{Path(source).stem}.rttm")


def is_voice_path(path: Path) -> bool:
    """Return whether a file is named as `voice_paths` does."""
    return bool(re.search(r"_spk[1-9][0-9]*$", path.stem))


def digest_of(source: str | os.PathLike[str], channel: int | None = None) -> str | None:
    """Return a digest of a file that is separated, or of one of its channels, from 1.

    None for standard input and whatever else is no file.
    """
    digest = hashlib.sha256()
    try:
        if os.fspath(source) == STDIN or not Path(source).is_file():
            return None
        with Path(source).open("rb") as file:
            while piece := file.read(_PIECE_BYTES):
                digest.update(piece)
    except OSError:
        return None
    return digest.hexdigest() + ("" if channel is None else f" channel {channel}")


def origin_in(path: Path) -> Origin | None:
    """Return what a file of a voice says of the one it was separated from; None if it says nothing."""
    try:
        with soundfile.SoundFile(native_path(path)) as file:
            comment = file.comment or _last_comment(path)
    except soundfile.LibsndfileError:
        return None
    found = re.fullmatch(
        f"{_COMMENT}({_SHA256}(?: channel [0-9]+)?)(?:{_TURNS}({_SHA256}))?(?:{_FAULT}(.*))?", comment
    )
    return Origin(found[1], fault=found[3], turns=found[2]) if found else None


def _last_comment(path: Path) -> str:
    """Return the comment at the end of a file, if any; libsndfile misses it behind odd audio in RF64."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - _COMMENT_BYTES))
        comment = file.read().rpartition(b"ICMT")[2][4:]
    return comment.rstrip(b"\0").decode(errors="replace")


def remove_rest(replaced: Sequence[Origin | None], voices: Sequence[Path], turns: Path | None) -> None:
    """Remove what is left of results that others have replaced.

    Args:
        replaced: what the results that are gone said of the file that they were separated from.
        voices: those of more people, which may be there; what is not of the same file stays.
        turns: who talks when, which may be there; stays unless it is that of the results that are gone. None
            where it was replaced, too.
    """
    known = [origin for origin in replaced if origin is not None]
    for voice in voices:
        origin = origin_in(voice) if voice.exists() else None
        if origin is not None and origin.recording in {each.recording for each in known}:
            voice.unlink()
    if turns is not None and digest_of(turns) in {origin.turns for origin in known} - {None}:
        turns.unlink()


def _output_error(folder: Path, error: Exception) -> OutputError:
    return OutputError(f"cannot write to {folder}: {getattr(error, 'strerror', None) or reason_of(error)}")
