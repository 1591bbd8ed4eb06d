"""The shipped example, and how loud something is."""

from pathlib import Path

import numpy as np
import soundfile

import tisdiss_rt

FOLDER = Path(tisdiss_rt.__file__).parent / "example"


def mixture() -> np.ndarray:
    """(samples,) at 16 kHz."""
    return soundfile.read(FOLDER / "two_voices.wav", dtype="float32")[0]


def references() -> np.ndarray:
    """(2, samples): its voices."""
    return np.stack([soundfile.read(FOLDER / f"two_voices_ref{i}.wav", dtype="float32")[0] for i in (1, 2)])


def power_db(signal: np.ndarray) -> float:
    """Mean power over full scale."""
    return float(10 * np.log10(np.mean(np.square(signal, dtype=np.float64)) + 1e-20))
