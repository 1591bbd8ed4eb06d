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


def _angles(n_fft: int) -> Tensor:
    """2 pi k n / n_fft for bin k and sample n, reduced exactly before the product: (bins, n_fft)."""
    turns = torch.outer(torch.arange(n_fft // 2 + 1), torch.arange(n_fft)) % n_fft
    return turns.double() * (2 * math.pi / n_fft)


class Stft(nn.Module):
    """Waveforms (B, samples) to spectra (B, 2, frames, bins), real part first."""

    basis: Tensor

    def __init__(self, n_fft: int, hop: int) -> None:
        super().__init__()
        self.n_fft, self.hop = n_fft, hop
        window = torch.hann_window(n_fft, dtype=torch.float64)
        angles = _angles(n_fft)
        basis = torch.cat([angles.cos() * window, -angles.sin() * window]).float()
        self.register_buffer("basis", basis[:, None], persistent=False)  # (2 bins, 1, n_fft)

    def forward(self, x: Tensor) -> Tensor:
        """Frames are ``1 + samples // hop``; needs more than ``n_fft / 2`` samples."""
        padded = F.pad(x[:, None], (self.n_fft // 2, self.n_fft // 2), mode="reflect")
        spec = F.conv1d(padded, self.basis, stride=self.hop)  # (B, 2 bins, T)
        return spec.unflatten(1, (2, -1)).transpose(2, 3)


class InverseStft(nn.Module):
    """Spectra (B, 2, frames, bins) to waveforms (B, samples).

    Each frame's `r = n_fft / hop` pieces are added to those of its neighbours:

        frame 0   p0 p1 .. p(r-1)
        frame 1      p0 p1 .. p(r-1)
        output    |hop|hop|hop| ...      frames + r - 1 pieces, divided by the sum of squared windows
    """

    basis: Tensor
    squared_window: Tensor

    def __init__(self, n_fft: int, hop: int) -> None:
        super().__init__()
        self.n_fft, self.hop = n_fft, hop
        window = torch.hann_window(n_fft, dtype=torch.float64)
        angles = _angles(n_fft)
        weight = torch.full((n_fft // 2 + 1, 1), 2.0 / n_fft, dtype=torch.float64)
        weight[0] = weight[-1] = 1.0 / n_fft
        # The imaginary parts of the first and last bin have no effect, as in any inverse real transform.
        basis = torch.cat([angles.cos() * weight, -angles.sin() * weight]) * window
        self.register_buffer("basis", basis.float(), persistent=False)  # (2 bins, n_fft)
        self.register_buffer("squared_window", window.square().float(), persistent=False)

    def forward(self, spec: Tensor, samples: int) -> Tensor:
        """Give the first `samples` samples, the padding of `Stft` cut away."""
        frames = spec.transpose(1, 2).flatten(2) @ self.basis  # (B, T, n_fft)
        ones = torch.ones_like(frames[:1, :, :1])
        wave = self._overlap_add(frames)
        envelope = self._overlap_add(ones * self.squared_window)
        start = self.n_fft // 2
        return wave[:, start : start + samples] / envelope[:, start : start + samples]

    def _overlap_add(self, frames: Tensor) -> Tensor:
        count = self.n_fft // self.hop
        pieces = frames.unflatten(-1, (count, self.hop))  # (B, T, r, hop)
        shifted = [F.pad(pieces[:, :, k], (0, 0, k, count - 1 - k)) for k in range(count)]
        return torch.stack(shifted).sum(0).flatten(1)  # (B, (T + r - 1) hop)
