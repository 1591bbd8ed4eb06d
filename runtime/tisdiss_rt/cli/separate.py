"""The command ``separate``: from the names on the command line to one result for each input.

A bad input is reported and the others go on. Nothing is overwritten unasked: neither what is there already
nor what another input of the same call has written.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tisdiss_rt.cli import html_report
from tisdiss_rt.cli.corpus import manifest_options, separate_manifest, take
from tisdiss_rt.cli.inputs import Input, find
from tisdiss_rt.cli.options import (
    DEPTH,
    FORCE,
    JSON,
    MIN_DEPTH,
    MIN_GAIN,
    QUIET,
    VOICE,
    budget_option,
    engine_options,
    running,
)
from tisdiss_rt.cli.reports import describe, entry, progress_bar, report
from tisdiss_rt.errors import AudioError, OptionError, OutputError, told_of

if TYPE_CHECKING:
    from tisdiss_rt.separation import FileSeparation
    from tisdiss_rt.separator import Separator


@click.command()
@click.argument("inputs", nargs=-1, metavar="INPUT...")
@click.option("-o", "--output", default="separated", show_default=True, help="Folder for the results.")
@engine_options("edge-16k")
@budget_option("Time that one window may take; chooses window and depth.")
@DEPTH
@MIN_DEPTH
@MIN_GAIN
@click.option("--window-s", type=float, help="Length of the windows, instead of the planned one.")
@click.option(
    "--channels",
    default="mix",
    show_default=True,
    metavar="mix|left|right|split|N",
    help="Average the channels, take one (N counts from 1), or separate each as a recording of its own.",
)
@click.option(
    "--talkers",
    metavar="N|auto",
    help="Number of people, or auto to find it: one file for each, and talk.rttm says who talks when.",
)
@VOICE
@click.option(
    "--report",
    "report_path",
    metavar="FILE.html",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write a page with spectrograms, estimated quality and depth, which shows what is doubtful.",
)
@manifest_options
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
    talkers: str | None,
    voice: str | None,
    report_path: Path | None,
    **options: Any,
) -> None:
    """Separate the voices in audio files.

    INPUT is a file, a folder (all audio files in it and in those below) or - for standard input. The
    sources of talk.wav become talk_spk1.wav, talk_spk2.wav, ... in the output folder, with the rate, the
    length and the resolution of the input; those of a file in a folder below, in the same one there.
    With --channels split, the sources are those of each channel: talk_ch1_spk1.wav, talk_ch1_spk2.wav, ...
    With --talkers, each person has a file of their own, silent where they do not talk.

    With --manifest, what it lists takes the place of INPUT, and manifest.jsonl in the output folder has a
    line for each voice.
    """
    from tisdiss_rt.audio.channels import parse  # takes the time that --help should not
    from tisdiss_rt.separator import Separator

    of_recordings = {"channels": parse(channels), "talkers": _number(talkers), "voice": voice}
    of_manifest = take(options)
    _check_source(inputs, of_manifest["manifest"])
    _check_report(report_path, of_manifest["manifest"], force)
    if of_manifest["manifest"] is not None:
        separate_manifest(output, engine, options | of_recordings, force, quiet, as_json, **of_manifest)
        return
    separator = Separator(**engine)
    plan = separator.plan(**options)
    if not quiet:
        click.echo(describe(separator, plan), err=True)
    shown: list[html_report.Entry] | None = None if report_path is None else []
    results = _separate_all(separator, inputs, output, force, quiet, as_json, options | of_recordings, shown)
    if as_json:
        document = {**running(separator.engine), "plan": dataclasses.asdict(plan), "files": results}
        click.echo(json.dumps(document, indent=1))
    if report_path is not None and shown is not None:
        html_report.write(report_path, shown, separator.bundle.manifest.name)
    if any("error" in result for result in results):
        sys.exit(1)


def _check_source(inputs: tuple[str, ...], manifest: Path | None) -> None:
    if bool(inputs) == (manifest is not None):
        raise click.UsageError("either INPUT or --manifest says what to separate")
    if "" in inputs:
        raise click.UsageError("an INPUT is empty")


def _check_report(path: Path | None, manifest: Path | None, force: bool) -> None:
    if path is None:
        return
    if manifest is not None:
        raise OptionError("--report is for INPUT, not for --manifest")
    if path.exists() and not force:
        raise OptionError(f"{path} exists; --force overwrites")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{path.parent}: {error.strerror}") from error


def _separate_all(
    separator: Separator,
    inputs: tuple[str, ...],
    output: str,
    force: bool,
    quiet: bool,
    as_json: bool,
    options: dict[str, Any],
    shown: list[html_report.Entry] | None,
) -> list[dict[str, Any]]:
    """Separate files one by one and name what was written; errors end none.

    Returns what became of each, in full for JSON; ``shown`` takes what a report shows.
    """
    claimed: dict[Path, str] = {}
    results = []
    for found in find(inputs, Path(output)):
        path = found.path
        try:
            result, separated = _separate_one(separator, found, force, claimed, quiet, options)
            if separated is not None and shown is not None:
                shown.append(html_report.Entry(path, *separated))
        except Exception as error:  # one input must not end the work on all the others
            result = {"input": path, "error": told_of(path, error)}
            click.echo(f"tisdiss-rt: {result['error']}", err=True)
        if not (as_json or quiet):
            for written in (*result.get("outputs", ()), *filter(None, [result.get("rttm")])):
                click.echo(written)
        if not as_json:
            result.pop("steps", None)  # there are many of a streaming bundle
        results.append(result)
    return results


def _number(talkers: str | None) -> int | str | None:
    """Return the number of talkers as one; raises OptionError for what is none."""
    from tisdiss_rt.talkers.recording import Wanted

    wanted = int(talkers) if talkers is not None and talkers.isdecimal() else talkers
    return Wanted(wanted).talkers


def _separate_one(
    separator: Separator,
    found: Input,
    force: bool,
    claimed: dict[Path, str],
    quiet: bool,
    options: dict[str, Any],
) -> tuple[dict[str, Any], tuple[FileSeparation, str] | None]:
    """Separate one file.

    Returns its entry of the JSON document, and what was separated with what is told of it; None if skipped.
    """
    from tisdiss_rt.audio.files import AudioReader
    from tisdiss_rt.audio.results import origin_in, remove_rest, turns_path, voice_paths
    from tisdiss_rt.talkers.meeting import MOST_TALKERS

    if found.problem is not None:
        raise AudioError(f"{found.path}: {found.problem}")
    path, folder = found.path, found.folder
    is_split, talkers = options["channels"] == "split", options["talkers"]
    with AudioReader(path) if is_split else nullcontext() as reader:
        sources = separator.bundle.manifest.sources if talkers is None else talkers
        most = MOST_TALKERS if sources == "auto" else sources
        channels = reader.channels if reader else None
        targets = voice_paths(folder, path, most, channels)
        rttm = None if talkers is None else turns_path(folder, path)
        if targets[0] in claimed:
            raise OptionError(
                f"{path}: would write the same files as {claimed[targets[0]]}; choose another folder with -o"
            )
        needed = [*(targets[:1] if talkers == "auto" else targets), *filter(None, [rttm])]
        existing = [target for target in dict.fromkeys(targets + needed) if target.exists()]
        if existing and not force:
            fault = _fault_of(path, existing, needed, options["channels"])
            claimed[targets[0]] = path
            return _skipped(path, existing[0], fault), None
        replaced = [origin_in(target) for target in existing]
        with progress_bar(path, shown=not quiet and sys.stderr.isatty()) as progress:
            result = separator.separate_file(reader or path, targets, **options, rttm=rttm, progress=progress)
    claimed[targets[0]] = path
    more = [voice for voice in voice_paths(folder, path, MOST_TALKERS, channels) if voice not in result.paths]
    remove_rest(replaced, more, turns_path(folder, path) if rttm is None else None)
    line = report(separator, path, result)
    if not quiet:
        click.echo(line, err=True)
    return {**entry(path, result), **({} if rttm is None else {"rttm": str(rttm)})}, (result, line)


def _fault_of(path: str, existing: list[Path], needed: list[Path], channels: str | int) -> str | None:
    """Return what results that exist say is wrong with their input.

    Raises OptionError where they are of another one or do not say of which, or where some are missing.
    """
    from tisdiss_rt.audio.channels import number_of
    from tisdiss_rt.audio.results import digest_of, origin_in

    own = digest_of(path, number_of(channels))
    origins = {target: origin_in(target) for target in existing if target.suffix == ".wav"}
    unknown = [target for target in origins or existing if origins.get(target) is None]
    if own is not None and unknown:
        raise OptionError(
            f"{path}: {unknown[0]} exists and does not say what it is of; choose another folder with -o, as "
            "--force would replace it"
        )
    known = {origin for origin in origins.values() if origin is not None}
    if own is None or {origin.digest for origin in known} != {own}:
        raise OptionError(
            f"{path}: {existing[0]} exists and is not known to be of this input; choose another folder with "
            "-o, or overwrite it with --force"
        )
    missing = [target for target in needed if target not in existing]
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
