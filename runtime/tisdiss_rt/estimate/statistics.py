"""What an estimate of quality looks at in the sound of a window: a few sums, cheap beside the network.

The frames are those of the mixture, of what no voice has of it, and of each voice.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tisdiss_rt.audio import Array

FRAME_S = 0.032


@dataclass(frozen=True)
class Statistics:
    """Sums over a window; rows are the mixture, the rest that no voice has, and each voice.

    Attributes:
        frames: (2 + sources, frames), mean square of each frame.
        steps: (2 + sources,), mean square of the differences of neighbouring samples.
        products: (sources, sources), mean products of voices.
    """

    frames: Array
    steps: Array
    products: Array


def statistics_of(mix: Array, voices: Array, sample_rate: int) -> Statistics:
    """Compute the statistics of a window (n,) and its voices (sources, n)."""
    rows = np.concatenate([mix[None], (mix - voices.sum(0))[None], voices])  # (2 + sources, n)
    frame = min(round(FRAME_S * sample_rate), len(mix))
    count = len(mix) // frame
    squares = np.square(rows[:, : count * frame]).reshape(len(rows), count, frame)
    return Statistics(
        squares.mean(2, dtype=np.float32),
        np.square(np.diff(rows)).sum(1) / np.float32(max(1, len(mix) - 1)),
        (voices @ voices.T) / np.float32(len(mix)),
    )
