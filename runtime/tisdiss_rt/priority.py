"""Keep the processor when the machine is busy, as audio programs do.

With other programs computing on all cores, an ordinary thread that wakes for a step of 8 ms waits its turn,
often for longer than that. No depth is low enough then; only the operating system can help.
"""

from __future__ import annotations

import os
import sys

REAL_TIME_LEVEL = 10  # of 1 to 99: above all ordinary threads, below those of the system
NICE = -11  # what sound servers use


def raise_priority() -> str:
    """Ask for the calling thread to go before others: by real-time scheduling, else by its nice value.

    Programs that it starts afterwards do not inherit real-time scheduling.

    Returns:
        ``real-time``, ``raised``, or ``normal`` where neither is allowed or known.
    """
    if sys.platform == "linux":
        try:
            policy = os.SCHED_RR | os.SCHED_RESET_ON_FORK
            os.sched_setscheduler(0, policy, os.sched_param(REAL_TIME_LEVEL))
            return "real-time"
        except OSError:
            pass  # not allowed: try less
    if sys.platform != "win32":
        try:
            os.setpriority(os.PRIO_PROCESS, 0, NICE)
            return "raised"
        except OSError:
            pass
    return "normal"
