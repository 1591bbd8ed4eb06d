"""Meetings: any number of people, of whom a network gives as many voices at a time as it has outputs.

Voices of stretches are grouped as in `assignment`, and each source of each block goes to one of the people,
two sources of one block to two. How many there are shows in the voices: they are the most groups of which no
two may be one person. Whoever is heard briefly must differ more, since remains of overlaps sound like nobody.
Where two are heard at once, there are two.
"""

from __future__ import annotations

import numpy as np

from tisdiss_rt.audio import Array
from tisdiss_rt.talkers.assignment import (
    Evidence,
    Order,
    are_together,
    evidence_of,
    grouped,
    number_of_ways,
    pooled,
    settled_on,
    stretches_of,
)
from tisdiss_rt.talkers.blocks import Blocks, Voiceprints

MOST_TALKERS = 8  # people that are told apart
MOST_WAYS = 2000  # in which the sources of a block may be them
# Squared distance, of that at which two voices may be one talker's, up to which two groups are one: of voices
# that are heard for ever, and what comes to it where the briefer one is heard in the root of all blocks.
ALIKE, ALIKE_BRIEF = 0.39, 1.75


def most_talkers(sources: int) -> int:
    """Return how many people can be told apart by a network of so many sources."""
    ways = [number_of_ways(talkers, sources) for talkers in range(1, MOST_TALKERS + 1)]
    return next((number for number, count in enumerate(ways) if count > MOST_WAYS), MOST_TALKERS)


def who_is_who(
    blocks: Blocks, voiceprints: Voiceprints, count: int | None, most: int = MOST_TALKERS
) -> tuple[Order, int]:
    """Find which talker each source of each block is.

    Args:
        blocks: the description of a recording.
        voiceprints: what voices are compared by.
        count: number of talkers; None where it is to be found.
        most: how many may be found.

    Returns:
        The talkers (blocks, sources), and how many there are.
    """
    evidence = evidence_of(blocks)
    sums, counts = pooled(blocks, evidence, stretches_of(evidence))
    groups = min(count or most, len(sums))
    sources = evidence.counts.shape[1]
    least = min(count or (2 if evidence.counts.any() and are_together(evidence) else 1), sources, most)
    if groups < least:  # nobody is alone for long enough to be known: they are as the network has them
        people = count or least
        return np.tile(np.minimum(np.arange(sources), people - 1), (len(blocks), 1)), people
    for number in range(groups, least - 1, -1):
        members = grouped(sums, counts, voiceprints, number)
        own = [members == group for group in range(number)]
        sums, counts = np.stack([sums[of].sum(0) for of in own]), np.array([counts[of].sum() for of in own])
        talkers = voiceprints.points(sums, counts)
        who, talkers = settled_on(blocks, evidence, voiceprints, talkers)
        if count is not None or number == least or _differ(evidence, who, talkers, voiceprints):
            break
    return who, count or number


def _differ(evidence: Evidence, who: Order, talkers: Array, voiceprints: Voiceprints) -> bool:
    """Return whether no two of the talkers may be one person."""
    weights = np.square(evidence.counts)
    heard = np.array([weights[who == talker].sum() for talker in range(len(talkers))])
    brief = np.sqrt(weights.sum()) / (np.minimum(heard[:, None], heard) + 1e-20)
    distance = np.square(talkers[:, None] - talkers).sum(2) / voiceprints.same
    is_alike = distance < ALIKE + ALIKE_BRIEF * brief
    return not is_alike[~np.eye(len(talkers), dtype=bool)].any()
