"""Long signals in overlapping windows, so that memory stays constant and a step stays short.

Windows of W samples start every W/2. In the overlap the newer estimate fades in with a raised cosine while
the older one fades out; the two weights sum to one::

    window 0   |-------- W --------|
    window 1             |-------- W --------|
    window 2                       |-------- W --------|
    last                                 |-------- W --------|      the end of the signal
    emitted    |  0      | 0 to 1  | 1 to 2  |2 to last| last |

The last window ends where the signal ends and so overlaps its predecessor by more than half, which gives it
a full window of context; its first samples, where the predecessor is not yet fading out, are dropped. A
signal no longer than a window is separated whole.

A separator returns its sources in any order; those of each window are put into the order of the previous one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import numpy as np

from tisdiss_rt.audio import Array
from tisdiss_rt.audio.filters import fade_in

# Takes sources (sources, m) before and after and the last order; returns the order of the latter.
Match = Callable[[Array, Array, tuple[int, ...]], tuple[int, ...]]


def separate_windows(
    blocks: Iterable[Array], window: int, separate: Callable[[Array, int], Array], match: Match
) -> Iterator[Array]:
    """Separate a signal that arrives in blocks of any length.

    Args:
        blocks: pieces (m,) of the mixture.
        window: W in samples, even.
        separate: called with a window (n,) and the position of its first sample; returns (sources, n).
        match: finds the order of a window's sources, see `Match`; called with the overlap.

    Yields:
        Pieces (sources, m) whose lengths add up to the length of the mixture.
    """
    hop = window // 2
    buffer: Array = np.zeros(0, np.float32)  # the newest window, and what came after it
    start = 0  # position of buffer[0]
    stitcher: _Stitcher | None = None
    for block in blocks:
        buffer = np.concatenate([buffer, block])
        while len(buffer) >= window + (hop if stitcher else 0):
            if stitcher is None:
                stitcher = _Stitcher(hop, match)
            else:
                start += hop
                buffer = buffer[hop:]
            yield stitcher.push(separate(buffer[:window], start))
    beyond = len(buffer) - window
    if stitcher is None:
        if len(buffer):
            yield separate(buffer, 0)
    elif beyond > 0:
        estimate = separate(buffer[beyond:], start + beyond)
        yield stitcher.push(estimate[:, hop - beyond :])
        yield stitcher.flush()
    else:
        yield stitcher.flush()


class _Stitcher:
    """Joins each estimate to the one before it."""

    def __init__(self, hop: int, match: Match) -> None:
        self._match = match
        self._fade_in = fade_in(hop)
        self._order: tuple[int, ...] = ()
        self._tail: Array | None = None  # (sources, m): the part of the last estimate not yet emitted

    def push(self, estimate: Array) -> Array:
        """Take an estimate that begins where the tail begins; return its first ``hop`` samples, blended."""
        hop = len(self._fade_in)
        if self._tail is None:
            self._order = tuple(range(len(estimate)))
            head = estimate[:, :hop]
        else:
            self._order = self._match(self._tail, estimate[:, :hop], self._order)
            estimate = estimate[list(self._order)]
            head = self._tail + self._fade_in * (estimate[:, :hop] - self._tail)
        self._tail = estimate[:, hop:]
        return head

    def flush(self) -> Array:
        """Return the rest of the last estimate."""
        assert self._tail is not None
        return self._tail
