"""What voices have above the band of their network: nothing, or their share of the mixture (`audio.highs`).

The speech that is there ends at 8 kHz, so a network of 8 kHz is imitated: `edge-16k` separates mixtures of
two people of `validation/`, and of its voices only what is below 4 kHz is used. The mean SI-SDR against the
whole voices is then compared.

    python -m benchmarks.quality.highs             # print the table
    python -m benchmarks.quality.highs --update    # to HIGHS.md, too
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soxr

from benchmarks.pages import update
from benchmarks.quality.quality import interval_db, si_sdr_db, speech_folder
from tisdiss_models.data import load_corpus
from tisdiss_rt.audio.highs import with_highs
from tisdiss_rt.separator import Separator

PAGE = Path(__file__).parent / "HIGHS.md"
TITLES = ("Two people",)
RATE, MODEL_HZ = 16000, 8000
SECONDS = 4
RMS = 0.05
LEVEL_DB = 5.0  # between the two, either way
SILENT_DB = -40.0  # a voice that says nothing: so far below the other one


def voices(count: int) -> Iterator[np.ndarray]:
    """Draw two voices (2, n) for each mixture."""
    rng = np.random.default_rng(0)
    corpus = load_corpus(speech_folder() / "validation", RATE, 2 * SECONDS)
    for _ in range(count):
        pair = []
        for who in rng.choice(len(corpus.names), 2, replace=False):
            begin = int(rng.integers(int(corpus.lengths[who]) - SECONDS * RATE + 1))
            start = int(corpus.starts[who]) + begin
            voice = corpus.samples[start : start + SECONDS * RATE].numpy().astype(np.float64)
            pair.append(RMS * voice / np.sqrt(np.square(voice).mean() + 1e-12))
        pair[1] *= 10 ** (rng.uniform(-LEVEL_DB, LEVEL_DB) / 20)
        yield np.stack(pair)


def below(signals: np.ndarray) -> np.ndarray:
    """Return what a network of `MODEL_HZ` returns at best: signals (..., n) without what is above."""
    return soxr.resample(soxr.resample(signals.T, RATE, MODEL_HZ), MODEL_HZ, RATE).T


def carried(low: np.ndarray, mix: np.ndarray) -> np.ndarray:
    """Return voices (2, n) with their shares of the mixture (n,)."""
    pieces = list(with_highs(iter([low.T]), iter([mix.astype(np.float32)]), RATE, MODEL_HZ))
    return np.concatenate(pieces)[: len(mix)].T


def measure(count: int) -> dict[str, np.ndarray]:
    """Return the mean SI-SDR of two voices (count,), by what they have above."""
    separator = Separator("edge-16k", provider="cpu", precision="fp32")
    found: dict[str, list[float]] = {}
    for whole in voices(count):
        mix = whole.sum(0)
        separated = separator.separate(mix, RATE, depth=4, window_s=SECONDS).sources.astype(np.float64)
        orders = [separated, separated[::-1]]
        low = below(max(orders, key=lambda order: float((order * whole).sum())))
        highs = mix - below(mix)
        for name, voices_now in (
            ("nothing", low),
            ("the same half of the mixture", low + highs / 2),
            ("their share, as `separate` does it", carried(low, mix)),
            (
                "their share, by what the true voices have below",
                low + carried(below(whole), mix) - below(whole),
            ),
            ("what the true voices have", low + whole - below(whole)),
        ):
            scores = [si_sdr_db(ours, true) for ours, true in zip(voices_now, whole, strict=True)]
            found.setdefault(name, []).append(float(np.mean(scores)))
    return {name: np.array(scores) for name, scores in found.items()}


def silence_db(count: int) -> float:
    """Return the level of a silent voice's highs, from that of the other one's; the median."""
    levels = []
    for whole in voices(count):
        talker = whole[0]
        low = below(np.stack([talker, 10 ** (SILENT_DB / 20) * talker]))
        highs = carried(low, talker) - low
        levels.append(10 * np.log10(np.square(highs[1]).sum() / np.square(highs[0]).sum()))
    return float(np.median(levels))


def page(count: int) -> str:
    found = measure(count)
    nothing = found["nothing"]
    lines = [
        f"{count} mixtures of {SECONDS} s. Above {MODEL_HZ // 2000} kHz, the voices have:",
        "",
        "| above | SI-SDR | better than nothing by | worse than nothing |",
        "|---|---|---|---|",
    ]
    for name, scores in found.items():
        gain = scores - nothing
        low, high = interval_db(gain)
        shown = "" if name == "nothing" else f"{gain.mean():.2f} dB ({low:.2f} to {high:.2f})"
        worse = "" if name == "nothing" else f"{100 * np.mean(gain < 0):.0f} % of mixtures"
        lines.append(f"| {name} | {scores.mean():.2f} dB | {shown} | {worse} |")
    lines += [
        "",
        f"A voice that is {-SILENT_DB:g} dB quieter has highs that are {-silence_db(count):.0f} dB quieter.",
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--mixtures", type=int, default=60)
    parser.add_argument("--update", action="store_true", help="write the table to HIGHS.md")
    options = parser.parse_args()
    text = page(options.mixtures)
    print(text)
    if options.update:
        update(PAGE, TITLES, TITLES[0], text)


if __name__ == "__main__":
    main()
