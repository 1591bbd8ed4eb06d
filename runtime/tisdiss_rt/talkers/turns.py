"""Who talks when: turns of talkers, in parts of blocks.

Somebody talks where the source that is theirs is louder than noise, than silence, and than what a louder
voice leaves on the other sources. Pauses within a turn belong to it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tisdiss_rt.audio import Array
from tisdiss_rt.talkers.assignment import Order
from tisdiss_rt.talkers.blocks import PARTS, Blocks

QUIET_DB = -45.0  # of the talker's level and the recording's, halfway between them
NOISE_DB = 8.0  # above the quiet tenth of the recording, which is noise
LOUD_DB = -25.0  # of the level, as for `QUIET_DB`: no noise, however few pauses there are
RESIDUE_DB = -10.0  # of all sources together
PAUSE_S = 0.3  # shorter ones are no end of a turn
LEAST_S = 0.3  # of a turn

Talks = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Turn:
    """One person talking: the number of the voice, from 1, and when, in seconds."""

    talker: int
    start_s: float
    duration_s: float


def parts_of(blocks: Blocks, who: Order) -> tuple[Array, Order]:
    """Return levels and talkers of the sources (parts, sources), from talkers of blocks (blocks, sources).

    A source changes its talker in the quietest part around the boundary.
    """
    levels = blocks.levels.swapaxes(1, 2).reshape(-1, blocks.levels.shape[1])
    finer = np.repeat(who, PARTS, axis=0)
    for source in range(who.shape[1]):
        for block in 1 + np.flatnonzero(who[1:, source] != who[:-1, source]):
            begin, end = block * PARTS - PARTS // 2, block * PARTS + PARTS // 2
            change = begin + int(levels[begin:end, source].argmin())
            finer[begin:change, source] = who[block - 1, source]
            finer[change:end, source] = who[block, source]
    return levels, finer


def power_of(levels: Array, who: Order, count: int) -> Array:
    """Return the mean square of each talker (parts, talkers), from what `parts_of` returns."""
    return np.stack([np.where(who == talker, levels, 0).sum(1) for talker in range(count)], axis=1)


def talking(levels: Array, who: Order, count: int, part_s: float) -> Talks:
    """Return when each talker talks (parts, talkers), from what `parts_of` returns."""
    total = levels.sum(1)
    noise = np.quantile(levels.max(1), 0.1) if len(levels) else 0.0
    talks = np.zeros((len(levels), count), bool)
    for talker, power in enumerate(power_of(levels, who, count).T):
        level = np.sqrt(_loudness(power) * _loudness(total))
        least = np.clip(
            noise * 10 ** (NOISE_DB / 10), level * 10 ** (QUIET_DB / 10), level * 10 ** (LOUD_DB / 10)
        )
        on = power > np.maximum(least, total * 10 ** (RESIDUE_DB / 10))
        for start, end in _runs(~on):
            if start > 0 and end < len(on) and (end - start) * part_s < PAUSE_S:
                on[start:end] = True
        for start, end in _runs(on):
            talks[start:end, talker] = (end - start) * part_s >= LEAST_S
    return talks


def _loudness(power: Array) -> float:
    return float(np.square(power).sum() / (power.sum() + 1e-20))


def _runs(on: Talks) -> list[tuple[int, int]]:
    """Return the beginning of each run of True, and the part after its last."""
    edges = np.flatnonzero(np.diff(np.pad(on.astype(np.int8), 1)))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))


def turns_of(talks: Talks, part_s: float, length_s: float) -> list[Turn]:
    """List the turns, by their time."""
    turns = []
    for talker in range(talks.shape[1]):
        for start, end in _runs(talks[:, talker]):
            start_s, end_s = start * part_s, min(end * part_s, length_s)
            if end_s > start_s:
                turns.append(Turn(talker + 1, round(start_s, 3), round(end_s - start_s, 3)))
    return sorted(turns, key=lambda turn: (turn.start_s, turn.talker))


def seconds_of(talks: Talks, part_s: float, length_s: float) -> tuple[float, ...]:
    """Return for how long nobody talks, one person, and so on up to all (1 + talkers,), in seconds."""
    begins_s = part_s * np.arange(len(talks))
    lengths_s = np.clip(length_s - begins_s, 0.0, part_s)  # what is beyond the end was filled up
    seconds = np.bincount(talks.sum(1), lengths_s, minlength=1 + talks.shape[1])
    return tuple(round(float(each), 3) for each in seconds)


def rttm(turns: list[Turn], name: str) -> str:
    """Write turns as RTTM, the format of diarization: one line for each, of the recording ``name``."""
    label = "_".join(name.split()) or "recording"  # fields end at spaces
    return "".join(
        f"SPEAKER {label} 1 {turn.start_s:.3f} {turn.duration_s:.3f} <NA> <NA> spk{turn.talker} <NA> <NA>\n"
        for turn in turns
    )
