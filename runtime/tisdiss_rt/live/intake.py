"""What the microphone gives, made fit for the network: one channel of numbers around zero.

A constant offset (DC) would stay in one of the voices and cost the others some quality. Once the average of
the sound is beyond a tolerance it is subtracted; before, sound passes as it is, to the bit. A device or sound
server that is held up gives exact zeros amid sound and says nothing: these are gaps, too::

    block ─> no numbers become silence ─> channel, or the mean ─> minus the offset ─> fades at gaps
"""

from __future__ import annotations

import numpy as np

from tisdiss_rt.audio import Array
from tisdiss_rt.live.seam import Seam
from tisdiss_rt.streaming.stream import LOUDEST

SETTLING_S = 0.5  # before the first offset is subtracted; nothing is played yet
AVERAGE_S = 2.0  # time constant of the offset
TOLERANCE = 0.01  # of an offset, which costs nothing yet
CLICK = 0.05  # between exact zeros and a sample beside them, at which sound fades
ZEROS = 8  # in a row, which no sound has beside such a sample
SILENCE_S = 5.0  # of exact zeros, which a microphone that works never gives


class Intake:
    """Turns blocks into mono sound and takes note of what is wrong with them.

    Args:
        sample_rate: in Hz.
        channel: number of the channel to take, from 1; None is the mean of all.

    Attribute ``invalid`` counts samples that were no numbers, or far beyond full scale.
    """

    def __init__(self, sample_rate: int, channel: int | None = None) -> None:
        self.invalid = 0
        self._rate, self._channel = sample_rate, channel
        self._came = 0  # samples
        self._latest: Array = np.zeros(0, np.float32)  # up to ZEROS of them
        self._average = self._offset = 0.0
        self._zeros = self._cancelled = 0  # samples in a row
        self._seam = Seam(sample_rate, fades_in=False)

    def process(self, block: Array) -> Array:
        """Reduce (n, channels) to (n,)."""
        is_valid = np.abs(block) <= LOUDEST  # nor is nan
        if not is_valid.all():
            self.invalid += int(np.count_nonzero(~is_valid))
            block = np.where(is_valid, block, np.float32(0))
        mono: Array = block.mean(axis=1) if self._channel is None else block[:, self._channel - 1]
        is_zero = not mono.any()
        self._zeros = self._zeros + len(mono) if is_zero else 0
        self._cancelled = self._cancelled + len(mono) if is_zero and block.any() else 0
        return self._faded(self._centred(mono), self._clicks(mono))

    def miss(self, samples: int) -> Array:
        """Return (samples,) of silence in place of missing sound, into which the previous sound fades."""
        self._latest = self._latest[:0]
        self._seam.cut()
        silence = self._seam.join(np.zeros(samples, np.float32))
        self._seam.cut()
        return silence

    @property
    def is_silent(self) -> bool:
        """Whether nothing but exact zeros has come for `SILENCE_S`."""
        return self._zeros >= SILENCE_S * self._rate

    @property
    def is_cancelled(self) -> bool:
        """Whether the channels were not silent then, only their mean."""
        return self._cancelled >= SILENCE_S * self._rate

    def _clicks(self, mono: Array) -> list[int]:
        """Return where in (n,) exact zeros begin or end at once, but for one that begins at its very end."""
        known = len(self._latest)
        sound = np.concatenate([self._latest, mono])
        self._latest = sound[-ZEROS:]
        steps = 1 + np.flatnonzero((np.abs(np.diff(sound)) > CLICK) & ((sound[1:] == 0) | (sound[:-1] == 0)))
        return [
            int(at) - known
            for at in steps[steps >= known]
            if not sound[max(0, at - ZEROS) : at].any()
            or (at + 1 < len(sound) and not sound[at : at + ZEROS].any())
        ]

    def _faded(self, mono: Array, cuts: list[int]) -> Array:
        """Fade (n,) at every cut."""
        first, *others = np.split(mono, cuts)
        pieces = [self._seam.join(first)]
        for piece in others:
            self._seam.cut()
            pieces.append(self._seam.join(piece))
        return np.concatenate(pieces)

    def _centred(self, mono: Array) -> Array:
        """Subtract the offset; a change of it is spread over the block."""
        self._came += len(mono)
        since = min(self._came, AVERAGE_S * self._rate)
        if len(mono):
            self._average += len(mono) / since * (float(mono.mean()) - self._average)
        if self._came < SETTLING_S * self._rate:
            return mono
        before = self._offset
        if before != 0.0 or abs(self._average) > TOLERANCE:
            self._offset = self._average
        if before == self._offset == 0.0:
            return mono
        centred: Array = mono - np.linspace(before, self._offset, len(mono), dtype=np.float32)
        return centred
