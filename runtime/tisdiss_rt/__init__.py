"""Speech separation whose depth follows the latency budget, on ONNX Runtime alone.

The names below are imported when they are first used, so that ``import tisdiss_rt`` costs next to nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tisdiss_rt.separator import FileSeparation, Separation, Separator, Step
    from tisdiss_rt.streaming.stream import Latency, Stream

from tisdiss_rt.errors import (
    AudioError,
    BundleError,
    DeviceError,
    OptionError,
    OutputError,
    ProviderError,
    SeparationWarning,
    TisdissError,
)

__version__ = "0.2.0"
__all__ = [
    "AudioError",
    "BundleError",
    "DeviceError",
    "FileSeparation",
    "Latency",
    "OptionError",
    "OutputError",
    "ProviderError",
    "Separation",
    "SeparationWarning",
    "Separator",
    "Step",
    "Stream",
    "TisdissError",
]

_LAZY = {
    **dict.fromkeys(("FileSeparation", "Separation", "Separator", "Step"), "tisdiss_rt.separator"),
    **dict.fromkeys(("Latency", "Stream"), "tisdiss_rt.streaming.stream"),
}


def __getattr__(name: str) -> object:
    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
