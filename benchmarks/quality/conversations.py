"""Whether every talker stays on one output: conversations of minutes to hours, as files and as streams.

People of `test/` (for the table) or `validation/` (for decisions) take turns, overlap and pause; a
conversation has one assignment of people to outputs, the best. Counted are seconds in which one person talks
alone: the share of them that is louder on the other output; in streams, which decide as the sound comes, from
1 s into a turn. SI-SDR is that of whole outputs, less that of the mixture. Meetings of more people are
measured by `meetings`.

    python -m benchmarks.quality.conversations --people validation --minutes 2 --what files streams
    pip install pyannote.metrics                               # for meetings
    python -m benchmarks.quality.conversations --people validation --what meetings --talkers 4 --scene clean
    python -m benchmarks.quality.conversations --update        # to TALKERS.md
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
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
INTO_TURN_S = 1.0  # in streams
TURN_PAUSE_S = 0.5  # a longer one ends a turn
STREAM_DEPTH = 1
WHAT = ("files", "streams", "one", "meetings")
PEOPLE = (2, 3, 4, 6)  # of meetings
PAGE = Path(__file__).parent / "TALKERS.md"


@dataclass(frozen=True)
class Measured:
    """Share on the wrong output, improvement in dB, and seconds of a core per second of audio."""

    wrong: float
    improvement_db: float
    real_time_factor: float


def alone(made: Conversation, into_turn_s: float = 0.0) -> np.ndarray:
    """Return in which parts of `ALONE_S` each person talks alone, so long into a turn: (people, parts)."""
    each = round(ALONE_S / FRAME_S)
    parts = made.talks.shape[1] // each
    found = np.zeros((len(made.talks), parts), bool)
    talks = made.talks[:, : parts * each].reshape(len(made.talks), parts, each).mean(2)
    for person, row in enumerate(made.talks):
        since = into_turn(row)[: parts * each : each]
        others = np.delete(talks, person, 0).sum(0)
        found[person] = (talks[person] > 0.9) & (others == 0) & (since * FRAME_S >= into_turn_s)
    return found


def into_turn(talks: np.ndarray) -> np.ndarray:
    """Return for each frame how many frames the person (frames,) has talked, but for short pauses."""
    since, frames, quiet = np.zeros(len(talks), int), 0, 0
    for at, is_talking in enumerate(talks):
        quiet = 0 if is_talking else quiet + 1
        frames = 0 if quiet * FRAME_S > TURN_PAUSE_S else frames + is_talking
        since[at] = frames
    return since


def on_outputs(alone: np.ndarray, outputs: np.ndarray, sample_rate: int) -> np.ndarray:
    """Count for each person alone (people, outputs) on which output they are louder."""
    samples, parts = round(ALONE_S * sample_rate), alone.shape[1]
    power = np.square(outputs[:, : parts * samples].reshape(len(outputs), parts, samples)).sum(2)
    louder = power.argmax(0)
    return np.stack([np.bincount(louder[row], minlength=len(outputs)) for row in alone])


def as_file(separator: Separator, made: Conversation) -> np.ndarray:
    """Separate a conversation of two people as a file: (2, n)."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "conversation.wav"
        soundfile.write(path, made.mix, made.sample_rate, subtype="FLOAT")
        targets = [Path(folder) / f"{number}.wav" for number in range(2)]
        separator.separate_file(path, targets)
        return np.stack([soundfile.read(target, dtype="float32")[0] for target in targets])


def as_stream(separator: Separator, made: Conversation) -> np.ndarray:
    """Separate a conversation of two people in a stream: (2, n)."""
    stream = separator.stream(made.sample_rate, depth=STREAM_DEPTH)
    seconds = range(0, len(made.mix), made.sample_rate)
    pieces = [stream.process(made.mix[begin : begin + made.sample_rate]) for begin in seconds]
    return np.concatenate([*pieces, stream.flush()], axis=1)


def measure(separator: Separator, made: Conversation, is_stream: bool) -> Measured:
    """Separate a conversation of two people, and compare with their voices."""
    begin_s = time.process_time()
    outputs = as_stream(separator, made) if is_stream else as_file(separator, made)
    took_s = time.process_time() - begin_s
    return compare(outputs, made, alone(made, INTO_TURN_S if is_stream else 0.0), took_s)


def compare(outputs: np.ndarray, made: Conversation, alone: np.ndarray, took_s: float) -> Measured:
    """Compare outputs (2, n) with the voices of two people, who are alone in parts (2, parts)."""
    counts = on_outputs(alone, outputs, made.sample_rate)
    orders = list(itertools.permutations(range(2)))
    order = max(orders, key=lambda order: counts[range(2), order].sum())
    gains = [
        si_sdr_db(outputs[o], v) - si_sdr_db(made.mix, v) for o, v in zip(order, made.voices, strict=True)
    ]
    wrong = 1 - counts[range(2), order].sum() / counts.sum()
    return Measured(float(wrong), float(np.mean(gains)), took_s / len(made.mix) * made.sample_rate)


def outputs_table(separator: Separator, options: argparse.Namespace, is_stream: bool) -> list[str]:
    """Measure two people on two outputs, of files or of streams."""
    lines = [
        "| scene | minutes | alone, on the wrong output | SI-SDR improvement | real-time factor |",
        "|---|---|---|---|---|",
    ]
    for scene, minutes in itertools.product(options.scene, options.minutes):
        found = [measure(separator, each, is_stream) for each in conversations(options, 2, minutes, scene)]
        wrong = [100 * each.wrong for each in found]
        gain_db, factor = np.mean([(each.improvement_db, each.real_time_factor) for each in found], 0)
        share = f"{np.mean(wrong):.1f} % ({max(wrong):.1f} %)"
        lines.append(f"| {scene} | {minutes:g} | {share} | {gain_db:.1f} dB | {factor:.2f} |")
        print(lines[-1], flush=True)
    return lines


def one_table(separator: Separator, options: argparse.Namespace) -> list[str]:
    """Measure one person who talks alone: by how much the other output is quieter."""
    lines = [
        "| scene | minutes | alone, on the wrong output | the other output is lower by |",
        "|---|---|---|---|",
    ]
    for scene, minutes in itertools.product(options.scene, options.minutes):
        wrong, lower_db = [], []
        for made in conversations(options, 1, minutes, scene):
            outputs = as_file(separator, made)
            (counts,) = on_outputs(alone(made), outputs, made.sample_rate)
            wrong.append(100 * counts.min() / counts.sum())
            power = np.sort(np.square(outputs).mean(1, dtype=np.float64))
            lower_db.append(10 * np.log10(power[1] / power[0]) if power[0] else np.inf)
        least = f"{min(lower_db):.0f} dB" if np.isfinite(min(lower_db)) else "silent"
        lines.append(f"| {scene} | {minutes:g} | {np.mean(wrong):.1f} % ({max(wrong):.1f} %) | {least} |")
        print(lines[-1], flush=True)
    return lines


def meetings_table(separator: Separator, options: argparse.Namespace, people: int) -> list[str]:
    """Measure meetings of so many people."""
    lines = [
        "| scene | minutes | number right | diarization error | missed | false | of somebody else "
        "| SI-SDR improvement |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for scene, minutes in itertools.product(options.scene, options.minutes):
        made = conversations(options, people, minutes, scene)
        told = [meetings.measure(separator, each) for each in made]
        lines.append(f"| {scene} | {minutes:g} | {meetings.row(told)} |")
        print(lines[-1], flush=True)
    return lines


TABLES: dict[str, tuple[str, Callable[[Separator, argparse.Namespace], list[str]]]] = {
    "files": ("Two people; mean (largest).", partial(outputs_table, is_stream=False)),
    "streams": (
        f"Two people, at depth {STREAM_DEPTH}; mean (largest).",
        partial(outputs_table, is_stream=True),
    ),
    "one": ("One person; mean (largest), and the least.", one_table),
    **{
        f"meetings of {people}": ("With `--talkers auto`; means.", partial(meetings_table, people=people))
        for people in PEOPLE
    },
}


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
    parser.add_argument("--what", choices=WHAT, default=WHAT, nargs="+")
    parser.add_argument("--talkers", type=int, choices=PEOPLE, default=PEOPLE, nargs="+", help="in meetings")
    parser.add_argument("--update", action="store_true", help="write the tables to TALKERS.md")
    options = parser.parse_args()
    options.scene = options.scene or list(conversation.SCENES)
    separator = Separator(options.bundle, provider="cpu", threads=1, precision="fp32")
    name = separator.bundle.manifest.name
    of_people = [f"meetings of {people}" for people in options.talkers]
    for what in itertools.chain(*(of_people if what == "meetings" else [what] for what in options.what)):
        about, table = TABLES[what]
        about = f"{about} `{name}`, people of `{options.people}/`, one thread, {options.count} of each kind."
        text = "\n".join([about, "", *table(separator, options), ""])
        if options.update:
            write(f"{name}, {options.people}, {what}", text)


def write(title: str, text: str) -> None:
    """Write a section of TALKERS.md."""
    titles = itertools.product(bundles.shipped(), ("test", "validation"), (*TABLES, "an hour"))
    update(PAGE, map(", ".join, titles), title, text)


if __name__ == "__main__":
    main()
