"""Live sound without any device: a PortAudio of our own, whose callbacks the test calls when it likes."""

import os
import sys
import threading
import time
import types
from dataclasses import replace

import numpy as np
import pytest
from example import mixture

import tisdiss_rt
from tisdiss_rt.cli import main
from tisdiss_rt.errors import DeviceError, OptionError
from tisdiss_rt.live import connection, devices, intake, open_pair, queues, sound_server, time_limit
from tisdiss_rt.live import session as live_session
from tisdiss_rt.live.intake import Intake
from tisdiss_rt.live.queues import InputQueue, OutputQueue
from tisdiss_rt.live.recorder import Recorder, targets
from tisdiss_rt.live.seam import FADE_S, Seam
from tisdiss_rt.live.session import LiveSession

pytestmark = pytest.mark.realtime
RATE, BLOCK = 16000, 128
FINE = types.SimpleNamespace(input_overflow=False, output_underflow=False)


class FakeStream:
    """What sounddevice calls a stream; the test calls ``callback``."""

    latency = 0.02

    def __init__(self, owner, kind, options):
        self.owner, self.kind, self.options, self.active = owner, kind, options, False
        self.callback = options["callback"]
        owner.opened.append(self)

    def start(self):
        if self.owner.broken:
            raise self.owner.PortAudioError("Error opening stream: Device unavailable [PaErrorCode -9985]")
        self.active = True

    def abort(self):
        self.active = False

    close = abort


class FakeSound:
    """What sounddevice is as a module, with three devices."""

    class PortAudioError(Exception):
        pass

    def __init__(self):
        def device(name, inputs, outputs, rate, api=0):
            return {
                "name": name,
                "hostapi": api,
                "max_input_channels": inputs,
                "max_output_channels": outputs,
                "default_samplerate": rate,
            }

        self.devices = [
            device("Laptop microphone", 1, 0, 48000.0),
            device("USB headset", 2, 2, 44100.0),
            device("USB headset two", 2, 2, 44100.0),
        ]
        self.default = types.SimpleNamespace(device=[0, 1])
        self.rates = {0: {16000, 48000}, 1: {16000, 48000}, 2: {44100}}
        self.broken, self.opened, self.looked = False, [], 0

    def query_devices(self, index):
        if index >= len(self.devices):
            raise self.PortAudioError(f"Error querying device {index}")
        return self.devices[index]

    def query_hostapis(self, index):
        return {"name": ("ALSA", "JACK Audio Connection Kit")[index]}

    def _check(self, device, channels, dtype, samplerate):
        if samplerate not in self.rates[device]:
            raise self.PortAudioError("Invalid sample rate [PaErrorCode -9997]")

    check_input_settings = check_output_settings = _check

    def InputStream(self, **options):
        return FakeStream(self, "input", options)

    def OutputStream(self, **options):
        return FakeStream(self, "output", options)

    def _terminate(self):
        self.looked += 1

    def _initialize(self):
        pass


@pytest.fixture
def fake(monkeypatch):
    sound = FakeSound()
    monkeypatch.setitem(sys.modules, "sounddevice", sound)
    return sound


# ---- devices ----


def test_defaults_and_the_rate_of_the_network(fake):
    pair = devices.choose(None, None, None, RATE)
    assert (pair.source.index, pair.sink.index, pair.sample_rate) == (0, 1, RATE)
    assert (pair.source.channels, pair.sink.channels) == (1, 2)


def test_devices_by_number_or_part_of_the_name(fake):
    assert devices.choose("1", "usb HEADSET", None, RATE).source.index == 1
    assert devices.choose("laptop", "1", None, RATE).source.name == "Laptop microphone"
    with pytest.raises(OptionError, match=r"choose one of 1 ALSA:USB headset, 2 ALSA:USB headset two"):
        devices.choose(None, "usb", None, RATE)
    with pytest.raises(DeviceError, match=r"no input device '7'; `tisdiss-rt devices`"):
        devices.choose("7", None, None, RATE)
    with pytest.raises(DeviceError, match="no output device 'laptop'"):
        devices.choose(None, "laptop", None, RATE)


def test_another_rate_where_the_network_s_is_not_done(fake):
    fake.rates[1] = {48000}
    assert devices.choose(None, None, None, RATE).sample_rate == 48000


def test_a_rate_that_is_asked_for_is_kept_or_refused(fake):
    with pytest.raises(DeviceError, match=r"at 8000 Hz: both devices do --sample-rate 16000, 48000"):
        devices.choose(None, None, 8000, RATE)
    with pytest.raises(DeviceError, match="leave --sample-rate out, or choose another device"):
        devices.choose(None, "two", 48000, RATE)
    with pytest.raises(OptionError, match="above 0 Hz"):
        devices.choose(None, None, 0, RATE)


def test_devices_without_a_common_rate_have_one_each(fake):
    pair = devices.choose(None, "two", None, RATE)
    assert (pair.source.sample_rate, pair.sink.sample_rate, pair.sample_rate) == (RATE, 44100, 44100)
    assert devices.find_again(pair) == pair


def test_devices_of_one_name_are_told_apart_by_their_host_api(fake):
    twin = {**fake.devices[1], "hostapi": 1}
    fake.devices.append(twin)
    fake.rates[3] = {16000}
    with pytest.raises(OptionError, match=r"1 ALSA:USB headset, 3 JACK Audio Connection Kit:USB headset"):
        devices.choose("usb headset", None, None, RATE)
    assert devices.choose("alsa:USB headset", None, None, RATE).source.index == 1
    pair = devices.choose("jack:usb", None, None, RATE)
    assert pair.source.index == 3
    fake.devices.insert(0, fake.devices.pop())  # another one was plugged in, and all numbers are others
    fake.rates = {(number + 1) % 4: rates for number, rates in fake.rates.items()}
    assert devices.find_again(pair).source == replace(pair.source, index=0)
    assert devices.find_again(pair).sink == replace(pair.sink, index=2)


def test_names_of_the_sound_server(fake, monkeypatch):
    """PortAudio has all of them as one device, which takes the name from the environment."""
    monkeypatch.setenv("PULSE_SOURCE", "before")
    monkeypatch.setenv("PULSE_SINK", "before")
    named = {"input": {"usb.mic": "Blue mic", "usb.mic.2": ""}, "output": {"hdmi": "Screen"}}
    monkeypatch.setattr(sound_server, "names", named.__getitem__)
    with pytest.raises(DeviceError, match=r"no input device 'usb.mic'"):
        devices.choose("usb.mic", None, None, RATE)
    fake.devices[0]["name"] = "Laptop"
    fake.devices.append({**fake.devices[1], "name": "pulse"})
    fake.rates[3] = {RATE}
    pair = devices.choose("usb.mic", None, None, RATE)
    assert (pair.source.index, pair.source.name) == (3, "usb.mic")
    assert (os.environ["PULSE_SOURCE"], os.environ["PULSE_SINK"]) == ("usb.mic", "before")
    assert devices.choose("mic.2", "HDMI", None, RATE).sink.name == "hdmi"
    assert (os.environ["PULSE_SOURCE"], os.environ["PULSE_SINK"]) == ("usb.mic.2", "hdmi")
    assert devices.find_again(pair) == pair
    assert os.environ["PULSE_SOURCE"] == "usb.mic"
    with pytest.raises(OptionError, match=r"several input devices; choose one of usb.mic, usb.mic.2$"):
        devices.choose("mic", None, None, RATE)


def test_a_name_in_an_old_encoding(fake):
    fake.devices[1] = {**fake.devices[1], "name": "Café"}
    query = fake.query_devices

    def strict(index):
        if index == 1:
            "Café".encode("latin-1").decode("utf-8")
        return query(index)

    fake.query_devices = strict
    info = types.SimpleNamespace(hostApi=0, maxInputChannels=2, maxOutputChannels=2, defaultSampleRate=16000)
    fake._lib = types.SimpleNamespace(Pa_GetDeviceInfo=lambda index: info)
    assert devices.choose("café", None, None, RATE).source.index == 1
    assert "Café (ALSA): 2 in, 2 out, 16000 Hz" in devices.listing()[1]


def test_no_default_device(fake):
    fake.default.device = [-1, -1]
    with pytest.raises(DeviceError, match="no input device: connect one, or choose it with --input-device"):
        devices.choose(None, None, None, RATE)


def test_the_server_that_was_looked_for_is_named(fake, monkeypatch, tmp_path):
    fake.devices = []
    monkeypatch.setattr(sys, "platform", "linux")
    for name in ("PULSE_SERVER", "XDG_RUNTIME_DIR"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(DeviceError, match="XDG_RUNTIME_DIR is not set"):
        devices.listing()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    with pytest.raises(DeviceError, match=f"no sound server at {tmp_path}/pulse/native"):
        devices.listing()
    monkeypatch.setenv("PULSE_SERVER", "elsewhere:4713")
    with pytest.raises(DeviceError, match="PULSE_SERVER, elsewhere:4713"):
        devices.listing()


def test_no_portaudio(monkeypatch, capsys):
    class Missing:
        def find_spec(self, name, *_):
            if name == "sounddevice":
                raise OSError("PortAudio library not found")

    monkeypatch.delitem(sys.modules, "sounddevice", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Missing(), *sys.meta_path])
    monkeypatch.setattr(sys, "argv", ["tisdiss-rt", "devices"])
    with pytest.raises(SystemExit) as stopped:
        main.main()
    assert stopped.value.code == 1
    error = capsys.readouterr().err
    assert error.startswith("tisdiss-rt: the library PortAudio is missing: install libportaudio2")
    assert error.count("\n") == 1


def test_listing(fake, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["tisdiss-rt", "devices"])
    main.main()
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "  0  Laptop microphone (ALSA): 1 in, 0 out, 48000 Hz  [default input]"
    assert lines[1] == "  1  USB headset (ALSA): 2 in, 2 out, 44100 Hz  [default output]"
    fake.devices = []
    with pytest.raises(DeviceError, match="no sound device"):
        devices.listing()


def test_a_device_that_cannot_be_opened(fake):
    pair = devices.choose(None, None, None, RATE)
    fake.broken = True
    with pytest.raises(
        DeviceError, match=r"'USB headset' cannot be opened \(device unavailable\): close other"
    ):
        open_pair.OpenPair(pair, BLOCK / RATE, print, print, {})
    assert not any(stream.active for stream in fake.opened)


# ---- the session ----


class Driven:
    """A session whose callbacks the test calls; the separation runs in its thread, as always."""

    def __init__(self, fake, folder, bundle, recorder=True, **options):
        self.fake = fake
        pair = devices.choose(None, None, None, RATE)
        paths = targets(folder, 2, force=False)
        self.recorder = Recorder(paths, pair.sample_rate) if recorder else None
        stream = tisdiss_rt.Separator(bundle, provider="cpu").stream(pair.sample_rate, depth=2)
        self.session = LiveSession(stream, 2, pair, recorder=self.recorder, **options)
        self.stop, self.error, self.final = threading.Event(), None, None
        self.thread = threading.Thread(target=self._run)
        self.thread.start()
        while len(fake.opened) < 2 or not fake.opened[-1].active:
            time.sleep(0.001)

    def _run(self):
        try:
            self.final = self.session.run(lambda status: not self.stop.wait(0.005))
        except Exception as error:
            self.error = error

    def wait_for(self, condition):
        end = time.monotonic() + 10
        while not condition():
            assert time.monotonic() < end, "waited in vain"
            time.sleep(0.001)

    def feed(self, block, steps=1):
        """The microphone gives a block (n,) or (n, channels), and the separation takes it."""
        before = self.session.status().steps
        data = block.reshape(len(block), -1).copy()
        self.fake.opened[1].callback(data, len(block), None, FINE)
        data[:] = np.nan  # is PortAudio's again
        while self.session.status().steps < before + steps:
            time.sleep(0.0005)
        time.sleep(0.002)

    def hear(self, frames=BLOCK):
        data = np.full((frames, 2), np.nan, np.float32)
        self.fake.opened[0].callback(data, frames, None, FINE)
        np.testing.assert_array_equal(data[:, 0], data[:, 1])
        return data[:, 0]

    def end(self):
        self.stop.set()
        self.thread.join()
        if self.recorder:
            self.recorder.close()


@pytest.fixture
def driven(fake, stream_toy, tmp_path, monkeypatch):
    monkeypatch.setattr(queues, "LEAD_IN_S", 0.0)
    running = []

    def start(**options):
        running.append(Driven(fake, tmp_path / "rec", stream_toy, **options))
        return running[-1]

    yield start
    for each in running:
        each.end()


def read(folder):
    import soundfile

    names = ("mixture", "spk1", "spk2")
    return np.stack([soundfile.read(folder / f"{name}.wav", dtype="float32")[0] for name in names])


@pytest.mark.parametrize("listen", [0, 1, 2])
def test_what_goes_in_comes_out_and_is_recorded(driven, streamed, noise, tmp_path, listen):
    run, mix = driven(listen=listen), noise(BLOCK * 40)
    heard = []
    for block in mix.reshape(-1, BLOCK):
        run.feed(block)
        heard.append(run.hear())
    run.end()
    assert run.error is None
    expected = np.concatenate([mix[None], streamed(mix, 2)])
    np.testing.assert_allclose(read(tmp_path / "rec"), expected, atol=1e-6)
    heard = np.concatenate(heard)
    sound = heard[np.flatnonzero(heard)[0] + round(FADE_S * RATE) :]
    begin = next(k for k in range(2000) if np.abs(expected[listen][k : k + 64] - sound[:64]).max() < 1e-6)
    np.testing.assert_allclose(sound, expected[listen][begin : begin + len(sound)], atol=1e-6)
    assert len(sound) > 2000
    assert run.final.underflows == run.final.overflows == 0


def test_a_backlog_at_the_first_output_is_thrown_away(driven, noise):
    run = driven()
    for block in noise(BLOCK * 60).reshape(-1, BLOCK):
        run.feed(block)
    run.hear()
    assert run.session.status().latency_ms["queue"] < 30
    assert run.session.output.delay_s < 0.06  # of the 0.48 s that came


def test_underflows_are_counted_and_answered_by_silence(driven, noise):
    run = driven()
    for block in noise(BLOCK * 20).reshape(-1, BLOCK):
        run.feed(block)
    heard = [run.hear() for _ in range(20)]
    assert run.session.status().underflows == 1
    assert all((block == 0).all() for block in heard[9:])
    assert np.abs(heard[0]).max() > 0.01


def test_device_faults_are_counted(driven):
    run = driven()
    bad = types.SimpleNamespace(input_overflow=True, output_underflow=True)
    run.fake.opened[1].callback(np.zeros((BLOCK, 1), np.float32), BLOCK, None, bad)
    run.fake.opened[0].callback(np.zeros((BLOCK, 2), np.float32), BLOCK, None, bad)
    status = run.session.status()
    assert (status.overflows, status.underflows) == (1, 1)


def test_a_device_that_is_often_held_up_gets_a_longer_buffer(driven, noise, monkeypatch):
    """Each hold-up counts once, though several callbacks report it; the other end stays as it is."""
    monkeypatch.setattr(open_pair, "APART_S", 0.05)
    monkeypatch.setattr(connection, "MOST_LATENCY_S", 0.06)
    run = driven()
    late = types.SimpleNamespace(input_overflow=False, output_underflow=True)

    def hold_up(times):
        run.feed(noise(BLOCK))
        run.hear()
        run.wait_for(lambda: run.session._connection._has_delivered)
        for _ in range(times):
            for _ in range(3):
                run.fake.opened[0].callback(np.zeros((BLOCK, 2), np.float32), BLOCK, None, late)
            time.sleep(0.06)

    asked = []
    for expected in (0.04, 0.06):
        hold_up(2)
        time.sleep(0.05)
        assert len(run.fake.opened) == 2
        hold_up(1)
        run.wait_for(lambda: len(run.fake.opened) == 4 and run.fake.opened[3].active)
        run.fake.opened = run.fake.opened[2:]
        asked.append([stream.options["latency"] for stream in run.fake.opened])
        assert asked[-1] == [expected, "low"]
    hold_up(4)
    time.sleep(0.05)
    assert len(run.fake.opened) == 2
    too_busy, back = run.session.status().messages[:2]
    assert (
        too_busy
        == "the machine is too busy for the headphones 'USB headset'; opening again with a longer buffer"
    )
    assert back == "the headphones 'USB headset' came back after 0 s"


def test_listening_changes_without_a_click(driven, stream_toy):
    """A constant mixture has constant tracks: a change may be no step, only a slope over one chunk."""
    run = driven(listen=0)
    heard = []
    for k in range(60):
        run.feed(np.full(BLOCK, 0.5, np.float32))
        heard.append(run.hear())
        if k == 40:
            run.session.listen = 1
    sound = np.concatenate(heard[20:])
    assert abs(sound[0] - 0.5) < 1e-6
    assert abs(sound[-1] - sound[0]) > 0.05
    assert np.abs(np.diff(sound)).max() < 2 * abs(sound[-1] - sound[0]) / BLOCK


def test_the_delay_counts_the_computing_of_an_offline_bundle(fake, gain_toy, stream_toy):
    """Its steps run nothing on silence; and before anything plays, it is told how late it will be."""
    pair = devices.choose(None, None, None, RATE)
    for bundle in (gain_toy, stream_toy):
        stream = tisdiss_rt.Separator(bundle, provider="cpu").stream(RATE, depth=2)
        live_session._warm_up(stream)
        assert stream.latency_ms.compute > 0
        assert {step.depth for step in stream.steps} == {2}
        session = LiveSession(stream, 2, pair)
        delay_ms = 1e3 * session.output.delay_s
        assert delay_ms > stream.latency_ms.algorithmic + 1e3 * live_session.JITTER_S
        assert session.status().total_ms == pytest.approx(delay_ms)


def test_devices_without_a_common_rate(fake, driven, tmp_path):
    """The microphone at 16 kHz, the headphones at 48: in time, whole, and recorded as they play."""
    fake.rates = {0: {RATE}, 1: {3 * RATE}}
    run, heard = driven(), []
    tone = 0.3 * np.sin(2 * np.pi * 200 / RATE * np.arange(250 * BLOCK)).astype(np.float32)
    assert [stream.options["blocksize"] for stream in fake.opened] == [3 * BLOCK, BLOCK]
    begin_s = time.perf_counter()
    for number, block in enumerate(tone.reshape(-1, BLOCK)):
        fake.opened[1].callback(block[:, None], BLOCK, None, FINE)
        heard.append(run.hear(3 * BLOCK))
        time.sleep(max(0.0, begin_s + (number + 1) * BLOCK / RATE - time.perf_counter()))
    run.end()
    assert run.error is None
    mixture = read(tmp_path / "rec")[0]
    assert len(mixture) == 3 * len(tone)
    middle = slice(RATE, 5 * RATE)  # of 6, at the rate of the headphones
    expected = 0.3 * np.sin(2 * np.pi * 200 / (3 * RATE) * np.arange(len(mixture)))
    np.testing.assert_allclose(mixture[middle], expected[middle], atol=1e-4)
    heard = np.concatenate(heard)
    assert np.sqrt(np.mean(np.square(heard[-RATE:]))) == pytest.approx(0.3 / np.sqrt(2), rel=0.05)
    assert run.final.total_ms < 150 + 40


def test_a_lost_device_is_told_after_trying_again(driven, noise, tmp_path):
    run, mix = driven(wait_s=0.5), noise(BLOCK * 10)
    for block in mix.reshape(-1, BLOCK):
        run.feed(block)
    run.hear()
    run.wait_for(lambda: run.session._connection._has_delivered)
    run.fake.broken = True
    run.fake.opened[1].active = False  # all that happens when a device is lost
    run.thread.join(timeout=5)
    assert isinstance(run.error, DeviceError)
    assert "the microphone 'Laptop microphone' did not come back within 0.5 s" in str(run.error)
    messages = run.session.status().messages
    assert messages == ("the microphone 'Laptop microphone' stopped; waiting up to 0.5 s",)
    assert run.fake.looked >= 2
    run.recorder.close()
    np.testing.assert_array_equal(read(tmp_path / "rec")[0], mix)


def test_a_device_that_comes_back_goes_on_and_what_was_missed_is_silence(driven, noise, tmp_path):
    run, mix = driven(), noise(BLOCK * 40)
    for block in mix[: 20 * BLOCK].reshape(-1, BLOCK):
        run.feed(block)
    run.hear()
    run.wait_for(lambda: run.session._connection._has_delivered)
    lost_s = time.perf_counter()
    run.fake.opened[1].active = False
    time.sleep(0.4)
    run.wait_for(lambda: len(run.fake.opened) == 4 and run.fake.opened[3].active)
    run.fake.opened = run.fake.opened[2:]
    run.feed(mix[20 * BLOCK : 21 * BLOCK], steps=32)  # with a quarter of a second of the gap
    gap_s = time.perf_counter() - lost_s
    for block in mix[21 * BLOCK :].reshape(-1, BLOCK):
        run.feed(block)
    assert np.abs(run.hear()).max() > 0.01
    run.wait_for(lambda: len(run.session.status().messages) == 2)
    assert "the microphone 'Laptop microphone' came back after" in run.session.status().messages[1]
    run.end()
    assert (run.error, run.final.restarts) == (None, 1)
    recorded = read(tmp_path / "rec")
    fade = round(FADE_S * RATE)
    np.testing.assert_array_equal(recorded[0, : 20 * BLOCK], mix[: 20 * BLOCK])
    np.testing.assert_array_equal(recorded[0, -20 * BLOCK + fade :], mix[20 * BLOCK + fade :])
    assert (recorded[0, 20 * BLOCK + fade : -20 * BLOCK] == 0).all()
    assert (recorded[:, 20 * BLOCK + round(0.25 * RATE) : -21 * BLOCK - 512] == 0).all()
    assert abs(recorded.shape[1] / RATE - 40 * BLOCK / RATE - gap_s) < 0.1


def test_sound_that_the_device_has_lost_makes_no_step(driven, tmp_path):
    run, lost = driven(), types.SimpleNamespace(input_overflow=True, output_underflow=False)
    tone = 0.3 * np.sin(2 * np.pi * 200 / RATE * np.arange(40 * BLOCK + 40)).astype(np.float32)
    for number in range(40):
        block = tone[number * BLOCK + 40 * (number >= 20) :][:BLOCK]
        run.fake.opened[1].callback(block[:, None].copy(), BLOCK, None, lost if number == 20 else FINE)
        time.sleep(BLOCK / RATE)
    run.end()
    assert run.final.overflows == 1
    recorded = read(tmp_path / "rec")[0]
    assert len(recorded) == 40 * BLOCK
    assert np.abs(np.diff(recorded)).max() < 0.05
    np.testing.assert_array_equal(recorded[: 20 * BLOCK], tone[: 20 * BLOCK])


def test_what_the_device_has_lost_is_as_long_in_the_recording(monkeypatch):
    """Blocks come up to 4 ms late; one of two losses is long, the other is not."""
    clock_s, arriving, rng = 1.0, InputQueue(RATE, BLOCK), np.random.default_rng(0)
    monkeypatch.setattr(queues.time, "perf_counter", lambda: clock_s + rng.uniform(0, 0.004))
    missed = {20: 3000, 50: 40}
    for at in range(80):
        clock_s += (BLOCK + missed.get(at, 0)) / RATE
        if at in missed:
            arriving.lose()
        arriving.put(np.ones((BLOCK, 1), np.float32))
    taken = [arriving.take() for _ in range(82)]
    gaps = {at: gap for at, gap in enumerate(taken) if not isinstance(gap, np.ndarray)}
    assert list(gaps) == [20, 51]
    assert gaps[20].samples == pytest.approx(3000, abs=0.004 * RATE)
    assert gaps[20].fed == gaps[20].samples
    assert gaps[51] == queues.Gap(0, 0)
    assert arriving.overflows == 2


def test_what_is_missed_at_the_end_is_silence_too(driven, noise, tmp_path):
    run, mix = driven(), noise(BLOCK * 20)
    for block in mix.reshape(-1, BLOCK):
        run.feed(block)
    run.hear()
    run.wait_for(lambda: run.session._connection._has_delivered)
    lost_s = time.perf_counter()
    run.fake.broken = True
    run.fake.opened[1].active = False
    time.sleep(0.6)
    away_s = time.perf_counter() - lost_s
    run.end()
    assert run.error is None
    recorded = read(tmp_path / "rec")
    np.testing.assert_array_equal(recorded[0, : 20 * BLOCK], mix)
    assert (recorded[0, 20 * BLOCK + round(FADE_S * RATE) :] == 0).all()
    assert abs(recorded.shape[1] / RATE - 20 * BLOCK / RATE - away_s) < 0.1


def test_devices_that_stop_in_turn_are_lost_together(fake):
    pair, told = devices.choose(None, None, None, RATE), []
    made = connection.Connection(pair, BLOCK / RATE, *[lambda *_: None] * 3, told.append, 30)
    for stream in fake.opened:
        stream.callback(np.zeros((BLOCK, 1), np.float32), BLOCK, None, FINE)
    made.watch()
    fake.broken = True
    for stream in fake.opened:
        stream.active = False
        made.watch()
    made.close()
    assert told == [
        "the microphone 'Laptop microphone' and the headphones 'USB headset' stopped; waiting up to 30 s"
    ]


def test_a_device_without_callbacks_is_lost_too(fake, monkeypatch):
    opened = open_pair.OpenPair(devices.choose(None, None, None, RATE), BLOCK / RATE, print, print, {})
    assert opened.stopped() == []
    monkeypatch.setattr(open_pair, "STALLED_S", 0.01)
    time.sleep(0.02)
    assert [endpoint.kind for endpoint in opened.stopped()] == ["input", "output"]


def test_a_failing_network_ends_the_run(driven, noise, monkeypatch):
    run = driven()

    def fail(chunk):
        raise tisdiss_rt.BundleError("the block graph failed")

    monkeypatch.setattr(run.session._stream, "process", fail)
    run.fake.opened[1].callback(np.zeros((BLOCK, 1), np.float32), BLOCK, None, FINE)
    run.thread.join(timeout=5)
    assert str(run.error) == "the block graph failed"
    assert not any(stream.active for stream in run.fake.opened)


def test_a_microphone_that_never_delivers_ends_the_run(driven, monkeypatch):
    monkeypatch.setattr(open_pair, "STALLED_S", 0.05)
    monkeypatch.setattr(connection, "FIRST_S", 0.3)
    run = driven()
    while run.error is None:
        run.wait_for(lambda: run.error or run.fake.opened[-2].active)
        run.fake.opened[-2].callback(np.zeros((BLOCK, 2), np.float32), BLOCK, None, FINE)
        time.sleep(0.005)
    assert "the microphone 'Laptop microphone' delivers nothing: wake it" in str(run.error)
    assert isinstance(run.error, DeviceError)


def test_a_sound_server_that_does_not_answer_is_left_behind(driven, monkeypatch):
    run = driven(wait_s=0.5)
    run.feed(np.zeros(BLOCK, np.float32))
    run.hear()
    run.wait_for(lambda: run.session._connection._has_delivered)
    monkeypatch.setattr(connection, "CLOSE_S", 0.1)
    answer = threading.Event()
    monkeypatch.setattr(FakeStream, "close", lambda stream: answer.wait(20))
    run.fake._exit_handler = print
    run.fake.opened[1].active = False
    run.thread.join(timeout=5)
    assert not run.thread.is_alive()
    assert "did not come back within 0.5 s" in str(run.error)
    answer.set()


def test_time_limit(fake):
    fake._exit_handler = print
    answer = threading.Event()
    assert time_limit.within(5, lambda: 3) == 3
    with pytest.raises(OptionError, match="as it is"):
        time_limit.within(5, lambda: (_ for _ in ()).throw(OptionError("as it is")).__next__())
    with pytest.raises(DeviceError, match=r"has not answered for 0\.1 s"):
        time_limit.within(0.1, lambda: answer.wait(20))
    assert time_limit.is_left_behind()
    answer.set()
    end = time.monotonic() + 10
    while time_limit.is_left_behind():
        assert time.monotonic() < end, "the call has come back"
        time.sleep(0.001)


# ---- what the microphone gives ----


def test_samples_that_are_no_numbers_become_silence_and_are_told(driven, noise, tmp_path):
    run, mix = driven(), noise(BLOCK * 20)
    broken = mix.copy()
    broken[300:305], broken[1000], broken[2000] = np.nan, np.inf, 3e9
    for block in broken.reshape(-1, BLOCK):
        run.feed(block)
    run.wait_for(lambda: run.session.status().messages)
    run.end()
    assert run.error is None
    assert run.final.invalid == 7
    assert "7" not in run.final.messages[0]
    assert "are no numbers, or far beyond full scale; they became silence" in run.final.messages[0]
    expected = np.where(broken == mix, mix, 0)
    np.testing.assert_array_equal(read(tmp_path / "rec")[0], expected)


def test_one_channel_is_taken(fake):
    fake.default.device = [1, 1]
    pair = devices.choose(None, None, None, RATE, input_channel=2)
    assert (pair.source.channels, pair.source.channel) == (2, 2)
    stereo = np.stack([np.full(64, 0.1), np.full(64, 0.5)], axis=1).astype(np.float32)
    assert Intake(RATE, pair.source.channel).process(stereo).tolist() == [0.5] * 64
    assert Intake(RATE).process(stereo)[0] == pytest.approx(0.3)
    with pytest.raises(OptionError, match="has channels 1 to 2, not 3"):
        devices.choose(None, None, None, RATE, input_channel=3)


def blocks(sound):
    return sound.reshape(-1, BLOCK, sound.shape[1] if sound.ndim == 2 else 1)


def test_zeros_for_seconds_are_noticed_and_channels_that_cancel(noise):
    seconds = round(intake.SILENCE_S * RATE) // BLOCK * BLOCK
    silent, cancelled, quiet = Intake(RATE), Intake(RATE), Intake(RATE)
    voice = noise(seconds + BLOCK)
    for block in blocks(np.zeros(seconds + BLOCK, np.float32)):
        silent.process(block)
    for block in blocks(np.stack([voice, -voice], axis=1)):
        cancelled.process(block)
    for block in blocks(np.where(np.arange(seconds + BLOCK) % 40000 == 0, 1e-6, 0).astype(np.float32)):
        quiet.process(block)
    assert (silent.is_silent, silent.is_cancelled) == (True, False)
    assert (cancelled.is_silent, cancelled.is_cancelled) == (True, True)
    assert not quiet.is_silent
    silent.process(voice[:BLOCK, None])
    assert not silent.is_silent


def test_an_offset_is_removed_and_sound_without_one_is_not_touched():
    voice = np.resize(mixture(), 8 * RATE // BLOCK * BLOCK)
    plain, shifted = Intake(RATE), Intake(RATE)
    untouched = np.concatenate([plain.process(block) for block in blocks(voice)])
    centred = np.concatenate([shifted.process(block) for block in blocks(voice + np.float32(0.2))])
    np.testing.assert_array_equal(untouched, voice)
    assert np.abs(centred - voice)[RATE:].max() < 0.01
    assert np.abs(np.diff(centred - voice)).max() < 0.005


# ---- seams ----


def tone(seconds):
    return (0.38 * np.cos(2 * np.pi * 200 * np.arange(round(seconds * RATE)) / RATE)).astype(np.float32)


STEP = 0.05  # a tone of 200 Hz and 0.38 makes steps of 0.03


@pytest.mark.parametrize("frames", [32, 80, 128, 1000])
def test_a_seam_has_no_step_and_nothing_else_changes(frames):
    seam, sound = Seam(RATE), tone(1)
    pieces = []
    for k in range(0, len(sound), frames):
        if k // frames in (3, 4, 9):
            seam.cut()
            pieces.append(seam.join(np.zeros(frames, np.float32)))
            seam.cut()
        pieces.append(seam.join(sound[k : k + frames]))
    seam.cut()
    pieces.append(seam.join(np.zeros(1000, np.float32)))
    joined = np.concatenate([np.zeros(1, np.float32), *pieces, np.zeros(1, np.float32)])
    assert np.abs(np.diff(joined)).max() < STEP
    assert joined[-500:].tolist() == [0] * 500
    untouched = sound[10 * frames + 80 :]
    np.testing.assert_array_equal(joined[-1001 - len(untouched) : -1001], untouched)


@pytest.mark.parametrize("at", [0, 1000])
def test_a_device_that_begins_with_silence_makes_no_step(at):
    intake, sound = Intake(RATE), tone(1)
    before = intake.process(sound[:at, None]) if at else sound[:0]
    gap = intake.miss(500) if at else sound[:0]
    silence, rest = np.zeros(300, np.float32), sound[at:]
    pieces = [
        intake.process(block[:, None]) for block in np.split(np.concatenate([silence, rest]), [250, 310])
    ]
    joined = np.concatenate([before, gap, *pieces])
    assert np.abs(np.diff(joined)).max() < STEP
    np.testing.assert_array_equal(joined[-len(rest) + 80 :], rest[80:])


@pytest.mark.parametrize("begin", [3000, 3013, 3070])
@pytest.mark.parametrize("missing", [8, 40, 256])
def test_zeros_that_a_server_puts_amid_sound_make_no_step(begin, missing):
    intake, sound = Intake(RATE), tone(1)[: 124 * BLOCK]
    given = np.where(np.isin(np.arange(len(sound)), begin + np.arange(missing)), np.float32(0), sound)
    assert np.abs(np.diff(given)).max() > 2 * STEP
    joined = np.concatenate([intake.process(block) for block in blocks(given)])
    assert np.abs(np.diff(joined)).max() < STEP
    np.testing.assert_array_equal(joined[:begin], sound[:begin])
    np.testing.assert_array_equal(joined[begin + missing + 80 :], sound[begin + missing + 80 :])


@pytest.mark.parametrize("first", [0, 1, 7])
def test_sound_that_passes_zero_often_is_not_touched(first):
    whistle = np.resize(np.array([0.0, 0.4, 0.0, -0.4], np.float32), 124 * BLOCK)
    whistle[:first] = 0.4  # begins with sound, else it fades in
    intake = Intake(RATE)
    joined = np.concatenate([intake.process(block) for block in blocks(whistle)])
    np.testing.assert_array_equal(joined[80:], whistle[80:])


def test_start_underflow_catching_up_and_end_are_heard_without_a_step():
    output = OutputQueue(RATE, 0.03)
    sound, heard, came = tone(4), [], RATE

    def put(blocks):
        nonlocal sound, came
        output.put(sound[: blocks * BLOCK], blocks * BLOCK)
        sound, came = sound[blocks * BLOCK :], came + blocks * BLOCK

    output._done = came
    for at in range(120):
        put({30: 0, 31: 0, 32: 0, 33: 0, 34: 0, 60: 40}.get(at, 1))
        if at == 110:
            output.end()
        heard.append(output.take(BLOCK, came))
    assert output.underflows >= 1
    assert output.overflows == 1
    joined = np.concatenate(heard)
    assert np.abs(np.diff(joined)).max() < STEP
    assert (heard[0] == 0).all()
    assert (heard[-1] == 0).all()
    assert np.abs(joined).max() > 0.37


def test_after_silence_of_the_device_itself_sound_fades_in():
    output, sound, heard = OutputQueue(RATE, 0.03), tone(1), []
    output._done = came = RATE
    for at, block in enumerate(np.split(sound[: 40 * BLOCK], 40)):
        output.put(block, BLOCK)
        came += BLOCK
        if at == 30:
            output.lose()
            heard.append(np.zeros(BLOCK, np.float32))
        heard.append(output.take(BLOCK, came))
    assert output.underflows == 1
    assert np.abs(heard[29]).max() > 0.1
    assert np.abs(np.diff(np.concatenate(heard[30:]))).max() < STEP
    assert np.abs(heard[35]).max() > 0.1


def test_blocks_that_are_too_many_are_one_gap():
    arriving = InputQueue(RATE, BLOCK)
    most = round(queues.MOST_WAITING_S * RATE / BLOCK)
    for _ in range(most + 30):
        arriving.put(np.ones((BLOCK, 1), np.float32))
    for _ in range(most // 2):
        assert isinstance(arriving.take(), np.ndarray)
    assert arriving.overflows == 30
    arriving.put(np.ones((BLOCK, 1), np.float32))
    arriving.end()
    taken = [arriving.take() for _ in range(most // 2 + 3)]
    gaps = [piece for piece in taken if isinstance(piece, queues.Gap)]
    assert gaps == [queues.Gap(30 * BLOCK, 30 * BLOCK)]
    assert taken[-1] is None


@pytest.mark.parametrize("burst", [0, 3, 7])
def test_what_a_device_has_gathered_when_it_is_back_does_not_add_up(monkeypatch, burst):
    """Ten times away for 5 s; back, it gives so many blocks at once that it gathered while it opened."""
    clock_s, total = 100.0, 0
    monkeypatch.setattr(queues.time, "perf_counter", lambda: clock_s)
    arriving = InputQueue(RATE, BLOCK)
    block = np.zeros((BLOCK, 1), np.float32)
    for visit in range(11):
        if visit:
            clock_s += 5.0
            arriving.restart()
        for _ in range(burst):
            arriving.put(block)
        for _ in range(RATE // BLOCK):
            arriving.put(block)
            clock_s += BLOCK / RATE
        while not arriving._blocks.empty():
            taken = arriving.take()
            total += taken.samples if isinstance(taken, queues.Gap) else len(taken)
    true_s = clock_s - 100.0
    assert total / RATE == pytest.approx(true_s, abs=2 * (burst + 1) * BLOCK / RATE)
