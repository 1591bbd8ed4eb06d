"""Voices that wait, put on the outputs where they belong, with a fade wherever that changes."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tisdiss_rt.audio import Array
from tisdiss_rt.audio.filters import fade_in
from tisdiss_rt.talkers.assignment import Order
from tisdiss_rt.talkers.blocks import PARTS
from tisdiss_rt.talkers.turns import Talks
from tisdiss_rt.talkers.waiting import Waiting

FADE_S = 0.016  # from one order to another
MARGIN_S = 0.25  # of sound that is kept before and after a turn
_STEP_S = 0.008  # of the search for the quietest moment
_READ_BLOCKS = 64
_APART_BLOCKS = 16


def on_the_first(waiting: Waiting, block: int) -> Iterator[Array]:
    """Yield what waits in pieces (sources, samples): the sum of the sources, and silence."""
    for begin in range(0, waiting.samples, _READ_BLOCKS * block):
        piece = waiting.read(begin, min(begin + _READ_BLOCKS * block, waiting.samples))
        alone = np.zeros_like(piece)
        alone[0] = piece.sum(0)
        yield alone


def in_order(waiting: Waiting, orders: Order, block: int, sample_rate: int) -> Iterator[Array]:
    """Yield what waits in pieces (sources, m), the sources of each block in an order (blocks, sources)."""
    fade = round(FADE_S * sample_rate)
    rising = fade_in(fade)
    changes = 1 + np.flatnonzero((orders[1:] != orders[:-1]).any(1))
    starts = [0, *(_quietest(waiting, int(b) * block, block, fade, sample_rate) for b in changes)]
    before: Array | None = None
    for number, (start, end) in enumerate(zip(starts, [*starts[1:], waiting.samples], strict=True)):
        order = orders[0] if number == 0 else orders[changes[number - 1]]
        for begin in range(start, end, _READ_BLOCKS * block):
            piece = waiting.read(begin, min(begin + _READ_BLOCKS * block, end))
            ordered = piece[order]
            if begin == start and before is not None:
                count = min(fade, piece.shape[1])
                old = piece[before, :count]
                ordered[:, :count] = old + rising[:count] * (ordered[:, :count] - old)
            yield ordered
        before = order


def _quietest(waiting: Waiting, boundary: int, block: int, fade: int, sample_rate: int) -> int:
    """Return where, around a boundary of two blocks, a fade meets the least sound."""
    begin = max(boundary - block // 2 + fade, 0)
    around = waiting.read(begin, min(boundary + block // 2 - fade, waiting.samples))
    step = round(_STEP_S * sample_rate)
    power = np.square(around).sum(0)
    steps = len(power) // step
    if steps < 2:
        return min(boundary, waiting.samples)
    loud = power[: steps * step].reshape(steps, step).sum(1)
    return begin + step * int((loud[1:] + loud[:-1]).argmin())


def apart(waiting: Waiting, who: Order, talks: Talks, block: int, sample_rate: int) -> Iterator[Array]:
    """Yield what waits in pieces (talkers, m): each talker's own sound, and silence around their turns."""
    part = block / PARTS
    margin = round(MARGIN_S * sample_rate / part)
    near = np.copy(talks)
    for shift in range(1, margin + 1):
        near[shift:] |= talks[:-shift]
        near[:-shift] |= talks[shift:]
    fade = round(min(FADE_S * sample_rate, part))
    rising = np.append(fade_in(fade), np.float32(1))
    numbers = np.arange(talks.shape[1])[:, None]
    for begin in range(0, waiting.samples, _APART_BLOCKS * block):
        piece = waiting.read(begin, min(begin + _APART_BLOCKS * block, waiting.samples))
        first = begin // block * PARTS
        own = slice(max(first - 1, 0), first + _APART_BLOCKS * PARTS)
        gains = (who[own, None] == numbers) & near[own, :, None]  # (parts, talkers, sources)
        at = np.arange(piece.shape[1]) / part
        index = at.astype(int)
        ramp = rising[np.minimum(((at - index) * part).astype(int), fade)]  # (m,)
        now = gains[index + first - own.start].astype(np.float32)
        before = gains[np.maximum(index + first - own.start - 1, 0)]
        weights = before + ramp[:, None, None] * (now - before)
        yield np.einsum("mts,sm->tm", weights, piece)
