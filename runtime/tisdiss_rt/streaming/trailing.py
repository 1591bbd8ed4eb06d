"""The last seconds of a stream: from them it is told, once a second, how good its voices are."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import numpy as np

from tisdiss_rt.audio import Array, is_silent
from tisdiss_rt.estimate.estimator import Estimated, Estimator

WINDOW_S = 2.0  # that an estimate is of
EVERY_S = 1.0  # from one estimate to the next


class Trailing:
    """Follows a stream step by step.

    Args:
        estimator: of the bundle.
        sample_rate: of the bundle in Hz.
        step_samples: length of a step.
        delay_samples: by which voices are behind the mixture.
    """

    def __init__(self, estimator: Estimator, sample_rate: int, step_samples: int, delay_samples: int) -> None:
        self._estimator, self._delay = estimator, delay_samples
        self._window = round(WINDOW_S * sample_rate)
        count = -(-self._window // step_samples)
        self._every = max(1, round(EVERY_S * sample_rate / step_samples))
        self._mix = deque[Array](maxlen=count + -(-delay_samples // step_samples))
        self._voices = deque[Array](maxlen=count)
        self._changes = deque[Sequence[Array]](maxlen=count)
        self._steps = 0

    def add(self, mix: Array, voices: Array, changes: Sequence[Array]) -> tuple[Estimated | None, ...] | None:
        """Take a step (samples,), its voices (sources, samples), and what its repetitions changed (sources,).

        Returns how good each voice is expected to be, in every second once there is a whole window.
        """
        self._mix.append(mix)
        self._voices.append(voices)
        self._changes.append(tuple(changes))
        self._steps += 1
        is_whole = len(self._mix) == self._mix.maxlen
        if not is_whole or self._steps % self._every:
            return None
        end = -self._delay or None
        heard = np.concatenate(self._mix)[:end][-self._window :]
        if is_silent(heard):
            return None
        return self._estimator.voices(
            heard, np.concatenate(self._voices, axis=1)[:, -self._window :], self._mean_changes()
        )

    def _mean_changes(self) -> list[Array]:
        """Return the root mean square of what each repetition changed, of as many as the mean step ran."""
        depth = round(float(np.mean([len(changes) for changes in self._changes])))
        ran = ([changes[n] for changes in self._changes if len(changes) > n] for n in range(depth))
        return [np.sqrt(np.square(each).mean(0)) for each in ran]
