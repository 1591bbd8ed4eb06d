"""A corpus of voices that are sines: whose voice it is and how fast it was read shows in the spectrum."""

from pathlib import Path

import numpy as np
import soundfile

RATE = 8000


def voice_hz(speaker: int) -> float:
    return 300.0 + 200.0 * speaker


def write_corpus(
    folder: Path, speakers: int = 6, length_s: float = 1.5, rate: int = RATE, files_of_first: int = 1
) -> Path:
    """Write ``train/`` with one sine per speaker, a little noise in it; the first may have more files."""
    rng = np.random.default_rng(0)
    (folder / "train").mkdir(parents=True)
    time = np.arange(round(length_s * rate)) / rate
    for speaker in range(speakers):
        for number in range(files_of_first if speaker == 0 else 1):
            tone = np.sin(2 * np.pi * voice_hz(speaker) * time + rng.uniform(0, 6))
            audio = (0.05 + 0.03 * speaker) * (tone + 0.01 * rng.standard_normal(len(time)))
            soundfile.write(folder / "train" / f"{10 + speaker}-7-{number:04}.flac", audio, rate)
    return folder
