"""What is shown while `live` runs, and the keys."""

import io
import os
import select
import sys
import tempfile
import time

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
        "loudest": [0.6, 1.0, 0.0],
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
        "7 of 1250",
        "2 underflows, 1 overflows",
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


def test_rows_fit_80_columns_and_names_are_not_markup():
    long = {f"part {number}": 16.0 for number in range(4)}
    console = Console(file=io.StringIO(), width=80, color_system=None)
    shown_now = status(misses=123456, steps=12345678, restarts=12, latency_ms=long)
    console.print(picture(f"live-16k on cpu, Mic [/x] [usb] to {'Headset ' * 9}", shown_now, 6.0, 4))
    lines = console.file.getvalue().splitlines()
    assert {len(line) for line in lines} == {80}
    assert "Mic [/x] [usb]" in lines[0]
    assert "…" not in "".join(lines[1:])
    assert all(line.startswith("│ ") for line in lines[1:-1])


def test_a_terminal_without_lines_has_bars_all_the_same(monkeypatch):
    with io.TextIOWrapper(io.BytesIO(), "latin-1") as plain:
        monkeypatch.setattr(sys, "stderr", plain)
        Console(file=plain, width=80).print(picture("title", status(), 6.0, 4))
        plain.flush()
        lines = plain.buffer.getvalue().decode("latin-1").splitlines()
    assert {len(line) for line in lines} == {80}
    assert any("===---" in line for line in lines)


def test_keys_are_offered_where_there_are_some():
    assert "keys 1 to 2" in drawn()
    console = Console(file=io.StringIO(), width=80, color_system=None)
    console.print(picture("title", status(), 6.0, 4, has_keys=False))
    assert "keys" not in console.file.getvalue()
    assert "Ctrl-C" in console.file.getvalue()


@pytest.mark.realtime
@pytest.mark.skipif(sys.platform == "win32", reason="terminals are other things there")
def test_in_the_background_a_shell_keeps_its_terminal():
    """A shell with job control: in the background nothing stops it, in the foreground keys come at once."""
    import pty  # is not everywhere

    program = (
        "import time\n"
        "from tisdiss_rt.live.display import keys\n"
        "with keys() as press:\n"
        "    end = time.monotonic() + 20\n"
        "    print('be' 'gun', flush=True)\n"
        "    while (key := press(0.05)) != 'q' and time.monotonic() < end:\n"
        "        if key:\n"
        "            print('k' 'ey', repr(key), flush=True)\n"
        "print('en' 'ded', flush=True)\n"
    )
    with tempfile.NamedTemporaryFile("w", suffix=".py") as file:
        file.write(program)
        file.flush()
        shell, terminal = pty.fork()
        if shell == 0:
            os.execvp("bash", ["bash", "--norc", "-i"])
        seen = b""

        def until(word):
            nonlocal seen
            end = time.monotonic() + 20
            while word not in seen:
                assert time.monotonic() < end, seen
                if select.select([terminal], [], [], 0.1)[0]:
                    seen += os.read(terminal, 4096)
            seen = b""

        try:
            os.write(terminal, f"{sys.executable} {file.name} &\n".encode())
            until(b"begun")
            time.sleep(0.3)
            os.write(terminal, b"jobs\n")
            until(b"Running")
            os.write(terminal, b"fg\n")
            time.sleep(0.5)
            os.write(terminal, b"2")
            until(b"key '2'")
            os.write(terminal, b"\x1a")  # Ctrl-Z
            until(b"Stopped")
            os.write(terminal, b"fg\n")
            time.sleep(0.5)
            os.write(terminal, b"m")
            until(b"key 'm'")
            os.write(terminal, b"q")
            until(b"ended")
        finally:
            os.kill(shell, 9)
            os.waitpid(shell, 0)
            os.close(terminal)


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
