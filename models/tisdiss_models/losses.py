"""The training objective: every depth is decoded and judged, with one assignment of sources for all.

The ratio is not scale-invariant, because outputs must have the level that the sources have in the
mixture, and it is softly limited, so that a source that is silent can be judged too:

    ratio(s, e) = 10 log10 (|s|^2 + t |x|^2) / (|s - e|^2 + t |x|^2),    t = 10^(-limit / 10)

with mixture x, source s and estimate e. For a silent source the best, 0 dB, is silence.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations

import torch
from torch import Tensor


def soft_snr_db(estimate: Tensor, source: Tensor, mix: Tensor, limit_db: float) -> Tensor:
    """Return the signal-to-noise ratio in dB of signals (..., samples), limited at about `limit_db`."""
    floor = 10 ** (-limit_db / 10) * mix.square().sum(-1) + 1e-8
    noise = (source - estimate).square().sum(-1)
    return 10 * torch.log10((source.square().sum(-1) + floor) / (noise + floor))


def si_sdr_db(estimate: Tensor, source: Tensor) -> Tensor:
    """Return the scale-invariant signal-to-distortion ratio in dB of zero-mean signals (..., samples).

    Le Roux et al., "SDR - half-baked or well done?", ICASSP 2019.
    """
    estimate = estimate - estimate.mean(-1, keepdim=True)
    source = source - source.mean(-1, keepdim=True)
    energy = source.square().sum(-1, keepdim=True)
    target = (estimate * source).sum(-1, keepdim=True) / (energy + 1e-12) * source
    noise = (estimate - target).square().sum(-1)
    return 10 * torch.log10(target.square().sum(-1).clamp(min=1e-12) / noise.clamp(min=1e-12))


def best_assignment(scores: Tensor) -> Tensor:
    """Return the mean score of the best assignment of estimates to sources.

    Args:
        scores: (B, S, S), entry (i, j) for estimate i against source j.

    Returns:
        (B,)
    """
    count = scores.shape[-1]
    options = [sum(scores[:, i, j] for i, j in enumerate(order)) for order in permutations(range(count))]
    return torch.stack(options, -1).max(-1).values / count  # type: ignore[arg-type]


def pairwise_soft_snr_db(estimates: Tensor, sources: Tensor, mix: Tensor, limit_db: float) -> Tensor:
    """Judge every estimate against every source.

    Args:
        estimates: (B, S, samples).
        sources: (B, S, samples).
        mix: (B, samples).
        limit_db: see the module.

    Returns:
        (B, S estimates, S sources), in dB.
    """
    return soft_snr_db(estimates[:, :, None], sources[:, None], mix[:, None, None], limit_db)


def multi_depth_loss(scores: Sequence[Tensor], weights: Sequence[float]) -> Tensor:
    """Return the negative ratio in dB, weighted over depths, for the assignment that is best over all depths.

    Args:
        scores: `pairwise_soft_snr_db` of each depth.
        weights: one per depth.

    Raises:
        ValueError: if there are not as many weights as depths.
    """
    weighted = [weight * score for weight, score in zip(weights, scores, strict=True)]
    return -best_assignment(torch.stack(weighted).sum(0) / sum(weights)).mean()
