"""Who talks when: patterns of two talkers, as continuous speech separation has them (arXiv 2001.11482).

Activity is drawn in frames of 10 ms and read between them linearly, which is the fade at every start and end:

    together   A ------------------    late or   A ------------------    in turn   A ----      --
               B ------------------    early     B       ------------              B    -----
    alone      A ------------------
               B
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..config import SceneConfig
from .drawing import Draw

FRAME_S = 0.01


def draw_activity(draw: Draw, config: SceneConfig, batch: int, length_s: float, samples: int) -> Tensor:
    """Draw when the talkers of each mixture talk.

    Returns:
        Factors from 0 to 1, (batch, 2, samples).
    """
    frames = round(length_s / FRAME_S) + 2
    time_s = torch.arange(frames) * FRAME_S
    kind = torch.rand(batch, 1, generator=draw.generator)
    limits = torch.tensor([config.alone_share, config.late_share, config.turns_share]).cumsum(0)
    second = torch.ones(batch, frames)
    second = torch.where(kind < limits[1], _partial(draw, batch, time_s, length_s), second)
    second = torch.where(kind < limits[0], torch.zeros_like(second), second)
    active = torch.stack([torch.ones_like(second), second], 1)  # (batch, 2, frames)
    if config.turns_share:
        in_turn = (kind >= limits[1]) & (kind < limits[2])
        active = torch.where(in_turn[:, None], _in_turn(draw, config, batch, time_s), active)
    swap = torch.rand(batch, 1, 1, generator=draw.generator) < 0.5
    active = torch.where(swap, active.flip(1), active)
    return torch.nn.functional.interpolate(draw.sent(active), samples, mode="linear", align_corners=True)


def _partial(draw: Draw, batch: int, time_s: Tensor, length_s: float) -> Tensor:
    """Draw one start or end in the middle 70 % of the mixture: (batch, frames) of 0 or 1."""
    place, side = torch.rand(2, batch, 1, generator=draw.generator)
    late = time_s > (0.15 + 0.7 * place) * length_s
    return torch.where(side < 0.5, late, ~late).float()


def _in_turn(draw: Draw, config: SceneConfig, batch: int, time_s: Tensor) -> Tensor:
    """Draw turns that begin before the mixture does and go on to its end: (batch, 2, frames) of 0 or 1."""

    def uniform(span: tuple[float, float], *shape: int) -> Tensor:
        return span[0] + (span[1] - span[0]) * torch.rand(*shape, generator=draw.generator)

    # Enough turns for the shortest ones: each goes on after the one before by its length and the gap,
    # which is cut where it would put a turn's end before the end of the one before.
    least_s = max(0.25 * sum(config.turn_s), 0.25 * (sum(config.turn_s) + sum(config.gap_s)))
    count = 2 + int(float(time_s[-1]) / least_s) + 2
    length_s = uniform(config.turn_s, batch, count)
    gap_s = uniform(config.gap_s, batch, count)
    is_pause = torch.rand(batch, count, generator=draw.generator) < config.pause_share
    gap_s = torch.where(is_pause, uniform(config.pause_s, batch, count), gap_s)
    gap_s = torch.maximum(gap_s, -0.75 * torch.minimum(length_s, length_s.roll(-1, 1)))
    start_s = (length_s + gap_s).cumsum(1) - (length_s + gap_s)
    start_s = start_s - length_s[:, :1] * torch.rand(batch, 1, generator=draw.generator)
    inside = (time_s >= start_s[..., None]) & (time_s < (start_s + length_s)[..., None])  # (batch, count, T)
    return torch.stack([inside[:, 0::2].any(1), inside[:, 1::2].any(1)], 1).float()
