"""The same run on a Ray cluster: entries become rows of a dataset of Ray Data, which does the rest.

Ray starts the actors, adds machines and takes them away, and gives the entries of a machine that is lost to
another one. All machines see the same files, under the same names. What a run on one machine does by itself
and Ray does not: an entry that ends every process that tries it fails, and the others go on.
"""

from __future__ import annotations

import logging
import os
import pickle
import socket
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any

from tisdiss_rt.corpus.entries import Entry
from tisdiss_rt.corpus.voices import Outcome, separate_entry
from tisdiss_rt.corpus.workers import TRIES, Task, open_separator
from tisdiss_rt.errors import OptionError, OutputError, ProviderError, TisdissError, first_line

_MOST_BLOCKS = 10_000  # of a dataset; with more of them Ray's own work counts
_ANSWER_S = 10.0
_ON_GPU = ("cuda", "tensorrt")


os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # of clusters that are started from here


def import_ray() -> Any:
    """Return Ray; raises ProviderError where it is not installed."""
    try:
        import ray
        import ray.data
    except ModuleNotFoundError as missing:
        raise ProviderError("Ray is not installed: pip install 'tisdiss-rt[ray]'") from missing
    return ray


class OnRay:
    """Separates entries on a cluster; a context manager that is connected to it.

    Args:
        address: of the cluster, as ``ray.init`` takes it.
        actors: how many; None for as many as there is room for.
        task: what each of them does.

    Attribute ``about`` says in one line what it is, and ``warnings`` what it warns of. Raises OptionError
    where there is no such cluster, and the errors of `Separator`.
    """

    def __init__(self, address: str, actors: int | None, task: Task) -> None:
        self._ray = import_ray()
        threads = task.engine.get("threads")
        threads = 1 if threads is None else threads
        self._actors, self._cpus = actors, float(threads)
        self._task = _everywhere(replace(task, engine={**task.engine, "threads": threads}))
        here = {"bundle": task.engine["bundle"], "provider": "cpu", "threads": threads}
        open_separator(replace(task, engine=here))  # or its errors, at once
        for name in ("ray", "ray.data"):
            logging.getLogger(name).setLevel(logging.WARNING)
        try:
            _connect(address)
            self._ray.init(address, log_to_driver=False, logging_level=logging.WARNING)
        except (OSError, ValueError, RuntimeError) as error:
            raise OptionError(f"no Ray cluster at {address}: {first_line(error)}") from error
        try:
            depth, self.warnings = self._depth()
        except BaseException:
            self._ray.shutdown()
            raise
        found = self._ray.cluster_resources()
        where = f"{found.get('CPU', 0):g} CPUs, {found.get('GPU', 0):g} GPUs"
        self.about = f"{task.engine['bundle']} on Ray at {address}, {where}: depth {depth}"

    @property
    def _resources(self) -> dict[str, float]:
        """What an actor takes."""
        on_gpu = self._task.engine.get("provider") in _ON_GPU
        return {"num_cpus": self._cpus, "num_gpus": float(on_gpu)}

    def _depth(self) -> tuple[int, tuple[str, ...]]:
        """Return depth and warnings where actors will run; raises what would go wrong with all of them."""
        try:
            planning = self._ray.remote(_depth_of).options(**self._resources)
            planned: tuple[int, tuple[str, ...]] = self._ray.get(planning.remote(self._task))
        except self._ray.exceptions.RayError as error:
            cause = getattr(error, "cause", None)
            if isinstance(cause, TisdissError):
                raise cause from None
            raise ProviderError(f"Ray cannot go on: {first_line(cause or error)}") from error
        return planned

    def separate(self, entries: Iterator[Entry]) -> Iterator[tuple[Entry, Outcome]]:
        """Yield entries as they are done, and what became of them.

        Raises OutputError where nothing can be written, and ProviderError where Ray cannot go on.
        """
        waiting = {entry.line: pickle.dumps(entry) for entry in entries}
        for most_blocks in (_MOST_BLOCKS, len(waiting))[:TRIES]:
            for told in self._outcomes(list(waiting.values()), most_blocks):
                if isinstance(told, Exception):
                    raise told
                entry = waiting.pop(told.line, None)
                if entry is not None:
                    yield pickle.loads(entry), told
        for line, entry in waiting.items():
            reason = f"{pickle.loads(entry).path}: each process that tried it ended"
            yield pickle.loads(entry), Outcome(line, reason=reason)

    def _outcomes(self, entries: list[bytes], most_blocks: int) -> Iterator[Outcome | Exception]:
        """Yield what became of entries, but for those whose process ended."""
        if not entries:
            return
        blocks = min(len(entries), most_blocks)
        dataset = self._ray.data.from_items([{"entry": one} for one in entries], override_num_blocks=blocks)
        dataset.context.enable_progress_bars = False
        dataset.context.max_errored_blocks = -1  # what is lost with its process is tried alone
        dataset.context.target_max_block_size = 1  # each row comes when it is done
        separated = dataset.map(
            _Separating,
            fn_constructor_kwargs={"task": self._task},
            compute=self._ray.data.ActorPoolStrategy(size=self._actors),
            **self._resources,
            max_task_retries=TRIES,
        )
        try:
            for row in separated.iter_rows():
                yield pickle.loads(row["outcome"])
        except self._ray.exceptions.RayError as error:
            raise ProviderError(f"Ray cannot go on: {first_line(error)}") from error

    def __enter__(self) -> OnRay:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ray.shutdown()


def _everywhere(task: Task) -> Task:
    """Return a task whose paths do not depend on where a process runs."""
    engine, options = dict(task.engine), dict(task.options)
    if Path(engine["bundle"]).is_dir():
        engine["bundle"] = str(Path(engine["bundle"]).absolute())
    if options.get("voice") is not None:
        options["voice"] = Path(options["voice"]).absolute()
    return Task(engine, options, task.output.absolute(), task.making.absolute())


def _connect(address: str) -> None:
    """Raise OSError where nothing answers at a host and port; Ray would ask for minutes."""
    host, _, port = address.rpartition(":")
    if host and port.isdecimal() and "/" not in host:
        socket.create_connection((host, int(port)), timeout=_ANSWER_S).close()


def _depth_of(task: Task) -> tuple[int, tuple[str, ...]]:
    """Return the depth that is planned on the machine that this is, and what there is to warn of."""
    return open_separator(task)[1:]


class _Separating:
    """An actor: takes rows with an entry, and returns rows with its outcome."""

    def __init__(self, task: Task) -> None:
        from tisdiss_rt.separator import Separator

        # A machine that is given up for lost may still be at work on what another one has taken over.
        self._task = replace(task, making=task.making / uuid.uuid4().hex)
        self._separator = Separator(**task.engine)

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        task, entry = self._task, pickle.loads(row["entry"])
        told: Outcome | OutputError
        try:
            told = separate_entry(self._separator, entry, task.output, task.making, task.options)
        except OutputError as error:
            told = error
        return {"outcome": pickle.dumps(told)}
