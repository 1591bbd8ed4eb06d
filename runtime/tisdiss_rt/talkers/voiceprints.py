"""Ways to compare voices over a whole recording: by the spectra of `signature`."""

from __future__ import annotations

import numpy as np

from tisdiss_rt.audio import Array
from tisdiss_rt.talkers.signature import CEPSTRA, PITCH_BINS, frame_samples, frame_signatures


class SignatureVoiceprints:
    """The hand-made `signature`, for bundles without a graph; see `blocks.Voiceprints`."""

    size = CEPSTRA + PITCH_BINS
    same, certainty = 0.75, 6.0

    def __init__(self, sample_rate: int) -> None:
        self._sample_rate = sample_rate
        self.hop = frame_samples(sample_rate) // 2

    def frames(self, voices: Array, samples: int) -> tuple[Array, Array]:
        """See `blocks.Voiceprints`."""
        padded = np.pad(voices, ((0, 0), (0, self.hop)))
        features, weights = frame_signatures(padded, self._sample_rate)
        return _summed(features, weights, samples // self.hop, voices.shape[1] // samples)

    def points(self, sums: Array, weights: Array) -> Array:
        """See `blocks.Voiceprints`."""
        points: Array = sums / (weights[..., None] + 1e-20)
        return points


def _summed(features: Array, weights: Array, each: int, stretches: int) -> tuple[Array, Array]:
    """Sum features (sources, frames, size) by stretches of so many frames, as `blocks.Voiceprints` says."""
    sources, frames = len(features), each * stretches
    weights = weights[:, :frames].reshape(sources, stretches, each)
    features = features[:, :frames].reshape(sources, stretches, each, -1)
    return np.einsum("stf,stfd->tsd", weights, features), weights.sum(2).T
