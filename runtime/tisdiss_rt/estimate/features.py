"""What is known of each voice of a window without a reference, as numbers to estimate its quality from."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from tisdiss_rt.audio import Array
from tisdiss_rt.estimate.statistics import Statistics

Numbers = npt.NDArray[np.float64]

LEAST = 1e-6  # of a ratio of powers: beyond that nothing more is told
DEEPEST = 8  # repetitions that are told apart
QUIET = 10  # one of so many frames is a pause of a voice


def decibels(ratio: npt.ArrayLike) -> Numbers:
    """Return ratios of powers in dB, from -60 on."""
    level: Numbers = 10 * np.log10(np.maximum(np.asarray(ratio, np.float64), LEAST))
    return level


def voice_features(statistics: Statistics, changes: Sequence[Array], window_s: float) -> Numbers:
    """Compute the features (sources, features) of the voices of a window.

    Args:
        statistics: of the window.
        changes: how much each repetition changed the map of each voice (sources,).
        window_s: length of the window.
    """
    frames = statistics.frames.astype(np.float64)
    power = frames.mean(1) + 1e-20  # of mixture, rest and voices
    voices = power[2:]
    columns = [
        *_change_features(changes, len(voices)),
        decibels(voices / power[0]),
        decibels((voices.sum() - voices) / power[0]),
        np.full(len(voices), decibels(power[1] / power[0])),
        _likeness(statistics.products.astype(np.float64)),
        *_time_features(frames[2:]),
        decibels(statistics.steps[2:] / voices),
        np.full(len(voices), decibels(statistics.steps[0] / power[0])),
        np.full(len(voices), np.log2(window_s)),
    ]
    return np.stack(columns, 1)


def _change_features(changes: Sequence[Array], sources: int) -> list[Numbers]:
    """Return the mean last change, how much less it is than the one before, and the depth."""
    if not changes:
        return []
    last, before = (decibels(np.square(change)).mean() for change in (changes[-1], changes[-2:][0]))
    depth = float(min(len(changes), DEEPEST))
    return [np.full(sources, number) for number in (last, before - last, depth)]


def _likeness(products: Numbers) -> Numbers:
    """Return how much each voice is like that of the others which is most like it, from 0 to 1."""
    lengths = np.sqrt(np.diag(products)) + 1e-10
    alike = np.abs(products) / lengths[:, None] / lengths
    np.fill_diagonal(alike, 0.0)
    most: Numbers = alike.max(1)
    return most


def _time_features(voices: Numbers) -> list[Numbers]:
    """Return of frames (sources, frames) the contested share, how even a voice is, and its pauses, in dB."""
    whole = voices.sum(0)
    others = whole - voices
    power = voices.mean(1) + 1e-20
    contested = (voices * others / (whole + 1e-20)).mean(1) / power
    even = np.square(power) / (np.square(voices).mean(1) + 1e-20)
    quietest = np.sort(voices, 1)[:, : max(1, voices.shape[1] // QUIET)]
    return [decibels(contested), decibels(even), decibels(quietest.mean(1) / power)]


def alone_features(statistics: Statistics) -> tuple[float, float]:
    """Return by how many dB other voices are below the loudest, and what no voice has below the mixture."""
    power = statistics.frames.mean(1, dtype=np.float64) + 1e-20
    voices = power[2:]
    others_db, rest_db = -decibels([(voices.sum() - voices.max()) / voices.max(), power[1] / power[0]])
    return float(others_db), float(rest_db)


def gain_features(changes: Sequence[Array], window_s: float) -> list[float]:
    """Compute the features of a window from which the gain of one more repetition is told.

    Plain numbers: this is asked before each repetition of a step, and arrays would take ten times as long.
    """
    last, before = (
        [_change_db(change) for change in each.tolist()] for each in (changes[-1], changes[-2:][0])
    )
    mean = sum(last) / len(last)
    return [
        mean,
        max(last) - mean,
        sum(before) / len(before) - mean,
        float(min(len(changes), DEEPEST)),
        math.log2(window_s),
    ]


def _change_db(change: float) -> float:
    return 10 * math.log10(max(change * change, LEAST))
