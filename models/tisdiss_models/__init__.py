"""PyTorch side of tisdiss-rt: the network, its training, and the import of published checkpoints."""

from .checkpoint import CheckpointError, load_checkpoint, save_checkpoint
from .config import ConfigError, NetworkConfig, SceneConfig, TrainingConfig
from .network import Network
from .streaming import StreamingNetwork, build_network

__all__ = [
    "CheckpointError",
    "ConfigError",
    "Network",
    "NetworkConfig",
    "SceneConfig",
    "StreamingNetwork",
    "TrainingConfig",
    "build_network",
    "load_checkpoint",
    "save_checkpoint",
]
