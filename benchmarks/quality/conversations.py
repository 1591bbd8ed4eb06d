"""Whether every talker stays on one output: conversations of minutes to hours, separated as files.

People of `test/` (for the table) or `validation/` (for decisions) take turns, overlap and pause; a
conversation has one assignment of people to outputs, the best. Counted are seconds in which one person talks
alone: the share of them that is louder on the other output. SI-SDR is that of whole outputs, less that of the
mixture. Meetings of more people are measured by `meetings`.

    pip install pyannote.metrics                               # for meetings, else left out
    python -m benchmarks.quality.conversations --people validation --minutes 2
    python -m benchmarks.quality.conversations --people validation --talkers 4 --scene clean
    python -m benchmarks.quality.conversations --update        # to TALKERS.md
"""

from __future__ import annotations

import argparse
import importlib.util
import itertools
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from benchmarks.pages import update
from benchmarks.quality import conversation, meetings
from benchmarks.quality.conversation import FRAME_S, Conversation
from benchmarks.quality.quality import si_sdr_db
from tisdiss_rt import Separator
from tisdiss_rt import bundle as bundles

ALONE_S = 0.25  # compared are parts of this length, where one person talks in nine tenths and nobody else
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


def outputs_table(separator: Separator, options: argparse.Namespace) -> list[str]:
    """Measure two people on two outputs."""
    lines = [
        "| scene | minutes | alone, on the wrong output | SI-SDR improvement | real-time factor |",
        "|---|---|---|---|---|",
    ]
    for scene, minutes in itertools.product(options.scene, options.minutes):
        found = [measure(separator, each) for each in conversations(options, 2, minutes, scene)]
        wrong = [100 * each.wrong for each in found]
        gain_db, factor = np.mean([(each.improvement_db, each.real_time_factor) for each in found], 0)
        share = f"{np.mean(wrong):.1f} % ({max(wrong):.1f} %)"
        lines.append(f"| {scene} | {minutes:g} | {share} | {gain_db:.1f} dB | {factor:.2f} |")
        print(lines[-1], flush=True)
    return lines


def meetings_table(separator: Separator, options: argparse.Namespace) -> list[str]:
    """Measure meetings of any number of people."""
    lines = [
        "| scene | people | minutes | number right | diarization error | missed | false | of somebody else |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for scene, people, minutes in itertools.product(options.scene, options.talkers, options.minutes):
        made = conversations(options, people, minutes, scene)
        told = [meetings.measure(separator, each) for each in made]
        lines.append(f"| {scene} | {people} | {minutes:g} | {meetings.row(told, people)} |")
        print(lines[-1], flush=True)
    return lines


def conversations(
    options: argparse.Namespace, people: int, minutes: float, scene: str
) -> Iterator[Conversation]:
    """Make the conversations of one row, one after the other."""
    for seed in range(100, 100 + options.count):
        yield conversation.make(options.people, people, minutes, scene, seed)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--bundle", default="edge-16k", help="name or folder")
    parser.add_argument("--people", choices=("test", "validation"), default="test")
    parser.add_argument("--minutes", type=float, nargs="+", default=[1.0, 10.0])
    parser.add_argument("--scene", choices=sorted(conversation.SCENES), nargs="+")
    parser.add_argument("--count", type=int, default=2, help="conversations of each kind")
    parser.add_argument("--talkers", type=int, nargs="+", help="meetings alone, of so many people")
    parser.add_argument("--update", action="store_true", help="write the tables to TALKERS.md")
    options = parser.parse_args()
    options.scene = options.scene or list(conversation.SCENES)
    separator = Separator(options.bundle, provider="cpu", threads=1, precision="fp32")
    name = separator.bundle.manifest.name
    lines = [f"`{name}`, people of `{options.people}/`, one thread, {options.count} of each kind."]
    if options.talkers is None:
        lines += ["", "Two people; mean (largest).", "", *outputs_table(separator, options)]
        options.talkers = [2, 3, 4, 6]
    if importlib.util.find_spec("pyannote"):
        lines += ["", "Meetings, with `--talkers auto`; means.", "", *meetings_table(separator, options)]
    if options.update:
        titles = [f"{each}, {people}" for each in bundles.shipped() for people in ("test", "validation")]
        update(PAGE, titles, f"{name}, {options.people}", "\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
