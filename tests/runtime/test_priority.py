"""The priority of a thread: asked for as far as it is allowed, and only for that thread."""

import os
import subprocess
import sys
import threading

import pytest

from tisdiss_rt.priority import raised_new_threads, raised_priority

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="scheduling is asked for on Linux")


def policy():
    return os.sched_getscheduler(0) & ~os.SCHED_RESET_ON_FORK


def in_a_thread(call):
    """What a call gives in a thread of its own, so that the tests themselves keep their priority."""
    found = []
    thread = threading.Thread(target=lambda: found.append(call()))
    thread.start()
    thread.join()
    return found[0]


def raise_and_look():
    with raised_priority() as said:
        child = "import os; print(os.sched_getscheduler(0))"
        inherited = int(subprocess.run([sys.executable, "-c", child], capture_output=True, check=True).stdout)
        within = policy()
    return said, within, inherited, policy()


def test_a_thread_that_goes_before_us_already_stays_there():
    def look():
        try:
            os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(50))
        except PermissionError:
            return None
        with raised_priority() as said:
            return said, policy(), os.sched_getparam(0).sched_priority

    found = in_a_thread(look)
    if found is None:
        pytest.skip("real-time scheduling is not allowed here")
    assert found == ("real-time", os.SCHED_FIFO, 50)


def test_what_it_says_is_what_the_system_does_for_as_long_as_it_says():
    said, within, inherited, after = in_a_thread(raise_and_look)
    assert (said == "real-time") == (within == os.SCHED_RR)
    assert inherited == os.SCHED_OTHER
    assert after == os.SCHED_OTHER
    assert policy() == os.SCHED_OTHER


@pytest.mark.parametrize(("nice_allowed", "expected"), [(True, "raised"), (False, "normal")])
def test_what_is_not_allowed_is_not_an_error(monkeypatch, nice_allowed, expected):
    asked = []

    def refuse(*arguments):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "sched_setscheduler", refuse)
    monkeypatch.setattr(os, "setpriority", lambda *a: asked.append(a[-1]) if nice_allowed else refuse())
    with raised_priority() as said:
        assert said == expected
        assert asked == ([-11] if nice_allowed else [])
    assert asked == ([-11, os.getpriority(os.PRIO_PROCESS, 0)] if nice_allowed else [])


@pytest.mark.parametrize("is_allowed", [True, False])
def test_threads_that_are_made_meanwhile_are_raised(monkeypatch, is_allowed):
    made, over = [], threading.Event()

    def make():
        made.append(threading.Thread(target=over.wait))
        made[-1].start()
        return made[-1].native_id

    def refuse(*arguments):
        raise PermissionError(1, "Operation not permitted")

    before = make()
    if not is_allowed:
        monkeypatch.setattr(os, "sched_setscheduler", refuse)
        monkeypatch.setattr(os, "setpriority", refuse)
    try:
        with raised_new_threads():
            meanwhile = make()
        after = make()
        scheduled = [os.sched_getscheduler(thread) & ~os.SCHED_RESET_ON_FORK for thread in (before, after, 0)]
        assert scheduled == [os.SCHED_OTHER] * 3
        found = os.sched_getscheduler(meanwhile) & ~os.SCHED_RESET_ON_FORK
        is_real_time = is_allowed and in_a_thread(raise_and_look)[0] == "real-time"
        assert found == (os.SCHED_RR if is_real_time else os.SCHED_OTHER)
    finally:
        over.set()
        for thread in made:
            thread.join()
