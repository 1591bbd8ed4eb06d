"""Minutes of audio in processes of their own: memory, length, and Ctrl-C."""

import json
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import soundfile
from commands import HANGUP, heed_signals

RATE = 44100
MINUTES = 6


@pytest.fixture(scope="module")
def long_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("long") / "six minutes.flac"
    minute = np.random.default_rng(0).uniform(-0.01, 0.01, (60 * RATE, 2)).astype(np.float32)
    minute = np.round(minute * 256) / 256  # few bits: quick to write
    with soundfile.SoundFile(path, "w", RATE, 2, "PCM_16") as file:
        for _ in range(MINUTES):
            file.write(minute)
        file.write(minute[:7])
    return path


# Ctrl-C is ignored by what a shell runs in the background, such as these tests: here it is not.
PROGRAM = (
    "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    "from tisdiss_rt.cli.main import main; main()"
)
# A child's own peak: what the operating system tells a parent includes the parent's size before exec.
PEAK = (
    "import atexit, sys; atexit.register(lambda: print(open('/proc/self/status').read(), file=sys.stderr)); "
)


def command(path, gain_toy, *options, program=PROGRAM):
    arguments = ["separate", str(path), "--bundle", str(gain_toy), "--depth", "1", "--threads", "1"]
    return [sys.executable, "-c", program, *arguments, *options]


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak memory from /proc")
def test_memory_is_constant_and_length_exact(long_file, gain_toy, tmp_path):
    """Five minutes more, 100 MB as stereo or as two voices, take less than a fifth of one of these."""
    short_file = tmp_path / "one minute.wav"
    soundfile.write(short_file, *soundfile.read(long_file, frames=60 * RATE, dtype="float32"))
    peaks_kb = []
    for path, samples in ((short_file, 60 * RATE), (long_file, MINUTES * 60 * RATE + 7)):
        arguments = command(path, gain_toy, "--json", program=PEAK + PROGRAM)
        result = subprocess.run(arguments, cwd=tmp_path, capture_output=True, check=True, text=True)
        peaks_kb.append(int(re.search(r"VmHWM:\s+(\d+) kB", result.stderr)[1]))
        (entry,) = json.loads(result.stdout)["files"]
        for output in entry["outputs"]:
            info = soundfile.info(tmp_path / output)
            assert (info.frames, info.samplerate) == (samples, RATE)
    assert peaks_kb[0] > 10_000 and peaks_kb[1] - peaks_kb[0] < 20_000


@pytest.mark.parametrize("is_writing", [False, True])
@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (HANGUP, 128 + HANGUP)]
)
def test_signals_leave_no_half_file(long_file, gain_toy, tmp_path, number, status, is_writing):
    """While it separates, where the voices wait in another file, and while the results are written."""
    output, source = tmp_path / "separated", long_file
    if is_writing:
        source = tmp_path / "three minutes.wav"
        soundfile.write(source, *soundfile.read(long_file, frames=3 * 60 * RATE, dtype="float32"))
    process = subprocess.Popen(
        command(source, gain_toy, "--window-s", "0.2"),
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=None if sys.platform == "win32" else heed_signals,
    )
    deadline_s = time.monotonic() + 300
    least_bytes = 100_000 if is_writing else 0
    while not any(part.stat().st_size >= least_bytes for part in output.glob(".*.part")):
        assert process.poll() is None
        assert time.monotonic() < deadline_s
        time.sleep(0.01)
    if not is_writing:
        time.sleep(1)
    process.send_signal(number)
    _, err = process.communicate(timeout=30)
    assert process.returncode == status
    lines = [line for line in err.splitlines()[1:] if line]
    assert lines == ["tisdiss-rt: interrupted"][: number == signal.SIGINT]
    assert not output.exists()
