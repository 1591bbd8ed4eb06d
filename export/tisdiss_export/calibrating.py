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
from tisdiss_rt.estimate.estimator import ALONE_DEPTH, LEAST_DB, MOST_DB, SILENT, Estimator
from tisdiss_rt.estimate.features import Numbers, alone_features, gain_features, voice_features
from tisdiss_rt.estimate.polynomial import terms_of

from .observing import Observation, observe

MIXTURES = 96  # of each scene
INTERVAL = 0.8  # in which a true value lies as often
EDGE = 0.005  # of the observations, at either end of a feature, that count as its least or greatest value
RIDGE = 1e-3  # of the number of observations
FOLDS = 5
ROUNDS = 8  # of a fit by least absolute errors
NARROWEST = 1e-3  # range of a feature that never changes
FLOOR_DB = 0.5  # under which a residual counts as this
ALONE_LOST_DB = 0.1  # in the mean over the windows that are passed on as one voice, others' gains not counted
# That are tried, of other voices and of the rest; beyond the level that nothing has, none is alone.
ALONE_LIMITS_DB = [(float(others), float(rest)) for others in range(61, 9, -1) for rest in range(61, 9, -1)]


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
    values |= _alone(observations)
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


def by_window(observations: Iterable[Observation]) -> list[dict[int, Observation]]:
    """Group the observations of windows: one for each depth."""
    found: dict[tuple[str, int, float, float], dict[int, Observation]] = {}
    for seen in observations:
        place = (seen.scene, seen.mixture, seen.window_s, seen.start_s)
        found.setdefault(place, {})[seen.depth] = seen
    return list(found.values())


def _alone(observations: Iterable[Observation]) -> dict[str, tuple[float, ...]]:
    """Find the levels from which on a window is passed on as one voice: the most windows that lose little."""
    windows = [depths for depths in by_window(observations) if np.isfinite(depths[0].true_db).any()]
    if not windows or np.isnan(windows[0][0].alone_db):
        return {}
    levels = np.array([alone_features(depths[ALONE_DEPTH].statistics) for depths in windows])  # (n, 2)
    lost_db = np.array(
        [
            max(0.0, _mean_db(depths[max(depths)].true_db) - _mean_db(passed_on_db(depths[0])))
            for depths in windows
        ]
    )
    best, most = ALONE_LIMITS_DB[0], 0
    for limits in ALONE_LIMITS_DB:
        ends = (levels >= limits).all(1)
        if ends.sum() > most and lost_db[ends].mean() <= ALONE_LOST_DB:
            best, most = limits, int(ends.sum())
    return {"alone": best}


def passed_on_db(seen: Observation) -> Numbers:
    """Return the SI-SDR (sources,) of a window's voices if one is the mixture, and silence the others."""
    talking = np.flatnonzero(np.isfinite(seen.true_db))
    levels = np.full(len(seen.true_db), np.nan)
    levels[talking] = LEAST_DB
    levels[talking[:1]] = seen.alone_db
    return levels


def gains_of(observations: Iterable[Observation]) -> tuple[Numbers, Numbers]:
    """Collect what repetitions after the first add: features (n, features), and dB (n,)."""
    rows, gains = [], []
    for depths in by_window(observations):
        for depth in range(1, max(depths)):
            before, after = (depths[d].true_db for d in (depth, depth + 1))
            if np.isfinite(before).any():  # which voice is which may change with the depth
                rows.append(gain_features(list(depths[depth].changes), depths[depth].window_s))
                gains.append(_mean_db(after) - _mean_db(before))
    return np.array(rows), np.array(gains)


def _mean_db(true_db: Numbers) -> float:
    """Return the mean of the voices (sources,) whose talkers talk."""
    return float(np.nanmean(np.clip(true_db, LEAST_DB, MOST_DB)))


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
