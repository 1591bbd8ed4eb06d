"""The networks that the shipped bundles are exported from."""

from __future__ import annotations

from pathlib import Path

from tisdiss_models import Network, StreamingNetwork, load_checkpoint

STATES = Path(__file__).parent / "states"
CHECKPOINTS = {
    "edge-16k": STATES / "edge-16k-scenes" / "network.pt",
    "live-16k": STATES / "live-16k" / "state.pt",
}


def shipped_network(name: str) -> Network | StreamingNetwork:
    """Load the network of a shipped bundle."""
    return load_checkpoint(CHECKPOINTS[name])[0].eval()
