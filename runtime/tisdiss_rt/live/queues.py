"""The queues on both sides of the separation: sound devices are served on time, whatever the separation does.

::

    microphone ──> InputQueue ──> separation ──> OutputQueue ──> headphones
     callback: copy, put                             callback: take, copy

How full the output queue is says little, since it goes up and down with every step. What counts is the delay
from the input's to the output's callback. It has to cover all that may happen in between, else the output
runs dry; what is more than that is only latency. So playing begins at that delay, to the sample: what has
gathered by then is thrown away, and so is what comes all at once after the separation was held up. After an
underflow the output stays silent until the delay is reached, which is then longer: a device that delivers
unevenly shows it once. After a calm minute the delay becomes shorter again, by a little speed, as what was in
the way may be over; where that was too short after all, the next try is twice as far away. At all of these
seams sound fades, as it does at the start and at the end.
"""

from __future__ import annotations

import queue
import threading
import time
from dataclasses import dataclass

import numpy as np

from tisdiss_rt.audio import Array
from tisdiss_rt.live.clock_drift import TOLERANCE_S, DelayControl
from tisdiss_rt.live.seam import Seam

MOST_WAITING_S = 2.0  # of input; a separation that is later than this has to leave something out
AWAY_S = 0.1  # without a block at the end
BURST_S = 2.0  # within which a device that came back gives what it has gathered, faster than it comes
LOST_S = 0.02  # at least, of what a device says that it has lost, to be a gap
FED_S = 0.25  # of the silence in a gap, so that what was before it comes out
LEAD_IN_S = 0.5  # that is not played: devices begin unevenly
SPARE_S = 0.05  # of delay beyond what is needed, before it is cut
GROWTH_S = 0.004  # of the delay, by each underflow
MOST_GROWTH_S = 0.06
CALM_S = 60.0  # without underflow, before a delay that has grown becomes shorter by as much


@dataclass(frozen=True)
class Gap:
    """Samples that were missed, ``fed`` of which are to be separated, as silence."""

    samples: int
    fed: int


class InputQueue:
    """Blocks from the microphone. Attribute ``overflows`` counts those that were lost."""

    def __init__(self, sample_rate: int, block: int) -> None:
        self.overflows = 0
        self._sample_rate, self._block = sample_rate, block
        self._most = max(2, round(MOST_WAITING_S * sample_rate / block))
        self._blocks: queue.SimpleQueue[Array | Gap | None] = queue.SimpleQueue()
        self._came, self._last_s = 0, 0.0
        self._was_away = self._has_lost = False
        self._dropped = 0  # samples
        self._back_s, self._back = 0.0, 0  # when the device gave its first block again, and samples after it
        self._early_s = 0.0  # by which the gap before that was too long

    def put(self, block: Array) -> None:
        """Add (n, channels), which must not change afterwards; never waits.

        Where too much is waiting already, half of it is to be taken before anything is added again: one gap
        is better than many.
        """
        waiting = self._blocks.qsize()
        if waiting >= self._most or (self._dropped and 2 * waiting > self._most):
            self.overflows += 1
            self._dropped += len(block)
            return
        now_s = time.perf_counter()
        if self._was_away or self._has_lost:
            since_s = now_s - self._last_s - self._early_s if self._last_s else 0.0
            missed = round(since_s * self._sample_rate) - len(block)
            if self._was_away or missed > LOST_S * self._sample_rate:
                self._dropped = missed
                self._back_s, self._back, self._early_s = now_s, -len(block), 0.0
            else:  # no longer than what callbacks are late by anyway
                self._blocks.put(Gap(0, 0))
        if self._dropped > 0:
            fed = min(self._dropped, round(FED_S * self._sample_rate))
            self._came += fed
            self._blocks.put(Gap(self._dropped, fed))
        self._was_away, self._has_lost, self._dropped = False, False, 0
        self._came += len(block)
        self._last_s = now_s
        self._blocks.put(block)
        if now_s - self._back_s < BURST_S:
            self._back += len(block)
            self._early_s = max(self._early_s, self._back / self._sample_rate - (now_s - self._back_s))

    def lose(self) -> None:
        """Note that the device has lost sound: the next block continues nothing, and is late by as much."""
        self.overflows += 1
        self._has_lost = True

    def restart(self) -> None:
        """Expect the next block after a gap, as the device was away."""
        self._was_away = True

    @property
    def came(self) -> float:
        """Samples that have come by now, with those that the device is just gathering for the next block."""
        gathered = (time.perf_counter() - self._last_s) * self._sample_rate
        return self._came + min(gathered, self._block)

    def end(self, until_s: float | None = None) -> None:
        """Mark the end: no more blocks will arrive.

        Where the device was away at the end, ``until_s`` on the clock of ``time.perf_counter``, what it
        missed is a gap.
        """
        if until_s is not None and self._last_s and until_s - self._last_s > AWAY_S:
            missed = round((until_s - self._last_s - self._early_s) * self._sample_rate)
            self._blocks.put(Gap(missed, min(missed, round(FED_S * self._sample_rate))))
        self._blocks.put(None)

    def take(self) -> Array | Gap | None:
        """Wait for the next block, or what stands for missed ones; None at the end."""
        return self._blocks.get()


class OutputQueue:
    """Mono sound for the headphones, taken by a callback in blocks of any size.

    Args:
        sample_rate: in Hz.
        delay_s: to begin with, from a sample's coming to its being taken.

    Attributes: ``underflows`` counts the gaps, ``overflows`` how often something was thrown away to catch up.
    """

    def __init__(self, sample_rate: int, delay_s: float) -> None:
        self.underflows = self.overflows = 0
        self._sample_rate = sample_rate
        self._start = round(delay_s * sample_rate)  # samples of delay
        self._growth = round(GROWTH_S * sample_rate)
        self._least_start = self._start
        self._most_start = self._start + round(MOST_GROWTH_S * sample_rate)
        self._calm = 0  # samples played since the delay changed last
        self._patience = round(CALM_S * sample_rate)
        self._is_trying = False  # a shorter delay than one that was needed
        self._lock = threading.Lock()
        self._sound: Array = np.zeros(0, np.float32)
        self._done = 0  # input samples whose sound was put
        self._is_playing = self._has_ended = False
        self._seam = Seam(sample_rate)
        self._control = DelayControl(sample_rate)

    def put(self, sound: Array, done: int) -> None:
        """Add (n,), which is the sound of the next ``done`` input samples."""
        with self._lock:
            self._done += done
            kept = self._start + round(MOST_WAITING_S * self._sample_rate)  # if nobody takes any
            self._sound = np.concatenate([self._sound, sound])[-kept:]

    def take(self, frames: int, came: float) -> Array:
        """Return (frames,): silence before the start, after the end, and where there is too little.

        ``came`` is `InputQueue.came` at this moment.
        """
        with self._lock:
            was_playing = self._is_playing
            taken = self._seam.join(self._next(frames, came))
            if len(taken) == frames:
                return taken
            if was_playing:
                self._seam.cut()
            return np.concatenate([taken, self._seam.join(np.zeros(frames - len(taken), np.float32))])

    def _next(self, frames: int, came: float) -> Array:
        """Take (frames,) from what is there; where there is less, or none, silence follows."""
        if self._has_ended or came < LEAD_IN_S * self._sample_rate:
            return self._sound[:0]
        delay = came - self._done + len(self._sound)
        if not self._is_playing or delay > self._start + SPARE_S * self._sample_rate:
            delay = self._begin(delay, frames)
        if not self._is_playing:
            return self._sound[:0]
        self._control.update(delay, frames)
        taken, self._sound = self._sound[:frames], self._sound[frames:]
        if len(taken) < frames:
            self.underflows += 1
            self._lengthen()
        else:
            self._calm += frames
            if self._calm >= self._patience and self._start > self._least_start:
                self._shorten()
        return taken

    def _begin(self, delay: float, frames: int) -> float:
        """Cut the delay to what it should be, if there is enough to play; return what is left."""
        excess = max(0, round(delay) - self._start)
        if delay < self._start or len(self._sound) - excess < frames:
            return delay
        self.overflows += self._is_playing
        self._is_playing = True
        self._seam.cut()
        self._sound = self._sound[excess:]
        self._control.restart(self._start + TOLERANCE_S * self._sample_rate)
        return delay - excess

    def _lengthen(self) -> None:
        self._is_playing = False
        self._start = min(self._start + self._growth, self._most_start)
        self._patience *= 2 if self._is_trying else 1
        self._calm, self._is_trying = 0, False

    def _shorten(self) -> None:
        self._start -= self._growth
        self._control.shorten(self._growth)
        self._calm, self._is_trying = 0, True

    def lose(self) -> None:
        """Note that the device ran dry and played silence: the next sound begins after that."""
        with self._lock:
            self.underflows += 1
            self._seam.reset()

    def restart(self) -> None:
        """Begin as if nothing had been played yet, after the device was away."""
        with self._lock:
            self._is_playing = False
            self._seam.reset()

    def end(self) -> None:
        """Fade out, and return silence from then on."""
        with self._lock:
            self._has_ended, self._is_playing = True, False
            self._seam.cut()

    @property
    def speed(self) -> float:
        """How fast to play what is put, for the delay to stay as it is."""
        return self._control.speed

    @property
    def delay_s(self) -> float:
        """How much later than it came a sample is taken, on average, or will be once it plays."""
        return (self._control.average or self._start) / self._sample_rate
