"""Signals while live sound ends: closing is not interrupted, and what hangs can be ended all the same."""

import shutil
import signal
import subprocess
import sys
import time

import pytest

pytestmark = [
    pytest.mark.realtime,
    pytest.mark.skipif(sys.platform == "win32", reason="sends signals as Unix has them"),
]

CLOSING = """
import time
from tisdiss_rt.cli.stopping import signals_noted
with signals_noted() as stop:
    print("runs", flush=True)
    while not stop.number:
        time.sleep(0.01)
    print("closes", flush=True)
    time.sleep({closing_s})
    print("closed", flush=True)
    stop.exit()
"""


def closing(closing_s, *before):
    running = subprocess.Popen(
        [*before, sys.executable, "-c", CLOSING.format(closing_s=closing_s)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert running.stdout.readline() == "runs\n"
    return running


def test_further_signals_do_not_interrupt_closing():
    running = closing(1.0)
    for _ in range(5):
        running.send_signal(signal.SIGINT)
        time.sleep(0.05)
    assert running.communicate(timeout=20)[0] == "closes\nclosed\n"
    assert running.returncode == 0


@pytest.mark.skipif(shutil.which("nohup") is None, reason="needs nohup")
def test_with_nohup_a_closed_terminal_ends_nothing():
    running = closing(0.0, "nohup")
    running.send_signal(signal.SIGHUP)
    time.sleep(0.5)
    assert running.poll() is None
    running.send_signal(signal.SIGTERM)
    assert running.communicate(timeout=20)[0] == "closes\nclosed\n"


def test_a_third_signal_after_three_seconds_ends_what_hangs():
    running = closing(60.0)
    begin_s = time.monotonic()
    for wait_s in (0.2, 3.2, 0.0):
        running.send_signal(signal.SIGTERM)
        time.sleep(wait_s)
    assert running.communicate(timeout=20)[0] == "closes\n"
    assert running.returncode == 128 + signal.SIGTERM
    assert time.monotonic() - begin_s < 20
