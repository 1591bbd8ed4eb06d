"""The command ``separate``: from the names on the command line to one result for each input.

A bad input is reported and the others go on. Nothing is overwritten unasked: neither what is there already
nor what another input of the same call has written.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tisdiss_rt.cli.options import (
    DEPTH,
    FORCE,
    JSON,
    MIN_DEPTH,
    QUIET,
    budget_option,
    duration,
    engine_options,
    running,
)
from tisdiss_rt.errors import AudioError, OptionError, TisdissError

if TYPE_CHECKING:
    from tisdiss_rt.planning.plan import Plan
    from tisdiss_rt.separator import FileSeparation, Separator


@click.command()
@click.argument("inputs", nargs=-1, required=True, metavar="INPUT...")
@click.option("-o", "--output", default="separated", show_default=True, help="Folder for the results.")
@engine_options("edge-16k")
@budget_option("Time that one window may take; chooses window and depth.")
@DEPTH
@MIN_DEPTH
@click.option("--window-s", type=float, help="Length of the windows, instead of the planned one.")
@click.option(
    "--channels",
    default="mix",
    show_default=True,
    metavar="mix|left|right|split|N",
    help="Average the channels, take one (N counts from 1), or separate each as a recording of its own.",
)
@JSON
@FORCE
@QUIET
def separate(
    inputs: tuple[str, ...],
    output: str,
    engine: dict[str, Any],
    as_json: bool,
    force: bool,
    quiet: bool,
    channels: str,
    **options: Any,
) -> None:
    """Separate the voices in audio files.

    INPUT is a file, a folder (all audio files in it and in those below) or - for standard input. The
    sources of talk.wav become talk_spk1.wav, talk_spk2.wav, ... in the output folder, with the rate, the
    length and the resolution of the input; those of a file in a folder below, in the same one there.
    With --channels split, the sources are those of each channel: talk_ch1_spk1.wav, talk_ch1_spk2.wav, ...
    """
    from tisdiss_rt.audio.channels import parse  # takes the time that --help should not
    from tisdiss_rt.separator import Separator

    options["channels"] = parse(channels)
    separator = Separator(**engine)
    plan = separator.plan(**{name: value for name, value in options.items() if name != "channels"})
    if not quiet:
        click.echo(_describe(separator, plan), err=True)
    claimed: dict[Path, str] = {}
    results = []
    for path, folder in _find(inputs, Path(output)):
        try:
            result = _separate_one(separator, path, folder, force, claimed, quiet, options)
        except (TisdissError, OSError) as error:
            result = {"input": path, "error": _told(path, error)}
            click.echo(f"tisdiss-rt: {result['error']}", err=True)
        results.append(result)
        if not as_json and not quiet:
            for written in result.get("outputs", ()):
                click.echo(written)
    if as_json:
        document = {**running(separator.engine), "plan": dataclasses.asdict(plan), "files": results}
        click.echo(json.dumps(document, indent=1))
    if any("error" in result for result in results):
        sys.exit(1)


def _find(inputs: tuple[str, ...], output: Path) -> Iterator[tuple[str, Path]]:
    """Yield the files to separate, each once, and the folder for the results of each.

    A folder is searched with those below it, which the output folder gets, too. Our own results are passed
    over where the output folder is the one that is searched, or in it.
    """
    from tisdiss_rt.audio.files import STDIN

    seen: set[str | Path] = set()
    for name in inputs:
        paths = [(name, output)]
        if name != STDIN and Path(name).is_dir():
            paths = [(str(p), output / p.parent.relative_to(name)) for p in _search(Path(name), output)]
        for path, folder in paths or [(name, output)]:
            key = path if path == STDIN else Path(path).resolve()
            if key not in seen:
                seen.add(key)
                yield path, folder


def _search(folder: Path, output: Path) -> list[Path]:
    """Return the audio files in a folder; says how many there are that only other programs can read."""
    from tisdiss_rt.audio import media
    from tisdiss_rt.audio.files import SUFFIXES
    from tisdiss_rt.audio.results import is_voice_path

    found = [path for path in sorted(folder.rglob("[!.]*")) if path.is_file()]
    others = [path.suffix.lower() for path in found if path.suffix.lower() in media.SUFFIXES]
    if others and not media.is_installed():
        click.echo(
            f"tisdiss-rt: warning: {folder}: passed over {len(others)} files, as they need "
            f"{media.INSTALL}: {', '.join(sorted(set(others)))}",
            err=True,
        )
    readable = (*SUFFIXES, *media.SUFFIXES) if media.is_installed() else SUFFIXES
    audio = [path for path in found if path.suffix.lower() in readable]
    if folder.resolve() in (output.resolve(), *output.resolve().parents):
        audio = [p for p in audio if not (is_voice_path(p) and output.resolve() in p.resolve().parents)]
    return audio


def _told(path: str, error: Exception) -> str:
    """Return an error in one line that names the file; errors of the system do not always name it."""
    reason = getattr(error, "strerror", None) or str(error)
    return reason if path in reason or reason.startswith("standard input: ") else f"{path}: {reason}"


def _separate_one(
    separator: Separator,
    path: str,
    folder: Path,
    force: bool,
    claimed: dict[Path, str],
    quiet: bool,
    options: dict[str, Any],
) -> dict[str, Any]:
    """Separate one file and return its entry of the JSON document."""
    from tisdiss_rt.audio.files import AudioReader
    from tisdiss_rt.audio.results import voice_paths

    if Path(path).is_dir():
        raise AudioError(f"{path}: no audio files in this folder")
    is_split = options["channels"] == "split"
    with AudioReader(path) if is_split else nullcontext() as reader:
        sources = separator.bundle.manifest.sources
        targets = voice_paths(folder, path, sources, reader.channels if reader else None)
        if targets[0] in claimed:
            raise OptionError(
                f"{path}: would write the same files as {claimed[targets[0]]}; choose another folder with -o"
            )
        existing = [target for target in targets if target.exists()]
        if existing and not force:
            fault = _fault_of(path, existing, targets, options["channels"])
            claimed[targets[0]] = path
            return _skipped(path, existing[0], fault)
        with _progress_bar(path, shown=not quiet and sys.stderr.isatty()) as progress:
            result = separator.separate_file(reader or path, targets, **options, progress=progress)
    claimed[targets[0]] = path
    if not quiet:
        click.echo(_report(separator, path, result), err=True)
    return _entry(path, result)


def _fault_of(path: str, existing: list[Path], targets: list[Path], channels: str | int) -> str | None:
    """Return what results that exist say is wrong with their input.

    Raises OptionError where they are of another one, as far as they say so, or where some are missing.
    """
    from tisdiss_rt.audio.channels import number_of
    from tisdiss_rt.audio.results import digest_of, origin_in

    own = digest_of(path, number_of(channels))
    known = {origin for target in existing if (origin := origin_in(target)) is not None}
    if own is None or {origin.digest for origin in known} - {own}:
        raise OptionError(
            f"{path}: {existing[0]} exists and is not known to be of this input; choose another folder with "
            "-o, or overwrite it with --force"
        )
    missing = [target for target in targets if target not in existing]
    if missing:
        raise OptionError(
            f"{path}: {existing[0]} exists, but not {missing[0]}; --force separates it once more"
        )
    return next((origin.fault for origin in known if origin.fault is not None), None)


def _skipped(path: str, existing: Path, fault: str | None) -> dict[str, Any]:
    """Report a file that was separated before, and what was wrong with it; returns its entry."""
    told = "" if fault is None else f"; it is of a file that is {fault}"
    click.echo(f"{path}: skipped, {existing} exists (--force overwrites){told}", err=True)
    return {"input": path, "skipped": True, **({} if fault is None else {"error": f"{path}: {fault}"})}


@contextmanager
def _progress_bar(label: str, shown: bool) -> Iterator[Callable[[float, float | None], None] | None]:
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


def _describe(separator: Separator, plan: Plan) -> str:
    """Describe in one line what runs and what it promises."""
    engine = separator.engine
    where = f"{engine.provider}, {engine.threads} threads, {engine.precision}"
    depth = f"depth {plan.depth}"
    if plan.budget_ms is not None and plan.predicted_ms is not None:
        depth += (
            f" ({plan.min_depth} to {plan.max_depth} as time allows, {plan.predicted_ms:.1f} ms expected)"
        )
    quality = separator.bundle.manifest.quality
    promise = "quality not measured"
    if plan.quality_db is not None and quality is not None:
        promise = f"{plan.quality_db:.1f} dB ({quality.metric.removesuffix(' in dB')} on {quality.test_set})"
    manifest = separator.bundle.manifest
    return f"{manifest.name} on {where}: {manifest.unit}s of {duration(plan.window_s)}, {depth}, {promise}"


def _report(separator: Separator, path: str, result: FileSeparation) -> str:
    """Report the separation of a file in one line."""
    took_s = sum(step.elapsed_ms for step in result.steps) / 1e3
    line = f"{path}: {result.frames / result.sample_rate:.1f} s of audio in {took_s:.1f} s"
    depths = sorted({step.depth for step in result.steps})
    if depths:
        line += f", depth {depths[0]}" + (f" to {depths[-1]}" if len(depths) > 1 else "")
    missed = sum(step.missed for step in result.steps)
    if result.plan.budget_ms is not None:
        line += f", {missed} of {len(result.steps)} {separator.bundle.manifest.unit}s over budget"
    line += _told_of_talkers(result)
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
    return ", one talker: the other voices are silent" if result.one_talker else ""


def _entry(path: str, result: FileSeparation) -> dict[str, Any]:
    return {
        "input": path,
        "outputs": [str(written) for written in result.paths],
        "sample_rate": result.sample_rate,
        "duration_s": result.frames / result.sample_rate,
        **({} if result.problem is None else {"error": result.problem, "missing_s": result.missing_s}),
        "one_talker": result.one_talker,
        "channels": result.channels,
        "passed_on": result.passed_on,
        "clipped": result.clipped,
        "missed": sum(step.missed for step in result.steps),
        "steps": [dataclasses.asdict(step) for step in result.steps],
    }
