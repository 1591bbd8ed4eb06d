"""Separators of other projects in their published sizes, with random weights, for `speed.py`.

What they need is not part of this project: ``pip install asteroid==0.7.0 speechbrain==1.1.2``. The dB are
what their authors publish, SI-SNR or SI-SDR improvement on the test set of WSJ0-2mix (8 kHz, clean).

Both packages import torchaudio, which none of these networks uses; where it does not fit the PyTorch that is
here, something empty takes its place.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from unittest.mock import MagicMock

import torch
from torch import nn

try:
    import torchaudio  # noqa: F401
except (OSError, ImportError):
    for name in ("torchaudio", "torchaudio.transforms", "torchaudio.functional"):
        sys.modules[name] = MagicMock(__spec__=None, __version__="2.0.0")


@dataclass(frozen=True)
class Peer:
    """A separator: who publishes it, which dB, and how to make it: (1, samples) to (1, sources, samples)."""

    name: str
    package: str
    published_db: float
    source: str
    make: Callable[[], nn.Module]

    @property
    def version(self) -> str:
        return f"{self.package} {version(self.package)}"


def conv_tasnet() -> nn.Module:
    from asteroid.models import ConvTasNet

    return ConvTasNet(n_src=2, sample_rate=8000)


def dprnn() -> nn.Module:
    from asteroid.models import DPRNNTasNet

    return DPRNNTasNet(n_src=2, sample_rate=8000, kernel_size=2, stride=1, chunk_size=250)


class SepFormer(nn.Module):
    """Put together as speechbrain's recipe for WSJ0-2mix does."""

    def __init__(self) -> None:
        super().__init__()
        from speechbrain.lobes.models import dual_path

        def transformer() -> nn.Module:
            return dual_path.SBTransformerBlock(
                num_layers=8, d_model=256, nhead=8, d_ffn=1024, norm_before=True, use_positional_encoding=True
            )

        self.encoder = dual_path.Encoder(kernel_size=16, out_channels=256)
        self.masks = dual_path.Dual_Path_Model(
            in_channels=256,
            out_channels=256,
            intra_model=transformer(),
            inter_model=transformer(),
            num_layers=2,
            norm="ln",
            K=250,
            num_spks=2,
            skip_around_intra=True,
            linear_layer_after_inter_intra=False,
        )
        self.decoder = dual_path.Decoder(
            in_channels=256, out_channels=1, kernel_size=16, stride=8, bias=False
        )

    def forward(self, mix: torch.Tensor) -> torch.Tensor:
        encoded = self.encoder(mix)  # (1, 256, frames)
        masked = encoded[None] * self.masks(encoded)  # (sources, 1, 256, frames)
        sources = torch.stack([self.decoder(one) for one in masked], dim=1)  # (1, sources, samples)
        return sources[..., : mix.shape[-1]]


PEERS = (
    Peer("Conv-TasNet", "asteroid", 15.3, "Luo and Mesgarani 2019", conv_tasnet),
    Peer("DPRNN", "asteroid", 18.8, "Luo et al. 2020", dprnn),
    Peer("SepFormer", "speechbrain", 20.4, "Subakan et al. 2021, without dynamic mixing", SepFormer),
)
