"""Calls into PortAudio that may never return: a sound server that was stopped does not answer.

While Python is inside such a call, not even Ctrl-C gets through. So calls are made in a thread that may be
left behind, and whoever needs the result waits in a way that can be ended.
"""

from __future__ import annotations

import atexit
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout  # the builtin from Python 3.11 on
from typing import Any, TypeVar

from tisdiss_rt.errors import DeviceError

T = TypeVar("T")

_left_behind: list[Future[Any]] = []

ANSWER_S = 10.0  # for anything that a sound server is asked; Bluetooth takes some of it


def in_background(call: Callable[[], T]) -> Future[T]:
    """Call it in a thread of its own, that does not keep the program from ending."""
    future: Future[T] = Future()

    def run() -> None:
        try:
            future.set_result(call())
        except BaseException as error:  # for whoever asks for the result
            future.set_exception(error)

    threading.Thread(target=run, name="sound server", daemon=True).start()
    return future


def within(seconds: float, call: Callable[[], T]) -> T:
    """Return or raise the result of the call; raises DeviceError if that takes longer."""
    future = in_background(call)
    try:
        return future.result(seconds)
    except FutureTimeout:
        if future.done():  # it was the call's own
            raise
        leave_behind(future)
        raise DeviceError(
            f"the sound server has not answered for {seconds:g} s: start it again, or use a file with --input"
        ) from None


def leave_behind(future: Future[Any]) -> None:
    """Let a call go on; at the end of the program, do not wait for PortAudio, which hangs."""
    _left_behind.append(future)
    sounddevice = sys.modules.get("sounddevice")
    if sounddevice is not None:
        atexit.unregister(sounddevice._exit_handler)


def is_left_behind() -> bool:
    """Return whether a thread is still inside a call; the usual end of a program may crash then."""
    return not all(future.done() for future in _left_behind)
