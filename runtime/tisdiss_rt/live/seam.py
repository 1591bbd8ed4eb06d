"""Where sound begins, ends or goes on elsewhere it must not step: a step is a click.

What begins fades in. What ends has no samples left to fade out, so what was last is given once more,
backwards, while it fades, under whatever follows::

    last       ──╮  │ ╭──  backwards, fading out
                 ╰──┼─╯╶╴╶╴╶╴
    next            │    ╭────  fading in
                    │╶╴╶─╯

Devices often begin with some silence: what fades in is the first sound after it.
"""

from __future__ import annotations

import numpy as np

from tisdiss_rt.audio import Array

FADE_S = 0.005
SILENT = 1e-4  # up to here there is nothing to hear yet


class Seam:
    """Passes sound on, with fades where it was `cut`.

    Args:
        sample_rate: in Hz.
        fades_in: whether what comes first does.
    """

    def __init__(self, sample_rate: int, fades_in: bool = True) -> None:
        fade = round(FADE_S * sample_rate)
        self._ramp: Array = ((np.arange(fade) + 0.5) / fade).astype(np.float32)
        self._gain = self._rest = self._last = np.zeros(0, np.float32)
        self.reset()
        if not fades_in:
            self._gain = self._ramp[:0]

    def reset(self) -> None:
        """Begin anew, after silence."""
        self._last = np.zeros(len(self._ramp), np.float32)
        self.cut()

    def cut(self) -> None:
        """Mark a cut: the next sound does not continue the last."""
        self._rest = self._last[::-1] * (1 - self._ramp)  # of what is fading out
        self._gain = self._ramp  # of what is fading in, for as many samples

    def join(self, sound: Array) -> Array:
        """Process the next (n,); return (n,)."""
        if len(self._rest) or len(self._gain):
            sound = sound.copy()
            waiting = len(self._gain) == len(self._ramp) and _silent(sound)
            rising = sound[waiting : waiting + len(self._gain)]
            rising *= self._gain[: len(rising)]
            falling = sound[: len(self._rest)]
            falling += self._rest[: len(falling)]
            self._gain, self._rest = self._gain[len(rising) :], self._rest[len(falling) :]
        self._last = np.concatenate([self._last, sound])[-len(self._ramp) :]
        return sound


def _silent(sound: Array) -> int:
    """Return how many samples of silence come first."""
    heard = np.flatnonzero(np.abs(sound) > SILENT)
    return int(heard[0]) if len(heard) else len(sound)
