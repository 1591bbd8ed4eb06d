"""What ``separate`` tells: what runs, what became of each file, and both as parts of a JSON document."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tisdiss_rt.cli.options import duration

if TYPE_CHECKING:
    from tisdiss_rt.planning.plan import Plan, Step
    from tisdiss_rt.separator import FileSeparation, Separator


def describe(separator: Separator, plan: Plan) -> str:
    """Describe in one line what runs and what it promises."""
    engine = separator.engine
    where = f"{engine.provider}, {engine.threads} threads, {engine.precision}"
    depth = f"depth {plan.depth}"
    if plan.budget_ms is not None and plan.predicted_ms is not None:
        depth += (
            f" ({plan.min_depth} to {plan.max_depth} as time allows, {plan.predicted_ms:.1f} ms expected)"
        )
    if plan.min_gain_db is not None:
        depth += f", each repetition only where {plan.min_gain_db:g} dB are expected of it"
    quality = separator.bundle.manifest.quality
    promise = "quality not measured"
    if plan.quality_db is not None and quality is not None:
        promise = f"{plan.quality_db:.1f} dB ({quality.metric.removesuffix(' in dB')} on {quality.test_set})"
    manifest = separator.bundle.manifest
    return f"{manifest.name} on {where}: {manifest.unit}s of {duration(plan.window_s)}, {depth}, {promise}"


def report(separator: Separator, path: str, result: FileSeparation) -> str:
    """Report the separation of a file in one line."""
    took_s = sum(step.elapsed_ms for step in result.steps) / 1e3
    line = f"{path}: {result.frames / result.sample_rate:.1f} s of audio in {took_s:.1f} s"
    depths = sorted({step.depth for step in result.steps})
    if depths:
        mean = sum(step.depth for step in result.steps) / len(result.steps)
        line += f", depth {depths[0]}" + (
            f" to {depths[-1]}, {mean:.1f} on average" if len(depths) > 1 else ""
        )
    missed = sum(step.missed for step in result.steps)
    if result.plan.budget_ms is not None:
        line += f", {missed} of {len(result.steps)} {separator.bundle.manifest.unit}s over budget"
    line += _told_of_talkers(result) + _told_of_quality(result)
    model_hz = separator.bundle.manifest.sample_rate
    if result.sample_rate > model_hz:
        line += (
            f"; above {model_hz / 2e3:g} kHz, where the network ends, each voice has its share of the input"
        )
    return line


def _told_of_talkers(result: FileSeparation) -> str:
    """Report which channels were separated, and where one person talks."""
    if result.passed_on:
        if len(result.passed_on) == len(result.channels):
            return ", each channel already is one talker and is passed on as it is"
        which = ", ".join(map(str, result.passed_on))
        return f", channel {which} already is one talker and is passed on as it is"
    told = ", one talker" if result.one_talker else ""
    if result.turns is not None:
        told = told or f", {len(result.paths)} talkers"
    elif result.one_talker:
        told += ": the other voices are silent"
    if result.voice_found is not None:
        told += f", {voice_told(result.voice_found)}"
    return told


def voice_told(found: bool) -> str:
    """Report whether the person of the sample is on the first output."""
    return "the voice of the sample is " + ("the first" if found else "not found")


def _told_of_quality(result: FileSeparation) -> str:
    """Report for how long how many talk, and how good their voices are expected to be."""
    numbers = ("nobody", "one", *(("two", "three", "four", "five", "six", "seven", "eight")))
    shares = [f"{numbers[n]} {seconds:.0f} s" for n, seconds in enumerate(result.talk_s) if seconds >= 0.5]
    told = f"; talking: {', '.join(reversed(shares))}" if shares else ""
    if (estimate := result.estimate) is not None:
        limits = f"{estimate.low_db:.1f} to {estimate.high_db:.1f}"
        told += f"; expected quality {estimate.si_sdr_db:.1f} dB ({limits})"
    return told


def entry(path: str, result: FileSeparation) -> dict[str, Any]:
    """Return the separation of a file as its entry of the JSON document."""
    return {
        "input": path,
        "outputs": [str(written) for written in result.paths],
        "sample_rate": result.sample_rate,
        "duration_s": result.frames / result.sample_rate,
        **({} if result.problem is None else {"error": result.problem, "missing_s": result.missing_s}),
        "one_talker": result.one_talker,
        "talk_s": result.talk_s,
        "estimate": None if result.estimate is None else dataclasses.asdict(result.estimate),
        "channels": result.channels,
        "passed_on": result.passed_on,
        "voices": [dataclasses.asdict(voice) for voice in result.activity],
        **({} if result.turns is None else {"turns": [dataclasses.asdict(turn) for turn in result.turns]}),
        **({} if result.voice_found is None else {"voice_found": result.voice_found}),
        "clipped": result.clipped,
        "missed": sum(step.missed for step in result.steps),
        "steps": [_told_of_step(step) for step in result.steps],
    }


def _told_of_step(step: Step) -> dict[str, Any]:
    told = dataclasses.asdict(step)
    if step.voices is None:
        del told["voices"]
    return told


@contextmanager
def progress_bar(label: str, shown: bool) -> Iterator[Callable[[float, float | None], None] | None]:
    """Show a bar on standard error while the block runs; yield the callback that takes done and total."""
    if not shown:
        yield None
        return
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(escape(Path(label).name), total=None)
        yield lambda done_s, total_s: bar.update(task, completed=done_s, total=total_s)
