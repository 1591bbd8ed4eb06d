"""How good voices are, without a reference: what a bundle's part ``estimate`` says of a window.

The polynomials were fitted on scenes whose voices are known, by ``tisdiss-rt export --calibrate``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tisdiss_rt.audio import Array
from tisdiss_rt.bundle import ESTIMATE, Bundle
from tisdiss_rt.estimate.features import alone_features, gain_features, voice_features
from tisdiss_rt.estimate.polynomial import Polynomial
from tisdiss_rt.estimate.statistics import Statistics, statistics_of

ALONE_DEPTH = 1  # at which it is asked whether a voice is alone: before it, turns of two look like one voice
LEAST_DB, MOST_DB = -10.0, 30.0  # that are told: what is beyond counts as the limit
SILENT = 1e-3  # of the power of all voices: below it a voice does not talk


@dataclass(frozen=True)
class Estimated:
    """What the SI-SDR of a voice is expected to be, and an interval that holds in 80 of 100 cases, in dB."""

    si_sdr_db: float
    low_db: float
    high_db: float


class Estimator:
    """Estimates the quality of the voices of windows.

    Args:
        values: of the part, see `bundle.Part`.
        sample_rate: of the sound in Hz.
    """

    def __init__(self, values: Mapping[str, tuple[float, ...]], sample_rate: int) -> None:
        self._sample_rate = sample_rate
        self._levels = [_polynomial(values, name, "level") for name in ("split", "repeated")]
        self._spreads = [_polynomial(values, name, "spread") for name in ("split", "repeated")]
        self._gain = _polynomial(values, "gain", "level")
        self._below, self._above = values["interval"]
        self._alone = values.get("alone")  # least levels of `alone_features`

    def voices(self, mix: Array, voices: Array, changes: Sequence[Array]) -> tuple[Estimated | None, ...]:
        """Estimate the quality of each voice of a window.

        Args:
            mix: (n,) at the sample rate.
            voices: (sources, n), as separated.
            changes: how much each repetition changed the map of each voice (sources,).

        Returns:
            For each voice its quality, or None where it does not talk.
        """
        statistics = statistics_of(mix, voices, self._sample_rate)
        return self.judge(statistics, changes, len(mix) / self._sample_rate)

    def judge(
        self, statistics: Statistics, changes: Sequence[Array], window_s: float
    ) -> tuple[Estimated | None, ...]:
        """Estimate the quality of each voice from the statistics of a window; the rest as `voices`."""
        features = voice_features(statistics, changes, window_s)
        way = 1 if changes else 0
        level_db, spread = self._levels[way](features), np.exp(self._spreads[way](features))
        edges_db = (level_db, level_db - self._below * spread, level_db + self._above * spread)
        power = statistics.frames[2:].mean(1, dtype=np.float64)
        talks = power > SILENT * power.sum()
        return tuple(
            Estimated(*(round(float(db), 3) for db in each)) if is_heard else None
            for each, is_heard in zip(np.clip(edges_db, LEAST_DB, MOST_DB).T, talks, strict=True)
        )

    def gain_db(self, changes: Sequence[Array], window_s: float) -> float:
        """Return what one more repetition is expected to add to the mean SI-SDR of the voices, in dB."""
        return self._gain.at(gain_features(changes, window_s))

    def tells_alone(self, depth: int) -> bool:
        """Return whether the voices at a depth tell which windows have one voice alone."""
        return self._alone is not None and depth == ALONE_DEPTH

    def is_alone(self, statistics: Statistics) -> bool:
        """Return whether a window has one voice alone, and no noise, at a depth that tells it."""
        assert self._alone is not None
        levels_db = alone_features(statistics)
        return all(level_db >= least_db for level_db, least_db in zip(levels_db, self._alone, strict=True))

    def alone(self, mix: Array, voices: Array) -> Array | None:
        """Return the voices of a window in which one is alone: that one as it is in the mixture, and silence.

        Args:
            mix: (n,) at the sample rate.
            voices: (sources, n), as separated at a depth that tells it.

        Returns:
            (sources, n), or None where `is_alone` is false.
        """
        statistics = statistics_of(mix, voices, self._sample_rate)
        if not self.is_alone(statistics):
            return None
        passed_on = np.zeros_like(voices)
        passed_on[statistics.frames[2:].mean(1, dtype=np.float64).argmax()] = mix
        return passed_on


def _polynomial(values: Mapping[str, tuple[float, ...]], name: str, what: str) -> Polynomial:
    return Polynomial(*(np.array(values[f"{name}.{key}"]) for key in ("low", "high", what)))


def estimator_of(bundle: Bundle) -> Estimator | None:
    """Return what estimates the quality of a bundle's voices; None where it does not say how."""
    part = bundle.part(ESTIMATE)
    return None if part is None else Estimator(part.values, bundle.manifest.sample_rate)
