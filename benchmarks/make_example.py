"""Make the two-voice recording that ships with the package, and its two references.

The example lets anyone try the separator, and lets tests run, with nothing to fetch. Both talkers come from
the speech synthesizer flite (slt, female, and rms, male), so the truth is known: the mixture is the sum of
the two references, sample for sample. Needs flite on the path (2.2 made the committed files).

    python -m benchmarks.make_example            # write the three files
    python -m benchmarks.make_example --check    # do the committed files equal what this makes?
"""

from __future__ import annotations

import argparse
import io
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import soundfile as sf
import soxr

RATE = 16_000
SECONDS = 6.0
FOLDER = Path(__file__).resolve().parents[1] / "runtime" / "tisdiss_rt" / "example"
BAKERY = "The bakery opens before sunrise. By seven, there is a line that reaches the bridge by the river."
TRAIN = "We took the slow train along the coast. My brother wanted to watch the boats come home."
TALKERS = (("slt", BAKERY, 0.2, 0.0545), ("rms", TRAIN, 0.5, 0.0459))  # voice, text, start in s, RMS


def speak(voice: str, text: str) -> np.ndarray:
    """Synthesise text with flite at `RATE`, without the silence around it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "speech.wav"
        subprocess.run(["flite", "-voice", voice, "-t", text, "-o", str(path)], check=True)
        speech, rate = sf.read(path, dtype="float64")
    if rate != RATE:
        speech = soxr.resample(speech, rate, RATE, quality="VHQ")
    loud = np.flatnonzero(np.abs(speech) > 0.005 * np.abs(speech).max())
    return speech[loud[0] : loud[-1] + 1]


def make() -> dict[str, bytes]:
    """Return the files' bytes by name."""
    tracks = {}
    for i, (voice, text, start, rms) in enumerate(TALKERS, 1):
        speech, at, track = speak(voice, text), round(start * RATE), np.zeros(round(SECONDS * RATE))
        track[at : at + len(speech)] = speech  # raises if the speech does not fit
        tracks[f"two_voices_ref{i}.wav"] = np.round(track * (32768 * rms / np.sqrt(np.mean(track**2))))
    tracks["two_voices.wav"] = sum(tracks.values())  # whole numbers: exact
    files = {}
    for name, track in tracks.items():
        if np.abs(track).max() > 32767:
            raise ValueError(f"{name} clips")
        file = io.BytesIO()
        sf.write(file, track.astype(np.int16), RATE, format="WAV", subtype="PCM_16")
        files[name] = file.getvalue()
    return files


def main() -> int:
    parser = argparse.ArgumentParser(description="Make the example recording and its references.")
    parser.add_argument("--check", action="store_true", help="compare with the files there, write nothing")
    if not parser.parse_args().check:
        FOLDER.mkdir(parents=True, exist_ok=True)
        for name, data in make().items():
            (FOLDER / name).write_bytes(data)
        return 0
    paths = {FOLDER / name: data for name, data in make().items()}
    different = [path.name for path, data in paths.items() if not path.is_file() or path.read_bytes() != data]
    print(f"different: {', '.join(different)}" if different else "the files equal what this script makes")
    return int(bool(different))


if __name__ == "__main__":
    sys.exit(main())
