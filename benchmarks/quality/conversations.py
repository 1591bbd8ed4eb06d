"""Whether every talker stays on one output: conversations of minutes to hours, separated as files.

People of `test/` (for the table) or `validation/` (for decisions) take turns, overlap and pause; a
conversation has one assignment of people to outputs, the best. Counted are seconds in which one person talks
alone: the share of them that is louder on the other output. SI-SDR is that of whole outputs, less that of the
mixture.

    python -m benchmarks.quality.conversations --people validation --minutes 2
    python -m benchmarks.quality.conversations --update        # to TALKERS.md
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from benchmarks.pages import update
from benchmarks.quality import conversation
from benchmarks.quality.conversation import FRAME_S, Conversation
from benchmarks.quality.quality import si_sdr_db
from tisdiss_rt import Separator
from tisdiss_rt import bundle as bundles

ALONE_S = 0.25  # compared are parts of this length, where one person talks in nine tenths and nobody else
MINUTES = (1.0, 10.0)
PAGE = Path(__file__).parent / "TALKERS.md"


@dataclass(frozen=True)
class Measured:
    """Share on the wrong output, improvement in dB, and seconds of computing per second of audio."""

    wrong: float
    improvement_db: float
    real_time_factor: float


def on_outputs(made: Conversation, outputs: np.ndarray) -> np.ndarray:
    """Count for each person alone (people, outputs) on which output they are louder."""
    each = round(ALONE_S / FRAME_S)
    parts = made.talks.shape[1] // each
    talks = made.talks[:, : parts * each].reshape(len(made.talks), parts, each).mean(2)
    samples = round(ALONE_S * made.sample_rate)
    power = np.square(outputs[:, : parts * samples].reshape(len(outputs), parts, samples)).sum(2)
    counts = np.zeros((len(talks), len(outputs)))
    for person in range(len(talks)):
        others = np.delete(talks, person, 0).sum(0)
        alone = (talks[person] > 0.9) & (others == 0)
        counts[person] = np.bincount(power[:, alone].argmax(0), minlength=len(outputs))
    return counts


def measure(separator: Separator, made: Conversation) -> Measured:
    """Separate a conversation of two people, as a file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "conversation.wav"
        soundfile.write(path, made.mix, made.sample_rate, subtype="FLOAT")
        targets = [Path(folder) / f"{number}.wav" for number in range(2)]
        begin_s = time.perf_counter()
        separator.separate_file(path, targets)
        took_s = time.perf_counter() - begin_s
        outputs = np.stack([soundfile.read(target, dtype="float32")[0] for target in targets])
    counts = on_outputs(made, outputs)
    orders = list(itertools.permutations(range(2)))
    order = max(orders, key=lambda order: counts[range(2), order].sum())
    gains = [
        si_sdr_db(outputs[o], v) - si_sdr_db(made.mix, v) for o, v in zip(order, made.voices, strict=True)
    ]
    wrong = 1 - counts[range(2), order].sum() / counts.sum()
    return Measured(float(wrong), float(np.mean(gains)), took_s / len(made.mix) * made.sample_rate)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--bundle", default="edge-16k", help="name or folder")
    parser.add_argument("--people", choices=("test", "validation"), default="test")
    parser.add_argument("--minutes", type=float, action="append", help="may be given several times")
    parser.add_argument("--scene", choices=sorted(conversation.SCENES), action="append")
    parser.add_argument("--count", type=int, default=2, help="conversations of each kind")
    parser.add_argument("--update", action="store_true", help="write the table to TALKERS.md")
    options = parser.parse_args()
    separator = Separator(options.bundle, provider="cpu", threads=1, precision="fp32")
    name = separator.bundle.manifest.name
    lines = [
        f"`{name}`, two people of `{options.people}/`, one thread; mean (largest) of {options.count}.",
        "",
        "| scene | minutes | alone, on the wrong output | SI-SDR improvement | real-time factor |",
        "|---|---|---|---|---|",
    ]
    for scene in options.scene or conversation.SCENES:
        for minutes in options.minutes or MINUTES:
            found = [
                measure(separator, conversation.make(options.people, 2, minutes, scene, seed))
                for seed in range(100, 100 + options.count)
            ]
            wrong = [100 * each.wrong for each in found]
            gain_db, factor = np.mean([(each.improvement_db, each.real_time_factor) for each in found], 0)
            share = f"{np.mean(wrong):.1f} % ({max(wrong):.1f} %)"
            lines.append(f"| {scene} | {minutes:g} | {share} | {gain_db:.1f} dB | {factor:.2f} |")
            print(lines[-1], flush=True)
    if options.update:
        titles = [f"{each}, {people}" for each in bundles.shipped() for people in ("test", "validation")]
        update(PAGE, titles, f"{name}, {options.people}", "\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
