"""The LADSPA plug-in gives the voices that the C library gives, at every rate, in every kind of host."""

from __future__ import annotations

import ctypes as c
import functools
import os
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import scipy.signal
import soundfile
from attempts import attempts
from embedding import ONNXRUNTIME, Built, need, opened, pointer, run
from ladspa_host import BUDGET, BUFFER, DEPTH, PORTS, VOICE, Instance, descriptor, hosted
from test_conformance import BUNDLES, PACKAGE

from benchmarks.c_library import OK, RunOptions
from benchmarks.live import plugin as in_servers
from benchmarks.live.virtual_sound import VirtualPipeWire, missing
from tisdiss_rt.priority import raised_priority

STEP = 128


@pytest.fixture(scope="session")
def plugin(release: Built) -> Path:
    path = release.prefix / "lib" / "ladspa" / "tisdiss_ladspa.so"
    if not path.exists():
        pytest.skip("needs packages of Debian: ladspa-sdk libspeexdsp-dev")
    return path


@pytest.fixture(autouse=True)
def surroundings(monkeypatch: pytest.MonkeyPatch, toys: dict[str, Path], plugin: Path) -> None:
    monkeypatch.setenv("TISDISS_ONNXRUNTIME", str(ONNXRUNTIME))
    monkeypatch.setenv("TISDISS_BUNDLE", str(toys["stream-toy"]))
    monkeypatch.setenv("LADSPA_PATH", str(plugin.parent))


def noise(samples: int) -> np.ndarray:
    return (0.1 * np.random.default_rng(0).standard_normal(samples)).astype(np.float32)


@functools.cache
def example() -> np.ndarray:
    return soundfile.read(PACKAGE / "example" / "two_voices.wav", dtype="float32")[0]


def stream_of_the_library(library: c.CDLL, bundle: Path, mix: np.ndarray, depth: int) -> np.ndarray:
    """What a stream of the C library gives for (n,): (2, n)."""
    status, text, handle = opened(library, bundle)
    assert status == OK, text
    stream, given = c.c_void_p(), c.c_size_t()
    assert library.tisdiss_stream_open(handle, c.byref(RunOptions(depth=depth)), c.byref(stream)) == OK
    mix = np.append(mix, np.zeros(2 * STEP, np.float32))  # instead of the end
    rows = np.zeros((2, len(mix)), np.float32)
    arguments = (stream, pointer(mix), len(mix), pointer(rows), len(mix), c.byref(given))
    assert library.tisdiss_stream_process(*arguments) == OK
    library.tisdiss_stream_free(stream)
    library.tisdiss_close(handle)
    return rows[:, : len(mix) - 2 * STEP]


def voices_of(
    instance: Instance, sound: np.ndarray, blocks: Sequence[int], paced: bool = False
) -> np.ndarray:
    """The voices of (n,) without the latency: (2, n)."""
    longer = np.append(sound, np.zeros(3000 + max(blocks), np.float32))
    given = instance.play(longer, blocks, paced)
    assert not given[:, : instance.latency].any()
    return given[:, instance.latency : instance.latency + len(sound)]


def db_above_difference(found: np.ndarray, expected: np.ndarray) -> float:
    return float(10 * np.log10((expected**2).sum() / ((found - expected) ** 2).sum()))


def test_what_hosts_read(plugin: Path) -> None:
    found = descriptor(plugin)
    assert [found.names[i].decode() for i in range(found.port_count)] == list(PORTS)
    need("listplugins", "analyseplugin")
    assert "(7629171/tisdiss)" in run("listplugins").stdout
    told = run("analyseplugin", plugin, "tisdiss").stdout
    for line in (
        '"Input" input, audio',
        '"Output 2" output, audio',
        '"Budget (ms)" input, control, 0 to 8, default 6',
        '"Depth" input, control, 0 to 8, default 4, integer',
        '"Voice" input, control, 0 to 2, default 0, integer',
        '"Buffer (ms)" input, control, 8 to 100, default 8',
        '"latency" output, control',
    ):
        assert line in told, told


@pytest.mark.parametrize("blocks", [(STEP,), (1000, 17, 300), (16_000,)])
def test_every_block(library: c.CDLL, plugin: Path, toys: dict[str, Path], blocks: Sequence[int]) -> None:
    mix = noise(30_000)
    expected = stream_of_the_library(library, toys["stream-toy"], mix, 1)
    with hosted(plugin, 16000) as instance:
        np.testing.assert_allclose(voices_of(instance, mix, blocks), expected, atol=1e-6)
        assert instance.latency == 2 * STEP + max(blocks) + STEP
        instance.reset()
        np.testing.assert_allclose(voices_of(instance, mix, blocks), expected, atol=1e-6)
        instance.reset()
        begun = [instance.run(mix[i : i + STEP], in_place=True) for i in range(0, 1024, STEP)]
        at = instance.latency
        np.testing.assert_allclose(np.hstack(begun)[:, at:], expected[:, : 1024 - at], atol=1e-6)


@pytest.mark.parametrize("rate", [16000, 48000])
def test_nothing_is_left_from_before_a_reset(plugin: Path, rate: int) -> None:
    mix = noise(9600)
    with hosted(plugin, rate) as instance:
        expected = instance.play(mix, [STEP])
        instance.reset()
        np.testing.assert_array_equal(instance.play(mix, [STEP]), expected)


def test_a_host_that_renders_and_pauses(library: c.CDLL, plugin: Path, toys: dict[str, Path]) -> None:
    """A pause between two calls, as where a file comes slowly, does not make it one that plays."""
    mix = noise(64_000)
    expected = stream_of_the_library(library, toys["stream-toy"], mix, 1)
    with hosted(plugin, 16000) as instance:
        begun = instance.run(mix[:16_000])
        time.sleep(1)
        found = np.hstack([begun, instance.run(mix[16_000:])])[:, instance.latency :]
    np.testing.assert_allclose(found, expected[:, : found.shape[1]], atol=1e-6)


def test_applyplugin(library: c.CDLL, plugin: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A host that renders a file, with the bundle that is installed with the plug-in."""
    need("applyplugin")
    monkeypatch.delenv("TISDISS_BUNDLE")
    soundfile.write(tmp_path / "talk.wav", example(), 16000, subtype="PCM_16")
    command = ("applyplugin", "-s", "1", tmp_path / "talk.wav", tmp_path / "voices.wav", plugin, "tisdiss")
    done = run(*command, "0", "1", "0", "8")
    assert done.returncode == 0, done.stderr
    found = soundfile.read(tmp_path / "voices.wav", dtype="float32")[0].T
    latency = 2 * STEP + 2048 + STEP  # its blocks
    expected = stream_of_the_library(library, BUNDLES["live-16k"], example(), 1)
    found = found[:, latency : latency + expected.shape[1]]
    assert np.abs(found - expected).max() < 1e-6 + 1 / 32768


@pytest.mark.parametrize("rate", [16000, 44100, 48000])
def test_the_example(library: c.CDLL, plugin: Path, rate: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TISDISS_BUNDLE", str(BUNDLES["live-16k"]))
    sound = example()[: 2 * 16000]
    if rate != 16000:
        sound = scipy.signal.resample_poly(sound, rate, 16000).astype(np.float32)
    mix = scipy.signal.resample_poly(sound, 16000, rate).astype(np.float32)
    expected = stream_of_the_library(library, BUNDLES["live-16k"], mix, 1)
    with hosted(plugin, rate) as instance:
        instance.controls[DEPTH] = 1
        found = voices_of(instance, sound, [256])
        latency_ms = 1e3 * instance.latency / rate
    if rate == 16000:
        np.testing.assert_allclose(found, expected, atol=1e-6)
        return
    assert latency_ms < 16 + 8 + 1e3 * 256 / rate + 6
    expected = scipy.signal.resample_poly(expected, rate, 16000, axis=1)[:, : len(sound)]
    begun = rate // 2  # who is who is open where somebody begins to talk, and the least difference decides it
    assert db_above_difference(found[:, begun:], expected[:, begun:]) > 30


def test_controls(
    library: c.CDLL, plugin: Path, toys: dict[str, Path], capfd: pytest.CaptureFixture[str]
) -> None:
    mix = noise(16000)
    expected = stream_of_the_library(library, toys["stream-toy"], mix, 3)
    with hosted(plugin, 16000) as instance:
        for voice, rows in ((0, [0, 1]), (1, [0, 0]), (2, [1, 1])):
            instance.controls[[DEPTH, VOICE]] = 3, voice
            instance.reset()
            np.testing.assert_allclose(voices_of(instance, mix, [500]), expected[rows], atol=1e-6)
        # A budget that is enough for all depths up to the trained one, from then on and back again.
        instance.reset()
        instance.controls[[DEPTH, VOICE]] = 1, 0
        for budget_ms in (0, 1e6, 0, np.nan):
            instance.controls[BUDGET] = budget_ms
            given = instance.play(mix, [500])
            assert np.abs(given).max() > 0.01
        # From one voice to the other there is no step.
        instance.reset()
        instance.controls[[BUDGET, DEPTH]] = 0, 3
        constant = np.full(8000, 0.5, np.float32)
        before = instance.play(constant, [STEP])[0, -1]
        instance.controls[VOICE] = 2
        after = instance.play(constant, [STEP])[0]
        assert abs(before - after[-1]) > 0.2
        assert np.abs(np.diff(after, prepend=before)).max() < 0.02
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("rate", [16000, 48000])
def test_a_longer_buffer(plugin: Path, rate: int) -> None:
    """It adds to the latency and changes nothing else; while the plug-in is active, it does not shrink."""
    mix = noise(8000)
    with hosted(plugin, rate) as instance:
        expected, latency = voices_of(instance, mix, [STEP]), instance.latency
        instance.controls[BUFFER] = 32
        instance.reset()
        np.testing.assert_array_equal(voices_of(instance, mix, [STEP]), expected)
        assert instance.latency == latency + rate * 24 // 1000
        instance.controls[BUFFER] = 8
        instance.run(mix[:STEP])
        assert instance.latency == latency + rate * 24 // 1000


def test_sound_that_is_none(plugin: Path) -> None:
    mix = noise(16000)
    mix[3000:3100], mix[5000:5100], mix[7000:7100] = np.nan, np.inf, -1e30
    with hosted(plugin, 16000) as instance:
        given = instance.play(mix, [STEP])
    assert np.abs(given).max() <= 1
    assert np.abs(given[:, -1000:]).max() > 0.01


def test_without_a_bundle(
    plugin: Path, toys: dict[str, Path], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """The host is told that there is no plug-in, and whoever reads its messages why."""
    found = descriptor(plugin)
    for variable, value, rate, message in (
        ("TISDISS_BUNDLE", "/nowhere", 48000, "there is no such folder; TISDISS_BUNDLE names"),
        ("TISDISS_BUNDLE", str(toys["toy"]), 48000, "for whole signals"),
        ("TISDISS_ONNXRUNTIME", "/nowhere", 48000, "ONNX Runtime cannot be loaded from /nowhere"),
        ("TISDISS_BUNDLE", str(toys["stream-toy"]), 0, "resampling"),
    ):
        with monkeypatch.context() as patch:
            patch.setenv(variable, value)
            assert not found.instantiate(c.addressof(found), rate)
        text = capfd.readouterr().err
        assert text.startswith("tisdiss_ladspa: ") and message in text


def calls(
    seconds: float, block_s: float, work: float, waited: float = 0.0, paced: bool = False, at_once: int = 1
) -> list[tuple[float, float, float]]:
    """When each call of a host begins and ends, and how much sound it has.

    Args:
        seconds: of sound.
        block_s: of each call.
        work: of the host between two calls, as a share of the block.
        waited: in a call, likewise.
        paced: by a clock.
        at_once: as many calls are made without a pause.
    """
    found, now_s = [], 0.0
    for i in range(round(seconds / block_s)):
        if paced and i % at_once == 0:
            now_s = max(now_s, i * block_s)
        found.append((now_s, now_s + waited * block_s, block_s))
        now_s += (waited + work) * block_s
    return found


def are_of_a_player(
    release: Built, made: list[tuple[float, float, float]], real_time: bool = False
) -> np.ndarray:
    """For each call whether the host counts as one that plays."""
    text = "".join(f"{begin_s} {end_s} {sound_s}\n" for begin_s, end_s, sound_s in made)
    command = [release.programs / "pace_cpp", str(int(real_time))]
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=True)
    return np.array(done.stdout.split()) == "1"


@pytest.mark.parametrize("block", [16, 256, 1024, 4096])
def test_who_plays(release: Built, block: int) -> None:
    block_s = block / 48000
    for work in (0.0, 0.4, 0.9):
        plays = are_of_a_player(release, calls(5, block_s, work, 0.02, paced=True))
        assert plays[round(1.3 / block_s) :].all(), work
    held_up = calls(3, block_s, 0.1, paced=True)
    behind_s = held_up[-1][0] + block_s + 0.1
    made_up = [(behind_s, behind_s, block_s)] * round(0.1 / block_s)
    again = [(behind_s + begin_s, behind_s + end_s, block_s) for begin_s, end_s, _ in held_up]
    plays = are_of_a_player(release, [*held_up, *made_up, *again])
    assert not plays[len(held_up) + round(0.02 / block_s) + 1 : len(held_up) + len(made_up)].any()
    assert plays[len(held_up) + len(made_up) + round(0.02 / block_s) + 2 :].all()


@pytest.mark.parametrize("block", [256, 1024, 4096])
@pytest.mark.parametrize("slowness", [1.1, 1.5, 2.2])
def test_who_plays_but_is_held_up_by_the_plugin(release: Built, block: int, slowness: float) -> None:
    """With a thread that is too slow from the first block on, and a clock that leaves out what is late."""
    block_s = block / 48000
    found, now_s, ready_s = [], 0.0, 0.0
    for _ in range(round(5 / block_s)):
        ready_s = max(ready_s, now_s) + slowness * block_s
        found.append((now_s, max(now_s, ready_s - block_s), block_s))
        now_s = block_s * np.ceil(found[-1][1] / block_s + 1e-6)
    assert are_of_a_player(release, found, real_time=True)[-10:].any()


@pytest.mark.parametrize("real_time", [False, True])
@pytest.mark.parametrize("block", [16, 256, 1024, 4096, 48000])
def test_who_renders(release: Built, block: int, real_time: bool) -> None:
    """Also a host that has work of its own for most of a block, whether or not it waits for the voices."""
    block_s = block / 48000
    for work in (0.001, 0.3, 0.75, 0.85):
        for waited in (0.0, 0.05, 0.55, 1.4):
            plays = are_of_a_player(release, calls(5, block_s, work, waited), real_time)
            assert not plays.any(), (work, waited)
    pauses = [
        (begin_s + begin_s // 1, end_s + begin_s // 1, sound_s)
        for begin_s, end_s, sound_s in calls(10, block_s, 0.75)
    ]
    assert not are_of_a_player(release, pauses, real_time).any()
    in_pairs = calls(5, block_s, 0.0, paced=True, at_once=2)
    assert not are_of_a_player(release, in_pairs, real_time).any()


@pytest.mark.realtime
@pytest.mark.parametrize(("name", "block"), [("stream-toy", 160), ("live-16k", 16)])
def test_a_host_that_plays(
    library: c.CDLL,
    plugin: Path,
    toys: dict[str, Path],
    name: str,
    block: int,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """In time all is there, also where the host was held up and makes up for it.

    In blocks of 1 ms it takes some to notice: what is not ready is silent, the rest comes when it is due.
    """
    bundle = BUNDLES.get(name) or toys[name]
    monkeypatch.setenv("TISDISS_BUNDLE", str(bundle))
    mix = noise(20000)
    whole = stream_of_the_library(library, bundle, mix, 2)
    held_up = 117 * STEP + STEP - 16  # when nearly a step waits, the least of the voices is ready

    def play() -> None:
        with hosted(plugin, 16000) as instance, raised_priority():
            instance.controls[DEPTH] = 2
            begun = instance.play(mix[:held_up], [block], paced=True)
            time.sleep(0.1)
            made_up = instance.play(mix[held_up : held_up + 1600], [block])
            last = instance.play(mix[held_up + 1600 :], [block], paced=True)
            found = np.hstack([begun, made_up, last])[:, instance.latency :]
        expected = whole[:, : found.shape[1]]
        missing = (found == 0).all(axis=0) & (expected != 0).any(axis=0)
        np.testing.assert_allclose(found[:, ~missing], expected[:, ~missing], atol=1e-6)
        told = capfd.readouterr().err
        if name == "stream-toy":
            assert (missing.sum(), told) == (0, "")
        elif not missing.any():
            pytest.skip("too slow a machine to hurry the network: it kept up with the host")
        else:
            assert missing.sum() < 800
            assert abs(float(told.removeprefix("tisdiss_ladspa: ").split()[0]) - missing.sum() / 16) < 0.1

    attempts(4, play)


def test_the_thread_has_real_time_priority_while_the_host_has_it(plugin: Path) -> None:
    def policy(thread: int = 0) -> int:
        return os.sched_getscheduler(thread) & ~os.SCHED_RESET_ON_FORK

    def policies() -> tuple[int, int]:
        """Of the host's thread and of the plug-in's, which has computed by then."""
        before = set(os.listdir("/proc/self/task"))  # noqa: PTH208 - names, not paths
        instance.reset()
        (thread,) = set(os.listdir("/proc/self/task")) - before  # noqa: PTH208
        instance.play(noise(16_000), [STEP])
        return policy(), policy(int(thread))

    with hosted(plugin, 16000) as instance:
        with raised_priority() as said:
            if said != "real-time":
                pytest.skip("needs the right to real-time priority")
            assert policies() == (os.SCHED_RR, os.SCHED_RR)
        assert policies() == (os.SCHED_OTHER, os.SCHED_OTHER)


@pytest.mark.realtime
def test_nothing_waits_or_allocates_in_a_host_that_plays(release: Built, plugin: Path) -> None:
    done = run(release.programs / "plugin_cpp", plugin, "48000")
    assert (done.returncode, done.stdout) == (0, "0 0\n"), done.stderr


@pytest.mark.realtime
def test_no_data_races(watched: Path, plugin: Path) -> None:
    done = run(watched / "plugin_cpp", watched / "tisdiss_rt" / "ladspa" / plugin.name, "48000")
    assert done.returncode == 0, done.stderr


@pytest.mark.realtime
@pytest.mark.parametrize("server", ["pulseaudio", "pipewire"])
def test_in_a_sound_server(server: str, toys: dict[str, Path], tmp_path: Path) -> None:
    """As docs/ladspa.md does it; `python -m benchmarks.live.plugin` does it for ten minutes."""
    needed = missing() if server == "pulseaudio" else f"{missing()} {VirtualPipeWire.missing()}".strip()
    if needed:
        pytest.skip(f"needs packages of Debian: {needed}")
    same_db, told = in_servers.measure(server, toys["stream-toy"], 3, tmp_path)
    assert not told
    assert len(same_db) > 10
    assert same_db.min() > in_servers.LEAST_DB
