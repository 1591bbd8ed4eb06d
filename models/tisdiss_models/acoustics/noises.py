"""Noise beside the talkers: recorded, coloured, a fan, the hum of the mains, babble.

Every kind returns signals (rows, samples) of any level; `add_noises` sets it against the voices.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..config import SceneConfig
from ..data import Corpus
from .drawing import Draw
from .filters import filtered, frequencies_hz, smooth_response
from .voices import crops

BABBLE = (3, 8)  # talkers at once
HARMONICS = 40


def draw_noise(
    draw: Draw, config: SceneConfig, voices: Tensor, talkers: Corpus, recorded: Corpus | None
) -> Tensor:
    """Draw the noise of each mixture, every kind by its share.

    Args:
        draw: source of randomness.
        config: shares and levels.
        voices: (B, samples), the sum of the voices, which levels are set against.
        talkers: for babble.
        recorded: for recorded noises, one "speaker" a recording.

    Returns:
        (B, samples), zero where a mixture has none.

    Raises:
        ValueError: if recorded noises are asked for and there are none.
    """
    batch, samples = voices.shape
    rate = talkers.sample_rate
    noise = torch.zeros_like(voices)
    loudness = voices.square().mean(-1, keepdim=True).sqrt()  # (B, 1)
    for name in ("field", "coloured", "fan", "hum", "babble"):
        rows = draw.rows(batch, getattr(config, f"{name}_share"))
        if not len(rows):
            continue
        if name == "field":
            if recorded is None:
                raise ValueError("field_share needs recorded noises: noise/train beside train")
            one = recorded_noise(draw, recorded, len(rows), samples)
        elif name == "babble":
            one = babble(draw, talkers, len(rows), samples)
        else:
            one = {"coloured": coloured, "fan": fan, "hum": hum}[name](draw, len(rows), samples, rate)
        one = _swelling(draw, config.swell_share, one)
        one = one / one.square().mean(-1, keepdim=True).sqrt().clamp(min=1e-6)
        gain = 10 ** (-draw.uniform(len(rows), 1, span=config.noise_db) / 20)
        noise = noise.index_add(0, rows, one * gain * loudness[rows])
    return noise


def _which(draw: Draw, corpus: Corpus, rows: int) -> Tensor:
    return torch.randint(len(corpus.lengths), (rows,), generator=draw.generator)


def recorded_noise(draw: Draw, recorded: Corpus, rows: int, samples: int) -> Tensor:
    """Read parts of recordings, each recording as often as any other."""
    return crops(draw, recorded, _which(draw, recorded, rows), samples)


def babble(draw: Draw, talkers: Corpus, rows: int, samples: int) -> Tensor:
    """Add three to eight talkers of about the same level."""
    most = BABBLE[1]
    voices = crops(draw, talkers, _which(draw, talkers, rows * most), samples)
    voices = voices / voices.square().mean(-1, keepdim=True).sqrt().clamp(min=1e-4)
    gain = 10 ** (draw.uniform(rows, most, 1, span=(-6.0, 0.0)) / 20)
    count = BABBLE[0] + draw.whole(most - BABBLE[0] + 1, rows, 1, 1)
    used = torch.arange(most, device=draw.device)[:, None] < count
    return (voices.unflatten(0, (rows, most)) * gain * used).sum(1)


def coloured(draw: Draw, rows: int, samples: int, sample_rate: int) -> Tensor:
    """Make stationary noise that falls by 0 (white) to 6 dB (brown) an octave above 50 Hz."""
    frequency = frequencies_hz(samples, sample_rate, draw.device)
    slope = draw.uniform(rows, 1)
    response = (frequency.clamp(min=50.0) / 1000.0) ** -slope  # (rows, bins)
    return filtered(draw.noise(rows, samples), response * smooth_response(draw, rows, len(frequency), 8.0))


def fan(draw: Draw, rows: int, samples: int, sample_rate: int) -> Tensor:
    """Make a rush of air below 200 to 1500 Hz, with the tones of blades, and of a motor at times."""
    frequency = frequencies_hz(samples, sample_rate, draw.device)
    corner_hz = 200 * 7.5 ** draw.uniform(rows, 1)
    order = draw.uniform(rows, 1, span=(1.0, 3.0))
    air = filtered(draw.noise(rows, samples), (1 + (frequency / corner_hz) ** 2) ** (-order / 2))
    air = air / air.square().mean(-1, keepdim=True).sqrt().clamp(min=1e-6)
    blades = _harmonics(draw, samples, sample_rate, 30 * 8 ** draw.uniform(rows, 1), (6.0, 20.0), 8)
    motor = _harmonics(draw, samples, sample_rate, 300 * 8 ** draw.uniform(rows, 1), (6.0, 20.0), 3)
    return (
        air
        + blades * 10 ** (draw.uniform(rows, 1, span=(-25.0, 3.0)) / 20)
        + motor * 10 ** (draw.uniform(rows, 1, span=(-40.0, -6.0)) / 20)
    )


def hum(draw: Draw, rows: int, samples: int, sample_rate: int) -> Tensor:
    """Make harmonics of 50 or 60 Hz, or of twice that, from nearly a sine to a buzz."""
    mains_hz = 50.0 + 10.0 * draw.whole(2, rows, 1)
    mains_hz = mains_hz * (1 + draw.whole(2, rows, 1)) * draw.uniform(rows, 1, span=(0.995, 1.005))
    return _harmonics(draw, samples, sample_rate, mains_hz, (0.3, 8.0), HARMONICS)


def _harmonics(
    draw: Draw, samples: int, sample_rate: int, base_hz: Tensor, fall_db: tuple[float, float], count: int
) -> Tensor:
    """Add harmonics of `base_hz` (rows, 1), each weaker than the one before by about `fall_db`; level 1."""
    rows = len(base_hz)
    number = torch.arange(1, count + 1, device=draw.device)
    hz = base_hz * number  # (rows, count)
    fall = draw.uniform(rows, 1, span=fall_db) * (number - 1)
    level_db = -fall + draw.sent(torch.randn(rows, count, generator=draw.generator)) * 6
    amplitude = 10 ** (level_db / 20) * (hz < 0.45 * sample_rate)
    amplitude = amplitude / amplitude.square().sum(-1, keepdim=True).sqrt().clamp(min=1e-6) * math.sqrt(2)
    phase = torch.polar(amplitude, 2 * math.pi * draw.uniform(rows, count))  # (rows, count)
    time_s = torch.arange(samples, device=draw.device, dtype=torch.float64) / sample_rate
    turn = base_hz * time_s  # (rows, samples), float64: float32 loses the phase within seconds
    base = torch.polar(torch.ones((), device=draw.device), 2 * math.pi * (turn - turn.floor()).float())
    total, harmonic = torch.zeros(rows, samples, device=draw.device), torch.ones_like(base)
    for k in range(count):
        harmonic = harmonic * base
        total += (phase[:, k : k + 1] * harmonic).real
    return total


def _swelling(draw: Draw, share: float, noise: Tensor) -> Tensor:
    """Let some noises swell and fade by about 8 dB, and a third of these come and go."""
    rows, samples = noise.shape
    knots_db = torch.randn(rows, 1, 8, generator=draw.generator) * 4
    off = (torch.rand(rows, 1, 8, generator=draw.generator) < 0.4) & (
        torch.rand(rows, 1, 1, generator=draw.generator) < 1 / 3
    )
    gain = torch.where(off, 0.0, 10 ** (knots_db / 20))
    swells = torch.rand(rows, 1, 1, generator=draw.generator) < share
    gain = torch.where(swells, gain, 1.0)
    curve = torch.nn.functional.interpolate(draw.sent(gain), samples, mode="linear", align_corners=True)
    return noise * curve[:, 0]
