"""The picture in README: the example's mixture and what the shipped bundle makes of it, as spectrograms.

python -m benchmarks.figures
"""

from __future__ import annotations

from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import soundfile

import tisdiss_rt

EXAMPLE = Path(tisdiss_rt.__file__).parent / "example" / "two_voices.wav"
TARGET = Path(__file__).parents[1] / "docs" / "separated.png"


def main() -> None:
    mix, rate = soundfile.read(EXAMPLE, dtype="float32")
    sources = tisdiss_rt.Separator().separate(mix, rate).sources
    figure, axes = plt.subplots(1, 3, figsize=(10, 2.8), sharey=True, layout="constrained")
    titles = ("mixture", "voice 1", "voice 2")
    for axis, signal, title in zip(axes, (mix, *sources), titles, strict=True):
        axis.specgram(signal + 1e-9, NFFT=512, Fs=rate, noverlap=384, vmin=-130, vmax=-45, cmap="magma")
        axis.set(title=title, xlabel="s", ylim=(0, 5000))
    axes[0].set_ylabel("Hz")
    TARGET.parent.mkdir(exist_ok=True)
    figure.savefig(TARGET, dpi=90)


if __name__ == "__main__":
    main()
