"""From separated voices to prints of them, one for every frame, so that any stretch of time can be pooled.

A *voiceprint* is the weighted sum of what the network gives for single frames: of a window, of all that one
talker said in an hour, or of any part of either. The angle between two tells whether they are of one talker.

    voices (sources, samples)
      │ frames of 64 ms, every 32 ms: power spectrum
      ├─> 40 mel bands, as a level above or below the frame's mean      what the vocal tract is like
      ├─> autocorrelation at 64 lags from 2.5 to 16 ms                  pitch
      ▼
    convolutions over 15 frames ─> prints (sources, frames, size)
    weights (sources, frames): the root of a frame's energy, times its share of the energy of all sources

What leaks of a loud voice into the estimate of a silent one thus weighs next to nothing. The Fourier
basis comes from two short vectors, as in `stft`, so that the graph needs no operator that runtimes lack.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..stft import FourierBasis

QUIET = 1e-3  # of the loudest frame's energy: quieter frames fade out of the network's view
LEAST = 1e-10  # instead of 0, where that is divided by or its logarithm is taken
MEL_HZ = (60.0, 7600.0)
PITCH_HZ = (62.5, 400.0)
PITCH_BELOW_HZ = 1250.0  # the part of the spectrum that pitch is taken from


@dataclass(frozen=True)
class VoiceConfig:
    """Sizes of the network; ``frame`` and ``hop`` in samples."""

    sample_rate: int = 16000
    frame: int = 1024
    hop: int = 512
    bands: int = 40
    lags: int = 64
    channels: int = 96
    size: int = 48


class VoiceFeatures(nn.Module):
    """What the network sees of voices: (sources, samples) to (sources, bands + lags, frames) and weights."""

    frequency: Tensor
    triangles: Tensor
    lags_s: Tensor
    window: Tensor

    def __init__(self, config: VoiceConfig) -> None:
        super().__init__()
        assert config.frame == 2 * config.hop
        self.config = config
        self.basis = FourierBasis(config.frame)
        mel = torch.linspace(math.log1p(MEL_HZ[0] / 700), math.log1p(MEL_HZ[1] / 700), config.bands + 2)
        shortest, longest = math.log(1 / PITCH_HZ[1]), math.log(1 / PITCH_HZ[0])
        frequency = torch.linspace(0, config.sample_rate / 2, config.frame // 2 + 1)
        self.register_buffer("frequency", frequency[:, None], persistent=False)
        self.register_buffer(
            "triangles", _triangles(frequency[:, None], 700 * torch.expm1(mel)), persistent=False
        )
        self.register_buffer("lags_s", torch.linspace(shortest, longest, config.lags).exp(), persistent=False)
        self.register_buffer("window", torch.hann_window(config.frame), persistent=False)

    def forward(self, voices: Tensor) -> tuple[Tensor, Tensor]:
        """Return features and weights (sources, frames); what is less than a hop at the end is left out."""
        hop = self.config.hop
        halves = F.pad(voices, (0, hop)).unfold(1, hop, hop)  # (S, T + 1, hop)
        frames = torch.cat([halves[:, :-1], halves[:, 1:]], 2)  # (S, T, frame)
        spectrum = frames @ (self.basis() * self.window).T  # (S, T, 2 bins)
        power = spectrum.unflatten(2, (2, -1)).square().sum(2)  # (S, T, bins)
        energy = power.sum(2)  # (S, T)
        mel = (power @ self.triangles + 1e-5 * energy[..., None]).clamp(min=LEAST).log()
        mel = mel - mel.mean(2, keepdim=True)
        view = energy / (energy + QUIET * energy.amax((0, 1))).clamp(min=LEAST)
        features = torch.cat([0.5 * mel, 2 * self._pitch(power)], 2) * view[..., None]
        weights = energy.sqrt() * energy / energy.sum(0).clamp(min=LEAST)
        return features.transpose(1, 2), weights

    def _pitch(self, power: Tensor) -> Tensor:
        """Return the autocorrelation at each lag as a share of that at 0, of the compressed low spectrum."""
        bins = round(PITCH_BELOW_HZ / (self.config.sample_rate / self.config.frame))
        low = power[..., 1:bins].clamp(min=LEAST) ** 0.25
        low = low - low.mean(2, keepdim=True)
        cosines = torch.cos(2 * math.pi * self.frequency[1:bins] * self.lags_s)  # (bins, lags)
        return low @ cosines / low.abs().sum(2, keepdim=True).clamp(min=LEAST)


def _triangles(frequency: Tensor, edges: Tensor) -> Tensor:
    """Return triangles between edges (bands + 2,): (bins, bands)."""
    low, middle, high = edges[:-2], edges[1:-1], edges[2:]
    rising, falling = (frequency - low) / (middle - low), (high - frequency) / (high - middle)
    return torch.minimum(rising, falling).clamp(min=0)


class Voiceprint(nn.Module):
    """Separated voices (sources, samples) to prints (sources, frames, size) and weights (sources, frames).

    Sources that are given together count as parts of one sound: each frame weighs by its share of it.
    """

    def __init__(self, config: VoiceConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or VoiceConfig()
        self.features = VoiceFeatures(config)
        width = config.channels
        layers: list[nn.Module] = []
        inputs = config.bands + config.lags
        for dilation in (1, 2, 4):
            layers.append(nn.Conv1d(inputs, width, 3, dilation=dilation, padding=dilation))
            layers += [nn.ReLU(), nn.BatchNorm1d(width)]
            inputs = width
        self.layers = nn.Sequential(*layers, nn.Conv1d(width, config.size, 1))

    def forward(self, voices: Tensor) -> tuple[Tensor, Tensor]:
        """See the class."""
        features, weights = self.features(voices)
        return self.layers(features).transpose(1, 2), weights


def pooled(prints: Tensor, weights: Tensor) -> Tensor:
    """Pool prints (..., frames, size) with weights (..., frames) to voiceprints (..., size) of length 1."""
    return F.normalize((prints * weights[..., None]).sum(-2), dim=-1)
