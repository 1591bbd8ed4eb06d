"""What lies between the room and the file: band limits, telephone, microphone, clipping and coding.

Linear parts act on the mixture and on the voices alike, the others on the mixture alone: a voice is what
the microphone got, not what the coder made of it.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..config import SceneConfig
from .drawing import Draw
from .filters import frequencies_hz, smooth_response

CODED_FFT = 512  # samples of the windows of `coded`


def draw_channel(draw: Draw, config: SceneConfig, batch: int, samples: int, sample_rate: int) -> Tensor:
    """Draw the frequency response of each mixture's channel: gains (batch, samples // 2 + 1)."""
    frequency = frequencies_hz(samples, sample_rate, draw.device)
    kind = draw.uniform(batch, 1)
    shares = (config.lowpass_share, config.narrowband_share, config.telephone_share)
    limits = torch.tensor(shares).cumsum(0).tolist()
    steep = 4 * 8 ** draw.uniform(batch, 1)  # order of the edges: 4 to 32
    top_hz = draw.uniform(batch, 1, span=(3000.0, 7500.0))
    lowpass = _low(frequency, top_hz, steep)
    narrowband = _low(frequency, draw.uniform(batch, 1, span=(3700.0, 4000.0)), 60.0)
    bottom_hz, bottom_order = draw.uniform(batch, 1, span=(200.0, 400.0)), 2 * 6 ** draw.uniform(batch, 1)
    telephone = _low(frequency, draw.uniform(batch, 1, span=(3200.0, 3600.0)), steep)
    telephone = telephone * _low(bottom_hz, frequency.clamp(min=1.0), bottom_order)
    response = torch.ones(batch, len(frequency), device=draw.device)
    for limit, kind_of in zip(reversed(limits), (telephone, narrowband, lowpass), strict=True):
        response = torch.where(kind < limit, kind_of, response)
    if config.microphone_db:
        response = response * smooth_response(draw, batch, len(frequency), config.microphone_db)
    return response


def _low(frequency: Tensor, corner_hz: Tensor, order: Tensor | float) -> Tensor:
    """Return the gain of a Butterworth low-pass; with the two exchanged it is the high-pass."""
    return (1 + (frequency / corner_hz).clamp(max=10.0) ** (2 * order)).rsqrt()


def distorted(draw: Draw, config: SceneConfig, mix: Tensor) -> Tensor:
    """Clip and code the mixtures (B, samples) that are drawn for it."""
    for share, change in ((config.clip_share, clipped), (config.codec_share, coded)):
        rows = draw.rows(len(mix), share)
        if len(rows):
            mix = mix.index_copy(0, rows, change(draw, mix[rows]))
    return mix


def clipped(draw: Draw, mix: Tensor) -> Tensor:
    """Clip between 1.5 and 4 times the level, hard or softly."""
    limit = mix.square().mean(-1, keepdim=True).sqrt() * draw.uniform(len(mix), 1, span=(1.5, 4.0))
    limit = limit.clamp(min=1e-6)
    soft = limit * torch.tanh(mix / limit)
    return torch.where(draw.uniform(len(mix), 1) < 0.5, soft, mix.clamp(-limit, limit))


def coded(draw: Draw, mix: Tensor) -> Tensor:
    """Quantise the spectrum as coders of low rate do: coarsely, in steps that follow its envelope.

    Half of the mixtures get the logarithmic 8 bits of telephone networks (ITU-T G.711, mu-law) in its place.
    """
    window = torch.hann_window(CODED_FFT, device=mix.device)
    spectrum = torch.stft(mix, CODED_FFT, CODED_FFT // 2, window=window, return_complex=True)  # (B, F, T)
    power = spectrum.abs().square()
    envelope = torch.nn.functional.avg_pool2d(power[:, None], (9, 3), 1, (4, 1))[:, 0].sqrt()
    step = envelope * 10 ** (-draw.uniform(len(mix), 1, 1, span=(-4.0, 10.0)) / 20) + 1e-9
    rounded = torch.complex((spectrum.real / step).round(), (spectrum.imag / step).round()) * step
    transform = torch.istft(rounded, CODED_FFT, CODED_FFT // 2, window=window, length=mix.shape[-1])
    return torch.where(draw.uniform(len(mix), 1) < 0.5, transform, _mu_law(draw, mix))


def _mu_law(draw: Draw, mix: Tensor) -> Tensor:
    """Quantise to 8 logarithmic bits, the peak at 0 to 40 dB below full scale."""
    full = mix.abs().amax(-1, keepdim=True).clamp(min=1e-6) * 10 ** (draw.uniform(len(mix), 1) * 2)
    bent = torch.sign(mix) * torch.log1p(255 * mix.abs() / full) / math.log(256)
    quantised = (bent * 127).round() / 127
    return torch.sign(mix) * torch.expm1(quantised.abs() * math.log(256)) / 255 * full
