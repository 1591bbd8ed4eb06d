"""What is kept of a recording to decide who is who: for each block and output, loudness and voiceprint.

A block is a quarter of a second. Voiceprints are sums over frames, so that blocks add up to whatever one
wants to compare: a turn, an hour of one talker. Loudness is finer, so that turns begin and end where they do.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from tisdiss_rt.audio import Array

BLOCK_S = 0.256
PARTS = 8  # of a block, for its loudness
_TOGETHER = 16  # blocks that are described in one go, with one more of context on either side


class Voiceprints(Protocol):
    """A way to compare voices.

    Attributes:
        hop: samples from one frame to the next.
        size: length of a voiceprint.
        same: squared distance of two `points` at which they are as likely of one talker as of two.
        near: squared distance up to which a sample of some seconds is of the talker of a recording.
        certainty: how much a squared distance says where a block is compared with a talker.
    """

    hop: int
    size: int
    same: float
    near: float
    certainty: float

    def frames(self, voices: Array, samples: int) -> tuple[Array, Array]:
        """Compute sums for stretches of so many samples of voices (sources, n).

        Returns voiceprints (stretches, sources, size) and what they weigh (stretches, sources).
        """

    def points(self, sums: Array, weights: Array) -> Array:
        """Return the point of each sum (..., size) in the space where voices are compared."""


@dataclass
class Blocks:
    """The description of a recording.

    Attributes:
        levels: (blocks, sources, PARTS), mean square of each part.
        prints: (blocks, sources, size), means over the frames; halves, since there are many.
        weights: (blocks, sources), the sums of the frames' weights.
    """

    levels: Array
    prints: npt.NDArray[np.float16]
    weights: Array

    @property
    def power(self) -> Array:
        """Mean square of each block (blocks, sources)."""
        power: Array = self.levels.mean(2)
        return power

    def __len__(self) -> int:
        return len(self.levels)


class Describer:
    """Describes a recording piece by piece, in constant memory but for the result."""

    def __init__(self, voiceprints: Voiceprints, sources: int, sample_rate: int) -> None:
        self._voiceprints, self._sources = voiceprints, sources
        self.block = voiceprints.hop * round(BLOCK_S * sample_rate / voiceprints.hop)
        self._waiting: Array = np.zeros((sources, self.block), np.float32)  # its first block is context
        self._made: list[Blocks] = []

    def take(self, piece: Array) -> None:
        """Describe the next piece (sources, m)."""
        self._waiting = np.concatenate([self._waiting, piece], 1)
        while self._waiting.shape[1] >= (_TOGETHER + 2) * self.block:
            self._describe(_TOGETHER)

    def result(self) -> Blocks:
        """Return the description of all that was taken; the last block may be filled up with silence."""
        left = -(-(self._waiting.shape[1] - self.block) // self.block)
        padding = (left + 2) * self.block - self._waiting.shape[1]
        self._waiting = np.pad(self._waiting, ((0, 0), (0, padding)))
        for first in range(0, left, _TOGETHER):  # a print depends on the loudest frame of its group
            self._describe(min(_TOGETHER, left - first))
        if not self._made:
            shape = (0, self._sources)
            prints = np.zeros((*shape, self._voiceprints.size), np.float16)
            return Blocks(np.zeros((*shape, PARTS), np.float32), prints, np.zeros(shape, np.float32))
        names = ("levels", "prints", "weights")
        return Blocks(*(np.concatenate([getattr(blocks, name) for blocks in self._made]) for name in names))

    def _describe(self, blocks: int) -> None:
        voices = self._waiting[:, : (blocks + 2) * self.block]
        sums, weights = self._voiceprints.frames(voices, self.block)
        means = (sums / (weights[..., None] + 1e-20)).astype(np.float16)
        inside = voices[:, self.block : (blocks + 1) * self.block].reshape(self._sources, blocks, self.block)
        edges = np.linspace(0, self.block, PARTS + 1).round().astype(int)
        levels = np.add.reduceat(np.square(inside), edges[:-1], axis=2) / np.diff(edges)
        levels = levels.swapaxes(0, 1).astype(np.float32)  # (blocks, sources, PARTS)
        self._made.append(Blocks(levels, means[1 : blocks + 1], weights[1 : blocks + 1]))
        self._waiting = self._waiting[:, blocks * self.block :]
