"""How much of a recording each voice has: how long it talks, how long with another one, and how loud."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tisdiss_rt.audio import Array
from tisdiss_rt.talkers.turns import Talks


@dataclass(frozen=True)
class Activity:
    """What one voice has of a recording.

    Attributes:
        speech_s: seconds in which it talks.
        overlap_s: seconds of those in which another one talks, too.
        level_db: its mean level while it talks, relative to full scale; None where it never does.
    """

    speech_s: float = 0.0
    overlap_s: float = 0.0
    level_db: float | None = None


def activity_of(talks: Talks, power: Array, part_s: float, length_s: float) -> list[Activity]:
    """Sum up what each talker has.

    Args:
        talks: when each talks (parts, talkers).
        power: mean square of each in every part (parts, talkers).
        part_s: length of a part; the last one may be shorter.
        length_s: of the recording.
    """
    lasts_s = np.clip(length_s - part_s * np.arange(len(talks)), 0, part_s)[:, None]  # (parts, 1)
    speech_s = (talks * lasts_s).sum(0)
    overlap_s = (talks * lasts_s)[talks.sum(1) > 1].sum(0)
    mean = (talks * power).sum(0) / np.maximum(talks.sum(0), 1)
    found = []
    for talker in range(talks.shape[1]):
        level_db = round(10 * float(np.log10(mean[talker])), 1) if mean[talker] > 0 else None
        found.append(
            Activity(round(float(speech_s[talker]), 3), round(float(overlap_s[talker]), 3), level_db)
        )
    return found
