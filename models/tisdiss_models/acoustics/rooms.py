"""Rooms by their statistics: impulse responses for two talkers at two places.

A response is the direct sound and reflections. They become denser with the square of the time since the
sound left the talker, 4 pi c^3 t^2 / V a second in a room of volume V (Kuttruff, "Room Acoustics", chapter
4); each is weaker the later it comes, by 60 dB in the decay time, and sooner at high frequencies. How loud
they are together follows from the distance: as loud as the direct sound at the critical distance
0.057 sqrt(V / T60).

    |                          direct
    |    .  |  .               first reflections: single
    |    |  |  | ||.|||||||....  later ones: noise that decays
    +---------------------------> time
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..config import SceneConfig
from .drawing import Draw
from .filters import frequencies_hz

SOUND_M_S = 343.0
VOLUME_M3 = (20.0, 300.0)
DECAY_RATIO = (0.35, 1.0)  # decay time at high frequencies, as a share of that at low ones
CROSSOVER_HZ = (800.0, 3000.0)


def draw_responses(draw: Draw, config: SceneConfig, rooms: int, sample_rate: int) -> Tensor:
    """Draw the responses of two places in each room.

    Returns:
        (rooms, 2, taps) of energy 1; the direct sound comes first.
    """
    taps = math.ceil(config.decay_s[1] * sample_rate)
    decay_s = draw.uniform(rooms, 1, 1, span=config.decay_s)
    log_volume = draw.uniform(rooms, 1, 1, span=(math.log(VOLUME_M3[0]), math.log(VOLUME_M3[1])))
    volume_m3 = log_volume.exp()
    distance_m = draw.uniform(rooms, 2, 1, span=config.distance_m)
    distance_m = torch.minimum(distance_m, 0.6 * volume_m3 ** (1 / 3))  # the talker is in the room, too
    since_direct_s = torch.arange(taps, device=draw.device) / sample_rate
    time_s = since_direct_s + distance_m / SOUND_M_S  # (rooms, 2, taps) since the sound left the talker

    density = 4 * math.pi * SOUND_M_S**3 * time_s**2 / volume_m3 / sample_rate  # reflections a sample
    chance = density.clamp(max=1.0)
    arrives = draw.even(rooms, 2, taps) < chance
    reflections = draw.noise(rooms, 2, taps) * arrives / chance.sqrt()
    reflections = _decaying(draw, reflections, decay_s, since_direct_s, sample_rate)
    reflections[..., 0] = 0
    critical_m = 0.057 * (volume_m3 / decay_s).sqrt()
    energy = reflections.square().sum(-1, keepdim=True).clamp(min=1e-12)
    response = reflections * (distance_m / critical_m) / energy.sqrt()
    response[..., 0] = 1
    return response / response.square().sum(-1, keepdim=True).sqrt()


def _decaying(draw: Draw, reflections: Tensor, decay_s: Tensor, time_s: Tensor, sample_rate: int) -> Tensor:
    """Let reflections (rooms, 2, taps) decay: below a crossover in `decay_s`, above it sooner."""
    rooms, taps = len(reflections), reflections.shape[-1]
    rate = math.log(1000.0) / decay_s  # (rooms, 1, 1), in 1/s
    ratio = draw.uniform(rooms, 1, 1, span=DECAY_RATIO)
    crossover_hz = draw.uniform(rooms, 1, 1, span=CROSSOVER_HZ)
    frequency = frequencies_hz(taps, sample_rate, reflections.device)
    high = 1 / (1 + (crossover_hz / frequency.clamp(min=1.0)) ** 2)  # (rooms, 1, bins)
    spectrum = torch.fft.rfft(reflections)
    low_part = torch.fft.irfft(spectrum * (1 - high), taps)
    high_part = torch.fft.irfft(spectrum * high, taps)
    return low_part * torch.exp(-rate * time_s) + high_part * torch.exp(-rate / ratio * time_s)


def convolved(audio: Tensor, responses: Tensor) -> Tensor:
    """Convolve (..., samples) with (..., taps), keeping the length."""
    samples = audio.shape[-1]
    size = _fast_size(samples + responses.shape[-1] - 1)
    product = torch.fft.rfft(audio, size) * torch.fft.rfft(responses, size)
    return torch.fft.irfft(product, size)[..., :samples]


def _fast_size(least: int) -> int:
    """Return the smallest size of at least `least` that is a power of two times 1, 3, 5 or 9."""
    sizes = (odd << max(0, math.ceil(math.log2(least / odd))) for odd in (1, 3, 5, 9))
    return min(size for size in sizes if size >= least)
