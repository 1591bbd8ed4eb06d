"""Keep the processor when the machine is busy, as audio programs do.

With other programs computing on all cores, an ordinary thread that wakes for a step of 8 ms waits its turn,
often for longer than that. No depth is low enough then; only the operating system can help.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

# Of 1 to 99: above all ordinary threads, below a sound server, which feeds us (PulseAudio asks for 5).
REAL_TIME_LEVEL = 3
NICE = -11  # what sound servers use


@contextmanager
def raised_priority() -> Iterator[str]:
    """Raise the priority of the calling thread while the block runs.

    Uses real-time scheduling, which child processes do not inherit, or else the nice value.

    Yields:
        ``real-time``, ``raised``, or ``normal`` where neither is allowed or known.
    """
    for name, ask in (("real-time", _ask_for_real_time), ("raised", _ask_for_nice)):
        try:
            undo = ask()
        except (OSError, AttributeError):  # not allowed, or not on this system
            continue
        try:
            yield name
        finally:
            undo()
        return
    yield "normal"


@contextmanager
def raised_new_threads() -> Iterator[None]:
    """Raise the priority of the threads that the block starts, such as those of libraries; on Linux only."""
    before = _threads()
    yield
    for thread in _threads() - before:
        for ask in (_ask_for_real_time, _ask_for_nice):
            with suppress(OSError):
                ask(thread)
                break


def _threads() -> set[int]:
    """Return the system's numbers of all threads of this process; none where they are not available."""
    try:
        return {int(name) for name in os.listdir("/proc/self/task")}  # noqa: PTH208 - names, not paths
    except OSError:
        return set()


def _ask_for_real_time(thread: int = 0) -> Callable[[], None]:
    policy, level = os.sched_getscheduler(thread), os.sched_getparam(thread)
    if level.sched_priority >= REAL_TIME_LEVEL:  # already raised
        return lambda: None
    os.sched_setscheduler(thread, os.SCHED_RR | os.SCHED_RESET_ON_FORK, os.sched_param(REAL_TIME_LEVEL))
    return lambda: os.sched_setscheduler(thread, policy | os.SCHED_RESET_ON_FORK, level)


def _ask_for_nice(thread: int = 0) -> Callable[[], None]:
    before = os.getpriority(os.PRIO_PROCESS, thread)
    os.setpriority(os.PRIO_PROCESS, thread, NICE)
    return lambda: os.setpriority(os.PRIO_PROCESS, thread, before)
