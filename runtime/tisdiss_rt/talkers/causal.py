"""Who is who in a stream, decided as the sound comes, block by block, with the parts of `assignment`.

A network keeps two voices apart where they overlap; from turn to turn, and after silence, it may exchange
them. The voiceprint of each block and output is compared with the talkers heard so far. The score of an order
of the outputs is that of the best path through the blocks until now (Viterbi): how well the orders on it
fitted, less what each change of order costs, more in sound than in a pause. The talkers are learnt from the
order chosen, which holds from the next sample on; the fewer blocks a talker has, the less their voiceprint
counts, as one block may be a breath.
"""

from __future__ import annotations

import itertools

import numpy as np

from tisdiss_rt.audio import Array
from tisdiss_rt.audio.filters import fade_in
from tisdiss_rt.talkers.assignment import ACTIVE_DB
from tisdiss_rt.talkers.blocks import BLOCK_S, Voiceprints

CHANGE, CHANGE_IN_SOUND = 4.0, 4.0  # cost of another order, in a pause, and what sound adds
FADE_S = 0.008  # from one order to another, at most the piece
QUIET = 1e-4  # power that a stream is taken to have at least: what comes before the first word is no talker
LEVEL_HALF_LIFE_S = 30.0  # of the stream's level, when it gets quieter
TALKER_HALF_LIFE_S = 60.0  # of what is known of a talker, while there is speech
SURE = 4.0  # blocks from which on a talker is known well enough to be somebody's voice
KNOWN = 0.02  # blocks from which on anything is known of a talker
DOUBT = 1.0  # blocks of a talker that count as much as that they might be anybody


class CausalOrder:
    """Keeps every talker of a stream on one output.

    Args:
        voiceprints: what voices are compared by.
        sources: number of outputs.
        sample_rate: of the voices in Hz.
        voice: whoever is to be on the first output, see `sample.voice_of`; None for anybody.
    """

    def __init__(
        self, voiceprints: Voiceprints, sources: int, sample_rate: int, voice: Array | None = None
    ) -> None:
        self._voiceprints, self._sources, self._voice = voiceprints, sources, voice
        self._block = voiceprints.hop * round(BLOCK_S * sample_rate / voiceprints.hop)
        self._block_s = self._block / sample_rate
        self._orders = np.array(list(itertools.permutations(range(sources))))  # (orders, sources)
        self._rising = fade_in(round(FADE_S * sample_rate))
        self.reset()

    def reset(self) -> None:
        """Forget the talkers."""
        self._waiting: Array = np.zeros(
            (self._sources, self._block), np.float32
        )  # the first block is context
        self._level = QUIET
        self._active: Array = np.zeros(self._sources, np.float32)  # of the block before
        self._sums: Array = np.zeros((self._sources, self._voiceprints.size), np.float32)  # of the talkers
        self._counts: Array = np.zeros(self._sources, np.float32)
        self._scores = np.zeros(len(self._orders))
        self._order = self._orders[0]

    @property
    def voice_found(self) -> bool | None:
        """Whether the wanted voice has been on the first output so far; None where none is wanted."""
        if self._voice is None:
            return None
        first = self._voiceprints.points(self._sums, self._counts)[0]
        near = np.square(first - self._voice).sum() < self._voiceprints.near
        return bool(near and self._counts[0] > SURE)

    def ends_block(self, samples: int) -> bool:
        """Return whether a block ends with a piece of so many samples, which takes longer than others."""
        heard: int = self._waiting.shape[1]
        return heard + samples >= 2 * self._block

    def in_order(self, piece: Array) -> Array:
        """Put the next piece (sources, m) of what was separated into the order of the talkers."""
        before = self._order
        self._waiting = np.concatenate([self._waiting, piece], 1)
        while self._waiting.shape[1] >= 2 * self._block:
            self._update(self._waiting[:, : 2 * self._block])
            self._waiting = self._waiting[:, self._block :]
        ordered: Array = piece[self._order]
        if not np.array_equal(before, self._order):
            rising = self._rising[: piece.shape[1]]
            old = piece[before, : len(rising)]
            ordered[:, : len(rising)] = old + rising * (ordered[:, : len(rising)] - old)
        return ordered

    def _update(self, voices: Array) -> None:
        """Decide the order by a block and the one before it (sources, 2 blocks), and learn from it."""
        power = np.square(voices[:, self._block :]).mean(1)
        total = float(power.sum())
        kept = self._level * float(0.5 ** (self._block_s / LEVEL_HALF_LIFE_S))
        self._level = max(total, kept, QUIET)
        active = power / (power + self._level * 10 ** (ACTIVE_DB / 10) + 1e-20)
        counts = active * power / (total + 1e-20)  # how much each source says, 0 to 1
        sums, weights = (both[1] for both in self._voiceprints.frames(voices, self._block))
        prints = sums / (weights[:, None] + 1e-20)
        fit = self._fit(self._voiceprints.points(prints, np.ones_like(weights)), counts)
        change = CHANGE + CHANGE_IN_SOUND * float(np.minimum(active, self._active).max())
        fits = fit[self._orders, np.arange(self._sources)].sum(1)
        self._scores = np.maximum(self._scores, self._scores.max() - change) + fits
        best = self._scores.argmax()
        self._scores -= self._scores[best]
        self._order = self._orders[best]
        self._drop_renamed(best)
        self._active = active
        self._learn(prints[self._order], counts[self._order])

    def _fit(self, points: Array, counts: Array) -> Array:
        """Return how well each source (sources, size) fits each talker: (sources, talkers)."""
        talkers = self._voiceprints.points(self._sums, self._counts)
        trust = self._counts / (self._counts + DOUBT)
        if self._voice is not None:
            talkers[0], trust[0] = self._voice, 1.0
        same = self._voiceprints.same  # how far a voice is taken to be from somebody unknown
        distance = same + trust * (np.square(points[:, None] - talkers).sum(2) - same)
        fit: Array = -self._voiceprints.certainty * counts[:, None] * distance
        return fit

    def _drop_renamed(self, best: np.intp) -> None:
        """Rule out the orders that differ from the best one in unknown talkers alone."""
        known = self._counts > KNOWN
        known[0] |= self._voice is not None
        renamed = (self._orders[:, known] == self._orders[best, known]).all(1)
        renamed[best] = False
        self._scores[renamed] = -np.inf

    def _learn(self, prints: Array, counts: Array) -> None:
        """Add what the talkers (talkers, size) have said in a block."""
        keep = np.float32(0.5 ** (self._block_s * counts.sum() / TALKER_HALF_LIFE_S))
        counts = np.square(counts)
        self._sums = keep * self._sums + counts[:, None] * prints
        self._counts = keep * self._counts + counts
