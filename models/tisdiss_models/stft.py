"""Short-time Fourier transform from matrix products only, so that it lives inside the graphs.

ONNX has an STFT operator, but runtimes implement it slowly or not at all on accelerators and in
browsers; a strided convolution with the windowed Fourier basis runs everywhere. Results equal
``torch.stft`` and ``torch.istft`` with a periodic Hann window, centred, reflect padding, one-sided.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class FourierBasis(nn.Module):
    """Cosines and negative sines of all bins, computed from two short vectors.

    Written out, the basis would take more of a small model's file than its weights do; runtimes compute
    it once, when they load the graph.
    """

    bins: Tensor
    times: Tensor

    def __init__(self, n_fft: int) -> None:
        super().__init__()
        self.n_fft = n_fft
        self.register_buffer("bins", torch.arange(n_fft // 2 + 1.0)[:, None], persistent=False)
        self.register_buffer("times", torch.arange(float(n_fft)), persistent=False)

    def forward(self) -> Tensor:
        """Return (2 bins, n_fft), float32; the products of bin and time are exact up to n_fft 4096."""
        turns = torch.fmod(self.bins * self.times, self.n_fft)
        angles = turns * (2 * math.pi / self.n_fft)
        return torch.cat([angles.cos(), -angles.sin()])


class Stft(nn.Module):
    """Waveforms (B, samples) to spectra (B, 2, frames, bins), real part first."""

    window: Tensor

    def __init__(self, n_fft: int, hop: int) -> None:
        super().__init__()
        self.n_fft, self.hop = n_fft, hop
        self.basis = FourierBasis(n_fft)
        self.register_buffer("window", torch.hann_window(n_fft), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return ``1 + samples // hop`` frames; needs more than ``n_fft / 2`` samples."""
        padded = F.pad(x[:, None], (self.n_fft // 2, self.n_fft // 2), mode="reflect")
        weight = (self.basis() * self.window)[:, None]  # (2 bins, 1, n_fft)
        spec = F.conv1d(padded, weight, stride=self.hop)  # (B, 2 bins, T)
        return spec.unflatten(1, (2, -1)).transpose(2, 3)


class InverseStft(nn.Module):
    """Spectra (B, 2, frames, bins) to waveforms (B, samples).

    Each frame's `r = n_fft / hop` pieces are added to those of its neighbours:

        frame 0   p0 p1 .. p(r-1)
        frame 1      p0 p1 .. p(r-1)
        output    |hop|hop|hop| ...      frames + r - 1 pieces, divided by the sum of squared windows
    """

    window: Tensor
    share: Tensor

    def __init__(self, n_fft: int, hop: int) -> None:
        super().__init__()
        self.n_fft, self.hop = n_fft, hop
        self.basis = FourierBasis(n_fft)
        self.register_buffer("window", torch.hann_window(n_fft), persistent=False)
        # Bins between the first and the last stand for their mirror images, too. The imaginary parts of
        # these two have no effect, as in any inverse real transform: their sines are zero.
        share = torch.full((n_fft // 2 + 1, 1), 2.0 / n_fft)
        share[0] = share[-1] = 1.0 / n_fft
        self.register_buffer("share", share.repeat(2, 1), persistent=False)  # (2 bins, 1)

    def forward(self, spec: Tensor, samples: int) -> Tensor:
        """Return the first `samples` samples, the padding of `Stft` cut away."""
        basis = self.basis() * self.share * self.window  # (2 bins, n_fft)
        frames = spec.transpose(1, 2).flatten(2) @ basis  # (B, T, n_fft)
        ones = torch.ones_like(frames[:1, :, :1])
        wave = self._overlap_add(frames)
        envelope = self._overlap_add(ones * self.window.square())
        start = self.n_fft // 2
        return wave[:, start : start + samples] / envelope[:, start : start + samples]

    def _overlap_add(self, frames: Tensor) -> Tensor:
        count = self.n_fft // self.hop
        pieces = frames.unflatten(-1, (count, self.hop))  # (B, T, r, hop)
        shifted = [F.pad(pieces[:, :, k], (0, 0, k, count - 1 - k)) for k in range(count)]
        return torch.stack(shifted).sum(0).flatten(1)  # (B, (T + r - 1) hop)
