"""A run over a manifest: what is not done yet goes to workers, and what becomes of it is written down."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from tisdiss_rt.corpus.entries import BadLine, Entry, Shard, parse, read_lines
from tisdiss_rt.corpus.ledger import Ledger, paths_of
from tisdiss_rt.corpus.progress import Display, Log, Progress
from tisdiss_rt.corpus.voices import Outcome
from tisdiss_rt.corpus.workers import Task
from tisdiss_rt.errors import AudioError, OptionError


class Separating(Protocol):
    """Whatever separates entries; ``about`` says in one line what it is, ``warnings`` what it warns of."""

    about: str
    warnings: tuple[str, ...]

    def separate(self, entries: Iterator[Entry]) -> Iterator[tuple[Entry, Outcome]]:
        """Yield entries as they are done, in any order, and what became of them."""


@dataclass(frozen=True)
class Job:
    """A run: what to separate, how, and where to.

    Attributes:
        manifest: of what is to be separated, see `entries`.
        output: folder for the results.
        shard: the share of the manifest.
        resume: whether to go on with what is there.
        force: whether to begin anew where something is.
        engine: the arguments of `Separator`.
        options: those of `Separator.separate_file`.
    """

    manifest: Path
    output: Path
    engine: dict[str, object]
    options: dict[str, object]
    shard: Shard = field(default_factory=Shard)
    resume: bool = False
    force: bool = False

    @property
    def making(self) -> Path:
        """The folder for what is not complete."""
        return self.output / f".making{self.shard.suffix}"

    @property
    def log(self) -> Path:
        """The file that says how it went."""
        return self.output / f"log{self.shard.suffix}.txt"


def run(
    job: Job,
    open_separating: Callable[[Task], AbstractContextManager[Separating]],
    display: Display,
) -> Progress:
    """Separate all entries of a manifest that are not done.

    Args:
        job: what and how.
        open_separating: returns what separates.
        display: shows how it goes.

    Raises AudioError where the manifest cannot be read, or is another one at the end, OptionError for what
    does not fit together, OutputError where nothing can be written, and the errors of `Separator`.
    """
    version = _version(job.manifest)
    if job.manifest.exists() and not job.manifest.is_file():  # as a pipe
        raise OptionError(f"{job.manifest} is no file; write the manifest into one: it is read several times")
    progress = Progress(sum(1 for _ in read_lines(job.manifest, job.shard)))
    for path in (*paths_of(job.output, job.shard), job.log):
        if path.exists() and path.samefile(job.manifest):
            raise OptionError(f"{job.manifest} is a file that this run writes; choose another folder with -o")
    with (
        Ledger(job.output, job.shard, job.resume, job.force) as ledger,
        Log(job.log, display) as log,
    ):
        shutil.rmtree(job.making, ignore_errors=True)
        job.making.mkdir()
        try:
            # All of them: results of another manifest must be found before anything is written.
            left = sum(not ledger.has(entry) and isinstance(entry, Entry) for entry in _entries(job))
            task = Task(job.engine, job.options, job.output, job.making)
            if left:
                task.check()
            with open_separating(task) if left else nullcontext() as separating:
                ledger.begin()  # only now, as an option that is wrong must not cost the results
                entries = _to_do(job, ledger, progress, log)
                if separating is not None:
                    log.tell(separating.about)
                    for warning in separating.warnings:
                        log.warn(f"warning: {warning}")
                    for entry, outcome in separating.separate(entries):
                        _note(entry, outcome, ledger, progress, log)
                for _ in entries:  # without any left, this notes lines that are none
                    pass
            log.tell(str(progress))
            if _version(job.manifest) != version:
                raise AudioError(f"{job.manifest}: changed while it was read; go on with --resume")
        finally:
            shutil.rmtree(job.making, ignore_errors=True)
    return progress


def _version(manifest: Path) -> tuple[int, int] | None:
    """Return what tells whether a file was written to; None where it is gone."""
    try:
        found = manifest.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size


def _entries(job: Job) -> Iterator[Entry | BadLine]:
    """Yield the lines of a manifest."""
    folder = job.manifest.parent.absolute()
    for number, text in read_lines(job.manifest, job.shard):
        yield parse(number, text, folder)


def _to_do(job: Job, ledger: Ledger, progress: Progress, log: Log) -> Iterator[Entry]:
    """Yield the entries that are not done; notes lines that are none."""
    for entry in _entries(job):
        if ledger.has(entry):
            progress.before += 1
            progress.done += 1
            progress.failed += entry.line in ledger.failed
        elif isinstance(entry, BadLine):
            _note(entry, Outcome(entry.line, reason=entry.reason), ledger, progress, log)
        else:
            yield entry


def _note(entry: Entry | BadLine, outcome: Outcome, ledger: Ledger, progress: Progress, log: Log) -> None:
    """Write down what became of an entry."""
    ledger.add(entry, outcome)
    progress.done += 1
    progress.failed += outcome.reason is not None
    progress.audio_s += outcome.audio_s
    progress.voices += len(outcome.rows)
    for told in (outcome.reason, *outcome.warnings):
        if told is not None:
            log.warn(told)
    log.update(progress)
