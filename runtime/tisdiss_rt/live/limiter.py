"""What is heard stays within full scale, whatever comes: ears are on the other side.

A curve without memory, so that it takes no time: sound below the knee passes as it is, to the bit; above, the
curve bends towards full scale, which it never exceeds::

    1      |            ........-------
    KNEE   |         .-´
           |       /
           |     /      slope 1 at the knee, from both sides
           |___/__________________
                     KNEE  1
"""

from __future__ import annotations

import numpy as np

from tisdiss_rt.audio import Array

KNEE = 0.9  # -0.9 dB


def limit(sound: Array) -> Array:
    """Limit samples (n,) to ±1 without touching those up to ±`KNEE`; what is no number becomes silence."""
    sound = np.where(np.isnan(sound), np.float32(0), sound)
    over = np.abs(sound) - np.float32(KNEE)
    if not (over > 0).any():
        return sound
    bent = KNEE + (1 - KNEE) * np.tanh(over / (1 - KNEE))
    limited: Array = np.where(over > 0, np.copysign(bent, sound), sound).astype(np.float32)
    return limited
