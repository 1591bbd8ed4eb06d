"""PyTorch side of tisdiss-rt: the network, its training, and the import of published checkpoints."""

from .checkpoint import load_checkpoint, save_checkpoint
from .config import ConfigError, NetworkConfig, TrainingConfig
from .network import Network

__all__ = [
    "ConfigError",
    "Network",
    "NetworkConfig",
    "TrainingConfig",
    "load_checkpoint",
    "save_checkpoint",
]
