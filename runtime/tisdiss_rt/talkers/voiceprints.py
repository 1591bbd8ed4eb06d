"""Ways to compare voices: the network that a bundle brings along, or the spectra of `signature`."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from tisdiss_rt.audio import Array
from tisdiss_rt.bundle import VOICE, Bundle
from tisdiss_rt.engine.backends import OpenGraph
from tisdiss_rt.engine.onnx_runtime import open_part
from tisdiss_rt.errors import BundleError, first_line
from tisdiss_rt.talkers.signature import CEPSTRA, PITCH_BINS, frame_samples, frame_signatures

NEAR = 0.8  # of `same`: of samples of 5 s, 1 in 9 is missed and 1 in 33 of others taken for somebody


class LearntVoiceprints:
    """The graph ``voice.onnx`` of a bundle, see `blocks.Voiceprints`.

    Args:
        graph: of the part.
        values: of the part, see `bundle.Part`.

    Raises BundleError where the graph is not what the manifest says.
    """

    def __init__(self, graph: OpenGraph, values: Mapping[str, tuple[float, ...]]) -> None:
        if (graph.inputs, graph.outputs) != (["voices"], ["prints", "weights"]):
            raise BundleError(f"the voice graph has {graph.inputs} and {graph.outputs}")
        self._graph = graph
        self.hop = int(values["hop"][0])
        self.same, self.certainty = values["same"][0], values["certainty"][0]
        self.near = NEAR * self.same
        self.size: int = self._run(np.zeros((1, 8 * self.hop), np.float32))[0].shape[2]

    def _run(self, voices: Array) -> tuple[Array, Array]:
        try:
            prints, weights = self._graph.run_arrays({"voices": np.ascontiguousarray(voices)})
        except Exception as error:  # what runs it has no common base for its exceptions
            raise BundleError(f"the voice graph failed: {first_line(error)}") from error
        fits = prints.ndim == 3 and weights.shape == prints.shape[:2]
        if not fits or weights.shape != (len(voices), voices.shape[1] // self.hop):
            raise BundleError(f"the voice graph returned {prints.shape} and {weights.shape}")
        return prints, weights

    def frames(self, voices: Array, samples: int) -> tuple[Array, Array]:
        """See `blocks.Voiceprints`."""
        prints, weights = self._run(voices)  # (S, T, size), (S, T)
        return _summed(prints, weights, samples // self.hop, voices.shape[1] // samples)

    def points(self, sums: Array, weights: Array) -> Array:
        """See `blocks.Voiceprints`; only the direction counts."""
        points: Array = sums / (np.sqrt(np.square(sums).sum(-1, keepdims=True)) + 1e-20)
        return points


class SignatureVoiceprints:
    """The hand-made `signature`, for bundles without a graph; see `blocks.Voiceprints`."""

    size = CEPSTRA + PITCH_BINS
    same, near, certainty = 0.75, 0.3, 6.0

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


def voiceprints_of(bundle: Bundle) -> LearntVoiceprints | SignatureVoiceprints:
    """Return how to compare voices that a bundle has separated; raises BundleError for a damaged graph."""
    part = bundle.part(VOICE)
    if part is None or part.graph is None:
        return SignatureVoiceprints(bundle.manifest.sample_rate)
    return LearntVoiceprints(open_part(bundle, part.graph, "voice graph"), part.values)


def _summed(features: Array, weights: Array, each: int, stretches: int) -> tuple[Array, Array]:
    """Sum features (sources, frames, size) by stretches of so many frames, as `blocks.Voiceprints` says."""
    sources, frames = len(features), each * stretches
    weights = weights[:, :frames].reshape(sources, stretches, each)
    features = features[:, :frames].reshape(sources, stretches, each, -1)
    return np.einsum("stf,stfd->tsd", weights, features), weights.sum(2).T
