"""A training run in its folder: its state and its log, whatever ends it."""

from __future__ import annotations

import json
import math
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import torch
from torch import Tensor

from .processes import in_any, place
from .training import Trainer
from .validation import evaluate


def train(
    trainer: Trainer, folder: Path, minutes: float | None, evaluate_every: int, save_every_s: float = 120.0
) -> None:
    """Train until the configured step, or for `minutes`, whichever comes first.

    Writes ``state.pt`` every `save_every_s` seconds and at the end, also where that is an interrupt, and one
    JSON line per evaluation to ``log.jsonl``. Raises OSError where they cannot be written in the end, and
    where another run is writing them; KeyboardInterrupt also after SIGTERM, once the step is made. Of several
    processes, the first writes.
    """
    if place()[0] > 0:
        with _sigterm_noted() as is_told:
            _help(trainer, is_told)
        return
    folder.mkdir(parents=True, exist_ok=True)
    with _alone(folder), _sigterm_noted() as is_told:
        _forget_later(folder / "log.jsonl", trainer.step)
        begun = trainer.step
        try:
            _train(trainer, folder, minutes, evaluate_every, save_every_s, is_told)
        finally:  # also for Ctrl-C
            if trainer.step > begun:
                trainer.save(folder / "state.pt")


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Keep other runs away from a folder while the block runs, where the system can."""
    if sys.platform == "win32":
        yield
        return
    import fcntl

    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise OSError(f"another run writes to {folder}: choose another --output") from error
    try:
        yield
    finally:
        os.close(descriptor)


def _forget_later(log: Path, step: int) -> None:
    """Drop the lines of steps that are made again, as they came after the last save, and those cut short."""
    if log.exists():
        lines = log.read_text(encoding="utf-8").splitlines()
        kept = [line for line in lines if _step_of(line) <= step]
        part = log.with_name(log.name + ".part")
        part.write_text("".join(f"{line}\n" for line in kept), encoding="utf-8")
        part.replace(log)


def _step_of(line: str) -> float:
    try:
        return float(json.loads(line)["step"])
    except json.JSONDecodeError:  # cut short by a full disk
        return math.inf
    except (KeyError, TypeError, ValueError):  # somebody else's, who may want it
        return 0.0


def _train(
    trainer: Trainer,
    folder: Path,
    minutes: float | None,
    evaluate_every: int,
    save_every_s: float,
    is_told: Callable[[], bool],
) -> None:
    started = saved = time.monotonic()
    depth = trainer.network.config.trained_depth + 2
    losses: list[Tensor] = []
    while trainer.step < trainer.config.steps:
        losses.append(trainer.train_step())
        now = time.monotonic()
        over, told = in_any(minutes is not None and now - started > 60 * minutes, is_told())
        if told:
            raise KeyboardInterrupt
        if trainer.step % evaluate_every == 0 or trainer.step == trainer.config.steps or over:
            line = {
                "step": trainer.step,
                "audio_h": round(trainer.audio_s / 3600, 3),
                "minutes": round((now - started) / 60, 2),
                "loss_db": round(float(torch.stack(losses).mean()), 3),
                "si_sdri_db": {
                    scene: evaluate(trainer.average, mix, sources, depth)
                    for scene, (mix, sources) in trainer.validation.items()
                },
            }
            losses.clear()
            print(json.dumps(line), file=sys.stderr, flush=True)
            with _going_on():
                _append(folder / "log.jsonl", json.dumps(line))
        if over:
            break
        if now - saved > save_every_s:
            with _going_on():
                trainer.save(folder / "state.pt")
            saved = now


def _help(trainer: Trainer, is_told: Callable[[], bool]) -> None:
    """Make the steps that the first process makes."""
    ends = False
    while trainer.step < trainer.config.steps and not ends:
        trainer.train_step()
        ends = any(in_any(False, is_told()))


@contextmanager
def _sigterm_noted() -> Iterator[Callable[[], bool]]:
    """Yield what tells whether SIGTERM came; a second one ends the process at once."""
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    came = threading.Event()

    def note(number: int, frame: FrameType | None) -> None:
        came.set()
        signal.signal(signal.SIGTERM, before)

    before = signal.signal(signal.SIGTERM, note)
    try:
        yield came.is_set
    finally:
        signal.signal(signal.SIGTERM, before)


def _append(log: Path, line: str) -> None:
    """Add a line to a file whose last one may be cut short by a full disk."""
    is_cut = log.exists() and log.read_bytes()[-1:] not in (b"", b"\n")
    with log.open("a", encoding="utf-8") as file:
        file.write("\n" * is_cut + line + "\n")


@contextmanager
def _going_on() -> Iterator[None]:
    """Tell what cannot be written, and go on: there may be room again before the end."""
    try:
        yield
    except OSError as error:
        print(f"not saved, what was there stays: {error}", file=sys.stderr, flush=True)
