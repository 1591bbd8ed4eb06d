"""What libsndfile does not read, such as m4a and video files: decoded by FFmpeg, which PyAV brings."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec
from types import TracebackType
from typing import Any, BinaryIO

import numpy as np

from tisdiss_rt.audio import Array
from tisdiss_rt.audio.channels import BLOCK_FRAMES

SUFFIXES = (
    *(".3gp", ".aac", ".ac3", ".amr", ".avi", ".m4a", ".m4b", ".m4v", ".mka", ".mkv", ".mov"),
    *(".mp4", ".mpeg", ".mpg", ".webm", ".wma", ".wmv"),
)
_WITH_LENGTH = ("mp4", "matroska", "asf", "avi")  # containers whose header has it; elsewhere it is a guess
_LONGEST_PACKET_S = 10.0  # what a damaged one says beyond is not believed
INSTALL = "pip install 'tisdiss-rt[media]'"


class MediaError(Exception):
    """What FFmpeg could not read, in one line."""


def is_installed() -> bool:
    """Return whether PyAV is installed."""
    return find_spec("av") is not None


class MediaFile:
    """The first sound track of a file, read from start to end; attributes and `read` as soundfile has them.

    The file stays open as long as its owner keeps it so. Nothing else is opened, whatever playlists name.
    ``frames`` is what the container says, of the track if it can, which is true to a quarter of a second; 0
    where it does not know.
    Where a packet is damaged, silence takes its place, and ``lost`` counts those frames.
    Raises MediaError for what FFmpeg cannot open, or where there is no sound.
    """

    subtype = ""
    extra_info = ""

    def __init__(self, file: BinaryIO) -> None:
        av: Any = import_module("av")

        self._error = av.FFmpegError
        try:
            self._container = av.open(file, options={"protocol_whitelist": ""}, metadata_errors="replace")
        except (self._error, ValueError) as error:
            raise MediaError(_reason(error)) from error
        tracks = self._container.streams.audio
        if not tracks or not tracks[0].codec_context or not tracks[0].rate:
            self._container.close()
            raise MediaError("has no sound track that can be decoded")
        self.samplerate: int = tracks[0].rate
        self.channels: int = tracks[0].codec_context.channels
        self.frames = round(_length_s(self._container, tracks[0]) * self.samplerate)
        self.lost = 0
        self._resampler = av.AudioResampler(format="fltp", rate=self.samplerate)
        self._blocks = self._decoded(tracks[0])
        self._rest = np.zeros((0, 1), np.float32)

    def read(self, frames: int, **_: Any) -> Array:
        """Return the next frames (m, channels), at most so many; none at the end. Raises MediaError."""
        while not len(self._rest):
            block = next(self._blocks, None)
            if block is None:
                return self._rest
            self._rest = block
        block, self._rest = self._rest[:frames], self._rest[frames:]
        return block

    def _decoded(self, track: Any) -> Iterator[Array]:
        """Yield what packets have; silence for damaged ones, where others are not."""
        damage: Exception | None = None
        begun, lost = False, 0  # frames, not told yet
        try:
            for packet in self._container.demux(track):
                try:
                    blocks = [block for frame in packet.decode() for block in self._converted(frame)]
                except (self._error, ValueError) as error:
                    damage = error
                    lasts_s = float(packet.duration * packet.time_base) if packet.duration else 0.0
                    lost += round(min(lasts_s, _LONGEST_PACKET_S) * self.samplerate)
                    continue
                while blocks and lost:
                    silent = min(lost, BLOCK_FRAMES)
                    yield np.zeros((silent, self.channels), np.float32)
                    self.lost, lost = self.lost + silent, lost - silent
                begun = begun or bool(blocks)
                yield from blocks
            yield from self._converted(None)
        except (self._error, ValueError) as error:
            raise MediaError(_reason(error)) from error
        if damage is not None and (lost or not begun):
            raise MediaError(_reason(damage)) from damage

    def _converted(self, frame: Any) -> list[Array]:
        found = self._resampler.resample(frame)
        return [np.ascontiguousarray(converted.to_ndarray().T) for converted in found]

    def __enter__(self) -> MediaFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._container.close()


def _length_s(container: Any, track: Any) -> float:
    """Return how long a track is, else the container, whose pictures may be longer; 0 if neither is told."""
    form = container.format.name
    if "mp4" in form and track.duration:
        return float(track.duration * track.time_base)
    clock = re.fullmatch(r"(\d+):(\d\d):(\d\d\.\d+)", track.metadata.get("DURATION", ""))
    if "matroska" in form and clock:
        hours, minutes, seconds = map(float, clock.groups())
        is_end = not any(name.startswith("_STATISTICS") for name in track.metadata)  # but for mkvmerge
        begin_s = float((track.start_time or 0) * track.time_base) if is_end else 0.0
        return max(0.0, 3600 * hours + 60 * minutes + seconds - begin_s)
    return (container.duration or 0) / 1e6 if any(name in form for name in _WITH_LENGTH) else 0.0


def _reason(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error).rstrip(".").lower()
