"""``live --input -`` with a pipe: sound is separated while it comes, and what has come is kept."""

import io
import json
import os
import signal
import struct
import subprocess
import sys
import time

import numpy as np
import pytest
import soundfile
from commands import heed_signals

from tisdiss_rt.audio import pipes
from tisdiss_rt.errors import AudioError, OptionError

RATE = 16000
LIVE = [sys.executable, "-c", "from tisdiss_rt.cli.main import main; main()", "live"]

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals are other things there")


def wav_header(rate=RATE, kind=1, bits=16, channels=1):
    """As arecord writes it into a pipe: it cannot know the length."""
    form = struct.pack(
        "<HHIIHH", kind, channels, rate, rate * channels * bits // 8, channels * bits // 8, bits
    )
    riff = struct.pack("<4sI4s4sI", b"RIFF", 0x7FFFFFFF, b"WAVE", b"fmt ", len(form))
    return riff + form + struct.pack("<4sI", b"data", 0x7FFFFFDB)


@pytest.fixture
def start(stream_toy, tmp_path):
    running = []

    def run(*arguments):
        command = [
            sys.executable,
            "-c",
            "from tisdiss_rt.cli.main import main; main()",
            "live",
            "--input",
            "-",
        ]
        options = [
            "--bundle",
            stream_toy,
            "--provider",
            "cpu",
            "--depth",
            2,
            "--output-dir",
            tmp_path,
            "--json",
        ]
        running.append(
            subprocess.Popen(
                [*command, *map(str, (*options, *arguments))],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                preexec_fn=heed_signals,
            )
        )
        return running[-1]

    yield run
    for process in running:
        process.kill()
        process.communicate()


def read(folder):
    return np.stack([soundfile.read(folder / f"stdin_spk{n}.wav", dtype="float32")[0] for n in (1, 2)])


def pcm(sound):
    return np.round(sound * 32767).astype("<i2").tobytes()


def wait_for(condition):
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


@pytest.mark.realtime
@pytest.mark.parametrize("way", [None, signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("has_header", [True, False])
def test_sound_is_separated_while_it_comes_and_kept(start, streamed, noise, tmp_path, way, has_header):
    mix = noise(2 * RATE) / 4
    running = start(*(() if has_header else ("--raw", "s16:16000:1")))
    running.stdin.write((wav_header() if has_header else b"") + pcm(mix))
    last = tmp_path / "stdin_spk2.wav"
    wait_for(lambda: last.exists() and last.stat().st_size > 4 * RATE)  # though the pipe is open
    assert soundfile.info(last).frames > RATE // 2
    time.sleep(1.0)  # for the rest to be read
    if way is None:
        running.stdin.close()
        running.stdin = None
    else:
        running.send_signal(way)
    out, err = running.communicate(timeout=20)
    assert running.returncode == (143 if way == signal.SIGTERM else 0), err
    ours, report = read(tmp_path), json.loads(out)
    assert report["outputs"] == [str(tmp_path / f"stdin_spk{n}.wav") for n in (1, 2)]
    assert ours.shape[1] == round(report["duration_s"] * RATE)
    assert ours.shape[1] > 2 * RATE - 128 if way else ours.shape[1] == 2 * RATE
    heard = np.frombuffer(pcm(mix), "<i2")[: ours.shape[1]] / np.float32(32768)
    np.testing.assert_allclose(ours, streamed(heard, 2)[:, : ours.shape[1]], atol=1e-5)


def test_what_comes_after_a_signal_is_left(monkeypatch, noise):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BufferedReader(io.BytesIO(pcm(noise(60 * RATE))))))
    reader, taken = pipes.PipeReader("s16:16000:1"), []
    for block in reader.blocks(128, lambda: len(taken) < 100):
        taken.append(block)
        time.sleep(1e-4)  # so that the thread that reads keeps up
    assert 100 <= len(taken) <= 100 + 1 + pipes._MOST_WAITING


def piped(monkeypatch, content):
    """What comes through a pipe, and how many samples it could at most."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BufferedReader(io.BytesIO(content))))
    reader = pipes.PipeReader(None)
    return np.concatenate(list(reader.blocks(100, lambda: True))), reader._file.frames


def written(sound, kind, subtype, endian=None):
    file = io.BytesIO()
    soundfile.write(file, sound, RATE, subtype, endian, kind)
    return file.getvalue()


@pytest.mark.parametrize("size", [0, 0x7FFFFFDB, 0xFFFFFFFF])
@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "FLOAT", "DOUBLE", "ULAW", "ALAW"])
@pytest.mark.parametrize("kind", ["WAV", "WAVEX", "RF64"])
def test_a_header_that_knows_no_length_ends_nothing(monkeypatch, noise, kind, subtype, size):
    content = written(noise(1000, 2) / 4, kind, subtype)
    expected, _ = soundfile.read(io.BytesIO(content), dtype="float32")
    at = content.index(b"data") + 4
    content = content[:at] + struct.pack("<I", size) + content[at + 4 :]
    if kind == "RF64" and size == 0xFFFFFFFF:
        at = content.index(b"ds64") + 16
        content = content[:at] + bytes(8) + content[at + 8 :]
    sound, most = piped(monkeypatch, content)
    np.testing.assert_array_equal(sound, expected)
    assert most > 2**40


def test_a_header_that_knows_the_length_is_believed(monkeypatch, noise):
    for kind in ("WAV", "RF64", "AU"):
        content = written(noise(1000, 2) / 4, kind, "PCM_24")
        expected, _ = soundfile.read(io.BytesIO(content), dtype="float32")
        more = b"" if kind == "AU" else b"LIST\x04\0\0\0INFO"
        np.testing.assert_array_equal(piped(monkeypatch, content + more)[0], expected)


def test_other_forms_that_know_no_length(monkeypatch, noise):
    sound = noise(1010) / 4
    for content, at in (
        (written(sound, "AU", "PCM_16"), 8),
        (written(sound, "WAV", "PCM_16", "BIG"), 40),
    ):
        expected, _ = soundfile.read(io.BytesIO(content), dtype="float32", always_2d=True)
        unknown = content[:at] + bytes(4) + content[at + 4 :]
        np.testing.assert_array_equal(piped(monkeypatch, unknown)[0], expected)


def test_a_pipe_without_samples_says_so(start, tmp_path):
    for header, options in ((wav_header(), ()), (b"", ("--raw", "s16:16000:1"))):
        running = start(*options)
        out, err = running.communicate(header, timeout=20)
        assert (running.returncode, out) == (1, b"")
        assert err.endswith(b"tisdiss-rt: standard input: has no samples\n")
        assert not list(tmp_path.glob("*.wav"))


@pytest.mark.parametrize("kind", ["WAV", "RF64", "AU"])
def test_what_is_missing_is_told(start, streamed, noise, tmp_path, kind):
    content = written(noise(3 * RATE) / 4, kind, "PCM_16")
    running = start()
    out, err = running.communicate(content[: len(content) - 2 * RATE], timeout=20)
    assert running.returncode == 1
    assert json.loads(out)["error"] == "truncated: 1.0 s of 3.0 s are missing"
    assert b"tisdiss-rt: truncated: 1.0 s of 3.0 s are missing; what is there is separated" in err
    assert read(tmp_path).shape[1] == 2 * RATE


def test_two_channels_and_samples_that_are_no_numbers(start, streamed, noise, tmp_path):
    mix = noise(RATE) / 4
    stereo = np.stack([mix, mix], axis=1)
    stereo[500, 0] = stereo[500, 1] = np.nan
    running = start("--raw", "f32:16000:2")
    out, err = running.communicate(stereo.astype("<f4").tobytes(), timeout=20)
    assert running.returncode == 0, err
    assert json.loads(out)["invalid"] == 2
    mix[500] = 0
    np.testing.assert_allclose(read(tmp_path), streamed(mix, 2), atol=1e-5)


def test_what_cannot_be_streamed_is_read_to_the_end(start, noise, tmp_path):
    soundfile.write(tmp_path / "talk.flac", noise(RATE) / 4, RATE)
    running = start("--no-realtime")
    _, err = running.communicate((tmp_path / "talk.flac").read_bytes(), timeout=20)
    assert running.returncode == 0, err
    assert read(tmp_path).shape == (2, RATE)


def test_a_broken_pipe_says_what_is_wrong(start):
    running = start()
    out, err = running.communicate(b"RIFF and nothing that makes sense", timeout=20)
    assert running.returncode == 1
    assert out == b""
    assert err.startswith(b"tisdiss-rt: standard input: not readable as audio")
    assert b"Traceback" not in err


@pytest.mark.parametrize("text", ["", "s16", "s16:16000", "u8:16000:1", "s16:0:1", "s16:16000:x"])
def test_raw_is_checked(text):
    with pytest.raises(OptionError, match="as s16:48000:2"):
        pipes.parse_raw(text)


@pytest.mark.parametrize("rate", [10_000_001, 2**31, 4_000_000_000])
def test_rates_that_no_sound_has_are_refused(monkeypatch, noise, rate):
    content = written(noise(1000) / 4, "WAV", "PCM_16")
    for size in (2000, 0):
        header = content[:24] + struct.pack("<I", rate) + content[28:40] + struct.pack("<I", size)
        with pytest.raises(AudioError, match="standard input"):
            piped(monkeypatch, header + content[44:])
    with pytest.raises(AudioError, match="no sample rate"):
        pipes.PipeReader(f"s16:{rate}:1")


def test_raw_is_for_standard_input(start, stream_toy):
    assert pipes.parse_raw("f32:44100:2")["subtype"] == "FLOAT"
    command = [
        sys.executable,
        "-c",
        "from tisdiss_rt.cli.main import main; main()",
        "live",
        "--raw",
        "s16:8000:1",
    ]
    options = ["--input", os.devnull, "--bundle", str(stream_toy), "--provider", "cpu"]
    done = subprocess.run([*command, *options], capture_output=True, text=True, timeout=40)
    assert done.returncode == 1
    assert "--raw is for --input -" in done.stderr
