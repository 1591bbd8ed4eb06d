"""The priority of a thread: asked for as far as it is allowed, and only for that thread."""

import os
import subprocess
import sys
import threading

import pytest

from tisdiss_rt.priority import raise_priority

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="scheduling is asked for on Linux")


def in_a_thread(call):
    """What a call gives in a thread of its own, so that the tests themselves keep their priority."""
    found = []
    thread = threading.Thread(target=lambda: found.append(call()))
    thread.start()
    thread.join()
    return found[0]


def raised_policy():
    said = raise_priority()
    child = "import os; print(os.sched_getscheduler(0))"
    inherited = int(subprocess.run([sys.executable, "-c", child], capture_output=True, check=True).stdout)
    return said, os.sched_getscheduler(0) & ~os.SCHED_RESET_ON_FORK, inherited


def test_what_it_says_is_what_the_system_does():
    said, policy, inherited = in_a_thread(raised_policy)
    assert (said == "real-time") == (policy == os.SCHED_RR)
    assert inherited == os.SCHED_OTHER
    assert os.sched_getscheduler(0) == os.SCHED_OTHER


@pytest.mark.parametrize(("nice_allowed", "expected"), [(True, "raised"), (False, "normal")])
def test_what_is_not_allowed_is_not_an_error(monkeypatch, nice_allowed, expected):
    asked = []

    def refuse(*arguments):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "sched_setscheduler", refuse)
    monkeypatch.setattr(os, "setpriority", lambda *a: asked.append(a) if nice_allowed else refuse())
    assert raise_priority() == expected
    assert len(asked) == nice_allowed
