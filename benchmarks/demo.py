"""The last step of `make demo`: print where the separated voices are and how much was gained.

python -m benchmarks.demo FOLDER
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import soundfile

import tisdiss_rt
from benchmarks.quality.quality import improvement_db, si_sdr_db
from tisdiss_rt.audio.results import voice_paths

EXAMPLE = Path(tisdiss_rt.__file__).parent / "example"


def main() -> None:
    folder = Path(sys.argv[1])

    def read(path: Path) -> np.ndarray:
        audio, _ = soundfile.read(path, dtype="float32")
        return audio

    mix = read(EXAMPLE / "two_voices.wav")
    references = np.stack([read(EXAMPLE / f"two_voices_ref{i}.wav") for i in (1, 2)])
    paths = voice_paths(folder, "two_voices.wav", len(references))
    estimates = np.stack([read(path) for path in paths])
    gain_db = improvement_db(estimates, references, mix)
    before_db = np.mean([si_sdr_db(mix, r) for r in references])
    print(f"mixture:  {EXAMPLE / 'two_voices.wav'}")
    for path in paths:
        print(f"voice:    {path.resolve()}")
    print(f"gained:   {gain_db:.1f} dB SI-SDR, from {before_db:.1f} dB to {before_db + gain_db:.1f} dB")


if __name__ == "__main__":
    main()
