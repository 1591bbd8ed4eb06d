"""C, C++, C# and JavaScript give what the bundles' examples expect, and what Python gives, at every depth."""

from __future__ import annotations

import ctypes as c
import functools
import shutil
from pathlib import Path

import node_package
import numpy as np
import pytest
import soundfile
from embedding import ONNXRUNTIME, Built, estimates
from toys import make_stream_toy, make_toy, toy_estimate

import tisdiss_rt
from benchmarks.c_library import OK, OpenOptions, RunOptions, load
from tisdiss_rt.estimate.estimator import Estimated
from tisdiss_rt.planning.forecast import Timings
from tisdiss_rt.talkers.windows import in_windows

PACKAGE = Path(tisdiss_rt.__file__).parent
BUNDLES = {name: PACKAGE / "bundles" / name for name in ("edge-16k", "live-16k")}
TOLERANCE = 1e-4


@pytest.fixture(scope="session", params=["c", "cpp", "csharp", "node"])
def command(request: pytest.FixtureRequest) -> list[str | Path]:
    """The conformance program in each language."""
    if request.param == "csharp":
        return ["mono", request.getfixturevalue("csharp") / "Conformance.exe"]
    if request.param == "node":
        return ["node", node_package.built() / "conformance.mjs"]
    return [request.getfixturevalue("release").programs / f"conformance_{request.param}"]


def passes_on(command: list[str | Path]) -> bool:
    """Whether this is C++ or C#, which pass on what C computes: of what takes long, they run a part."""
    return Path(command[0]).name in ("conformance_cpp", "mono")


def example() -> np.ndarray:
    """Three seconds of the example: (n,)."""
    return soundfile.read(PACKAGE / "example" / "two_voices.wav", 48000, dtype="float32")[0]


def compare(found: np.ndarray, expected: np.ndarray) -> None:
    assert np.abs(found - expected).max() <= TOLERANCE * np.abs(expected).max()


@functools.cache
def every_depth(bundle: Path) -> list[np.ndarray]:
    """What Python makes of the bundle's example at every depth that it may run."""
    engine = tisdiss_rt.Separator(bundle, provider="cpu").engine
    return list(engine.every_depth(np.load(bundle / "conformance.npz")["mix"], engine.manifest.depth.max))


@pytest.mark.parametrize("name", ["edge-16k", "live-16k", "toy", "stream-toy"])
def test_example_of_the_bundle(
    command: list[str | Path], name: str, toys: dict[str, Path], tmp_path: Path
) -> None:
    """Against Python and the file: a toy at every depth, others at those of the file and the deepest."""
    bundle = BUNDLES.get(name) or toys[name]
    arrays = np.load(bundle / "conformance.npz")
    mix, of_python = arrays["mix"], every_depth(bundle)
    deepest = len(of_python) - 1
    chosen = [d for d in range(deepest + 1) if name in toys or d == deepest or f"est_{d}" in arrays]
    if name in BUNDLES and passes_on(command):
        chosen = [4]
    expected = [of_python[depth] for depth in chosen]
    if "depths" in arrays:
        runs = [f"stream:{depth}:{1 + 53 * depth}" for depth in chosen]
        runs += ["separate:2", "steps:" + ",".join(map(str, arrays["depths"]))]
        expected += [of_python[2], arrays["est_switching"]]
    else:
        runs = [f"separate:{depth}" for depth in chosen]
    for found, wanted in zip(estimates(command, bundle, mix, runs, tmp_path), expected, strict=True):
        compare(found, wanted)
        stored = arrays.get(f"est_{runs.pop(0).split(':')[1]}")
        if stored is not None:
            compare(found, stored)


@functools.cache
def example_in_windows(window_s: float) -> np.ndarray:
    """What Python makes of the example at depth 3."""
    separator = tisdiss_rt.Separator("edge-16k", provider="cpu", precision="fp32")
    return separator.separate(example(), 16000, depth=3, window_s=window_s).sources


def window_by_window(bundle: Path, mix: np.ndarray, depth: int, window_s: float) -> np.ndarray:
    """What Python separates with the order decided from window to window, as without voiceprints."""
    separator = tisdiss_rt.Separator(bundle, provider="cpu")
    plan = separator.plan(depth=depth, window_s=window_s)
    return np.concatenate(list(in_windows(separator.engine, iter([mix]), plan, Timings(), [])), axis=1)


def in_turns() -> np.ndarray:
    """Two people who talk in turn, pause and talk at once: (n,)."""
    paths = (PACKAGE / "example" / f"two_voices_ref{number}.wav" for number in (1, 2))
    first, second = (soundfile.read(path, dtype="float32")[0] for path in paths)
    turn, pause = 24000, np.zeros(16000, np.float32)
    parts = [first[:turn], second[:turn], pause, first[turn : 2 * turn], (first + second)[:turn]]
    mix: np.ndarray = np.concatenate(parts)
    return mix


def alone() -> np.ndarray:
    """Return one of the voices of the example: (n,)."""
    return soundfile.read(PACKAGE / "example" / "two_voices_ref1.wav", dtype="float32")[0]


def at_once(name: str, mix: np.ndarray, window_s: float | None = None) -> np.ndarray:
    separator = tisdiss_rt.Separator(name, provider="cpu", precision="fp32")
    return separator.separate(mix, 16000, depth=1, window_s=window_s).sources


def streamed(name: str, mix: np.ndarray) -> np.ndarray:
    stream = tisdiss_rt.Separator(name, provider="cpu").stream(16000, depth=1)
    return np.concatenate([stream.process(mix), stream.flush()], axis=1)


@functools.cache
def talkers() -> dict[str, tuple[str, np.ndarray, str, np.ndarray]]:
    """Bundle, mixture, how the programs run it, and what Python makes of it."""
    edge, live, mix = "edge-16k", "live-16k", in_turns()
    found = at_once(edge, mix, 1.0)
    by_windows = window_by_window(BUNDLES[edge], mix, 1, 1.0)
    assert np.abs(found - by_windows).max() > 0.01  # so there is something to decide
    return {
        "windows": (edge, mix, "windows:1:1.0", found),
        "alone": (edge, alone(), "windows:1:1.0", at_once(edge, alone(), 1.0)),
        "whole": (live, mix, "separate:1", at_once(live, mix)),
        "stream": (live, mix, "stream:1:777", streamed(live, mix)),
    }


@pytest.mark.parametrize("case", ["windows", "alone", "whole", "stream"])
def test_talkers(command: list[str | Path], case: str, tmp_path: Path) -> None:
    """Every talker comes out where Python has them: whole signals in windows and steps, and streams."""
    name, mix, how, expected = talkers()[case]
    (found,) = estimates(command, BUNDLES[name], mix, [how], tmp_path)
    compare(found, expected)


def test_windows(command: list[str | Path], tmp_path: Path) -> None:
    lengths = (1.0,) if passes_on(command) else (0.5, 1.0, 2.0)
    runs = [f"windows:3:{window_s}" for window_s in lengths]
    found = estimates(command, BUNDLES["edge-16k"], example(), runs, tmp_path)
    for window_s, estimate in zip(lengths, found, strict=True):
        compare(estimate, example_in_windows(window_s))


@pytest.mark.parametrize("length", [1, 31, 799, 800, 801, 1200, 1201, 4801, 5000])
def test_windows_whose_sources_change_places(
    command: list[str | Path], toys: dict[str, Path], length: int, tmp_path: Path
) -> None:
    mix = np.random.default_rng(length).uniform(-0.5, 0.5, length).astype(np.float32)
    mix[1600:2600] = 0  # silent windows run nothing
    (found,) = estimates(command, toys["toy"], mix, ["windows:2:0.05"], tmp_path)
    compare(found, window_by_window(toys["toy"], mix, 2, 0.05))


@pytest.mark.parametrize("chunk", [1, 127, 128, 5000])
def test_streams_of_any_length(
    command: list[str | Path], toys: dict[str, Path], chunk: int, tmp_path: Path
) -> None:
    for length in (1, 127, 128, 129, 700):
        mix = np.random.default_rng(length).uniform(-0.5, 0.5, length).astype(np.float32)
        (found,) = estimates(command, toys["stream-toy"], mix, [f"stream:3:{chunk}"], tmp_path)
        stream = tisdiss_rt.Separator(toys["stream-toy"], provider="cpu").stream(16000, depth=3)
        compare(found, np.concatenate([stream.process(mix), stream.flush()], axis=1))


def test_integers(release: Built) -> None:
    """The library runs the precision that it is asked for."""
    library = load(release.prefix / "lib" / "libtisdiss_rt.so")
    bundle, mix = c.c_void_p(), example()[:32000].copy()
    options = OpenOptions(onnxruntime=str(ONNXRUNTIME).encode(), precision=b"int8")
    name = str(BUNDLES["edge-16k"]).encode()
    assert library.tisdiss_open(name, c.byref(options), c.byref(bundle)) == OK
    found = np.zeros((2, len(mix)), np.float32)
    sound, rows = (array.ctypes.data_as(c.c_void_p) for array in (mix, found))
    run = RunOptions(depth=2)
    assert library.tisdiss_separate(bundle, sound, len(mix), c.byref(run), rows, len(mix), None) == OK
    library.tisdiss_close(bundle)
    integers, floats = (
        tisdiss_rt.Separator("edge-16k", "cpu", precision=precision).separate(mix, 16000, depth=2).sources
        for precision in ("int8", "fp32")
    )
    compare(found, integers)
    assert np.abs(found - floats).max() > 10 * TOLERANCE * np.abs(floats).max()


TOLERANCE_DB = 1e-3


def compare_told(found: np.ndarray, estimate: Estimated, depth: int) -> None:
    """The first numbers of what a program gives are those of Python."""
    expected = (estimate.si_sdr_db, estimate.low_db, estimate.high_db)
    assert np.abs(found[0, :3] - expected).max() <= TOLERANCE_DB
    assert found[0, 3] == depth


@pytest.mark.parametrize("case", ["turns", "alone", "telling toy", "toy with a voice alone", "alone at once"])
def test_estimates(command: list[str | Path], case: str, tmp_path: Path) -> None:
    """What is told of a whole signal, in windows."""
    if case == "turns":
        folder, mix, depth, window_s = BUNDLES["edge-16k"], in_turns()[:80000], 3, 1.0
    elif case == "alone":
        noise = np.random.default_rng(0).normal(0, 0.03, len(alone())).astype(np.float32)
        folder, mix, depth, window_s = BUNDLES["edge-16k"], alone() + noise, 3, 1.0
    else:
        part = toy_estimate(**({"alone": (7.0, 10.0)} if "alone" in case else {}))
        folder = make_toy(tmp_path / "toy", split="gain", tells_change=True, parts=(part,))
        mix = np.random.default_rng(3).uniform(-0.5, 0.5, 5000).astype(np.float32)
        depth, window_s = 1 if "once" in case else 4, 0.05
    separator = tisdiss_rt.Separator(folder, provider="cpu", precision="fp32")
    expected = separator.separate(mix, 16000, depth=depth, window_s=window_s, min_gain_db=0.3)
    assert expected.estimate is not None
    assert expected.one_talker == (case == "alone")
    (found,) = estimates(command, folder, mix, [f"estimate:{depth}:{window_s}:0.3"], tmp_path)
    compare_told(found, expected.estimate, expected.steps[-1].depth)
    compare(found[:, 4:], expected.sources[:, 4:])
    assert (not expected.sources[1].any()) == ("alone" in case)


@pytest.mark.parametrize(("tone_hz", "one_talker"), [(1000, False), (1031, True)])
def test_estimates_by_steps(
    command: list[str | Path], tone_hz: int, one_talker: bool, tmp_path: Path
) -> None:
    """What is told of a whole signal in steps; of 1031 Hz one of the toy's voices has hardly anything."""
    voice = tisdiss_rt.bundle.load("live-16k").part("voice")
    folder = make_stream_toy(tmp_path / "toy", tells_change=True, parts=(toy_estimate(), voice))
    shutil.copy(BUNDLES["live-16k"] / "voice.onnx", folder)
    mix = 0.1 * np.sin(2 * np.pi * tone_hz * np.arange(64000, dtype=np.float32) / 16000)
    expected = tisdiss_rt.Separator(folder, provider="cpu").separate(mix, 16000, depth=1)
    assert expected.estimate is not None
    assert expected.one_talker == one_talker
    (found,) = estimates(command, folder, mix, ["estimate:1:0:0"], tmp_path)
    compare_told(found, expected.estimate, 1)


def test_estimates_of_streams(command: list[str | Path], tmp_path: Path) -> None:
    """What is told of the last two seconds of a stream."""
    folder = make_stream_toy(tmp_path / "toy", tells_change=True, parts=(toy_estimate(),))
    mix = np.random.default_rng(3).uniform(-0.5, 0.5, 60000).astype(np.float32)
    stream = tisdiss_rt.Separator(folder, provider="cpu").stream(16000, depth=2)
    stream.process(mix)
    stream.flush()
    told = [voice for voice in stream.voices or () if voice is not None]
    assert told
    last = Estimated(
        *(float(np.mean([getattr(v, f) for v in told])) for f in ("si_sdr_db", "low_db", "high_db"))
    )
    (found,) = estimates(command, folder, mix, ["told:2:777"], tmp_path)
    compare_told(found, last, 2)


def test_estimates_of_the_example(command: list[str | Path], tmp_path: Path) -> None:
    """What is told of the bundle's example is what the file has."""
    arrays = np.load(BUNDLES["edge-16k"] / "conformance.npz")
    depths = [depth for depth in range(9) if f"estimate_{depth}" in arrays]
    assert len(depths) > 5
    if passes_on(command):
        depths = [4]
    runs = [f"estimate:{depth}:0:0" for depth in depths]
    told = estimates(command, BUNDLES["edge-16k"], arrays["mix"], runs, tmp_path)
    for depth, found in zip(depths, told, strict=True):
        assert np.abs(found[0, :3] - np.nanmean(arrays[f"estimate_{depth}"], axis=0)).max() <= TOLERANCE_DB
