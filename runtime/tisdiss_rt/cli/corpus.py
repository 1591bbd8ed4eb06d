"""``separate --manifest``: a whole corpus, with its progress on the screen."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tisdiss_rt.errors import OptionError

if TYPE_CHECKING:
    from tisdiss_rt.corpus.progress import Display, Progress
    from tisdiss_rt.corpus.run import Separating
    from tisdiss_rt.corpus.workers import Task

Command = Callable[..., Any]

_NAMES = ("manifest", "workers", "shard", "resume", "ray")
_OPTIONS = (
    click.option(
        "--manifest",
        metavar="FILE",
        help="Separate what a manifest lists, one JSON object a line: audio_filepath, duration, offset.",
    ),
    click.option(
        "--workers",
        type=click.IntRange(1, 1024),
        help="Processes that separate a manifest, each on cores of its own; by default one per core.",
    ),
    click.option("--shard", metavar="i/n", help="Do the i-th of n shares of a manifest."),
    click.option("--resume", is_flag=True, help="Go on with a manifest where an earlier run ended."),
    click.option(
        "--ray",
        metavar="ADDRESS",
        help="Separate a manifest on a Ray cluster, --workers actors of --threads cores; auto finds it.",
    ),
)


def manifest_options(command: Command) -> Command:
    """Declare the options for manifests."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def take(options: dict[str, Any]) -> dict[str, Any]:
    """Take the options for manifests out of all; raises OptionError where some are given without one."""
    own = {name: options.pop(name) for name in _NAMES}
    if own["manifest"] is None:
        given = [name for name in _NAMES if own[name]]
        if given:
            raise OptionError(f"--{given[0]} is for --manifest")
    return own


def separate_manifest(
    output: str,
    engine: dict[str, Any],
    options: dict[str, Any],
    force: bool,
    quiet: bool,
    as_json: bool,
    *,
    manifest: str,
    workers: int | None,
    shard: str | None,
    resume: bool,
    ray: str | None,
) -> None:
    """Separate what a manifest lists; exits with status 1 if something is wrong with any of it."""
    from tisdiss_rt.corpus.entries import Shard
    from tisdiss_rt.corpus.on_ray import OnRay
    from tisdiss_rt.corpus.run import Job, run
    from tisdiss_rt.corpus.workers import Workers
    from tisdiss_rt.engine.cores import physical_cores

    if resume and force:
        raise OptionError("--resume and --force exclude each other")
    opened: Callable[[Task], AbstractContextManager[Separating]]
    if ray is None:
        opened = partial(Workers, workers or max(1, physical_cores() // (engine["threads"] or 1)))
    else:
        opened = partial(OnRay, ray, workers)
    job = Job(Path(manifest), Path(output), engine, options, Shard.parse(shard), resume, force)
    with _display(quiet) as display:
        progress = run(job, opened, display)
    if as_json:
        names = ("total", "before", "done", "failed", "voices", "audio_s", "taken_s")
        click.echo(json.dumps({name: getattr(progress, name) for name in names}))
    if progress.failed:
        sys.exit(1)


class _Lines:
    """Shows lines alone, on standard error."""

    def __init__(self, quiet: bool) -> None:
        self._quiet = quiet

    def tell(self, line: str) -> None:
        if not self._quiet:
            click.echo(line, err=True)

    def warn(self, line: str) -> None:
        click.echo(f"tisdiss-rt: {line}", err=True)

    def update(self, progress: Progress) -> None:
        pass


class _Bar(_Lines):
    """Shows a bar below the lines."""

    def __init__(self, bar: Any) -> None:
        super().__init__(quiet=False)
        self._bar, self._task = bar, bar.add_task("", total=None)

    def tell(self, line: str) -> None:
        self._bar.console.print(line, markup=False, highlight=False, soft_wrap=True)

    def warn(self, line: str) -> None:
        self.tell(f"tisdiss-rt: {line}")

    def update(self, progress: Progress) -> None:
        self._bar.update(self._task, description=str(progress), completed=progress.done, total=progress.total)


@contextmanager
def _display(quiet: bool) -> Iterator[Display]:
    """Show how a run goes: with a bar on a terminal, without in a pipe."""
    if quiet or not sys.stderr.isatty():
        yield _Lines(quiet)
        return
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn
    from rich.progress import Progress as Bar

    columns = (BarColumn(), TextColumn("{task.description}", markup=False))
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        yield _Bar(bar)
