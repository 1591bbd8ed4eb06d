"""A whole recording, decided at once: its voices wait until all are there, and then go to the right outputs.

::

    voices ──> described, block by block ──> wait in a file ──> in the order of their talkers ──> voices
                         └──────────> assignment of all blocks ─────────┘

The outputs are as many as those of the network, or one for each person, with silence where they do not talk.
What stays in memory is the description: for an hour about 6 MB.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np

from tisdiss_rt.audio import Array
from tisdiss_rt.errors import OptionError, is_whole
from tisdiss_rt.planning.plan import Step
from tisdiss_rt.talkers.activity import Activity, activity_of
from tisdiss_rt.talkers.assignment import Order, assign
from tisdiss_rt.talkers.blocks import PARTS, Blocks, Describer, Voiceprints
from tisdiss_rt.talkers.meeting import MOST_TALKERS, most_talkers, who_is_who
from tisdiss_rt.talkers.outputs import apart, in_order, on_the_first
from tisdiss_rt.talkers.records import of_one, ordered
from tisdiss_rt.talkers.sample import Sample, Voices, who_of
from tisdiss_rt.talkers.turns import Turn, parts_of, power_of, seconds_of, talking, turns_of
from tisdiss_rt.talkers.waiting import Waiting

AUTO = "auto"


@dataclass(frozen=True)
class Wanted:
    """What the outputs of a recording are to be.

    Attributes:
        talkers: how many people, one output for each; ``auto`` where that is to be found, None where the
            outputs are those of the network.
        most: how many there are at most with ``auto``.
        voice: whoever is to be on the first output, see `sample.voice_of`; None for anybody.

    Raises OptionError for a number of talkers that cannot be.
    """

    talkers: int | str | None = None
    most: int = MOST_TALKERS
    voice: Array | None = None

    def __post_init__(self) -> None:
        if self.talkers not in (None, AUTO) and not is_whole(self.talkers, 1, MOST_TALKERS):
            raise OptionError(f"talkers are auto, or a number from 1 to {MOST_TALKERS}; not {self.talkers!r}")

    def check_files(self, files: int, sources: int) -> None:
        """Raise OptionError where so many files are not for what is wanted, or for so many sources."""
        needed = sources
        if self.talkers is not None:
            needed = max(files, 1) if self.talkers == AUTO else int(self.talkers)
        if files != needed:
            raise OptionError(f"{files} output files for {needed} sources")


def wanted_of(
    talkers: int | str | None,
    voice: Sample | None,
    channels: str | int,
    most: int,
    voices: Voices,
    sources: int,
) -> Wanted:
    """Return what is wanted of a recording, by the options of `separator.Separator`.

    Args:
        talkers: see `Wanted`.
        voice: sample of whoever is to be on the first output; None for anybody.
        channels: what is separated of the recording.
        most: see `Wanted`.
        voices: what tells whose a sample is.
        sources: how many the network gives.

    Raises AudioError for a sample that cannot be used, and OptionError for options that cannot be.
    """
    if channels == "split" and (talkers is not None or voice is not None):
        raise OptionError("talkers and voice are of one signal, and channels='split' makes several")
    wanted = Wanted(talkers, min(most, most_talkers(sources)), voices.of(voice))
    if talkers not in (None, AUTO) and int(talkers) > most_talkers(sources):
        told = f"of a network of {sources} sources at most {most_talkers(sources)} talkers can be told apart"
        raise OptionError(f"{told}, not {talkers}")
    return wanted


@dataclass
class Recording:
    """A recording on its way, and what becomes known of it.

    Attributes:
        mono: returns its samples in blocks (m,), every time from the beginning.
        sample_rate: of the blocks in Hz.
        length: returns how many samples have come until now.
        expected: how many there will be; None where nobody knows.
        wanted: what the outputs are to be.
        steps: one record for each window or step, as they are done.
        one_talker: whether nobody else talks; this and what follows is known when all has been separated.
        talk_s: seconds in which nobody talks, one person, two, and so on.
        turns: who talks when, where people are told apart.
        activity: what each output has of the recording.
        found: whether the wanted voice is on the first output; None where none is wanted.
    """

    mono: Callable[[], Iterable[Array]]
    sample_rate: int
    length: Callable[[], int]
    expected: int | None
    wanted: Wanted = Wanted()
    steps: list[Step] = field(default_factory=list)
    one_talker: bool = False
    talk_s: tuple[float, ...] = ()
    turns: list[Turn] | None = None
    activity: list[Activity] = field(default_factory=list)
    found: bool | None = None

    @property
    def expected_s(self) -> float | None:
        """How long the recording will be in seconds; None where nobody knows."""
        return None if self.expected is None else self.expected / self.sample_rate


def settled(
    pieces: Iterable[Array],
    voiceprints: Voiceprints,
    sample_rate: int,
    waiting: Waiting,
    recording: Recording,
) -> Iterator[Array]:
    """Put the voices of a recording into one order from beginning to end, or give each person an output.

    Where there is one talker, all that the outputs have is theirs: the first gets it, the others are silent.

    Args:
        pieces: (sources, m), as separated.
        voiceprints: what voices are compared by.
        sample_rate: of the pieces in Hz.
        waiting: where they wait until the last one has come.
        recording: what is wanted; what becomes known is filled in.

    Yields:
        Pieces (outputs, m), as many samples in all.
    """
    describer: Describer | None = None
    for piece in pieces:
        if describer is None:
            describer = Describer(voiceprints, len(piece), sample_rate)
        describer.take(piece)
        waiting.write(piece)
    if describer is None:
        return
    blocks = describer.result()
    if recording.wanted.talkers is None:
        yield from _voices(waiting, blocks, voiceprints, describer.block, sample_rate, recording)
    else:
        yield from _people(waiting, blocks, voiceprints, describer.block, sample_rate, recording)


def _voices(
    waiting: Waiting,
    blocks: Blocks,
    voiceprints: Voiceprints,
    block: int,
    sample_rate: int,
    recording: Recording,
) -> Iterator[Array]:
    """Yield as many outputs as there are sources; see `settled`."""
    if not waiting.samples:
        return
    orders = assign(blocks, voiceprints)
    recording.one_talker = orders is None
    who = np.zeros(blocks.weights.shape, np.int64) if orders is None else orders.argsort(1)
    first = _first(blocks, who, 1 if orders is None else who.shape[1], voiceprints, recording)
    outputs = [first, *(output for output in range(who.shape[1]) if output != first)]
    part_s = block / PARTS / sample_rate
    levels, finer = parts_of(blocks, who)
    talks = talking(levels, finer, len(outputs), part_s)[:, outputs]
    power = power_of(levels, finer, len(outputs))[:, outputs]
    recording.talk_s = seconds_of(talks, part_s, waiting.samples / sample_rate)
    recording.activity = activity_of(talks, power, part_s, waiting.samples / sample_rate)
    if orders is None:
        recording.steps[:] = [of_one(step) for step in recording.steps]
        yield from on_the_first(waiting, block)
    else:
        orders = orders[:, outputs]
        recording.steps[:] = [ordered(step, orders, block / sample_rate) for step in recording.steps]
        yield from in_order(waiting, orders, block, sample_rate)


def _first(blocks: Blocks, who: Order, count: int, voiceprints: Voiceprints, recording: Recording) -> int:
    """Return which of the talkers is to be on the first output; says whether it is the wanted voice."""
    if recording.wanted.voice is None:
        return 0
    found = who_of(blocks, who, count, voiceprints, recording.wanted.voice)
    recording.found = found is not None
    return found or 0


def _people(
    waiting: Waiting,
    blocks: Blocks,
    voiceprints: Voiceprints,
    block: int,
    sample_rate: int,
    recording: Recording,
) -> Iterator[Array]:
    """Yield one output for each person, in the order in which they begin; see `settled`."""
    wanted = recording.wanted
    assert wanted.talkers is not None
    fixed = None if wanted.talkers == AUTO else int(wanted.talkers)
    who, count = who_is_who(blocks, voiceprints, fixed, wanted.most)
    first = _first(blocks, who, count, voiceprints, recording)
    part_s = block / PARTS / sample_rate
    levels, finer = parts_of(blocks, who)
    talks = talking(levels, finer, count, part_s)
    begins = np.where(talks.any(0), talks.argmax(0), len(talks)) if len(talks) else np.zeros(count, int)
    if recording.found:
        begins[first] = -1
    order = begins.argsort(kind="stable")
    if fixed is None:  # who is never heard is nobody
        order = order[: max(1, int((begins < len(talks)).sum()))]
    talks, length_s = talks[:, order], waiting.samples / sample_rate
    recording.talk_s = seconds_of(talks, part_s, length_s)
    recording.turns = turns_of(talks, part_s, length_s)
    power = power_of(levels, finer, count)[:, order]
    recording.activity = activity_of(talks, power, part_s, length_s)
    recording.one_talker = len(order) == 1
    place = np.full(count, -1)
    place[order] = np.arange(len(order))
    yield np.zeros((len(order), 0), np.float32)
    yield from apart(waiting, place[finer], talks, block, sample_rate)
