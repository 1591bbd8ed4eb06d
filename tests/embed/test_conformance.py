"""C, C++ and C# give what the bundles' examples expect, and what Python gives, at every depth."""

from __future__ import annotations

import ctypes as c
import functools
from pathlib import Path

import numpy as np
import pytest
import soundfile
from embedding import ONNXRUNTIME, Built, estimates

import tisdiss_rt
from benchmarks.c_library import OK, OpenOptions, RunOptions, load
from tisdiss_rt.planning.forecast import Timings
from tisdiss_rt.talkers.windows import in_windows

PACKAGE = Path(tisdiss_rt.__file__).parent
BUNDLES = {name: PACKAGE / "bundles" / name for name in ("edge-16k", "live-16k")}
TOLERANCE = 1e-4


@pytest.fixture(scope="session", params=["c", "cpp", "csharp"])
def command(request: pytest.FixtureRequest, release: Built) -> list[str | Path]:
    """The conformance program in each language."""
    if request.param == "csharp":
        return ["mono", request.getfixturevalue("csharp") / "Conformance.exe"]
    return [release.programs / f"conformance_{request.param}"]


@pytest.fixture(scope="session")
def example() -> np.ndarray:
    return soundfile.read(PACKAGE / "example" / "two_voices.wav", dtype="float32")[0]


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
    """Every depth that the bundle may run: against Python, and against the file where it has the depth."""
    bundle = BUNDLES.get(name) or toys[name]
    arrays = np.load(bundle / "conformance.npz")
    mix, expected = arrays["mix"], every_depth(bundle)
    depths = range(len(expected))
    if "depths" in arrays:
        runs = [f"stream:{depth}:{1 + 53 * depth}" for depth in depths]
        runs += ["separate:2", "steps:" + ",".join(map(str, arrays["depths"]))]
        expected = [*expected, expected[2], arrays["est_switching"]]
    else:
        runs = [f"separate:{depth}" for depth in depths]
    for found, wanted in zip(estimates(command, bundle, mix, runs, tmp_path), expected, strict=True):
        compare(found, wanted)
        stored = arrays.get(f"est_{runs.pop(0).split(':')[1]}")
        if stored is not None:
            compare(found, stored)


@functools.cache
def example_window_by_window(window_s: float) -> np.ndarray:
    """What Python makes of the example at depth 3."""
    mix = soundfile.read(PACKAGE / "example" / "two_voices.wav", dtype="float32")[0]
    return window_by_window(BUNDLES["edge-16k"], mix, 3, window_s)


def window_by_window(bundle: Path, mix: np.ndarray, depth: int, window_s: float) -> np.ndarray:
    """What Python separates with the order decided from window to window, as the library does."""
    separator = tisdiss_rt.Separator(bundle, provider="cpu")
    plan = separator.plan(depth=depth, window_s=window_s)
    return np.concatenate(list(in_windows(separator.engine, iter([mix]), plan, Timings(), [])), axis=1)


@pytest.mark.parametrize("window_s", [0.5, 1.0, 2.0])
def test_windows(command: list[str | Path], example: np.ndarray, window_s: float, tmp_path: Path) -> None:
    bundle = BUNDLES["edge-16k"]
    (found,) = estimates(command, bundle, example, [f"windows:3:{window_s}"], tmp_path)
    compare(found, example_window_by_window(window_s))


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


def test_integers(release: Built, example: np.ndarray) -> None:
    """The library runs the precision that it is asked for."""
    library = load(release.prefix / "lib" / "libtisdiss_rt.so")
    bundle, mix = c.c_void_p(), example[:32000].copy()
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
