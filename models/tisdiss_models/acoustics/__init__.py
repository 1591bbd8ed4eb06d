"""Scenes as people record them, made from speech: for training, and for every figure that is published.

Everything is drawn in batches on the device that trains. `SceneConfig` says how often each part occurs, in
the order in which sound meets them: who talks when (`turns`), the room (`rooms`), noise (`noises`), and the
channel (`channels`). The voices that a network is to estimate are reverberant and band-limited as the
mixture is, without its noise and its distortions.
"""

from .scenes import LEAST_FOR_THREE, SCENES, THREE, draw_batch, draw_three
from .voices import RMS

__all__ = ["LEAST_FOR_THREE", "RMS", "SCENES", "THREE", "draw_batch", "draw_three"]
