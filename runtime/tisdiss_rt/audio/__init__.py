"""Sound itself: files, sample rates and overlapping windows."""

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]  # sound, or a tensor of a network

SILENCE = 1e-10  # a peak below it: less than any integer format can hold


def is_silent(sound: Array) -> bool:
    """Return whether sound, of any shape, is so quiet that the network need not run."""
    return bool(np.abs(sound).max() < SILENCE)
