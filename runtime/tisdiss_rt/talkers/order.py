"""Which source of an estimate continues which of the one before, where both share sound.

A separator returns its sources in any order. Each window's sources are put into the order that agrees best
with the previous window in the overlap. The agreement is the sum of the inner products and not of the
correlation coefficients: what is left of a loud voice in the estimate of a silent one correlates with that
voice too, and only the energies tell them apart.
"""

from __future__ import annotations

import itertools

import numpy as np

from tisdiss_rt.audio import Array

# An order must be better by this share of the overlap's energy before it replaces the last known one.
_MARGIN = 1e-3


def match_order(before: Array, after: Array, last: tuple[int, ...]) -> tuple[int, ...]:
    """Find the order of ``after`` that agrees best with ``before``, both (sources, samples).

    Returns:
        ``order`` such that ``after[order]`` continues ``before``. Sources that are silent, so that nothing
        tells them apart, stay as in ``last``.
    """
    agreement = before @ after.T  # (sources, sources)
    margin = _MARGIN * float(np.sqrt(np.square(before).sum() * np.square(after).sum()))
    rows = range(len(last))
    nearest_first = sorted(
        itertools.permutations(rows), key=lambda order: sum(a != b for a, b in zip(order, last, strict=True))
    )
    best, best_score = last, -np.inf
    for order in nearest_first:
        score = float(agreement[rows, order].sum())
        if score > best_score + margin:
            best, best_score = order, score
    return best
