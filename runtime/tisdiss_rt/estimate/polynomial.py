"""Polynomials of second degree in several features: small, smooth, and the same in every language.

A feature beyond what was calibrated counts as the nearest that was, so that nothing is extrapolated.
"""

from __future__ import annotations

import itertools
import math
import operator
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from tisdiss_rt.estimate.features import Numbers


@dataclass(frozen=True)
class Polynomial:
    """A function of features.

    Attributes:
        low: (features,), the least of each feature.
        high: (features,), the greatest.
        weights: (terms,), of the terms as `terms_of` has them.
    """

    low: Numbers
    high: Numbers
    weights: Numbers

    def __call__(self, features: Numbers) -> Numbers:
        """Return the values (n,) at features (n, features)."""
        values: Numbers = terms_of(features, self.low, self.high) @ self.weights
        return values

    def at(self, features: Sequence[float]) -> float:
        """Return the value at one point, in plain numbers."""
        low, high, weights = self._plain
        unit = [
            min(1.0, max(-1.0, 2 * (feature - least) / (most - least) - 1))
            for feature, least, most in zip(features, low, high, strict=True)
        ]
        products = (a * b for place, a in enumerate(unit) for b in unit[place:])
        return math.fsum(map(operator.mul, weights, itertools.chain([1.0], unit, products)))

    @cached_property
    def _plain(self) -> tuple[list[float], list[float], list[float]]:
        return self.low.tolist(), self.high.tolist(), self.weights.tolist()


def terms_of(features: Numbers, low: Numbers, high: Numbers) -> Numbers:
    """Return 1, the features brought to the range from -1 to 1, and their products by pairs: (n, terms)."""
    unit = np.clip(2 * (features - low) / (high - low) - 1, -1.0, 1.0)
    first, second = np.triu_indices(unit.shape[1])
    return np.concatenate([np.ones((len(unit), 1)), unit, unit[:, first] * unit[:, second]], 1)


def count_terms(features: int) -> int:
    """Return how many terms there are of so many features."""
    return 1 + features + features * (features + 1) // 2
