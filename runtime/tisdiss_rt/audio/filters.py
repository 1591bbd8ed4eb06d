"""Coefficients used in several places: a windowed sinc for sound between samples, and the fade at a joint."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tisdiss_rt.audio import Array

STOPBAND_DB = 65.0


def windowed_sinc(reach: int, phases: npt.NDArray[np.float64], cutoff: float = 0.5) -> Array:
    """Design a low-pass filter to be evaluated anywhere, `STOPBAND_DB` down beyond its transition.

    Args:
        reach: input samples on each side of an output sample.
        phases: (m,) positions of output samples after an input sample, in input samples, from 0 to 1.
        cutoff: middle of the transition, in cycles per input sample.

    Returns:
        Coefficients (m, 2 * reach): for a phase, those of the input from ``reach - 1`` samples before.
    """
    offsets = np.arange(1 - reach, reach + 1) - phases[:, None]
    beta = 0.1102 * (STOPBAND_DB - 8.7)  # Kaiser's formula
    rows = np.sinc(2 * cutoff * offsets) * np.i0(beta * np.sqrt(1 - np.square(offsets / reach)))
    normalised: Array = (rows / rows.sum(axis=1, keepdims=True)).astype(np.float32)
    return normalised


def fade_in(samples: int) -> Array:
    """Return the weights (samples,) of what begins at a joint: a raised cosine, from 0 to 1."""
    phase = np.pi * (np.arange(samples, dtype=np.float32) + 0.5) / samples
    weights: Array = (0.5 - 0.5 * np.cos(phase)).astype(np.float32)
    return weights
