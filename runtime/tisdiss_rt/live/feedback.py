"""Feedback: what is played comes in again, is played again, and grows until it howls.

::

    microphone ─> separation ─> headphones, or loudspeakers ─┐
        └──────────────── air, or a monitor of the server <──┘

Loud sound alone says nothing, nor does sound that grows: talkers do both. What was played is in the input
again, at the loop's delay; so the input is compared with what was played before it. Steady tones look alike
at any delay; so what is suspected is tried: the output is muted for a moment, and if that takes away most of
the input, it was feedback. Then the output stays muted for a while, else it comes back at once.

::

               alike, and growing or limited            falls while muted
    listening ───────────────────────────────> trying ───────────────────> muted
        ^                                        │ does not fall              │ MUTED_S
        └────────────────────────────────────────┴────────────────────────────┘
"""

from __future__ import annotations

import numpy as np

from tisdiss_rt.audio import Array

LOOK_S = 0.2  # from one comparison to the next
LEVEL_S = 0.1  # of input whose level counts
STRETCH_S = 0.3  # of input that is compared
LEAST_DELAY_S, MOST_DELAY_S = 0.02, 0.8  # of the loop
COMPARED_HZ = 8000  # about, which takes half a millisecond; a whistle above half of it is one below
ALIKE = 0.8  # correlation of the input with what was played
GROWTH = 1.5  # of the input's level since they are alike
LOOKS = 3  # at which they are alike, at least
QUIET = 1e-3  # input of less than this is none
SETTLING_S = 0.3  # after the loop's delay, for rooms to become quiet
FALL = 0.35  # of the input's level while muted, if it was feedback
LEAST_DOUBT_S, MOST_DOUBT_S = 1.0, 30.0  # before the next try; twice as long after each that found nothing
MUTED_S = 10.0
FADE_S = 0.005


class FeedbackWatch:
    """Mutes the output while it feeds itself.

    Args:
        sample_rate: in Hz.

    Attributes: ``mutings`` counts how often there was feedback; ``is_muted`` says whether it is muted for it.
    """

    def __init__(self, sample_rate: int) -> None:
        self.mutings = 0
        self.is_muted = False
        self._rate = sample_rate
        self._every = max(1, sample_rate // COMPARED_HZ)  # samples averaged to one
        self._rest: Array = np.zeros((2, 0), np.float32)
        kept = round((STRETCH_S + MOST_DELAY_S) * sample_rate / self._every)
        self._past: Array = np.zeros((2, kept), np.float32)  # input, played
        self._to_look = self._samples(LOOK_S)
        self._looks = 0  # in a row at which input and output were alike
        self._least = 0.0  # level of the input at these
        self._was_limited = False  # since the last look
        self._gain = self._wanted_gain = 1.0
        self._doubt_s = LEAST_DOUBT_S
        self._waiting = 0  # samples until a try or a muting ends
        self._level_before: float | None = None  # while trying

    def mute(self, sound: Array) -> Array:
        """Return (n,) as it may be played."""
        if self._gain == self._wanted_gain == 1.0:
            return sound
        step = np.float32(1 / (FADE_S * self._rate))
        ramp = self._gain + np.sign(self._wanted_gain - self._gain) * step * np.arange(1, len(sound) + 1)
        ramp = np.clip(ramp, 0, 1).astype(np.float32)
        self._gain = float(ramp[-1]) if len(ramp) else self._gain
        muted: Array = sound * ramp
        return muted

    def update(self, mixture: Array, played: Array, is_limited: bool) -> None:
        """Take note of the input (n,) and of what was played (m,) for it, and whether that was limited."""
        frames = min(len(mixture), len(played))
        self._rest = np.concatenate([self._rest, np.stack([mixture[:frames], played[:frames]])], axis=1)
        whole = self._rest.shape[1] // self._every
        means = self._rest[:, : whole * self._every].reshape(2, whole, self._every).mean(axis=2)
        self._rest = self._rest[:, whole * self._every :]
        self._past = np.concatenate([self._past, means], axis=1)[:, -self._past.shape[1] :]
        self._waiting -= frames
        self._to_look -= frames
        self._was_limited |= is_limited
        if self._to_look <= 0:
            self._to_look += self._samples(LOOK_S)
            self._look()
            self._was_limited = False

    def _look(self) -> None:
        if self._waiting > 0:
            return
        if self.is_muted:
            self._listen()
        elif self._level_before is not None:
            self._decide()
        else:
            self._suspect()

    def _suspect(self) -> None:
        """Begin a try if the input is what was played, and grows or is as loud as can be."""
        delay_s, alike = self._compare()
        if alike < ALIKE:
            self._looks = 0
            return
        level = self._level()
        self._looks += 1
        self._least = min(self._least, level) if self._looks > 1 else level
        grows = self._looks >= LOOKS and level > GROWTH * self._least
        if grows or self._was_limited:
            self._looks = 0
            self._level_before = level
            self._wanted_gain = 0.0
            self._waiting = self._samples(delay_s + SETTLING_S)

    def _decide(self) -> None:
        """End a try."""
        assert self._level_before is not None
        if self._level() < FALL * self._level_before:
            self.mutings += 1
            self.is_muted = True
            self._waiting = self._samples(MUTED_S)
            self._doubt_s = LEAST_DOUBT_S
        else:
            self._listen()
            self._waiting = self._samples(self._doubt_s)
            self._doubt_s = min(2 * self._doubt_s, MOST_DOUBT_S)
        self._level_before = None

    def _listen(self) -> None:
        self.is_muted = False
        self._wanted_gain = 1.0

    def _level(self) -> float:
        """Root mean square of the latest input."""
        latest = self._past[0, -round(LEVEL_S * self._rate / self._every) :]
        return float(np.sqrt(np.mean(np.square(latest))))

    def _compare(self) -> tuple[float, float]:
        """Find the delay in seconds at which the input is most like what was played, and how much it is."""
        rate = self._rate / self._every
        stretch = round(STRETCH_S * rate)
        heard = self._past[0, -stretch:]
        energy = float(np.dot(heard, heard))
        if energy < QUIET**2 * stretch:
            return 0.0, 0.0
        played = self._past[1, : -round(LEAST_DELAY_S * rate)]
        size = 1 << (len(played) - 1).bit_length()  # what wraps around is cut off
        spectrum = np.fft.rfft(played, size) * np.conj(np.fft.rfft(heard, size))
        products = np.abs(np.fft.irfft(spectrum, size)[: len(played) - stretch + 1])  # or upside down
        sums = np.concatenate([[0.0], np.cumsum(np.square(played, dtype=np.float64))])
        energies = sums[stretch:] - sums[:-stretch]
        alike = products / np.sqrt(energy * np.maximum(energies, QUIET**2 * stretch))
        best = int(np.argmax(alike))
        return (self._past.shape[1] - stretch - best) / rate, float(alike[best])

    def _samples(self, seconds: float) -> int:
        return round(seconds * self._rate)
