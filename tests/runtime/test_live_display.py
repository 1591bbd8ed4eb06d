"""What is shown while `live` runs, and the keys."""

import io
import os
import sys

import pytest
from rich.console import Console

from tisdiss_rt.live.display import keys, picture, shown
from tisdiss_rt.live.session import Status


def status(**changes):
    given = {
        "running_s": 10.0,
        "listen": 2,
        "depth": 3,
        "compute_ms": 4.5,
        "steps": 1250,
        "misses": 7,
        "underflows": 2,
        "overflows": 1,
        "speed": 1.0001,
        "restarts": 0,
        "invalid": 0,
        "feedbacks": 0,
        "is_muted": False,
        "priority": "real-time",
        "latency_ms": {"input device": 16.0, "algorithmic": 16.0, "compute": 4.5, "output device": 16.0},
        "peaks": [0.5, 1.0, 0.0],
        "recorded_s": 9.5,
        "messages": (),
    }
    return Status(**{**given, **changes})


def drawn(**changes):
    console = Console(file=io.StringIO(), width=110, color_system=None)
    console.print(picture("live-16k, Microphone to Headset", status(**changes), budget_ms=6.0, most_depth=4))
    return console.file.getvalue()


def test_everything_is_shown():
    text = drawn()
    for expected in (
        "live-16k, Microphone to Headset",
        "-6.0 dB",
        "0.0 dB",
        "silent",
        "heard",
        "3 of 4",
        "75 % of 6 ms",
        "7 of 1250 steps missed, 2 underflows, 1 overflows",
        "+100 ppm",
        "16.0 ms algorithmic",
        "4.5 ms compute",
        "52 ms",
    ):
        assert expected in text, text
    assert "heard" in next(line for line in text.splitlines() if "source 2" in line)


def test_only_a_recording_is_shown_as_one():
    assert "recorded" in drawn()
    assert "recorded" not in drawn(recorded_s=None)


def test_muted_sound_is_not_shown_as_heard():
    line = next(line for line in drawn(is_muted=True).splitlines() if "source 2" in line)
    assert "muted" in line
    assert "heard" not in line


def test_messages_stay_above_as_they_are(capsys):
    with shown(lambda status: "picture") as (view, say):
        view(status())
        say("Mic [/x] was lost [usb]")
    assert "Mic [/x] was lost [usb]" in capsys.readouterr().err


@pytest.mark.skipif(sys.platform == "win32", reason="terminals are other things there")
def test_keys(monkeypatch):
    ours, theirs = os.openpty()
    with os.fdopen(theirs, "r", buffering=1) as terminal:
        monkeypatch.setattr(sys, "stdin", terminal)
        with keys() as press:
            assert press(0.0) == ""
            os.write(ours, b"2m")  # no newline: keys come at once
            assert [press(1.0), press(1.0), press(0.0)] == ["2", "m", ""]
    os.close(ours)


def test_no_keys_without_a_terminal(monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO("q"))
    with keys() as press:
        assert press(0.0) == ""
