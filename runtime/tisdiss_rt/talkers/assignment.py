"""Who is who over a whole recording: which talker each output has, block by block, decided all at once.

A network keeps two voices apart where they overlap; over pauses, and from turn to turn, it may exchange them.
Stretches in which one output dominates are grouped by their voiceprints, the two nearest groups first
(Ward's method). With what the groups sound like, the most likely sequence of orders is found by dynamic
programming (Viterbi): an order is likely where voices fit their talkers, and unlikely to change while
sound goes on. The talkers are learnt again from the result, and so on until nothing changes.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tisdiss_rt.audio import Array
from tisdiss_rt.talkers.blocks import Blocks, Voiceprints

ACTIVE_DB = -30.0  # of the recording's level: what is quieter is silence
DOMINANT = 0.8  # share of a block's power with which an output stands for itself
LONGEST = 8  # blocks of a stretch: two talkers may follow each other without a pause
MOST_STRETCHES = 1500  # stretches that are grouped; of more, some are taken
CHANGE, CHANGE_IN_SOUND = 3.0, 12.0  # cost of another order, in a pause and within sound
ROUNDS = 6
ALIKE = 0.6  # of the distance at which two voices may be one talker's: nearer are alike
# Voices that are known from few blocks seem farther apart than they are: from so many, twice as far at the
# usual, and at the worst; between the two the network's order stands.
FEW_BLOCKS, TOO_FEW_BLOCKS = 4.0, 12.0
RESIDUE_SHARE = 0.1  # of a block's power: what an output has of a louder voice on another one, or of noise
TOGETHER_SHARE = 0.12  # of the sound in which a second voice is louder than that
_TOGETHER = 4096  # blocks, of which as much is computed at once

Order = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Evidence:
    """How much each source of a block counts as a voice of its own, and whether it is heard: 0 to 1.

    Both are (blocks, sources).
    """

    counts: Array
    active: Array


def evidence_of(blocks: Blocks) -> Evidence:
    """Weigh the blocks: silence and residues of a louder voice count little."""
    total = blocks.power.sum(1)
    level = float(np.square(total).sum() / (total.sum() + 1e-20))
    active = blocks.power / (blocks.power + level * 10 ** (ACTIVE_DB / 10) + 1e-20)
    share = blocks.power / (total[:, None] + 1e-20)
    return Evidence(active * share, active)


def assign(blocks: Blocks, voiceprints: Voiceprints) -> Order | None:
    """Find the order of the outputs in each block.

    Returns (blocks, sources): the source of the block that goes to each output; None where all voices are
    one talker's.
    """
    sources = blocks.power.shape[1]
    orders = np.array(list(itertools.permutations(range(sources))))
    evidence = evidence_of(blocks)
    sums, counts = pooled(blocks, evidence, stretches_of(evidence))
    if len(sums) < sources:
        return np.tile(orders[0], (len(blocks), 1))
    groups = grouped(sums, counts, voiceprints, sources)
    members = [groups == group for group in range(sources)]
    talkers = np.stack([voiceprints.points(sums[own].sum(0), counts[own].sum()) for own in members])
    apart = float(np.square(talkers[:, None] - talkers).sum(2).max()) / (ALIKE * voiceprints.same)
    least = float(min(counts[own].sum() for own in members))
    together = are_together(evidence)
    if not together and apart < 1 + FEW_BLOCKS / least:
        return None
    if apart < (0.5 if together else 1) + TOO_FEW_BLOCKS / least:
        return np.tile(orders[0], (len(blocks), 1))
    who, _ = settled_on(blocks, evidence, voiceprints, talkers)
    return who.argsort(1)


def settled_on(
    blocks: Blocks, evidence: Evidence, voiceprints: Voiceprints, talkers: Array
) -> tuple[Order, Array]:
    """Find which of the talkers (n, size) each source is (blocks, sources), and what they really sound like.

    Two sources of a block are two talkers, where there are as many.
    """
    sources = evidence.counts.shape[1]
    pairs = np.array(list(_ways(len(talkers), sources)))
    who: Order = np.zeros(0, np.int64)
    for _ in range(ROUNDS):
        before, who = who, best_path(fit_of(blocks, evidence, talkers, voiceprints), evidence.active, pairs)
        talkers = learnt(blocks, evidence, who, voiceprints, talkers)
        if np.array_equal(before, who):
            break
    return who, talkers


def _ways(talkers: int, sources: int) -> Iterable[tuple[int, ...]]:
    """Return the talkers that the sources of a block may be: one each, where there are as many."""
    if talkers >= sources:
        return itertools.permutations(range(talkers), sources)
    return itertools.product(range(talkers), repeat=sources)


def number_of_ways(talkers: int, sources: int) -> int:
    """Return in how many ways the sources of a block may be the talkers."""
    return math.perm(talkers, sources) if talkers >= sources else talkers**sources


def are_together(evidence: Evidence) -> bool:
    """Return whether two are heard at once: louder than a residue, and not only in moments."""
    voices = np.where(evidence.counts > RESIDUE_SHARE * evidence.active, evidence.active, 0)
    second = np.sort(voices, 1)[:, -2:-1]  # (blocks, 1), or (blocks, 0) of one source
    return float(second.sum()) >= TOGETHER_SHARE * float(evidence.active.max(1).sum())


def stretches_of(evidence: Evidence) -> list[tuple[int, int, int]]:
    """Find where one output dominates: source, first block, and the block after the last."""
    found = []
    dominates = evidence.counts > DOMINANT
    for source in range(dominates.shape[1]):
        edges = np.flatnonzero(np.diff(np.pad(dominates[:, source].astype(np.int8), 1)))
        for begin, end in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
            parts = -(-(end - begin) // LONGEST)
            cuts = np.linspace(begin, end, parts + 1).round().astype(int).tolist()
            found += [(source, a, b) for a, b in itertools.pairwise(cuts)]
    found.sort(key=lambda stretch: stretch[1])
    return found


def pooled(blocks: Blocks, evidence: Evidence, stretches: list[tuple[int, int, int]]) -> tuple[Array, Array]:
    """Return the voiceprints (stretches, size) of stretches, as sums, and how many blocks count in each."""
    if len(stretches) > MOST_STRETCHES:
        stretches = [
            stretches[i] for i in np.linspace(0, len(stretches) - 1, MOST_STRETCHES).round().astype(int)
        ]
    counts = [evidence.counts[a:b, s] for s, a, b in stretches]
    sums = [
        (count[:, None] * blocks.prints[a:b, s]).sum(0, dtype=np.float32)
        for count, (s, a, b) in zip(counts, stretches, strict=True)
    ]
    return np.array(sums), np.array([count.sum() for count in counts])


def grouped(sums: Array, counts: Array, voiceprints: Voiceprints, groups: int) -> Order:
    """Group voiceprints (n, size), those first whose union spreads least; returns the group of each (n,)."""
    sums, counts = sums.copy(), counts.copy()
    points = voiceprints.points(sums, counts)
    member = np.arange(len(sums))
    cost = np.full((len(sums), len(sums)), np.inf, np.float32)

    def renew(row: int) -> None:
        spread = np.square(points[row] - points).sum(1) * counts[row] * counts / (counts[row] + counts)
        alive = (counts > 0) & (np.arange(len(counts)) != row)
        cost[row] = cost[:, row] = np.where(alive, spread, np.inf)

    for row in range(len(sums)):
        renew(row)
    for _ in range(len(sums) - groups):
        kept, gone = np.unravel_index(int(cost.argmin()), cost.shape)
        sums[kept] += sums[gone]
        counts[kept] += counts[gone]
        counts[gone] = 0
        points[kept] = voiceprints.points(sums[kept], counts[kept])
        member[member == gone] = kept
        cost[gone] = cost[:, gone] = np.inf
        renew(int(kept))
    named: Order = np.unique(member, return_inverse=True)[1]
    return named


def fit_of(blocks: Blocks, evidence: Evidence, talkers: Array, voiceprints: Voiceprints) -> Array:
    """Return how well each source fits the points (talkers, size): (blocks, sources, talkers)."""
    distance = np.empty((*evidence.counts.shape, len(talkers)), np.float32)
    for part in _parts(blocks):
        prints = blocks.prints[part].astype(np.float32)
        points = voiceprints.points(prints, np.ones(prints.shape[:2], np.float32))
        lengths = np.square(points).sum(2)[..., None] + np.square(talkers).sum(1)
        distance[part] = lengths - 2 * np.einsum("bsd,td->bst", points, talkers)
    fit: Array = -voiceprints.certainty * evidence.counts[:, :, None] * distance
    return fit


def _parts(blocks: Blocks) -> Iterator[slice]:
    """Yield stretches of some blocks: what is computed of all voiceprints of a day would take 1 GB."""
    for begin in range(0, len(blocks), _TOGETHER):
        yield slice(begin, begin + _TOGETHER)


def best_path(fit: Array, active: Array, ways: Order) -> Order:
    """Find the most likely sequence (blocks, sources) of ways (n, sources) to be talkers.

    Args:
        fit: of each source to each talker, see `fit_of`.
        active: (blocks, sources), from 0 to 1: a source hardly changes its talker while it goes on.
        ways: those that there are: the talker of each source.
    """
    score = fit[:, np.arange(ways.shape[1]), ways].sum(2)  # (blocks, n)
    sound = np.minimum(active[1:], active[:-1])
    change = CHANGE + CHANGE_IN_SOUND * sound  # (blocks - 1, sources)
    differ = (ways[:, None] != ways).astype(np.float32)  # (from, to, sources)
    best = score[0]
    came = np.zeros(score.shape, np.int16)
    for block in range(1, len(score)):
        reached = best[:, None] - (differ * change[block - 1]).max(2)  # from, to
        came[block] = reached.argmax(0)
        best = reached.max(0) + score[block]
    path: Order = np.zeros(len(score), np.int64)
    path[-1] = int(best.argmax())
    for block in range(len(score) - 1, 0, -1):
        path[block - 1] = came[block, path[block]]
    chosen: Order = ways[path]
    return chosen


def learnt(blocks: Blocks, evidence: Evidence, who: Order, voiceprints: Voiceprints, before: Array) -> Array:
    """Learn the talkers' points from what each has of the blocks; who has none is as before."""
    talkers: Array = before.copy()
    for talker in range(len(before)):
        counts = np.square(evidence.counts) * (who == talker)
        total = counts.sum()
        if total > 0:
            parts = [np.einsum("bs,bsd->d", counts[part], blocks.prints[part]) for part in _parts(blocks)]
            sums = np.sum(parts, axis=0)
            talkers[talker] = voiceprints.points(sums, total)
    return talkers
