"""``tisdiss-rt live`` between a virtual microphone and virtual headphones, as a user runs it.

The expected sound comes from separating the file that the microphone hears, put where the recording has it.
What is heard is tapped from the headphones, outside of the program.
"""

import json
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr
from attempts import attempts
from commands import heed_signals

import tisdiss_rt
from benchmarks.live.virtual_sound import VirtualPipeWire, VirtualSound, find, missing

EXAMPLE = Path(tisdiss_rt.__file__).parent / "example" / "two_voices.wav"
DEPTH = 2
GAIN = {VirtualSound: 1, VirtualPipeWire: 2}  # of one channel made from the two that programs play

if sys.platform != "linux" or missing():
    pytest.skip(f"needs packages of Debian: {missing()}", allow_module_level=True)

pytestmark = pytest.mark.realtime


@pytest.fixture(params=[VirtualSound, VirtualPipeWire], ids=["pulseaudio", "pipewire"])
def server(request):
    """A sound server, as a class."""
    if request.param is VirtualPipeWire and VirtualPipeWire.missing():
        pytest.skip(f"needs packages of Debian: {VirtualPipeWire.missing()}")
    return request.param


def example(rate, seconds):
    """The example mixture at a rate, over and over again."""
    mix = soxr.resample(soundfile.read(EXAMPLE, dtype="float32")[0], 16000, rate)
    return np.resize(mix, round(seconds * rate))


def start(sound, *arguments):
    command = [
        sys.executable,
        "-c",
        "from tisdiss_rt.cli.main import main; main()",
        "live",
        "--provider",
        "cpu",
    ]
    return subprocess.Popen(
        [*command, "--no-ui", *map(str, arguments)],
        env=sound.environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=heed_signals,
    )


def wait_for(condition, seconds=20):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


def listening(folder):
    """Wait until sound is being recorded."""
    wait_for(lambda: (folder / "mixture.wav").exists() and (folder / "mixture.wav").stat().st_size > 1000)


def tracks(folder):
    names = ("mixture", "spk1", "spk2")
    return [soundfile.read(folder / f"{name}.wav", dtype="float32")[0] for name in names]


def run(sound, folder, mix, rate, *arguments):
    """Let the microphone hear ``mix``; give the report, what was recorded, and what the headphones played."""
    taps = [sound.tap(name) for name in ("virtmic", "virtspk")]
    soundfile.write(folder / "mix.wav", mix, rate, subtype="FLOAT")
    running = start(sound, "--record", folder / "rec", "--sample-rate", rate, "--json", *arguments)
    listening(folder / "rec")
    sound.play(folder / "mix.wav").wait()
    time.sleep(0.7)
    running.send_signal(signal.SIGINT)
    out, err = running.communicate(timeout=20)
    assert running.returncode == 0, err
    heard = [tap.close() for tap in taps]
    lag = find(mix, heard[0])
    return json.loads(out), tracks(folder / "rec"), heard[1], taps[0].start_s + lag / rate, taps[1].start_s


def streamed_file(bundle, mix, rate):
    stream = tisdiss_rt.Separator(bundle, provider="cpu").stream(rate, depth=DEPTH)
    return np.concatenate([stream.process(mix), stream.flush()], axis=1)


def check(bundle, mix, rate, report, recorded, played, heard_s, tap_s):
    """Compare everything with the separation of a file; give the latency from end to end in ms."""
    mixture, *sources = recorded
    start = find(mix, mixture)
    assert len({len(track) for track in recorded}) == 1
    np.testing.assert_allclose(mixture[start : start + len(mix)], mix, atol=1e-4)
    padded = np.concatenate([np.zeros(start, np.float32), mix, np.zeros(rate // 2, np.float32)])
    apart = streamed_file(bundle, padded, rate)
    end = start + len(mix)
    for ours, theirs in zip(sources, apart, strict=True):
        assert np.abs(theirs).max() > 0.1
        np.testing.assert_allclose(ours[start:end], theirs[start:end], atol=1e-3)
    begin = find(apart[0][start:end], played)
    np.testing.assert_allclose(played[begin : begin + len(mix)], apart[0][start:end], atol=1e-3)
    loudest = [float(np.abs(track).max()) for track in recorded]
    np.testing.assert_allclose(report["peaks"], loudest, atol=1e-6)  # of the whole run
    assert report["underflows"] == report["overflows"] == 0
    assert report["restarts"] == 0
    return 1e3 * (tap_s + begin / rate - heard_s)


@pytest.mark.parametrize("rate", [16000, 48000])
def test_what_is_heard_and_recorded_is_the_file_separated(rate, stream_toy, tmp_path_factory, capsys):
    def try_it():
        mix, folder = example(rate, 8), tmp_path_factory.mktemp("live")
        with VirtualSound(rate) as sound:
            report, *rest = run(sound, folder, mix, rate, "--bundle", stream_toy, "--depth", DEPTH)
        return report, check(stream_toy, mix, rate, report, *rest)

    report, end_to_end_ms = attempts(5, try_it)
    parts = {name: round(part_ms, 1) for name, part_ms in report["latency_ms"].items()}
    with capsys.disabled():
        print(f"\nend to end at {rate} Hz: {end_to_end_ms:.0f} ms; parts: {parts}")
    assert 20 < end_to_end_ms < parts["total"] + 40


@contextmanager
def busy(processes):
    """Let so many processes compute on the cores that are ours."""
    running = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(processes)]
    try:
        yield
    finally:
        for process in running:
            process.kill()
            process.wait()


def test_busy_machine_makes_no_dropouts(stream_toy, tmp_path_factory):
    """Two busy processes per core: every sample is recorded and heard, if real-time scheduling is allowed."""

    def try_it():
        mix, folder = example(16000, 8), tmp_path_factory.mktemp("live")
        with VirtualSound(16000) as sound, busy(2 * len(os.sched_getaffinity(0))):
            report, *rest = run(sound, folder, mix, 16000, "--bundle", stream_toy, "--depth", DEPTH)
        if report["priority"] != "real-time":
            pytest.skip("real-time scheduling is not allowed here")
        check(stream_toy, mix, 16000, report, *rest)

    attempts(5, try_it)


def test_lost_devices_end_the_run_and_keep_the_recording(server, stream_toy, tmp_path_factory):
    mix = example(16000, 8)

    def try_it():
        folder = tmp_path_factory.mktemp("live")
        soundfile.write(folder / "mix.wav", mix, 16000, subtype="FLOAT")
        with server(16000) as sound:
            options = ("--depth", DEPTH, "--record", folder / "rec", "--wait-s", 3)
            running = start(sound, "--bundle", stream_toy, *options)
            listening(folder / "rec")
            sound.play(folder / "mix.wav")
            time.sleep(4)
            while_running = [len(track) for track in tracks(folder / "rec")]
            sound.kill()
            _, err = running.communicate(timeout=20)
        assert running.returncode == 1
        assert "the sound device 'default' stopped; waiting up to 3 s" in err
        assert "the sound device 'default' did not come back within 3 s; connect it or start the" in err
        assert "Expression" not in err  # PortAudio's own words
        mixture, *sources = tracks(folder / "rec")
        assert min(while_running) > 3 * 16000
        assert len(mixture) == len(sources[0]) == len(sources[1])
        assert len(mixture) > max(while_running)
        begin = find(mix[: 2 * 16000], mixture)
        if server is VirtualSound:  # others resample
            np.testing.assert_allclose(mixture[begin:], mix[: len(mixture) - begin], atol=1e-4)
        assert len(mixture) - begin > 3 * 16000
        apart = streamed_file(stream_toy, mixture, 16000)
        np.testing.assert_allclose(sources, apart, atol=1e-5)

    attempts(3, try_it)


@pytest.mark.parametrize(("way", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 0), (signal.SIGKILL, -9)])
def test_files_are_whole_at_any_stop(stream_toy, tmp_path, way, status):
    with VirtualSound(16000) as sound:
        running = start(sound, "--bundle", stream_toy, "--record", tmp_path / "rec")
        listening(tmp_path / "rec")
        time.sleep(1)
        running.send_signal(way)
        running.communicate(timeout=20)
    assert running.returncode == status
    lengths = [
        soundfile.info(tmp_path / "rec" / f"{name}.wav").frames for name in ("mixture", "spk1", "spk2")
    ]
    assert lengths[0] > 10000
    assert max(lengths) - min(lengths) <= (4000 if way == signal.SIGKILL else 0)


def test_a_device_that_comes_back_is_used_again(server, stream_toy, tmp_path):
    with server(16000) as sound:
        running = start(
            sound, "--bundle", stream_toy, "--record", tmp_path / "rec", "--json", "--duration-s", 7
        )
        listening(tmp_path / "rec")
        sound.kill()
        sound.launch()
        out, err = running.communicate(timeout=20)
    assert running.returncode == 0, err
    report = json.loads(out)
    assert report["restarts"] == 1
    assert any("the sound device 'default' came back" in message for message in report["messages"])
    assert 6 < report["recorded_s"] < 7.2  # the time that was missed is silence
    assert len({len(track) for track in tracks(tmp_path / "rec")}) == 1


def test_devices_are_listed():
    with VirtualSound(16000) as sound:
        command = [sys.executable, "-c", "from tisdiss_rt.cli.main import main; main()", "devices"]
        done = subprocess.run(command, env=sound.environment, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert "pulse (ALSA): 32 in, 32 out" in done.stdout
    assert "[default input, default output]" in done.stdout


def test_devices_of_the_server_by_their_names(server, stream_toy, tmp_path):
    soundfile.write(tmp_path / "mix.wav", example(16000, 4), 16000, subtype="FLOAT")
    with server(16000) as sound:
        sound.add_microphone("silent")
        sound.environment |= {"PULSE_SOURCE": "silent", "PULSE_SINK": "nowhere"}
        command = [sys.executable, "-c", "from tisdiss_rt.cli.main import main; main()", "devices"]
        listed = subprocess.run(command, env=sound.environment, capture_output=True, text=True).stdout
        assert "virtmic.monitor (sound server): input, " in listed
        assert "virtspk (sound server): output, " in listed
        tap = sound.tap("virtspk")
        named = ("--input-device", "virtmic.monitor", "--output-device", "sound server:virtspk")
        options = ("--record", tmp_path / "rec", "--duration-s", 4, "--listen", "mix", "--json")
        running = start(sound, "--bundle", stream_toy, *named, *options)
        listening(tmp_path / "rec")
        sound.play(tmp_path / "mix.wav")
        out, err = running.communicate(timeout=40)
        played = tap.close()
    assert running.returncode == 0, err
    report = json.loads(out)
    assert (report["input_device"], report["output_device"]) == ("virtmic.monitor", "virtspk")
    assert np.abs(tracks(tmp_path / "rec")[0]).max() > 0.1
    assert np.abs(played).max() > 0.1


def test_other_programs_get_a_voice_from_a_virtual_microphone(server, stream_toy, tmp_path):
    soundfile.write(tmp_path / "mix.wav", example(16000, 6), 16000, subtype="FLOAT")
    folders = iter([tmp_path / "rec0", tmp_path / "rec1", tmp_path / "rec2"])

    def try_it():
        folder = next(folders)
        with server(16000) as sound:
            options = ("--virtual-mic", "voice", "--listen", 2, "--record", folder, "--depth", DEPTH)
            running = start(sound, "--bundle", stream_toy, *options)
            listening(folder)
            tap = sound.tap_source("voice")
            second = start(sound, "--bundle", stream_toy, "--virtual-mic", "voice")
            assert "there is a microphone 'voice' already" in second.communicate(timeout=20)[1]
            sound.play(tmp_path / "mix.wav").wait()
            time.sleep(0.7)
            running.send_signal(signal.SIGINT)
            _, err = running.communicate(timeout=20)
            assert running.returncode == 0, err
            assert "other programs have it as the microphone voice" in err
            assert "voice" not in sound.control("list", "short", "modules")
            heard, expected = tap.close(), tracks(folder)[2]
        least_db = 60 if server is VirtualSound else 20  # PipeWire resamples
        pieces = np.split(expected[2 * 16000 : 5 * 16000], 12)
        assert sum(likeness_db(piece, heard) > least_db for piece in pieces) >= 9  # a busy machine loses some

    attempts(3, try_it)


def likeness_db(piece, heard):
    """Return how far the difference to the place in ``heard`` that is most like ``piece`` lies below it."""
    begin = find(piece, heard)
    difference = heard[begin : begin + len(piece)] - piece
    return 20 * np.log10(np.std(piece) / max(np.std(difference), 1e-9))


def test_what_a_killed_run_left_is_removed(server, stream_toy, tmp_path):
    with server(16000) as sound:
        running = start(sound, "--bundle", stream_toy, "--virtual-mic", "one", "--record", tmp_path / "rec")
        listening(tmp_path / "rec")
        running.kill()
        running.communicate()
        assert "source_name=one" in sound.control("list", "short", "modules")
        again = start(sound, "--bundle", stream_toy, "--virtual-mic", "two", "--duration-s", 2)
        _, err = again.communicate(timeout=30)
        assert again.returncode == 0, err
        left = sound.control("list", "short", "modules")
        assert "source_name=one" not in left and "source_name=two" not in left


def test_names_that_a_terminal_has_no_letters_for():
    with VirtualSound(16000) as sound:
        names = ("耳机".encode(), "Café".encode("latin-1"))
        kinds = b"".join(b'pcm."%s" { type null }\n' % name for name in names)
        Path(sound.environment["HOME"], ".asoundrc").write_bytes(kinds)
        command = [sys.executable, "-c", "from tisdiss_rt.cli.main import main; main()", "devices"]
        for encoding, expected in (("utf-8", "耳机"), ("cp1252", r"\u8033\u673a")):
            environment = {**sound.environment, "PYTHONIOENCODING": encoding}
            done = subprocess.run(command, env=environment, capture_output=True)
            assert (done.returncode, done.stderr) == (0, b"")
            listed = done.stdout.decode(encoding)
            assert f"{expected} (ALSA)" in listed
            assert "Café (ALSA)" in listed


def test_a_loop_is_limited_recognised_and_muted(server, stream_toy, tmp_path):
    """The microphone is what the headphones play, louder: noise of 0.002 would grow without end."""
    noise = 0.002 * np.random.default_rng(0).standard_normal(12 * 16000).astype(np.float32)
    soundfile.write(tmp_path / "noise.wav", noise, 16000, subtype="FLOAT")
    with server(16000) as sound:
        sound.environment["PULSE_SOURCE"] = "virtspk.monitor"
        sound.control("set-source-volume", "virtspk.monitor", "115%")  # a gain of 1.5
        tap = sound.tap("virtspk")
        options = ("--depth", 0, "--listen", "mix", "--duration-s", 10, "--json")
        running = start(sound, "--bundle", stream_toy, "--record", tmp_path / "rec", *options)
        listening(tmp_path / "rec")
        sound.play(tmp_path / "noise.wav", "virtspk")
        out, err = running.communicate(timeout=40)
        played = tap.close()
    assert running.returncode == 0, err
    assert "our own output, which feeds itself" in err
    assert "feedback: what is played came in again and grew" in err
    report = json.loads(out)
    assert report["feedbacks"] >= 1
    assert len(report["messages"]) >= 2
    mixture = tracks(tmp_path / "rec")[0]
    # full scale and the noise, at that gain; a server that resamples goes beyond
    most = 1.55 * GAIN[server] * (1 if server is VirtualSound else 1.3)
    assert np.abs(played).max() <= most
    loud_s = np.count_nonzero(np.abs(mixture) > 0.5) / 16000
    assert 0.01 < np.abs(mixture).max() <= most
    assert loud_s < 1.0
    assert np.sqrt(np.mean(mixture[-8000:] ** 2)) < 0.01  # muted: the noise alone


def test_a_monitor_in_the_place_of_a_microphone_is_told(server, stream_toy, tmp_path):
    """The only microphone is unplugged; servers go on with a monitor by themselves."""
    with server(16000) as sound:
        module = sound.add_microphone("usbmic")
        sound.environment["PULSE_SOURCE"] = "usbmic"
        sound.control("set-default-source", "usbmic")
        running = start(sound, "--bundle", stream_toy, "--record", tmp_path / "rec", "--duration-s", 8)
        listening(tmp_path / "rec")
        time.sleep(2.5)
        sound.control("unload-module", module)
        _, err = running.communicate(timeout=40)
    assert running.returncode == 0, err
    assert err.count("what other programs play") + err.count("our own output") == 1, err
    assert "monitor'" in err


@contextmanager
def piped(sound, channels=1):
    """A microphone that gives what is written, as raw float samples at 16 kHz, to the yielded pipe."""
    path = Path(sound.environment["HOME"]) / "pipe"
    form = ("format=float32le", "rate=16000", f"channels={channels}")
    sound.control("load-module", "module-pipe-source", "source_name=piped", f"file={path}", *form)
    sound.environment["PULSE_SOURCE"] = "piped"
    with path.open("wb", buffering=0) as pipe:
        yield pipe


def write_paced(pipe, data):
    """Write samples (n,) or (n, channels) as fast as a microphone gives them."""
    begin_s = time.monotonic()
    for k in range(0, len(data), 160):
        pipe.write(data[k : k + 160].astype(np.float32).tobytes())
        time.sleep(max(0.0, begin_s + k / 16000 - time.monotonic()))


def test_a_microphone_without_samples_is_an_error(stream_toy, tmp_path):
    with VirtualSound(16000) as sound, piped(sound):
        running = start(sound, "--bundle", stream_toy, "--record", tmp_path / "rec", "--json")
        out, err = running.communicate(timeout=40)
    assert running.returncode == 1
    assert "the microphone 'default' delivers nothing: wake it" in err
    assert json.loads(out)["outputs"] == []
    assert not list((tmp_path / "rec").iterdir())


def test_broken_samples_and_an_offset(stream_toy, tmp_path):
    voice = example(16000, 8)
    broken = voice + np.float32(0.2)
    broken[60000:60005] = np.nan
    with VirtualSound(16000) as sound, piped(sound) as pipe:
        options = ("--record", tmp_path / "rec", "--json", "--sample-rate", 16000)
        running = start(sound, "--bundle", stream_toy, *options)
        write_paced(pipe, broken)
        running.send_signal(signal.SIGINT)
        out, err = running.communicate(timeout=40)
    assert running.returncode == 0, err
    assert json.loads(out)["invalid"] == 5
    assert "samples that are no numbers" in err
    mixture = tracks(tmp_path / "rec")[0]
    assert len(mixture) > 4 * 16000
    assert abs(mixture[2 * 16000 :].mean()) < 0.005


def test_zeros_and_channels_that_cancel_are_told(stream_toy, tmp_path):
    voice = example(16000, 9)
    for data, message, channel in (
        (np.zeros((len(voice), 2)), "nothing but zeros for 5 s: it is muted", 1),
        (np.stack([voice, 0 * voice], axis=1), None, 1),
    ):
        with VirtualSound(16000) as sound, piped(sound, 2) as pipe:
            options = ("--sample-rate", 16000, "--input-channel", channel, "--json")
            running = start(sound, "--bundle", stream_toy, *options)
            write_paced(pipe, data)
            running.send_signal(signal.SIGINT)
            out, err = running.communicate(timeout=40)
        assert running.returncode == 0, err
        messages = json.loads(out)["messages"]
        assert any(message in one for one in messages) if message else not messages


@pytest.mark.parametrize("ways", [[signal.SIGINT] * 2, [signal.SIGTERM, signal.SIGINT], [signal.SIGHUP] * 3])
def test_more_signals_change_nothing(stream_toy, tmp_path, ways):
    """Closing is not interrupted: at any distance of the signals the files are whole, and so is the end."""
    for attempt in range(3):
        folder = tmp_path / f"rec{attempt}"
        with VirtualSound(16000) as sound:
            running = start(sound, "--bundle", stream_toy, "--record", folder)
            listening(folder)
            for way in ways:
                running.send_signal(way)
                time.sleep((0.0, 0.001, 0.1)[attempt])
            _, err = running.communicate(timeout=20)
        # Signals that arrive together are told to Python in the order of their numbers.
        firsts = ways if attempt < 2 else ways[:1]
        assert running.returncode in [0 if way == signal.SIGINT else 128 + way for way in firsts], err
        assert "Traceback" not in err
        assert "Exception" not in err
        assert len({len(track) for track in tracks(folder)}) == 1


def test_a_server_that_stops_answering_is_told_and_left(server, stream_toy, tmp_path):
    with server(16000) as sound:
        running = start(sound, "--bundle", stream_toy, "--record", tmp_path / "rec", "--wait-s", 2)
        listening(tmp_path / "rec")
        sound.stop()
        _, err = running.communicate(timeout=40)
    assert running.returncode == 1, err
    assert re.search(
        "the (sound device|microphone|headphones) 'default' did not come back within 2 s", err
    ), err
    assert len({len(track) for track in tracks(tmp_path / "rec")}) == 1


def test_a_stopped_server_keeps_nobody_from_ending(server, stream_toy, tmp_path):
    with server(16000) as sound:
        running = start(sound, "--bundle", stream_toy, "--record", tmp_path / "rec")
        listening(tmp_path / "rec")
        sound.stop()
        time.sleep(4)
        begin_s = time.monotonic()
        running.send_signal(signal.SIGINT)
        _, err = running.communicate(timeout=40)
    assert running.returncode == 0, err
    assert time.monotonic() - begin_s < 12


def played_of_a_tone(server, bundle, folder):
    """What the headphones get of a tone that is there before the program and stays after it."""
    folder.mkdir()
    tone = 0.38 * np.sin(2 * np.pi * 200 * np.arange(20 * 16000) / 16000).astype(np.float32)
    soundfile.write(folder / "tone.wav", tone, 16000, subtype="FLOAT")
    with server(16000) as sound:
        sound.play(folder / "tone.wav")
        time.sleep(1)
        tap = sound.tap("virtspk")
        running = start(sound, "--bundle", bundle, "--listen", "mix", "--record", folder / "rec")
        listening(folder / "rec")
        time.sleep(2)
        running.send_signal(signal.SIGINT)
        _, err = running.communicate(timeout=20)
        time.sleep(0.3)
        played = tap.close()
    assert running.returncode == 0, err
    return played


def test_start_and_end_of_a_tone_are_heard_without_a_step(server, stream_toy, tmp_path):
    """A busy machine may lose sound: mostly between start and end, and hardly at one of them three times."""
    largest = []
    for attempt in range(3):
        played = played_of_a_tone(server, stream_toy, tmp_path / str(attempt))
        peak = np.abs(played).max()
        assert peak == pytest.approx(0.38 * GAIN[server], abs=0.002)
        assert np.count_nonzero(np.abs(played) > 0.8 * peak) > 0.2 * 16000
        heard = np.flatnonzero(played)
        padded = np.concatenate([[0], played[heard[0] : heard[-1] + 1], [0]])
        largest.append(max(np.abs(np.diff(edge)).max() for edge in (padded[:320], padded[-320:])))
        if largest[-1] < 0.05 * GAIN[server]:
            return
    raise AssertionError(largest)


def test_listing_devices_of_a_stopped_server_ends():
    with VirtualSound(16000) as sound:
        sound.stop()
        command = [sys.executable, "-c", "from tisdiss_rt.cli.main import main; main()", "devices"]
        done = subprocess.run(command, env=sound.environment, capture_output=True, text=True, timeout=40)
    assert done.returncode == 1
    assert "the sound server has not answered for 10 s" in done.stderr


def test_a_closed_standard_error_changes_nothing(stream_toy, tmp_path):
    with VirtualSound(16000) as sound:
        options = f"--bundle {stream_toy} --record {tmp_path / 'rec'} --duration-s 2 --json --no-ui"
        code = "from tisdiss_rt.cli.main import main; main()"
        command = f"{sys.executable} -c '{code}' live --provider cpu {options} 2>&-"
        done = subprocess.run(["sh", "-c", command], env=sound.environment, capture_output=True, timeout=40)
    assert done.returncode == 0
    assert json.loads(done.stdout)["recorded_s"] > 1


def test_a_summary_for_people_has_narrow_lines_and_advice(stream_toy, tmp_path):
    with VirtualSound(16000) as sound:
        running = start(sound, "--bundle", stream_toy, "--budget-ms", 0.01, "--duration-s", 2)
        _, err = running.communicate(timeout=40)
    assert running.returncode == 0, err
    begin = re.search(r"^[0-9.]+ s, [0-9]+ steps", err, re.MULTILINE).start()
    lines = err[begin:].splitlines()
    assert "late steps" in lines[1]
    assert max(map(len, lines)) <= 80, err
    assert "`tisdiss-rt bench` recommends a --depth" in err
