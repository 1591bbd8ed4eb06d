"""Parameters and multiply-accumulates of a network, counted operation by operation.

Convolutions are counted with their padding, attention with its products; element-wise work is not counted.

    python -m benchmarks.cost [CHECKPOINT]          # default: edge-16k
    python -m benchmarks.cost --published           # the 8.0 M-parameter network of the paper
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.shipped import CHECKPOINTS
from tisdiss_models import Network, NetworkConfig, StreamingNetwork, load_checkpoint
from tisdiss_models.causal import Memory

WINDOW_S = 4.0


def giga_macs(function: Callable[[], object], seconds: float) -> float:
    """Count the GMAC per second of audio of a function that processes `seconds` of it."""
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        function()
    return counter.get_total_flops() / 2 / 1e9 / seconds


def millions(*modules: torch.nn.Module) -> float:
    return sum(p.numel() for m in modules for p in m.parameters()) / 1e6


def cost(network: Network) -> list[float]:
    """Return the GMAC/s of stem, one repetition and decoder for windows of `WINDOW_S`."""
    mix = torch.randn(1, int(WINDOW_S * network.config.sample_rate))
    with torch.no_grad():
        z, z0, spec, scale = network.stem(mix)
    parts = (
        lambda: network.stem(mix),
        lambda: network.block(z, z0),
        lambda: network.decoder(z, spec, scale, mix),
    )
    return [giga_macs(part, WINDOW_S) for part in parts]


def step_cost(network: StreamingNetwork) -> list[float]:
    """Return the GMAC/s of stem, one repetition and decoder of a stream, which runs step by step."""
    mix = torch.randn(1, network.config.hop)
    blank = network.blank(mix)
    with torch.no_grad():
        z, spec = network.stem(mix, Memory(blank["stem"]))
    parts = (
        lambda: network.stem(mix, Memory(blank["stem"])),
        lambda: network.block(z, Memory(blank["block"])),
        lambda: network.decoder(z, spec, Memory(blank["decoder"])),
    )
    return [giga_macs(part, network.config.hop / network.config.sample_rate) for part in parts]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("checkpoint", nargs="?", default=CHECKPOINTS["edge-16k"])
    parser.add_argument("--published", action="store_true")
    options = parser.parse_args()
    if options.published:
        network: Network | StreamingNetwork = Network(NetworkConfig(separator_residual=True)).eval()
    else:
        network, _ = load_checkpoint(options.checkpoint)
    stem, block, decoder = step_cost(network) if isinstance(network, StreamingNetwork) else cost(network)
    print("| part | parameters (M) | GMAC per second of audio |")
    print("|---|---|---|")
    print(f"| stem | {millions(network.stem):.2f} | {stem:.2f} |")
    print(f"| one repetition | {millions(network.block):.2f} | {block:.2f} |")
    print(f"| decoder | {millions(network.decoder):.2f} | {decoder:.2f} |")
    for depth in range(1, network.config.trained_depth + 1):
        print(f"| whole, depth {depth} | {millions(network):.2f} | {stem + depth * block + decoder:.2f} |")


if __name__ == "__main__":
    main()
