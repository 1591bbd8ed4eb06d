"""What programs need around the library: progress, cancelling, threads, bundles in memory, and more."""

from __future__ import annotations

import ctypes as c
import re
import threading
import xml.etree.ElementTree as xml
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from embedding import ONNXRUNTIME, RUNTIME, Built, opened, pointer, run
from quotas import QUOTAS, write_quotas

from benchmarks.c_library import (
    ARGUMENT,
    BUNDLE,
    CANCELLED,
    OK,
    STATE,
    File,
    Info,
    OpenOptions,
    RunOptions,
)

RATE = 16000
Progress = c.CFUNCTYPE(c.c_int32, c.c_void_p, c.c_double)


def separate(
    library: c.CDLL, bundle: c.c_void_p, mix: np.ndarray, **options: object
) -> tuple[int, np.ndarray]:
    rows = np.zeros((2, len(mix)), np.float32)
    given = RunOptions(**{"depth": 1, **options})
    arguments = (bundle, pointer(mix), len(mix), c.byref(given), pointer(rows), len(mix), None)
    return library.tisdiss_separate(*arguments), rows


@pytest.fixture
def mix() -> np.ndarray:
    return (0.1 * np.random.default_rng(0).standard_normal(5 * RATE)).astype(np.float32)


@pytest.fixture(params=["toy", "stream-toy"])
def either(library: c.CDLL, toys: dict[str, Path], request: pytest.FixtureRequest) -> Iterator[c.c_void_p]:
    status, text, handle = opened(library, toys[request.param])
    assert status == OK, text
    yield handle
    library.tisdiss_close(handle)


def test_the_version_of_onnx_runtime(library: c.CDLL, bundle: c.c_void_p) -> None:
    info = Info()
    assert library.tisdiss_get_info(bundle, c.byref(info)) == OK
    assert info.onnxruntime_version.decode() == onnxruntime.__version__


def test_progress_and_cancelling(library: c.CDLL, either: c.c_void_p, mix: np.ndarray) -> None:
    told: list[tuple[int | None, float]] = []
    status, expected = separate(library, either, mix)
    assert status == OK

    def with_callback(callback: Callable[[float], int]) -> tuple[int, np.ndarray]:
        function = Progress(lambda data, done: told.append((data, done)) or callback(done))
        return separate(library, either, mix, progress=c.cast(function, c.c_void_p), progress_data=7)

    status, rows = with_callback(lambda done: 0)
    assert status == OK
    np.testing.assert_array_equal(rows, expected)
    shares = [done for _, done in told]
    assert {data for data, _ in told} == {7}
    assert shares == sorted(shares) and len(shares) > 4
    assert (shares[0], shares[-1]) == (0, 1)
    told.clear()
    assert with_callback(lambda done: done > 0.3)[0] == CANCELLED
    assert 0.3 < told[-1][1] < 0.7
    assert library.tisdiss_error_text(None) == b"cancelled"
    status, rows = separate(library, either, mix)
    assert status == OK
    np.testing.assert_array_equal(rows, expected)


def test_a_separation_blocks_no_other_call(library: c.CDLL, either: c.c_void_p, mix: np.ndarray) -> None:
    """What its callback does on the same bundle would wait for ever otherwise."""
    found = []

    def other_calls(data: int | None, done: float) -> int:
        info = Info()
        found.append(
            (library.tisdiss_get_info(either, c.byref(info)), separate(library, either, mix[:RATE])[0])
        )
        return 0

    function = Progress(other_calls)
    for options in ({}, {"depth": -1, "budget_ms": 1000.0}):
        status, rows = separate(library, either, mix, progress=c.cast(function, c.c_void_p), **options)
        assert status == OK
        assert np.abs(rows).max() > 0
    assert len(found) > 8
    assert set(found) == {(OK, OK)}


def test_each_thread_has_its_error(library: c.CDLL, bundle: c.c_void_p, mix: np.ndarray) -> None:
    texts = {}

    def fail(depth: int) -> None:
        for _ in range(50):
            assert separate(library, bundle, mix, depth=depth)[0] != OK
            texts[depth] = library.tisdiss_error_text(bundle).decode()
            assert f"not {depth}" in texts[depth]

    threads = [threading.Thread(target=fail, args=(depth,)) for depth in (101, 102)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(texts) == 2


def test_a_stream_that_another_thread_uses(library: c.CDLL, stream: c.c_void_p, mix: np.ndarray) -> None:
    long = np.tile(mix, 12)
    out, given = np.zeros((2, len(long)), np.float32), c.c_size_t()
    statuses: list[int] = []

    def push() -> None:
        arguments = (stream, pointer(long), len(long), pointer(out), len(long), c.byref(given))
        statuses.append(library.tisdiss_stream_process(*arguments))

    thread = threading.Thread(target=push)
    thread.start()
    busy = 0
    while thread.is_alive():
        if library.tisdiss_stream_set_depth(stream, 1) == STATE:
            busy += 1
            assert b"busy in another thread" in library.tisdiss_stream_error_text(stream)
    thread.join()
    assert busy > 0
    # Whoever came first had it; the other one came in vain, and may try again.
    if statuses != [OK]:
        push()
    assert statuses[-1] == OK
    assert library.tisdiss_stream_set_depth(stream, 1) == OK


def open_files(library: c.CDLL, files: dict[str, bytes], **options: object) -> tuple[int, str, c.c_void_p]:
    given = [
        File(name.encode(), c.cast(c.c_char_p(data), c.c_void_p), len(data)) for name, data in files.items()
    ]
    array = (File * len(given))(*given)
    handle = c.c_void_p()
    asked = {"onnxruntime": str(ONNXRUNTIME).encode(), **options}
    opening = OpenOptions(files=c.cast(array, c.c_void_p), file_count=len(given), **asked)
    status = library.tisdiss_open(None, c.byref(opening), c.byref(handle))
    return status, library.tisdiss_error_text(None).decode() if status else "", handle


@pytest.mark.parametrize("name", ["toy", "stream-toy"])
def test_a_bundle_in_memory(library: c.CDLL, toys: dict[str, Path], name: str, mix: np.ndarray) -> None:
    paths = [path for path in toys[name].iterdir() if path.name != "conformance.npz"]
    files = {path.name: path.read_bytes() for path in paths}
    _, _, from_folder = opened(library, toys[name])
    status, text, from_memory = open_files(library, files)
    assert status == OK, text
    del files
    expected, found = (separate(library, bundle, mix)[1] for bundle in (from_folder, from_memory))
    np.testing.assert_array_equal(found, expected)
    for bundle in (from_folder, from_memory):
        library.tisdiss_close(bundle)


def test_files_that_are_no_bundle(library: c.CDLL, toys: dict[str, Path]) -> None:
    files = {path.name: path.read_bytes() for path in toys["toy"].iterdir()}
    without = {name: data for name, data in files.items() if name != "block.onnx"}
    for given, message in (
        ({"stem.onnx": b""}, "in memory is not a bundle: it has no manifest.json"),
        (without, "block.onnx is not a file that can be read"),
        (
            files | {"block.onnx": files["stem.onnx"]},
            "block.onnx is damaged: its SHA-256 is not the manifest's",
        ),
    ):
        status, text, _ = open_files(library, given)
        assert (status, text) == (BUNDLE, message)
    status, text, _ = open_files(library, {})
    assert (status, text) == (
        ARGUMENT,
        "the folder is NULL: give the path of a bundle, or its files in options that begin with "
        "TISDISS_OPEN_OPTIONS_INIT",
    )
    status, text, _ = opened(library, toys["toy"], files=None, file_count=1)
    assert (status, text) == (ARGUMENT, "there are a folder and files: leave one out")


def test_an_onnx_runtime_of_the_program(
    library: c.CDLL, toys: dict[str, Path], mix: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is loaded, though the environment names what there is not."""
    _, _, usual = opened(library, toys["toy"])
    loaded = c.CDLL(str(ONNXRUNTIME))
    loaded.OrtGetApiBase.restype = c.c_void_p
    monkeypatch.setenv("TISDISS_ONNXRUNTIME", "/nowhere/libonnxruntime.so")
    status, text, handle = opened(
        library, toys["toy"], onnxruntime=None, onnxruntime_api=loaded.OrtGetApiBase()
    )
    assert status == OK, text
    expected, found = (separate(library, bundle, mix)[1] for bundle in (usual, handle))
    np.testing.assert_array_equal(found, expected)
    for bundle in (usual, handle):
        library.tisdiss_close(bundle)


IN_CSHARP = f"""\
progress: 0 to 1, True
cancelled: OperationCanceledException
failed: InvalidOperationException
spans: True
rows: ArgumentException
version: {onnxruntime.__version__}
impossible: TisdissException
impossible: TisdissException
impossible: TisdissException
memory: True
stream: True
ready: ArgumentOutOfRangeException
folder: ArgumentNullException
"""


def test_in_csharp(csharp: Path, toys: dict[str, Path]) -> None:
    done = run("mono", csharp / "Interface.exe", toys["toy"], toys["stream-toy"])
    assert (done.stdout, done.returncode) == (IN_CSHARP, 0), done.stderr


def test_what_dotnet_would_pack() -> None:
    """The identity of the package, its version from the one place, and the native library of each system."""
    project = xml.parse(RUNTIME / "csharp" / "TisdissRt.csproj")
    properties = {item.tag: item.text for item in project.find("PropertyGroup") or ()}
    assert properties["PackageId"] == "TisdissRt"
    assert properties["PackageLicenseExpression"] == "Apache-2.0"
    source = (RUNTIME / "tisdiss_rt" / "__init__.py").read_text()
    pattern = re.search(r"'(\(\?s\).*?)', '\$1'", properties["Version"] or "")
    assert pattern and re.fullmatch(r"\d+\.\d+\.\d+", re.sub(pattern[1], r"\1", source))
    (native,) = (item for item in project.iter("None"))
    assert native.attrib == {"Include": "runtimes/**", "Pack": "true", "PackagePath": "runtimes/"}


@pytest.mark.parametrize(("membership", "files", "expected"), QUOTAS)
def test_quotas_of_containers(
    release: Built, tmp_path: Path, membership: str | None, files: dict[str, str], expected: int | None
) -> None:
    done = run(release.programs / "cores_cpp", *write_quotas(tmp_path, membership, files))
    assert (done.returncode, done.stdout) == (0, "" if expected is None else str(expected))
