"""Records of steps when it has been decided who is who: what is told of voices goes where the voices go."""

from __future__ import annotations

import dataclasses

import numpy as np

from tisdiss_rt.planning.plan import Step
from tisdiss_rt.talkers.assignment import Order


def of_one(step: Step) -> Step:
    """Return the record of a step where all voices are one talker's: the best of them, and silence."""
    if step.voices is None:
        return step
    told = [voice for voice in step.voices if voice is not None]
    best = max(told, key=lambda voice: voice.si_sdr_db, default=None)
    return dataclasses.replace(step, voices=(best, *[None] * (len(step.voices) - 1)))


def ordered(step: Step, orders: Order, block_s: float) -> Step:
    """Return the record of a step with its voices in the order that most of its blocks have."""
    if step.voices is None:
        return step
    first = min(int(step.start_s / block_s), len(orders) - 1)
    last = max(first + 1, int((step.start_s + step.window_s) / block_s))
    ways, counts = np.unique(orders[first:last], axis=0, return_counts=True)
    order = ways[counts.argmax()]
    return dataclasses.replace(step, voices=tuple(step.voices[source] for source in order))
