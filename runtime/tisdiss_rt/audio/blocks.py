"""Streams of blocks: what is done to sound that comes piece by piece."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import suppress
from typing import Any

import numpy as np
import soxr

from tisdiss_rt.audio import Array

_MOST_WAITING = 64  # blocks that are ready before they are needed
_LOOK_S = 0.5  # as a wait without end cannot be interrupted everywhere


def ahead(blocks: Iterable[Array]) -> Generator[Array, None, None]:
    """Yield blocks that a thread gets ready meanwhile; its errors are raised here.

    The thread has ended when the last block was yielded, or when this was closed.
    """
    # An interrupt within a `queue.Queue`, which could be bounded by itself, may leave it locked for ever.
    room: queue.SimpleQueue[None] = queue.SimpleQueue()
    ready: queue.SimpleQueue[Array | BaseException | None] = queue.SimpleQueue()
    for _ in range(_MOST_WAITING):
        room.put(None)
    is_over = threading.Event()
    arguments = (blocks, room, ready, is_over)
    thread = threading.Thread(target=_fill, args=arguments, name="ahead", daemon=True)
    thread.start()
    try:
        while True:
            with suppress(queue.Empty):
                block = ready.get(timeout=_LOOK_S)
                if block is None:
                    return
                if isinstance(block, BaseException):
                    raise block
                room.put(None)
                yield block
    finally:
        is_over.set()
        room.put(None)
        thread.join()


def _fill(
    blocks: Iterable[Array],
    room: queue.SimpleQueue[None],
    ready: queue.SimpleQueue[Array | BaseException | None],
    is_over: threading.Event,
) -> None:
    end: BaseException | None = None
    try:
        for block in blocks:
            room.get()
            if is_over.is_set():
                return
            ready.put(block)
    except BaseException as error:  # it is raised where the blocks go
        end = error
    ready.put(end)


def remembered(columns: Callable[[], Iterator[Array]]) -> Callable[[], Iterator[Array]]:
    """Return what yields the same blocks, every time from the beginning, and asks for them once."""
    kept: list[Array] = []
    is_whole = False

    def again() -> Iterator[Array]:
        nonlocal is_whole
        if is_whole:
            yield from kept
            return
        kept.clear()
        for block in columns():
            kept.append(block)
            yield block
        is_whole = True

    return again


def resample(blocks: Iterable[Array], from_hz: int, to_hz: int) -> Iterator[Array]:
    """Resample a stream of (m,) or (m, channels) blocks, without delay.

    The result is about ``length * to_hz / from_hz`` long, rounded either way.
    """
    if from_hz == to_hz:
        yield from blocks
        return
    stream: Any = None
    for block in blocks:
        if stream is None:
            channels = 1 if block.ndim == 1 else block.shape[1]
            stream = soxr.ResampleStream(from_hz, to_hz, channels, dtype="float32")
            empty = block[:0]
        yield stream.resample_chunk(np.ascontiguousarray(block))
    if stream is not None:
        yield stream.resample_chunk(empty, last=True)


def fit_length(blocks: Iterable[Array], length: Callable[[], int], channels: int) -> Iterator[Array]:
    """Cut a stream of (m, channels) to a length, or fill it up with zeros.

    The length may grow while the blocks come; the last one is what counts. So many channels are made where
    no block comes.
    """
    done = 0
    for block in blocks:
        channels = block.shape[1]
        fitting = block[: length() - done]
        if len(fitting):
            yield fitting
            done += len(fitting)
    if done < length():
        yield np.zeros((length() - done, channels), np.float32)


def reporting(
    pieces: Iterable[Array],
    sample_rate: int,
    total_s: float | None,
    progress: Callable[[float, float | None], None],
) -> Iterator[Array]:
    """Yield pieces (channels, m), and call ``progress(done_s, total_s)`` before each."""
    done = 0
    for piece in pieces:
        done += piece.shape[1]
        done_s = done / sample_rate
        progress(done_s if total_s is None else min(done_s, total_s), total_s)
        yield piece
