"""Spectrograms as PNG images, without a library for pictures: a row of power by frequency for each column."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from tisdiss_rt.audio import Array

FRAME = 1024  # samples
SHORTEST_HOP = 64  # from one frame to the next, of short sounds
ROWS = 192
COLUMNS = 960  # at most
RANGE_DB = 70.0  # from the loudest down to black
# The colours of levels, from dark to light: places from 0 to 1, and red, green, blue.
_PLACES = (0.0, 0.25, 0.5, 0.75, 1.0)
_COLOURS = ((0, 0, 4), (81, 18, 124), (183, 55, 121), (252, 137, 97), (252, 253, 191))


def spectrogram(blocks: Iterable[Array], samples: int) -> Array:
    """Compute the power (rows, columns) of blocks (m,) that are so many samples in all.

    Each column is the mean over the frames that begin in it.
    """
    hop = min(FRAME, max(SHORTEST_HOP, samples // COLUMNS))
    frames = max(1, (samples - FRAME) // hop + 1)
    columns = min(COLUMNS, frames)
    power, counts = np.zeros((columns, ROWS), np.float32), np.zeros(columns)
    window = np.hanning(FRAME).astype(np.float32)
    waiting, done = np.zeros(0, np.float32), 0
    for block in blocks:
        waiting = np.concatenate([waiting, block])
        count = min((len(waiting) - FRAME) // hop + 1, frames - done)
        if count <= 0:
            continue
        whole = np.lib.stride_tricks.sliding_window_view(waiting, FRAME)[: count * hop : hop]
        bins = np.square(np.abs(np.fft.rfft(whole * window)[:, : FRAME // 2])).astype(np.float32)
        edges = np.linspace(0, FRAME // 2, ROWS + 1).astype(int)
        column = (done + np.arange(count)) * columns // frames
        np.add.at(power, column, np.add.reduceat(bins, edges[:-1], axis=1) / np.diff(edges))
        np.add.at(counts, column, 1)
        waiting, done = waiting[count * hop :], done + count
    means: Array = (power / np.maximum(counts, 1)[:, None]).T
    return means


def png(power: Array, loudest: float) -> bytes:
    """Return power (rows, columns) as an image; ``loudest`` is white, the first row at the bottom."""
    level_db = 10 * np.log10(np.maximum(power, 1e-30) / max(loudest, 1e-30))
    shade = np.clip(255 * (1 + level_db / RANGE_DB), 0, 255).astype(np.uint8)[::-1]
    rows, columns = shade.shape
    header = struct.pack(">IIBBBBB", columns, rows, 8, 3, 0, 0, 0)  # 8 bits that choose a colour
    pixels = np.concatenate([np.zeros((rows, 1), np.uint8), shade], 1).tobytes()
    chunks = (
        (b"IHDR", header),
        (b"PLTE", _palette().tobytes()),
        (b"IDAT", zlib.compress(pixels)),
        (b"IEND", b""),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, content) for kind, content in chunks)


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def _palette() -> npt.NDArray[np.uint8]:
    """Return the colour of each shade (256, 3)."""
    shades = np.linspace(0, 1, 256)
    return np.stack([np.interp(shades, _PLACES, colour) for colour in zip(*_COLOURS, strict=True)], 1).astype(
        np.uint8
    )
