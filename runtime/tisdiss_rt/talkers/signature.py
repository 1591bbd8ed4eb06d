"""Who is speaking: a short vector for each voice, so that talkers keep their outputs through silence.

Where two windows share sound, they can be compared sample by sample. After a silence there is nothing left
to compare but the voices themselves. A *signature* is the mean over the frames of a voice of two things that
differ between talkers and hardly with what is said:

- the colour: the cepstrum of the mel spectrum, where each coefficient is multiplied by its number, because
  the higher ones vary less with the words;
- the pitch: a histogram of the period at which the frame resembles itself most.

Frames count by the root of their energy and by the source's share of the energy of all sources, so that what
leaks of a loud voice into the estimate of a silent one says nothing about the silent one.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from tisdiss_rt.audio import Array

FRAME_S = 0.064  # rounded to a power of two in samples
BANDS = 24
LOWEST_HZ = 80.0
CEPSTRA = 12
PITCH_HZ = (66.0, 400.0)
PITCH_BINS = 32
PITCH_REACH = 4  # bins over which an entry of the histogram spreads to either side

# Squared distances between the voices of different talkers, by which the two parts are brought to one scale,
# so that the distance of two signatures is about 1 where the talkers differ.
_COLOUR_SPREAD, _PITCH_SPREAD = 1070.0, 1.6


def frame_samples(sample_rate: int) -> int:
    """Return the length of a frame; one begins with every half of it."""
    return int(2 ** round(np.log2(FRAME_S * sample_rate)))


def frame_signatures(voices: Array, sample_rate: int) -> tuple[Array, Array]:
    """Compute what signatures are the mean of.

    Returns features (sources, frames, features) and weights (sources, frames).
    """
    frame = frame_samples(sample_rate)
    frames = np.lib.stride_tricks.sliding_window_view(voices, frame, axis=1)
    frames = frames[:, :: frame // 2] * np.hanning(frame).astype(np.float32)  # (sources, frames, samples)
    energy = np.square(frames).sum(2)  # (sources, frames)
    share = energy / (energy.sum(0) + 1e-20)
    power = np.square(np.abs(np.fft.rfft(frames))).astype(np.float32)  # (sources, frames, bins)
    return np.concatenate([_colour(power, sample_rate), _pitch(power, sample_rate)], axis=2), np.sqrt(
        energy
    ) * share


def _colour(power: Array, sample_rate: int) -> Array:
    """Turn power spectra (sources, frames, bins) into weighted cepstra (sources, frames, CEPSTRA)."""
    # Not @: waking the threads of a matrix library takes longer than this does.
    bands = np.einsum("sfk,kb->sfb", power, _mel_bands(power.shape[2], sample_rate))
    log = np.log(bands + 1e-6 * bands.max() + 1e-20)
    number = np.arange(1, CEPSTRA + 1)
    cosines = np.cos(np.pi * np.outer(np.arange(BANDS) + 0.5, number) / BANDS) * number * (2 / BANDS) ** 0.5
    cosines /= _COLOUR_SPREAD**0.5
    colour: Array = np.einsum("sfb,bc->sfc", log, cosines.astype(np.float32))
    return colour


@cache
def _mel_bands(bins: int, sample_rate: int) -> Array:
    """Make triangles that are equally wide on the mel scale: (bins, BANDS)."""
    hz = np.linspace(0, sample_rate / 2, bins)[:, None]
    edges = 700 * np.expm1(np.linspace(np.log1p(LOWEST_HZ / 700), np.log1p(sample_rate / 2 / 700), BANDS + 2))
    rising = (hz - edges[:-2]) / np.diff(edges)[:-1]
    falling = (edges[2:] - hz) / np.diff(edges)[1:]
    triangles: Array = np.maximum(0, np.minimum(rising, falling)).astype(np.float32)
    return triangles


def _pitch(power: Array, sample_rate: int) -> Array:
    """Turn power spectra (sources, frames, bins) into a histogram entry (sources, frames, PITCH_BINS).

    It is as high as the autocorrelation at the period found, so that frames without pitch hardly count.
    """
    shortest, longest = round(sample_rate / PITCH_HZ[1]), round(sample_rate / PITCH_HZ[0])
    likeness = np.fft.irfft(power)
    likeness = likeness[..., shortest:longest] / (likeness[..., :1] + 1e-20)
    period = shortest + likeness.argmax(2)  # (sources, frames)
    place = PITCH_BINS * np.log(period / shortest) / np.log(longest / shortest)
    away = np.abs(np.arange(PITCH_BINS) + 0.5 - place[..., None])  # (sources, frames, PITCH_BINS)
    entry = np.square(np.cos(0.5 * np.pi * np.minimum(away / PITCH_REACH, 1)))
    height = likeness.max(2).clip(0, 1) / _PITCH_SPREAD**0.5
    histogram: Array = (entry * height[..., None]).astype(np.float32)
    return histogram
