"""Resampling of live sound, because a stream must not wait for it longer than for the network.

soxr is made for files: between 48 and 16 kHz its stream returns its output in bursts, 20 to 40 ms late. Here
every output sample comes as soon as the last input sample that it needs, a constant 2 ms later where one of
the rates is 16 kHz and the other is not lower.

The method is the textbook one, a windowed sinc evaluated where the output samples lie (J. O. Smith, "Digital
Audio Resampling", ccrma.stanford.edu/~jos/resample). With the rates reduced to ``up / down``, output i lies
at the input position i * down / up, between two input samples by one of ``up`` fractions, each of which has
its row of coefficients::

    input    |    |    |    |    |    |    |    |    |          position of output i = k + phase / up
    output             .   i^   .
                  |<- reach ->|<- reach ->|                     reach = taps / 2 samples on each side
                    k          k+1

Positions are whole numbers, so nothing drifts however long a stream lasts.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from tisdiss_rt.audio import Array
from tisdiss_rt.audio.filters import STOPBAND_DB, windowed_sinc
from tisdiss_rt.errors import OptionError

PASSBAND = 0.875  # of the lower rate's Nyquist frequency, where the stopband begins: 7 of 8 kHz
MOST_COEFFICIENTS = 2**24  # 64 MB
_OUTPUTS_AT_ONCE = 2048  # bounds the memory for long chunks


class StreamResampler:
    """Resamples a stream chunk by chunk; how it is cut into chunks makes no difference.

    Output i is the sound at time i / to_hz of the input: nothing is shifted, the delay is only about when it
    comes. Flat within 0.01 dB up to ``PASSBAND``, and ``STOPBAND_DB`` down from the Nyquist frequency of
    the lower rate on. Equal rates pass through as they are.

    Args:
        from_hz: rate of the input.
        to_hz: rate of the output.
        channels: of both.

    Attribute ``latency_s``: how much input after an output sample must go in before it is returned.
    Raises OptionError for a rate that is not above 0, or rates whose filter would be too large.
    """

    def __init__(self, from_hz: int, to_hz: int, channels: int) -> None:
        if from_hz <= 0 or to_hz <= 0:
            raise OptionError(f"a sample rate must be above 0, not {min(from_hz, to_hz)}")
        divisor = math.gcd(from_hz, to_hz)
        self._up, self._down = to_hz // divisor, from_hz // divisor
        self._channels = channels
        self._rows = _coefficients(self._up, self._down)
        self._reach = self._rows.shape[1] // 2 if from_hz != to_hz else 0
        self.latency_s = self._reach / from_hz
        self.reset()

    def reset(self) -> None:
        """Begin a new stream."""
        # The input from the first sample that the next output needs; before the stream there is silence.
        self._history = np.zeros((max(self._reach - 1, 0), self._channels), np.float32)
        self._skip = 0  # samples of _history before those that the next output needs
        self._phase = 0  # of the next output

    def process(self, x: Array) -> Array:
        """Push (n, channels); return the (m, channels) that have become ready."""
        if self._up == self._down:
            return x
        self._history = np.concatenate([self._history, x])
        ready = (len(self._history) - self._rows.shape[1] - self._skip + 1) * self._up - self._phase
        return self._give(max(0, -(-ready // self._down)))

    def flush(self) -> Array:
        """Return the rest, (m, channels), and begin a new stream.

        All outputs of n input samples are ``ceil(n * to_hz / from_hz)``.
        """
        if self._up == self._down:
            return np.zeros((0, self._channels), np.float32)
        rest = self.process(np.zeros((self._reach, self._channels), np.float32))
        self.reset()
        return rest

    def _give(self, count: int) -> Array:
        """Compute the next ``count`` outputs and forget the input that no later one needs."""
        pieces = [np.zeros((0, self._channels), np.float32)]
        while count > 0:
            at_once = min(count, _OUTPUTS_AT_ONCE)
            steps = self._phase + self._down * np.arange(at_once)
            pieces.append(self._evaluate(self._skip + steps // self._up, steps % self._up))
            self._skip, self._phase = self._after(at_once)
            count -= at_once
        dropped = min(self._skip, len(self._history))
        self._history = self._history[dropped:]
        self._skip -= dropped
        return np.concatenate(pieces)

    def _after(self, count: int) -> tuple[int, int]:
        """Return where the output after the next ``count`` begins, and its phase."""
        whole, phase = divmod(self._phase + self._down * count, self._up)
        return self._skip + whole, phase

    def _evaluate(self, starts: npt.NDArray[np.int64], phases: npt.NDArray[np.int64]) -> Array:
        """Weigh the input from each start (m,) with the row of its phase (m,)."""
        stretches = np.lib.stride_tricks.sliding_window_view(self._history, self._rows.shape[1], axis=0)
        weighed: Array = np.einsum("mct,mt->mc", stretches[starts], self._rows[phases])  # (m, channels)
        return weighed


def _coefficients(up: int, down: int) -> Array:
    """Design the filter: the coefficients (up, taps) for each phase."""
    shrink = min(1.0, up / down)  # the lower rate over the input's
    # Frequencies in cycles per input sample; the reach by Kaiser's formula.
    transition = (1 - PASSBAND) * shrink / 2
    reach = math.ceil((STOPBAND_DB - 7.95) / (14.36 * transition) / 2)
    if up * 2 * reach > MOST_COEFFICIENTS:
        raise OptionError(f"no filter for sample rates in the ratio of {up} to {down}; resample before")
    return windowed_sinc(reach, np.arange(up) / up, cutoff=(1 + PASSBAND) * shrink / 4)
