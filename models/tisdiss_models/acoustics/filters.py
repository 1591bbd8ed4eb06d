"""Frequency responses for batches of signals: smooth random ones, and the spectra of coloured noise."""

from __future__ import annotations

import torch
from torch import Tensor

from .drawing import Draw

KNOTS = 6  # of a smooth response, evenly spaced from 0 Hz to the highest frequency


def smooth_response(draw: Draw, rows: int, bins: int, strength_db: float) -> Tensor:
    """Draw smooth random frequency responses of about ±`strength_db`: gains (rows, bins)."""
    knots = torch.randn(rows, 1, KNOTS, generator=draw.generator) * strength_db / 2
    curve = torch.nn.functional.interpolate(draw.sent(knots), bins, mode="linear", align_corners=True)
    return 10 ** (curve[:, 0] / 20)  # (rows, bins)


def filtered(audio: Tensor, response: Tensor) -> Tensor:
    """Filter signals (..., samples) with gains (..., samples // 2 + 1), without delay."""
    return torch.fft.irfft(torch.fft.rfft(audio) * response, audio.shape[-1])


def frequencies_hz(samples: int, sample_rate: int, device: torch.device) -> Tensor:
    """Return the frequency of each bin of `torch.fft.rfft` of so many samples."""
    return torch.fft.rfftfreq(samples, 1 / sample_rate, device=device)
