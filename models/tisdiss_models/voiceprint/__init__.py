"""A network that tells talkers apart by their separated voices, however those were separated."""

from .network import VoiceConfig, Voiceprint, pooled
from .training import load_voiceprint, train_voiceprint

__all__ = ["VoiceConfig", "Voiceprint", "load_voiceprint", "pooled", "train_voiceprint"]
