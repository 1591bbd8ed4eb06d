"""Processes that separate entries, each with a Separator and with cores of its own.

They are started afresh, not forked, so that nothing of the parent's threads gets into them::

    entries ──> parent ──pipe──> worker 1: Separator, cores 0 and 1 ──┐
                   │  └───pipe──> worker 2: Separator, cores 2 and 3 ─┤
    outcomes <─────┴──────────────────────────────────────────────────┘

Each has one entry at a time, so that a worker that ends takes one with it. That one is tried once more, as
the machine may have been short of memory; then it is what ends workers. All of them end with the parent,
however that ends.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import warnings
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from tisdiss_rt.bundle import load
from tisdiss_rt.corpus.entries import Entry
from tisdiss_rt.corpus.voices import Outcome, separate_entry
from tisdiss_rt.engine.cores import physical_cores, shares
from tisdiss_rt.errors import ProviderError, SeparationWarning
from tisdiss_rt.talkers.meeting import MOST_TALKERS
from tisdiss_rt.talkers.recording import wanted_of
from tisdiss_rt.talkers.sample import Voices
from tisdiss_rt.talkers.voiceprints import voiceprints_of

if TYPE_CHECKING:
    from tisdiss_rt.separator import Separator

TRIES = 2  # of an entry whose worker ended

_spawn = multiprocessing.get_context("spawn")


@dataclass(frozen=True)
class Task:
    """What all workers do: with which Separator, with which options of `Separator.separate_file`, and where.

    ``making`` is a folder for files that are not complete, on the same disk as ``output``.
    """

    engine: Mapping[str, Any]
    options: Mapping[str, Any]
    output: Path
    making: Path

    @property
    def planned(self) -> dict[str, Any]:
        """The options of `Separator.plan`."""
        names = ("budget_ms", "depth", "min_depth", "window_s", "min_gain_db")
        return {name: self.options[name] for name in names if name in self.options}

    def check(self) -> None:
        """Raise AudioError or OptionError where the options about talkers would fail every entry."""
        bundle = load(self.engine["bundle"])
        talkers, voice = self.options.get("talkers"), self.options.get("voice")
        rate, sources = bundle.manifest.sample_rate, bundle.manifest.sources
        voices = Voices(voiceprints_of(bundle), rate)
        wanted_of(talkers, voice, self.options.get("channels", "mix"), MOST_TALKERS, voices, sources)


@dataclass(frozen=True)
class _Started:
    """What runs in a worker, in one line, and what it warns of."""

    about: str
    warnings: tuple[str, ...]


def open_separator(task: Task) -> tuple[Separator, int, tuple[str, ...]]:
    """Return the Separator of a task, the depth that it plans on this machine, and what it warns of."""
    from tisdiss_rt.separator import Separator

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", SeparationWarning)
        separator = Separator(**task.engine)
        depth = separator.plan(**task.planned).depth
    told = (str(each.message) for each in caught if issubclass(each.category, SeparationWarning))
    return separator, depth, tuple(told)


@dataclass(eq=False)
class _Worker:
    """A process, and what it works on."""

    process: SpawnProcess
    connection: Connection
    cores: set[int] | None
    is_ready: bool = False  # for entries
    entry: Entry | None = None


class Workers:
    """A context manager with so many processes at work inside.

    Attribute ``about`` says in one line what runs in each, and ``warnings`` what each warns of. Raises the
    errors of `Separator`.
    """

    def __init__(self, count: int, task: Task) -> None:
        self._task = task
        divided = shares(count)
        if divided is None and task.engine.get("threads") is None:
            threads = max(1, physical_cores() // count)
            self._task = Task({**task.engine, "threads": threads}, task.options, task.output, task.making)
        self._workers: list[_Worker] = []
        self._again: deque[Entry] = deque()
        self._ended: Counter[int] = Counter()  # workers, by the line of what they worked on
        cores: Sequence[set[int] | None] = divided or [None] * count
        try:
            self._start(cores[0])  # what it finds out about the machine, the others know
            started = self._answer(self._workers[0])
            self.about, self.warnings = started.about, started.warnings
            for share in cores[1:]:
                self._start(share)
            for worker in self._workers[1:]:
                self._answer(worker)
        except BaseException:
            self._end()
            raise

    def _answer(self, worker: _Worker) -> _Started:
        """Wait until a worker has started, and return what runs in it."""
        try:
            told: _Started | Exception = worker.connection.recv()
        except EOFError as error:
            raise ProviderError(f"a worker {_how_it_ended(worker.process)}") from error
        if isinstance(told, Exception):
            raise told
        worker.is_ready = True
        return told

    def separate(self, entries: Iterator[Entry]) -> Iterator[tuple[Entry, Outcome]]:
        """Yield entries as they are done, and what became of them.

        Raises OutputError where nothing can be written, and ProviderError where no worker is left.
        """
        has_more = True
        while True:
            for worker in self._workers:
                if worker.is_ready and worker.entry is None:
                    worker.entry = self._again.popleft() if self._again else next(entries, None)
                    has_more = has_more and worker.entry is not None
                    if worker.entry is not None:
                        self._send(worker)
            if not has_more and not self._again and not any(worker.entry for worker in self._workers):
                return
            for worker in self._ready():
                yield from self._take(worker)

    def _send(self, worker: _Worker) -> None:
        with suppress(OSError):  # it has ended, which shows when it is listened to
            worker.connection.send(worker.entry)

    def _ready(self) -> list[_Worker]:
        """Wait until a worker has said something, or ended."""
        if not self._workers:
            raise ProviderError("no worker is left: all ended, and others could not start")
        ready = wait([worker.connection for worker in self._workers])
        return [worker for worker in self._workers if worker.connection in ready]

    def _take(self, worker: _Worker) -> Iterator[tuple[Entry, Outcome]]:
        try:
            told = worker.connection.recv()
        except (EOFError, OSError):
            yield from self._replace(worker)
            return
        if isinstance(told, Outcome):
            entry, worker.entry = worker.entry, None
            assert entry is not None
            yield entry, told
        elif not isinstance(told, Exception):
            worker.is_ready = True
        elif worker.is_ready:
            raise told
        # Otherwise it could not start in the place of another: it ends, and the others go on.

    def _replace(self, worker: _Worker) -> Iterator[tuple[Entry, Outcome]]:
        """Start another worker in the place of one that has ended."""
        self._workers.remove(worker)
        worker.process.join()
        worker.connection.close()
        if worker.is_ready:
            self._start(worker.cores)
        if worker.entry is None:
            return
        self._ended[worker.entry.line] += 1
        if self._ended[worker.entry.line] < TRIES:
            self._again.append(worker.entry)
        else:
            reason = f"{worker.entry.path}: each worker that tried it {_how_it_ended(worker.process)}"
            yield worker.entry, Outcome(worker.entry.line, reason=reason)

    def _start(self, cores: set[int] | None) -> None:
        ours, theirs = _spawn.Pipe()
        process = _spawn.Process(target=_work, args=(theirs, self._task), daemon=True)
        with _kept_on(cores):
            process.start()
        theirs.close()
        self._workers.append(_Worker(process, ours, cores))

    def _end(self) -> None:
        for worker in self._workers:
            worker.process.kill()
        for worker in self._workers:
            worker.process.join()
            worker.connection.close()

    def __enter__(self) -> Workers:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()


@contextmanager
def _kept_on(cores: set[int] | None) -> Iterator[None]:
    """Let what is started inside the block run on these cores only; libraries count them when they load."""
    if cores is None:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _how_it_ended(process: SpawnProcess) -> str:
    process.join()
    code = process.exitcode or 0
    return f"was killed by signal {-code}" if code < 0 else f"ended with status {code}"


def _work(connection: Connection, task: Task) -> None:
    """Run a worker: say what runs, or why nothing does; then take entries and give outcomes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C in a terminal goes to all; the parent ends it
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        separator, depth, told = open_separator(task)
        engine = separator.engine
        where = f"{engine.provider}, {engine.threads} threads, {engine.precision}"
        connection.send(_Started(f"{engine.manifest.name} on {where}: depth {depth}", told))
        while True:
            entry = connection.recv()
            connection.send(separate_entry(separator, entry, task.output, task.making, task.options))
    except (EOFError, BrokenPipeError):
        return
    except Exception as error:
        connection.send(error)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)
