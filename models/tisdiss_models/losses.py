"""The training objective: every depth is decoded and judged, with one assignment of sources for all.

The ratio is not scale-invariant, because outputs must have the level that the sources have in the
mixture, and it is softly limited, so that a source that is silent can be judged too:

    ratio(s, e) = 10 log10 (|s|^2 + t |x|^2) / (|s - e|^2 + t |x|^2),    t = 10^(-limit / 10)

with mixture x, source s and estimate e. For a silent source the best, 0 dB, is silence.
"""

from __future__ import annotations

from itertools import permutations

import torch
from torch import Tensor


def soft_snr_db(estimate: Tensor, source: Tensor, mix: Tensor, limit_db: float) -> Tensor:
    """Signal-to-noise ratio in dB, limited at about `limit_db`, of signals (..., samples)."""
    floor = 10 ** (-limit_db / 10) * mix.square().sum(-1) + 1e-8
    noise = (source - estimate).square().sum(-1)
    return 10 * torch.log10((source.square().sum(-1) + floor) / (noise + floor))


def si_sdr_db(estimate: Tensor, source: Tensor) -> Tensor:
    """Scale-invariant signal-to-distortion ratio in dB of signals (..., samples), zero-mean.

    Le Roux et al., "SDR - half-baked or well done?", ICASSP 2019.
    """
    estimate = estimate - estimate.mean(-1, keepdim=True)
    source = source - source.mean(-1, keepdim=True)
    energy = source.square().sum(-1, keepdim=True)
    target = (estimate * source).sum(-1, keepdim=True) / (energy + 1e-12) * source
    noise = (estimate - target).square().sum(-1)
    return 10 * torch.log10(target.square().sum(-1).clamp(min=1e-12) / noise.clamp(min=1e-12))


def best_assignment(scores: Tensor) -> Tensor:
    """Give the mean score of the best assignment of estimates to sources.

    Args:
        scores: (B, S, S), entry (i, j) for estimate i against source j.

    Returns:
        (B,)
    """
    count = scores.shape[-1]
    options = [sum(scores[:, i, j] for i, j in enumerate(order)) for order in permutations(range(count))]
    return torch.stack(options, -1).max(-1).values / count  # type: ignore[arg-type]


def multi_depth_loss(
    estimates: list[Tensor], sources: Tensor, mix: Tensor, weights: list[float], limit_db: float
) -> Tensor:
    """Negative ratio in dB, weighted over depths, with the assignment that is best over all of them.

    Args:
        estimates: (B, S, samples) per depth.
        sources: (B, S, samples).
        mix: (B, samples).
        weights: one per depth.
        limit_db: see the module.
    """
    total = sum(
        weight * soft_snr_db(est[:, :, None], sources[:, None], mix[:, None, None], limit_db)
        for est, weight in zip(estimates, weights, strict=True)
    )  # (B, S, S)
    assert isinstance(total, Tensor)
    return -best_assignment(total).mean() / sum(weights)
