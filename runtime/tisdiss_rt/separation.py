"""What a separator returns: voices as arrays or as files, and how they were made."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import chain, islice, zip_longest
from pathlib import Path
from typing import Any

import numpy as np

from tisdiss_rt.audio import Array
from tisdiss_rt.audio.blocks import ahead, fit_length, resample
from tisdiss_rt.audio.channels import Choice, Mixture
from tisdiss_rt.audio.highs import with_highs
from tisdiss_rt.errors import SeparationWarning
from tisdiss_rt.estimate.estimator import Estimated
from tisdiss_rt.planning.plan import Plan, Step, mean_of
from tisdiss_rt.talkers.activity import Activity
from tisdiss_rt.talkers.recording import Recording, Wanted
from tisdiss_rt.talkers.turns import Turn

Progress = Callable[[float, float | None], None]


@dataclass(frozen=True, kw_only=True)
class Found:
    """How voices were made, and what became known of the recording.

    Attributes:
        steps: one record for each window or step.
        plan: what each step was planned to do.
        one_talker: whether nobody else talks, in any channel with ``split``; all but the first source are
            silent then.
        talk_s: seconds in which nobody talks, one person, two, and so on; with ``split`` of all channels.
        channels: those that were separated, from 1: their mean, or with ``split`` each of them.
        passed_on: channels that ``split`` passed on as they are, as one person talks in each.
        activity: what each of the sources has of the recording.
        turns: who talks when, with ``talkers``; None without.
        voice_found: whether the ``voice`` that was asked for is the first source; None without.
    """

    steps: list[Step]
    plan: Plan
    one_talker: bool = False
    talk_s: tuple[float, ...] = ()
    channels: tuple[int, ...] = (1,)
    passed_on: tuple[int, ...] = ()
    activity: tuple[Activity, ...] = ()
    turns: list[Turn] | None = None
    voice_found: bool | None = None

    @property
    def estimate(self) -> Estimated | None:
        """How good the voices are expected to be: the mean over windows and voices that talk; else None."""
        return mean_of(self.steps)


@dataclass(frozen=True)
class Separation(Found):
    """The result of `Separator.separate`; more in `Found`.

    Attributes:
        sources: (sources, n) float32, one row for each voice; with ``channels="split"`` those of the first
            channel, then those of the second, and so on.
        sample_rate: of the sources, in Hz.
    """

    sources: Array
    sample_rate: int


@dataclass(frozen=True)
class FileSeparation(Found):
    """The files that were written, one for each source; more in `Found`.

    ``problem`` says what of the input could not be read, and ``missing_s`` how many seconds of it, as far as
    its header tells; None and 0 where it is whole.
    """

    paths: list[Path]
    sample_rate: int
    frames: int
    missing_s: float
    problem: str | None
    clipped: int

    def warn(self, label: str) -> None:
        """Warn of what the input lacks and the output cannot hold."""
        if self.problem is not None:
            warnings.warn(f"{self.problem}; what is there is separated", SeparationWarning, stacklevel=3)
        if self.clipped:
            message = f"{label}: {self.clipped} samples of the sources clipped at full scale"
            warnings.warn(message, SeparationWarning, stacklevel=3)


@dataclass(frozen=True)
class Task:
    """What is to be separated and how: a mixture, the channels that were chosen, and what is wanted of it."""

    given: Mixture
    choices: list[Choice]
    wanted: Wanted
    plan: Plan

    def recording(self, choice: Choice, sources: int) -> Recording:
        """Return what was chosen as a recording, in which nobody is known to talk as yet."""
        given = self.given
        about = (given.sample_rate, given.length, given.expected, self.wanted)
        return Recording(partial(given.mono, choice.taken), *about, activity=[Activity()] * sources)

    def part(self, progress: Progress | None, number: int) -> Progress | None:
        """Return what to call for one of the choices, which are equally long."""
        if progress is None:
            return None

        def of_all(done_s: float, total_s: float | None) -> None:
            whole_s = None if total_s is None else len(self.choices) * total_s
            progress(done_s + number * (total_s or 0), whole_s)

        return of_all


def decoded(recording: Recording, plan: Plan, model_hz: int) -> Generator[Array, None, None]:
    """Yield a recording (m,) at the rate of the network.

    A thread gets it ready meanwhile, but not with a budget: steps would be late for it.
    """
    mono = _one_at_least(resample(recording.mono(), recording.sample_rate, model_hz))
    yield from ahead(mono) if plan.budget_ms is None else mono


def _one_at_least(blocks: Iterator[Array]) -> Iterator[Array]:
    """Yield blocks (m,), and a zero where they have nothing, as that of a sample or two at a higher rate."""
    is_empty = True
    for block in blocks:
        is_empty = is_empty and not len(block)
        yield block
    if is_empty:
        yield np.zeros(1, np.float32)


def at_rate(voices: Iterator[Array], recording: Recording, model_hz: int, sources: int) -> Iterator[Array]:
    """Bring voices (sources, m) to the rate and the length of a recording, as pieces (m, sources).

    Each has its share of what the recording has above the band of the network.
    """
    rate = recording.sample_rate
    pieces = resample((piece.T for piece in voices), model_hz, rate)
    begun = list(islice(pieces, 1))
    frames = recording.length()  # nothing more comes
    pieces = chain(begun, pieces)
    if rate > model_hz:
        pieces = with_highs(pieces, recording.mono(), rate, model_hz)
    yield from fit_length(pieces, lambda: frames, sources)


def found_in(task: Task, recordings: list[Recording]) -> dict[str, Any]:
    """Return what became known of a recording, as `Separation` has it."""
    taken = [choice.taken or range(task.given.channels) for choice in task.choices]
    alone = [recording.one_talker for recording in recordings]
    kept = [
        choice.is_passed_on and one_talker for choice, one_talker in zip(task.choices, alone, strict=True)
    ]
    return {
        "plan": task.plan,
        "steps": [step for recording in recordings for step in recording.steps],
        "one_talker": all(alone),
        "talk_s": tuple(
            round(sum(each), 3)
            for each in zip_longest(*(recording.talk_s for recording in recordings), fillvalue=0.0)
        ),
        "channels": tuple(channel + 1 for channels in taken for channel in channels),
        "passed_on": tuple(number + 1 for number, is_kept in enumerate(kept) if is_kept),
        "activity": tuple(voice for recording in recordings for voice in recording.activity),
        "turns": recordings[0].turns,
        "voice_found": recordings[0].found,
    }
