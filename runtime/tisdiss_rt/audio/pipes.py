"""Sound from standard input while it is still being made, as ``arecord`` and ``ffmpeg`` write it into a pipe.

libsndfile reads WAV and AU files from a pipe from the front to the back, and raw samples; all else has to be
there to the end. A thread reads, so that whoever waits for sound can be interrupted::

    standard input ─> its first bytes are looked at ─> pipe ─> libsndfile ─> queue ─> blocks
"""

from __future__ import annotations

import io
import os
import queue
import struct
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, BinaryIO

import numpy as np
import soundfile

from tisdiss_rt.audio import Array
from tisdiss_rt.audio.files import check_rate
from tisdiss_rt.audio.lengths import WAV_FORMS, WavHead, missing_bytes, read_wav_head
from tisdiss_rt.errors import AudioError, OptionError

_STREAMED = (b"RIFF", b"RIFX", b"RF64", b".snd")
_AU_UNKNOWN = 2**32 - 1
_RAW = {"s16": "PCM_16", "s24": "PCM_24", "s32": "PCM_32", "f32": "FLOAT"}
_MOST_WAITING = 64  # blocks; then whoever writes has to wait
_LOOK_S = 0.1
_PIECE_BYTES = 65536
_EXTENSIBLE = 0xFFFE  # kind of samples that a GUID tells
_SUBTYPES = {
    (1, 8): "PCM_U8",
    (1, 16): "PCM_16",
    (1, 24): "PCM_24",
    (1, 32): "PCM_32",
    (3, 32): "FLOAT",
    (3, 64): "DOUBLE",
    (6, 8): "ALAW",
    (7, 8): "ULAW",
}


def is_streamed(raw: str | None) -> bool:
    """Whether standard input is a pipe that can be read while sound comes; waits for its first bytes."""
    if sys.stdin is None:
        return False
    if raw is not None:
        return True
    source: Any = sys.stdin.buffer
    return not source.seekable() and source.peek(4)[:4] in _STREAMED


def parse_raw(text: str) -> dict[str, Any]:
    """Read ``FORMAT:RATE:CHANNELS``, as s16:48000:2, for libsndfile; raises OptionError."""
    kind, *numbers = text.split(":")
    if kind in _RAW and len(numbers) == 2 and all(number.isdecimal() and int(number) for number in numbers):
        rate, channels = map(int, numbers)
        form = {"format": "RAW", "endian": "LITTLE", "subtype": _RAW[kind]}
        return {**form, "samplerate": rate, "channels": channels}
    raise OptionError(f"--raw is FORMAT:RATE:CHANNELS, as s16:48000:2, of {', '.join(_RAW)}; not {text!r}")


class PipeReader:
    """Standard input as blocks, as they come.

    Args:
        raw: what samples without a header are, as `parse_raw` takes it; None if there is a header.

    Attribute ``sample_rate`` in Hz. Raises AudioError if it is not readable.
    """

    def __init__(self, raw: str | None) -> None:
        source = sys.stdin.buffer
        self._given = given = _piped(source) if raw is None else _Piped(b"", parse_raw(raw))
        check_rate(given.form.get("samplerate", 0), "standard input")
        self._out, into = os.pipe()
        self._copied = 0
        _in_thread(lambda: self._copy(source, into))
        try:
            self._file = soundfile.SoundFile(self._out, closefd=True, **given.form)
        except soundfile.LibsndfileError as error:
            raise AudioError(f"standard input: not readable as audio: {error.error_string}") from error
        self.sample_rate: int = self._file.samplerate
        check_rate(self.sample_rate, "standard input")
        self._has_ended = False
        self._blocks: queue.Queue[Array | None] = queue.Queue(_MOST_WAITING)

    def blocks(self, frames: int, goes_on: Callable[[], bool]) -> Iterator[Array]:
        """Yield (frames, channels) as they come, the last one shorter; what has come if not ``goes_on()``.

        Raises AudioError if the pipe ends before anything has come.
        """
        _in_thread(lambda: self._read(frames))
        is_empty, left = True, sys.maxsize
        while left > 0:
            is_last = not goes_on()
            if is_last:  # more comes meanwhile, where the pipe is fast
                left = min(left, self._blocks.qsize())
            try:
                block = self._blocks.get(timeout=0.0 if is_last else _LOOK_S)
            except queue.Empty:
                continue
            left -= 1
            if block is None and is_empty:
                raise AudioError("standard input: has no samples")
            if block is None:
                self._has_ended = True
                return
            is_empty = False
            yield block

    def problem(self, frames: int) -> str | None:
        """Return what is missing of the sound, where the header tells; ``frames`` have come."""
        header, promised = self._given.header, self._given.promised
        if not self._has_ended or promised is None or not missing_bytes(header, promised, self._copied):
            return None
        there_s = frames / self.sample_rate
        total_s = there_s * (promised - header) / max(1, self._copied - header)
        return f"truncated: {total_s - there_s:.1f} s of {total_s:.1f} s are missing"

    def _copy(self, source: BinaryIO, into: int) -> None:
        given = self._given
        left = sys.maxsize if given.size is None else given.size
        self._copied = len(given.begin)
        with os.fdopen(into, "wb", buffering=0) as pipe, suppress(OSError, ValueError):  # is closed
            pipe.write(given.begin)
            while piece := source.read1(min(left, _PIECE_BYTES)):  # type: ignore[attr-defined]
                pipe.write(piece)
                left -= len(piece)
                self._copied += len(piece)

    def _read(self, frames: int) -> None:
        block = np.zeros((frames, 0), np.float32)
        try:
            while len(block) == frames:
                block = self._file.read(frames, dtype="float32", always_2d=True)
                if len(block):
                    self._blocks.put(block)
        finally:
            self._blocks.put(None)


def _in_thread(call: Callable[[], None]) -> None:
    """Call it in a thread that does not keep the program from ending."""
    threading.Thread(target=call, name="standard input", daemon=True).start()


@dataclass(frozen=True)
class _Piped:
    """How to read a stream of which the beginning has been looked at.

    Attributes:
        begin: what comes before all that follows in the stream.
        form: what the samples are, as libsndfile takes it for those without a header; else empty.
        size: how many bytes are to be read after ``begin``; None for all.
        header: how many bytes of ``begin`` are no sound.
        promised: how many bytes there are to be from the first of ``begin`` on; None where nobody knows.
    """

    begin: bytes
    form: dict[str, Any] = field(default_factory=dict)
    size: int | None = None
    header: int = 0
    promised: int | None = None


def _piped(source: BinaryIO) -> _Piped:
    """Look at the beginning of WAV or AU that comes through a pipe, as far as the audio.

    Where the header does not know how much there is, all that follows is audio. libsndfile would end at what
    the header says, and of RF64 in a pipe it loses the first bytes.
    """
    kept = _Kept(source)
    start = kept.read(12)
    if start[:4] == b".snd" and len(start) == 12:
        header, size = struct.unpack(">II", start[4:])
        if size in (0, _AU_UNKNOWN):
            return _Piped(start[:8] + struct.pack(">I", _AU_UNKNOWN))
        return _Piped(kept.getvalue(), header=header, promised=header + size)
    if start[:4] not in WAV_FORMS or start[8:] != b"WAVE":
        return _Piped(kept.getvalue())
    head = read_wav_head(kept)
    if head is None:
        return _Piped(kept.getvalue())
    known, form = None if head.is_unknown else head.declared, _raw_form(head)
    if form is not None and (head.is_unknown or head.form in (b"RF64", b"BW64")):
        return _Piped(b"", form, known, promised=known)
    whole = None if known is None else head.begin + known
    return _Piped(kept.getvalue(), header=head.begin, promised=whole)


def _raw_form(head: WavHead) -> dict[str, Any] | None:
    """Return what samples are, for libsndfile to read them without a header; None where it cannot."""
    if len(head.fmt) < 16:
        return None
    kind, channels, rate, _, align, bits = struct.unpack_from(f"{head.order}HHIIHH", head.fmt)
    if kind == _EXTENSIBLE and len(head.fmt) >= 26:
        (kind,) = struct.unpack_from(f"{head.order}H", head.fmt, 24)  # first bytes of the GUID
    subtype = _SUBTYPES.get((kind, bits))
    if subtype is None or not channels or 8 * align != bits * channels:
        return None
    endian = "BIG" if head.order == ">" else "LITTLE"
    form = {"format": "RAW", "endian": endian, "subtype": subtype}
    return {**form, "samplerate": rate, "channels": channels}


class _Kept(io.BytesIO):
    """What was read of a stream until now, as a file that grows when more of it is asked for."""

    def __init__(self, stream: BinaryIO) -> None:
        super().__init__()
        self._stream = stream

    def read(self, size: int | None = -1) -> bytes:
        """Read so many bytes, from the stream what has not been read before."""
        begin, there = self.tell(), len(self.getvalue())
        self.seek(0, io.SEEK_END)
        self.write(self._stream.read(max(0, begin + (size or 0) - there)))
        self.seek(begin)
        return super().read(size)
