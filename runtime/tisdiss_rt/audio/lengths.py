"""Headers that say a wrong length or none, as programs write them that cannot go back to the header.

libsndfile believes the header: where that says 0 bytes it reads nothing, and of MP3 it guesses a length and
stops there. Here the audio is measured, and where the header disagrees, a `Spliced` file with a right one is
read instead. A header that promises more than there is says how much is missing.
"""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass
from typing import BinaryIO

_HEADER_BYTES = 44  # of a WAV file without other chunks
_MOST_HEADER_BYTES = 2**24
WAV_FORMS = (b"RIFF", b"RIFX", b"RF64", b"BW64")
_UNKNOWN = 2**32 - 1
_ENDLESS = 2**40  # bytes of an MP3 whose guessed length must not be too short
_TAG_BYTES = 128  # at the end of an MP3
_SAME_STREAM = 0xFFFE0C00  # of an MPEG frame's header: sync, version, layer and sample rate


@dataclass(frozen=True)
class Measured:
    """What a file holds.

    Attributes:
        source: to be read instead of the file; None where libsndfile understands it as it is.
        missing: audio that the header promises and that is not there, as a multiple of what is there; None
            where only libsndfile can tell.
        rest: to be read after it, one after the other: libsndfile reads the first of joined streams.
        is_open: its length only shows at the end.
        is_cut: something is missing, and nobody can tell how much.
    """

    source: Spliced | None = None
    missing: float | None = None
    rest: tuple[Spliced, ...] = ()
    is_open: bool = False
    is_cut: bool = False


class Spliced(io.RawIOBase):
    """A header followed by a part of a file, as one file.

    Args:
        head: the header.
        file: what follows; closed with this one only if its owner closes it.
        begin: first byte of the file.
        end: behind its last byte.
        claimed: length to give on being asked, by default the real one; the last bytes of it are zeros.
    """

    def __init__(self, head: bytes, file: BinaryIO, begin: int, end: int, claimed: int | None = None) -> None:
        self._head, self._file, self._begin = head, file, begin
        self._size = len(head) + end - begin
        self._claimed = self._size if claimed is None else claimed
        self._position = 0

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a byte; returns which one."""
        origin = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._claimed}[whence]
        self._position = max(0, origin + offset)
        return self._position

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        """Fill the buffer as far as there is something; returns how many bytes."""
        view = memoryview(buffer).cast("B")
        if self._size <= self._claimed - _TAG_BYTES <= self._position:  # mpg123 looks there first
            view[:] = bytes(len(view))
            self._position += len(view)
            return len(view)
        wanted = max(0, min(len(view), self._size - self._position))
        piece = self._head[self._position : self._position + wanted]
        if len(piece) < wanted:
            self._file.seek(self._begin + self._position + len(piece) - len(self._head))
            piece += self._file.read(wanted - len(piece))
        view[: len(piece)] = piece
        self._position += len(piece)
        return len(piece)


def measure(file: BinaryIO) -> Measured:
    """Compare what the header of a file says with what is there."""
    total = file.seek(0, io.SEEK_END)
    start = _at(file, 0, 12)
    if start[:4] in WAV_FORMS and start[8:] == b"WAVE":
        return _wav(file, total)
    if start[:4] == b"caff":
        return _caf(file, total)
    if start[:4] == b".snd" and len(start) == 12:
        return _au(file, total)
    if start[:4] == b"OggS":
        return _ogg(file, total)
    begin = _behind_tags(file, 0)
    if begin and _at(file, begin, 4) in (b"fLaC", b"FORM"):
        return Measured(Spliced(b"", file, begin, total))
    if start[:3] == b"ID3" or (start[:1] == b"\xff" and start[1:2] >= b"\xe0"):
        return _mpeg(file, total)
    return Measured()


def _at(file: BinaryIO, offset: int, count: int) -> bytes:
    file.seek(offset)
    return file.read(count)


@dataclass(frozen=True)
class WavHead:
    """What a WAV file has before its audio.

    Attributes:
        form: its first word.
        order: of the bytes of numbers.
        chunks: those that a new header needs.
        fmt: what one of them says of a sample.
        begin: first byte of the audio.
        declared: how many bytes follow, unless that ``is_unknown``.
    """

    form: bytes
    order: str
    chunks: bytes
    fmt: bytes
    begin: int
    declared: int
    is_unknown: bool


def read_wav_head(file: BinaryIO) -> WavHead | None:
    """Read a WAV file of either byte order, RF64 or BW64, to its audio; None where there is none."""
    form = _at(file, 0, 4)
    order = ">" if form == b"RIFX" else "<"
    position, large_size, chunks, fmt = 12, 0, b"", b""
    while True:
        header = _at(file, position, 8)
        if len(header) < 8 or position > _MOST_HEADER_BYTES:
            return None
        name, declared = struct.unpack(f"{order}4sI", header)
        if name == b"data":
            break
        content = _at(file, position, min(8 + declared + declared % 2, _MOST_HEADER_BYTES))
        if name == b"ds64" and len(content) >= 24:
            (large_size,) = struct.unpack_from("<q", content, 16)
        elif name != b"ds64":
            chunks += content
        if name == b"fmt ":
            fmt = content[8:]
        position += 8 + declared + declared % 2
    if form in (b"RF64", b"BW64") and declared == _UNKNOWN:
        declared, is_unknown = large_size, large_size <= 0
    else:
        is_unknown = declared == 0 or abs(declared - 2**31) <= 2**16 or declared >= 2**32 - 2**16
    return WavHead(form, order, chunks, fmt, position + 8, declared, is_unknown)


def _wav(file: BinaryIO, total: int) -> Measured:
    """Measure WAV, whose 32-bit sizes may be 0 or another mark for "unknown", and wrap around beyond 4 GB."""
    head = read_wav_head(file)
    if head is None:
        return Measured()
    form, order, begin, declared = head.form, head.order, head.begin, head.declared
    there = total - begin
    size = _true_size(file, begin, total, declared, head.is_unknown, order)
    missing = 0 if head.is_unknown else missing_bytes(begin, begin + declared, total)
    share = missing / max(1, there)
    is_shortened = 0 < there < declared < 2**32 and form == b"RIFF"  # by libsndfile
    if size == declared or is_shortened:
        return Measured(missing=share)
    return Measured(Spliced(_wav_head(form, order, head.chunks, size), file, begin, begin + size), share)


def missing_bytes(begin: int, promised: int, total: int) -> int:
    """Return how many bytes of audio are missing of a file whose header ends at ``begin``."""
    # Some programs count the header, too, all of it or but the first 8 bytes.
    missing = max(0, promised - total)
    return 0 if missing <= _HEADER_BYTES or missing in (begin, begin - 8) else missing


def _true_size(file: BinaryIO, begin: int, total: int, declared: int, is_unknown: bool, order: str) -> int:
    """Return how many bytes of audio begin at ``begin``."""
    there = total - begin
    if declared > there or (is_unknown and not _are_chunks(file, begin + declared, total, order)):
        return there
    return declared + (there - declared) // 2**32 * 2**32


def _are_chunks(file: BinaryIO, position: int, total: int, order: str) -> bool:
    """Return whether nothing but chunks follows."""
    position += position % 2
    while total - position >= 8:
        name, size = struct.unpack(f"{order}4sI", _at(file, position, 8))
        if not all(32 <= byte < 127 for byte in name):
            return False
        position += 8 + size + size % 2
    return position <= total + 1


def _wav_head(form: bytes, order: str, chunks: bytes, size: int) -> bytes:
    """Return the header of a WAV file, or of RF64 where that has to be, with the chunks before the audio."""
    whole = 4 + len(chunks) + 8 + size
    if whole < 2**32:
        form = form if form == b"RIFX" else b"RIFF"
        data = struct.pack(f"{order}4sI", b"data", size)
        return form + struct.pack(f"{order}I", whole) + b"WAVE" + chunks + data
    large = struct.pack("<4sIqqqI", b"ds64", 28, whole + 36, size, 0, 0)
    unknown = struct.pack("<I", _UNKNOWN)
    return b"RF64" + unknown + b"WAVE" + large + chunks + b"data" + unknown


def _caf(file: BinaryIO, total: int) -> Measured:
    """Measure CAF, whose audio may have the size -1 at the end of the file; libsndfile reads no such file."""
    position = 8
    while True:
        header = _at(file, position, 12)
        if len(header) < 12 or position > _MOST_HEADER_BYTES:
            return Measured()
        name, declared = struct.unpack(">4sq", header)
        begin = position + 12
        if name == b"data":
            break
        if declared < 0:
            return Measured()
        position = begin + declared
    there = total - begin
    if 0 < declared <= there:
        return Measured(missing=0)
    head = _at(file, 0, position) + struct.pack(">4sq", b"data", there)
    return Measured(Spliced(head, file, begin, total), max(0, declared - there) / max(1, there))


def _au(file: BinaryIO, total: int) -> Measured:
    """Measure AU; of a size of 0 where something is there, libsndfile reads nothing."""
    begin, declared = struct.unpack(">II", _at(file, 4, 8))
    if declared != 0 or begin >= total:
        return Measured()
    head = _at(file, 0, 8) + struct.pack(">I", _UNKNOWN) + _at(file, 12, begin - 12)
    return Measured(Spliced(head, file, begin, total), 0)


def _mpeg(file: BinaryIO, total: int) -> Measured:
    """Measure MP3: only a header in the first frame says how many there are, and not of joined files.

    Where it does not, libsndfile guesses from the size of the file, and from the pictures in it.
    """
    begin = _behind_tags(file, 0)
    first = _at(file, begin, 192)
    at = max(first[:180].find(b"Xing"), first[:180].find(b"Info"))
    if at < 0:
        return Measured(Spliced(b"", file, begin, total, _ENDLESS), is_open=True)
    flags, frames, size = struct.unpack_from(">III", first.ljust(192, b"\0"), at + 4)
    if flags & 3 == 3 and frames and not _goes_on(file, begin + size, first):
        return Measured()
    if flags & 1:
        first = first[: at + 8] + bytes(4) + first[at + 12 :]
    return Measured(Spliced(first, file, begin + len(first), total, _ENDLESS), is_open=True)


def _behind_tags(file: BinaryIO, position: int) -> int:
    """Return what follows the ID3v2 tags, if there are any."""
    while (tag := _at(file, position, 10))[:3] == b"ID3" and len(tag) == 10:
        size = sum((byte & 127) << shift for byte, shift in zip(tag[6:], (21, 14, 7, 0), strict=True))
        position += 10 + size + (10 if tag[5] & 0x10 else 0)  # a footer
    return position


def _goes_on(file: BinaryIO, position: int, header: bytes) -> bool:
    """Return whether another frame of the stream of this MPEG header follows."""
    other = _at(file, _behind_tags(file, position), 4)
    one, two = (int.from_bytes(each[:4], "big") & _SAME_STREAM for each in (header, other))
    return len(other) == 4 and one == two


def _ogg(file: BinaryIO, total: int) -> Measured:
    """Measure Ogg, whose streams may follow each other, and whose last page is marked."""
    starts = [0]
    position = flags = 0
    was_first = True
    while len(header := _at(file, position, 27)) == 27 and header[:4] == b"OggS":
        flags = header[5]
        if flags & 2 and not was_first:  # the first page of another stream
            starts.append(position)
        was_first = bool(flags & 2)
        position += 27 + header[26] + sum(file.read(header[26]))
    is_cut = position > total or not flags & 4
    if len(starts) == 1:
        return Measured(is_cut=is_cut)
    ends = [*starts[1:], total]
    first, *rest = (Spliced(b"", file, begin, end) for begin, end in zip(starts, ends, strict=True))
    return Measured(first, rest=tuple(rest), is_cut=is_cut)
