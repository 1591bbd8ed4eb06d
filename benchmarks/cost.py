"""Parameters and multiply-accumulates of a network, counted operation by operation.

Convolutions are counted with their padding, attention with its products; element-wise work is not counted.

    python benchmarks/cost.py [CHECKPOINT]          # default: the state of edge-16k
    python benchmarks/cost.py --published           # the 8.0 M-parameter network of the paper
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from tisdiss_models import Network, NetworkConfig, load_checkpoint

STATE = Path(__file__).parent / "states" / "edge-16k" / "state.pt"
WINDOW_S = 4.0


def giga_macs(function: Callable[[], object]) -> float:
    """Billions of multiply-accumulates per second of audio."""
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        function()
    return counter.get_total_flops() / 2 / 1e9 / WINDOW_S


def millions(*modules: torch.nn.Module) -> float:
    return sum(p.numel() for m in modules for p in m.parameters()) / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("checkpoint", nargs="?", default=STATE)
    parser.add_argument("--published", action="store_true")
    options = parser.parse_args()
    if options.published:
        network = Network(NetworkConfig(separator_residual=True)).eval()
    else:
        network, _ = load_checkpoint(options.checkpoint)
    config = network.config
    mix = torch.randn(1, int(WINDOW_S * config.sample_rate))
    with torch.no_grad():
        mixed = network.stem(mix)
    z: Tensor = mixed.z
    stem = giga_macs(lambda: network.stem(mix))
    block = giga_macs(lambda: network.block(z, mixed.z0))
    decoder = giga_macs(lambda: network.decoder(z, mixed.spec, mixed.scale, mix))
    print("| part | parameters (M) | GMAC per second of audio |")
    print("|---|---|---|")
    print(f"| stem | {millions(network.stem):.2f} | {stem:.2f} |")
    print(f"| one repetition | {millions(network.block):.2f} | {block:.2f} |")
    print(f"| decoder | {millions(network.decoder):.2f} | {decoder:.2f} |")
    for depth in range(1, config.trained_depth + 1):
        print(f"| whole, depth {depth} | {millions(network):.2f} | {stem + depth * block + decoder:.2f} |")


if __name__ == "__main__":
    main()
