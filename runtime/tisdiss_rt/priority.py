"""Keep the processor when the machine is busy, as audio programs do.

With other programs computing on all cores, an ordinary thread that wakes for a step of 8 ms waits its turn,
often for longer than that. No depth is low enough then; only the operating system can help.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

# Of 1 to 99: above all ordinary threads, below a sound server, which feeds us (PulseAudio asks for 5).
REAL_TIME_LEVEL = 3
NICE = -11  # what sound servers use


@contextmanager
def raised_priority() -> Iterator[str]:
    """While the block runs, let the calling thread go before others.

    By real-time scheduling, which programs that it starts do not inherit, else by its nice value.

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


def _ask_for_real_time() -> Callable[[], None]:
    policy, level = os.sched_getscheduler(0), os.sched_getparam(0)
    if level.sched_priority >= REAL_TIME_LEVEL:  # the caller has seen to it
        return lambda: None
    os.sched_setscheduler(0, os.SCHED_RR | os.SCHED_RESET_ON_FORK, os.sched_param(REAL_TIME_LEVEL))
    return lambda: os.sched_setscheduler(0, policy | os.SCHED_RESET_ON_FORK, level)


def _ask_for_nice() -> Callable[[], None]:
    before = os.getpriority(os.PRIO_PROCESS, 0)
    os.setpriority(os.PRIO_PROCESS, 0, NICE)
    return lambda: os.setpriority(os.PRIO_PROCESS, 0, before)
