"""The command ``live`` on files: what it writes, what it reports, what it refuses."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

import tisdiss_rt
from tisdiss_rt.audio import results
from tisdiss_rt.cli import live_file

RATE = 16000


@pytest.fixture
def live(command, stream_toy):
    return lambda *arguments: command("live", "--bundle", stream_toy, "--provider", "cpu", *arguments)


def write(path, data, rate=RATE):
    soundfile.write(path, data, rate, subtype="FLOAT")
    return data


def read():
    return np.stack([soundfile.read(f"live/talk_spk{n}.wav", dtype="float32")[0] for n in (1, 2)])


@pytest.mark.parametrize(("rate", "chunk_ms"), [(16000, 8), (44100, 3.3), (48000, 50)])
def test_as_fast_as_it_goes_equals_one_stream(live, stream_toy, noise, rate, chunk_ms):
    mix = write("talk.wav", noise(rate + 7, 2), rate)
    status, out, _ = live("--input", "talk.wav", "--no-realtime", "--depth", 2, "--chunk-ms", chunk_ms)
    assert status == 0
    assert out.split() == [str(Path("live") / f"talk_spk{n}.wav") for n in (1, 2)]
    stream = tisdiss_rt.Separator(stream_toy, provider="cpu").stream(rate, depth=2)
    expected = np.concatenate([stream.process(mix), stream.flush()], axis=1)
    np.testing.assert_allclose(read(), expected, atol=1e-6)
    assert soundfile.info("live/talk_spk1.wav").samplerate == rate


@pytest.mark.realtime
def test_a_file_whose_channels_cancel_each_other(live, noise):
    mix = noise(RATE)
    write("talk.wav", mix)
    assert live("--input", "talk.wav", "--no-realtime", "--depth", 1)[0] == 0
    expected = read()
    write("talk.wav", np.stack([mix, -mix], axis=1))
    status, _, err = live("--input", "talk.wav", "--no-realtime", "--depth", 1, "--force")
    assert status == 0
    assert "warning: talk.wav: the channels cancel each other, so only channel" in err
    np.testing.assert_allclose(np.abs(read().sum(0)), np.abs(expected.sum(0)), atol=1e-3)


def test_against_the_clock(live, streamed, noise):
    mix = write("talk.wav", noise(RATE // 2))
    status, out, err = live("--input", "talk.wav", "--json")
    assert (status, err) == (0, "")
    report = json.loads(out)
    assert report["took_s"] >= 0.5
    assert report["chunks"] == 63
    assert report["steps"] == 64
    assert report["budget_ms"] == 6.0  # three quarters of a step
    assert report["latency_ms"]["total"] == 16 + 6
    depth = report["depth_run"]
    assert 1 <= depth["min"] <= depth["median"] <= depth["max"] <= 3
    if depth["min"] == 3:  # else the machine is busy, and the report has just said so
        np.testing.assert_allclose(read(), streamed(mix, 3), atol=1e-6)


def test_an_offline_bundle_has_a_budget_too(command, toy, noise):
    write("talk.wav", noise(RATE // 2))
    status, out, _ = command("live", "--bundle", toy, "--provider", "cpu", "--input", "talk.wav", "--json")
    assert status == 0
    assert json.loads(out)["budget_ms"] == 37.5  # three quarters of a quarter of its window of 0.2 s


@pytest.mark.realtime
def test_late_chunks_are_counted(live, noise, monkeypatch):
    from tisdiss_rt.streaming.stream import Stream

    write("talk.wav", noise(RATE // 4))
    process, calls = Stream.process, []

    def slow(stream, chunk):
        calls.append(len(chunk))
        if len(calls) == 3:
            live_file.time.sleep(0.11)
        return process(stream, chunk)

    monkeypatch.setattr(Stream, "process", slow)
    _, out, _ = live("--input", "talk.wav", "--json", "--chunk-ms", 50)
    report = json.loads(out)
    assert calls == [800] * 5
    assert report["late"] >= 2  # 110 ms too long: the third, and the fourth that waited for it
    assert report["missed"] == 0 or report["depth_run"]["min"] < 3


def test_report_for_people(live, noise):
    write("talk.wav", noise(RATE // 4))
    _, _, err = live("--input", "talk.wav", "--no-realtime", "--budget-ms", 1000)
    for expected in ("0.2 s in", "depth: 3 to 3, median 3", "0 of 33 steps", "algorithmic 16.0"):
        assert expected in err
    assert live("--input", "talk.wav", "--no-realtime", "--force", "--quiet") == (0, "", "")


def test_results_say_what_they_are_of(live, noise):
    write("talk.wav", noise(RATE // 4))
    content = Path("talk.wav").read_bytes()
    Path("talk.wav").write_bytes(content[:-1000])
    assert live("--input", "talk.wav", "--no-realtime")[0] == 1
    for number in (1, 2):
        origin = results.origin_in(Path(f"live/talk_spk{number}.wav"))
        assert origin.digest == results.digest_of("talk.wav")
        assert "truncated" in origin.fault


def test_of_results_that_are_replaced_nothing_is_left(live, noise):
    write("talk.wav", noise(RATE // 4))
    paths = [Path(f"live/talk_spk{number}.wav") for number in (1, 2, 3)]
    with results.WavWriters(paths, RATE, "PCM_16", 9, results.digest_of("talk.wav")) as writers:
        writers.write(noise(9, 3))
        writers.add_turns(Path("live/talk.rttm"), "")
    assert live("--input", "talk.wav", "--no-realtime", "--force")[0] == 0
    assert sorted(Path("live").iterdir()) == paths[:2]


def test_whether_a_voice_was_found_is_told(live, noise):
    write("talk.wav", noise(RATE // 4))
    write("anna.wav", noise(2 * RATE))
    arguments = ("--input", "talk.wav", "--no-realtime", "--voice", "anna.wav", "--force")
    assert "the voice of the sample is not found" in live(*arguments)[2]  # after a quarter of a second
    assert json.loads(live(*arguments, "--json")[1])["voice_found"] is False
    write("anna.wav", noise(RATE // 2))
    assert "at least 1 s of speech" in live(*arguments)[2]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--input", "talk.wav", "--record", "here"), "--record is for devices"),
        (("--chunk-ms", 4), "--chunk-ms needs --input FILE"),
        (("--listen", 3), "from 1 to 2, or mix"),
        (("--virtual-mic", "a b"), "letters, digits, dots, - and _ alone"),
        (("--virtual-mic", "a", "--output-device", "0"), "exclude each other"),
        (("--duration-s", 0), "above 0 s"),
        (("--input", "none.wav"), "no such file"),
        (("--input", "talk.wav", "--chunk-ms", 0), "above 0 ms"),
        (("--input", "talk.wav", "--chunk-ms", "inf"), "finite"),
        (("--input", "talk.wav", "--depth", 1, "--budget-ms", 3), "exclude"),
        (("--input", "talk.wav", "--depth", 99), "from 0 to 6"),
    ],
)
def test_refusals_are_one_line(live, noise, arguments, message):
    write("talk.wav", noise(100))
    status, out, err = live(*arguments)
    assert (status, out) == (1, "")
    assert err.startswith("tisdiss-rt: ")
    assert err.count("\n") == 1
    assert message in err
    assert not Path("live").exists()


def test_existing_files_are_kept_without_force(live, noise):
    write("talk.wav", noise(100))
    Path("live").mkdir()
    Path("live/talk_spk2.wav").write_text("mine")
    status, _, err = live("--input", "talk.wav", "--no-realtime")
    assert status == 1
    assert "talk_spk2.wav exists; --force overwrites" in err
    assert Path("live/talk_spk2.wav").read_text() == "mine"
    assert live("--input", "talk.wav", "--no-realtime", "--force")[0] == 0
    assert read().shape == (2, 100)


def test_info_and_separate_know_streaming_bundles(command, stream_toy, noise):
    _, out, _ = command("info", stream_toy)
    assert "step: 8 ms (128 samples)" in out
    assert "latency: 16 ms (256 samples)" in out
    assert "windows" not in out
    write("talk.wav", noise(1000))
    status, _, err = command("separate", "--bundle", stream_toy, "talk.wav", "--window-s", 1)
    assert status == 1
    assert "fixed length" in err


def test_doctor_checks_streaming_bundles(command, stream_toy, monkeypatch):
    monkeypatch.setattr("tisdiss_rt.bundle.SHIPPED_FOLDER", stream_toy.parent)
    monkeypatch.setattr("tisdiss_rt.cli.main.shipped", lambda: [stream_toy.name])
    status, out, _ = command("doctor")
    assert status == 0
    assert f"bundle {stream_toy.name} on " in out


def test_help_does_not_load_the_runtime():
    code = "import sys, tisdiss_rt.cli.live; print('onnxruntime' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False\n"
