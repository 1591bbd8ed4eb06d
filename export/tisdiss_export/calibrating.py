"""The part ``estimate`` of a bundle: polynomials fitted to what it does on scenes whose voices are known."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tisdiss_rt import bundle
from tisdiss_rt.engine import open_engine
from tisdiss_rt.engine.conformance import depths_of, read_example
from tisdiss_rt.estimate.estimator import SILENT, Estimator
from tisdiss_rt.estimate.features import Numbers, gain_features, voice_features
from tisdiss_rt.estimate.polynomial import terms_of

from .observing import Observation, observe

MIXTURES = 96  # of each scene
LEAST_DB, MOST_DB = -10.0, 30.0  # of the SI-SDR that is told: what is beyond counts as the limit
INTERVAL = 0.8  # in which a true value lies as often
EDGE = 0.005  # of the observations, at either end of a feature, that count as its least or greatest value
RIDGE = 1e-3  # of the number of observations
FOLDS = 5
ROUNDS = 8  # of a fit by least absolute errors
NARROWEST = 1e-3  # range of a feature that never changes
FLOOR_DB = 0.5  # under which a residual counts as this


def calibrate(exported: bundle.Bundle, speech: Path, mixtures: int = MIXTURES) -> bundle.Bundle:
    """Fit the part ``estimate`` and add it to a bundle, in the place of the one that it has.

    Args:
        exported: a bundle whose block tells changes.
        speech: folder with ``validation`` and ``noise/validation``.
        mixtures: of each scene.

    Returns:
        The bundle as a runtime loads it.
    """
    engine = open_engine(exported, "cpu", threads=1, precision="fp32")
    return add_estimate(exported, fit(list(observe(engine, speech, mixtures))))


def add_estimate(exported: bundle.Bundle, values: dict[str, tuple[float, ...]]) -> bundle.Bundle:
    """Add the part to a bundle, and to its example what it tells of that, see `bundle`."""
    part = bundle.Part(bundle.ESTIMATE, required=False, graph=None, values=values)
    manifest = exported.manifest
    arrays: dict[str, Any] = read_example(exported)
    estimator = Estimator(values, manifest.sample_rate)
    changes = np.sqrt(np.square(arrays[bundle.CHANGE]).mean(0))  # of all steps
    for depth in (depth for depth in depths_of(arrays) if depth <= len(changes)):
        told = estimator.voices(arrays["mix"], arrays[f"est_{depth}"], list(changes[:depth]))
        rows = [[np.nan] * 3 if voice is None else dataclasses.astuple(voice) for voice in told]
        arrays[f"estimate_{depth}"] = np.array(rows)
    path = exported.folder / manifest.conformance.path
    np.savez_compressed(path, **arrays)
    others = tuple(other for other in manifest.parts if other.name != part.name)
    manifest = dataclasses.replace(
        manifest,
        format=bundle.FORMAT,
        parts=(*others, part),
        conformance=bundle.FileRef(path.name, bundle.sha256_of(path)),
    )
    bundle.write_manifest(exported.folder, manifest)
    return bundle.load(exported.folder)


def fit(observations: Sequence[Observation]) -> dict[str, tuple[float, ...]]:
    """Return the values of the part."""
    values: dict[str, tuple[float, ...]] = {}
    scores = []
    for name, chosen in (
        ("split", [seen for seen in observations if seen.depth == 0]),
        ("repeated", [seen for seen in observations if seen.depth > 0]),
    ):
        features, true_db, groups = voices_of(chosen)
        low, high, terms = _scaled(features)
        out_of_fold = _out_of_fold(terms, true_db, groups, _median_weights)
        spread = np.log(np.maximum(np.abs(true_db - out_of_fold), FLOOR_DB))
        spread_out = _out_of_fold(terms, spread, groups, _weights)
        scores.append((true_db - out_of_fold) / np.exp(spread_out))
        values[f"{name}.low"], values[f"{name}.high"] = _numbers(low), _numbers(high)
        values[f"{name}.level"] = _numbers(_median_weights(terms, true_db))
        values[f"{name}.spread"] = _numbers(_weights(terms, spread))
    edges = np.quantile(np.concatenate(scores), [(1 - INTERVAL) / 2, (1 + INTERVAL) / 2])
    values["interval"] = _numbers(np.array([max(-edges[0], 1e-3), max(edges[1], 1e-3)]))
    features, gains_db = gains_of(observations)
    low, high, terms = _scaled(features)
    values["gain.low"], values["gain.high"] = _numbers(low), _numbers(high)
    values["gain.level"] = _numbers(_weights(terms, gains_db))
    return values


def voices_of(observations: Iterable[Observation]) -> tuple[Numbers, Numbers, Numbers]:
    """Collect voices that talk and whose talkers do: features (n, features), SI-SDR in dB, mixture (n,)."""
    rows, levels, groups = [], [], []
    for seen in observations:
        features = voice_features(seen.statistics, list(seen.changes), seen.window_s)
        power = seen.statistics.frames[2:].mean(1, dtype=np.float64)
        used = np.isfinite(seen.true_db) & (power > SILENT * power.sum())
        rows.append(features[used])
        levels.append(np.clip(seen.true_db[used], LEAST_DB, MOST_DB))
        groups.append(np.full(used.sum(), group_of(seen)))
    return np.concatenate(rows), np.concatenate(levels), np.concatenate(groups)


def group_of(seen: Observation) -> int:
    """Return a number that all windows of a mixture have in common, and some other mixtures."""
    return sum(seen.scene.encode()) + seen.mixture


def gains_of(observations: Iterable[Observation]) -> tuple[Numbers, Numbers]:
    """Collect what repetitions after the first add: features (n, features), and dB (n,)."""
    by_window: dict[tuple[str, int, float, float], dict[int, Observation]] = {}
    for seen in observations:
        place = (seen.scene, seen.mixture, seen.window_s, seen.start_s)
        by_window.setdefault(place, {})[seen.depth] = seen
    rows, gains = [], []
    for depths in by_window.values():
        for depth in range(1, max(depths)):
            before, after = (np.clip(depths[d].true_db, LEAST_DB, MOST_DB) for d in (depth, depth + 1))
            if np.isfinite(before).any():  # which voice is which may change with the depth
                rows.append(gain_features(list(depths[depth].changes), depths[depth].window_s))
                gains.append(float(np.nanmean(after) - np.nanmean(before)))
    return np.array(rows), np.array(gains)


def _scaled(features: Numbers) -> tuple[Numbers, Numbers, Numbers]:
    """Return the range of each feature, and the terms of a polynomial (n, terms)."""
    low, high = np.quantile(features, [EDGE, 1 - EDGE], axis=0)
    high = np.maximum(high, low + NARROWEST * np.maximum(1.0, np.abs(low)))
    return low, high, terms_of(features, low, high)


def _weights(terms: Numbers, targets: Numbers) -> Numbers:
    """Fit by least squares with a small penalty on all but the constant."""
    penalty = RIDGE * len(terms) * np.eye(terms.shape[1])
    penalty[0, 0] = 0.0
    weights: Numbers = np.linalg.solve(terms.T @ terms + penalty, terms.T @ targets)
    return weights


def _median_weights(terms: Numbers, targets: Numbers) -> Numbers:
    """Fit by least absolute errors: the few voices that are the other talker's count for little."""
    weights, trust = np.zeros(terms.shape[1]), np.ones(len(terms))
    for _ in range(ROUNDS):
        root = np.sqrt(trust / trust.mean())
        weights = _weights(root[:, None] * terms, root * targets)
        trust = 1 / np.maximum(np.abs(targets - terms @ weights), 2 * FLOOR_DB)
    return weights


def _out_of_fold(
    terms: Numbers, targets: Numbers, groups: Numbers, weigh: Callable[[Numbers, Numbers], Numbers]
) -> Numbers:
    """Predict each target (n,) from the other mixtures alone."""
    found = np.zeros(len(targets))
    for fold in range(FOLDS):
        own = groups % FOLDS == fold
        found[own] = terms[own] @ weigh(terms[~own], targets[~own])
    return found


def _numbers(array: Numbers) -> tuple[float, ...]:
    return tuple(float(f"{number:.6g}") for number in array)
