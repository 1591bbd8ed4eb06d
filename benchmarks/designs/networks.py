"""The designs of networks for streams that were compared, with the layers of those that lost."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.claims.networks import BASE
from tisdiss_models import NetworkConfig, StreamingNetwork, build_network
from tisdiss_models.cli import CONFIGS
from tisdiss_models.options import read_yaml
from tisdiss_models.recurrent import RecurrentLayer

ATTENTION = read_yaml(Path(__file__).parent / "attention.yaml")[0]
SHIPPED = read_yaml(CONFIGS / "live-16k.yaml")[0]
RECURRENT = dataclasses.replace(SHIPPED, ffn_kernel=1, separator_layers=2)
WIDE = dataclasses.replace(RECURRENT, heads=4, attention_dim=48, recurrent_dim=96, ffn_dims=(144, 144))
# The size of the small networks of CLAIMS.md, as networks for streams of 16 ms steps.
SMALL_ATTENTION = dataclasses.replace(BASE, hop=256, lookback=64)
SMALL = dataclasses.replace(SMALL_ATTENTION, lookback=0, recurrent_dim=32, ffn_dims=(48, 48), ffn_kernel=1)
SMALL_WIDE = dataclasses.replace(SMALL, heads=4, attention_dim=24, recurrent_dim=48, ffn_dims=(72, 72))


class BandMixing(nn.Module):
    """A gated network whose values are mixed along the bands, the same way in every frame."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        bands, hidden = len(config.bands), config.ffn_dims[1] * 2 // 3
        self.norm = nn.LayerNorm(config.dim)
        self.inner = nn.Linear(config.dim, 2 * hidden, bias=False)
        self.mix = nn.Parameter(0.5 * torch.eye(bands) + 0.5 * bands**-0.5 * torch.randn(bands, bands))
        self.out = nn.Linear(hidden, config.dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, T, F, D) to the same shape."""
        value, gate = self.inner(self.norm(x)).chunk(2, -1)
        return self.out((self.mix @ value) * F.silu(gate))


class BandLayers(nn.Module):
    """Two fully connected layers along the bands, the same for all channels, as TF-MLPNet has them."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        bands = len(config.bands)
        self.norm = nn.LayerNorm(config.dim)
        self.up = nn.Parameter(bands**-0.5 * torch.randn(2 * bands, bands))
        self.bias = nn.Parameter(torch.zeros(2 * bands, 1))
        self.down = nn.Parameter((2 * bands) ** -0.5 * torch.randn(bands, 2 * bands))

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, T, F, D) to the same shape."""
        return self.down @ F.silu(self.up @ self.norm(x) + self.bias)


def _along_bands(part: Callable[[NetworkConfig], nn.Module]) -> Callable[[StreamingNetwork], None]:
    def change(network: StreamingNetwork) -> None:
        for layer in network.modules():
            if isinstance(layer, RecurrentLayer):
                layer.bands = part(network.config)  # type: ignore[assignment]

    return change


def _apart(network: StreamingNetwork) -> None:
    for layer in network.modules():
        if isinstance(layer, RecurrentLayer):
            layer.positions.shared = None


def _as_it_is(network: StreamingNetwork) -> None:
    """Change nothing."""


@dataclasses.dataclass(frozen=True)
class Design:
    """A title for tables, the size to be shipped, a small one, and how `change` replaces layers."""

    title: str
    config: NetworkConfig
    small: NetworkConfig
    change: Callable[[StreamingNetwork], None] = _as_it_is

    def network(self, config: NetworkConfig, seed: int = 0) -> StreamingNetwork:
        """Make it in either size, with random weights."""
        torch.manual_seed(seed)
        made = build_network(config)
        assert isinstance(made, StreamingNetwork)
        self.change(made)
        return made


def _alike(title: str, **changes: Any) -> Design:
    """Make a design of recurrent layers with the same options changed in both sizes."""
    return Design(title, dataclasses.replace(RECURRENT, **changes), dataclasses.replace(SMALL, **changes))


DESIGNS = {
    "attention": Design(
        "live-16k of version 0.1.0: paths, attention over 127 frames", ATTENTION, SMALL_ATTENTION
    ),
    "recurrent": _alike("`tisdiss_models.recurrent`, feed-forward networks of one position (`ffn_kernel` 1)"),
    "wide": Design("`recurrent`, half as wide again within its parts", WIDE, SMALL_WIDE),
    "two-layers": _alike("`recurrent`, two layers in the block", block_layers=2),
    "context": _alike(
        "`recurrent`, feed-forward networks of neighbours and past (`ffn_kernel` 2)", ffn_kernel=2
    ),
    "context-stem": Design(
        "the shipped `live-16k`: `context`, twice as many layers before the split",
        SHIPPED,
        dataclasses.replace(SMALL, ffn_kernel=2, separator_layers=2 * SMALL.separator_layers),
    ),
    "mixing": Design("fixed mixing along the bands, gated", RECURRENT, SMALL, _along_bands(BandMixing)),
    "connected": Design("fully connected layers along the bands", RECURRENT, SMALL, _along_bands(BandLayers)),
    "apart": Design("nothing of the other sources", RECURRENT, SMALL, _apart),
}
