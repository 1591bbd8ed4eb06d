"""What is heard, prepared for the output's queue where there is time for it: the callback only copies.

::

    tracks ─> which one is heard ─> muted if it is feedback ─> VariableSpeed ─> limit ─> OutputQueue
"""

from __future__ import annotations

import numpy as np

from tisdiss_rt.audio import Array
from tisdiss_rt.live.clock_drift import VariableSpeed
from tisdiss_rt.live.feedback import FeedbackWatch
from tisdiss_rt.live.limiter import KNEE, limit
from tisdiss_rt.live.queues import OutputQueue


class Playback:
    """Puts the track that is listened to into a queue, in a state that does no harm.

    Args:
        output: where it goes.
        sample_rate: in Hz.
        listen: number of the track that is heard at first.

    Attribute ``feedback`` is the watch over it.
    """

    def __init__(self, output: OutputQueue, sample_rate: int, listen: int) -> None:
        self.feedback = FeedbackWatch(sample_rate)
        self._output = output
        self._player = VariableSpeed()
        self._listen = listen

    def play(self, tracks: Array, listen: int) -> None:
        """Queue track ``listen`` of (tracks, n), the first of which is the mixture; a change fades."""
        frames = tracks.shape[1]
        if frames == 0:
            return
        sound = tracks[listen]
        if self._listen != listen:
            fade = np.linspace(0, 1, frames, dtype=np.float32)
            sound = tracks[self._listen] + fade * (sound - tracks[self._listen])
            self._listen = listen
        played = self._player.process(self.feedback.mute(sound), self._output.speed)
        limited = limit(played)
        is_limited = bool(len(played)) and not float(np.abs(played).max()) <= KNEE  # nor a number
        self._output.put(limited, frames)
        self.feedback.update(tracks[0], limited, is_limited)  # which takes its time
