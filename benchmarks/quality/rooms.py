"""Rooms for measuring that training never sees: shoeboxes by the image method of pyroomacoustics.

Training draws its rooms from statistics (`tisdiss_models.acoustics.rooms`); a figure for rooms of the same
kind would say little about others.
"""

from __future__ import annotations

import functools

import numpy as np
import torch
from torch import Tensor

COUNT = 12
LEAST_M, MOST_M = (3.0, 3.0, 2.4), (8.0, 6.0, 3.5)
FROM_WALL_M = 0.5
DISTANCE_M = (0.5, 2.0)  # from talker to microphone
MAX_ORDER = 60
WITHIN = 0.1  # of the decay time asked for


@functools.cache
def rooms(decay_s: float, sample_rate: int, seed: int = 77) -> Tensor:
    """Make responses (rooms, 2, taps) of energy 1 from two talkers to one microphone."""
    rng = np.random.default_rng((seed, round(1000 * decay_s)))
    made: list[np.ndarray] = []
    while len(made) < COUNT:
        responses = _room(decay_s, sample_rate, rng)
        if responses is not None:
            made.append(responses)
    taps = max(r.shape[1] for r in made)
    bank = np.stack([np.pad(r, ((0, 0), (0, taps - r.shape[1]))) for r in made])
    bank /= np.sqrt(np.square(bank).sum(-1, keepdims=True))
    return torch.from_numpy(bank.astype(np.float32))


def _room(decay_s: float, sample_rate: int, rng: np.random.Generator) -> np.ndarray | None:
    """Draw a room, and absorb as much as its measured decay asks for; None where that is not found."""
    import pyroomacoustics  # installed for this benchmark alone

    size = rng.uniform(LEAST_M, MOST_M)
    microphone = rng.uniform(np.full(3, 1.0), size - 1.0)
    talkers: list[np.ndarray] = []
    while len(talkers) < 2:
        direction = rng.normal(size=3)
        place = microphone + rng.uniform(*DISTANCE_M) * direction / np.linalg.norm(direction)
        if (place > FROM_WALL_M).all() and (place < size - FROM_WALL_M).all():
            talkers.append(place)
    volume, area = size.prod(), 2 * (size[0] * size[1] + size[0] * size[2] + size[1] * size[2])
    absorption = 0.161 * volume / area / decay_s  # Sabine's
    for _ in range(8):
        if not 0.01 < absorption < 0.99:
            return None
        room = pyroomacoustics.ShoeBox(
            size, fs=sample_rate, materials=pyroomacoustics.Material(absorption), max_order=MAX_ORDER,
            air_absorption=True,
        )  # fmt: skip
        room.add_microphone(microphone)
        for place in talkers:
            room.add_source(place)
        room.compute_rir()
        measured_s = float(room.measure_rt60().mean())
        if abs(measured_s / decay_s - 1) < WITHIN:
            responses = room.rir[0]
            taps = max(len(r) for r in responses)
            return np.stack([np.pad(r, (0, taps - len(r))) for r in responses])
        absorption *= measured_s / decay_s
    return None
