"""Every misuse has its status and a text that says what to do; nothing is printed, nothing falls over."""

from __future__ import annotations

import copy
import ctypes as c
import json
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from embedding import Built, opened, pointer

from benchmarks.c_library import (
    ARGUMENT,
    BUNDLE,
    OK,
    ONNXRUNTIME,
    OPTION,
    STATE,
    UNSUPPORTED,
    Info,
    Report,
    RunOptions,
)
from tisdiss_rt import bundle as bundles
from tisdiss_rt.engine import open_engine
from tisdiss_rt.errors import TisdissError

STEP = 128


@pytest.fixture(autouse=True)
def silence(capfd: pytest.CaptureFixture[str]) -> Iterator[None]:
    yield
    assert capfd.readouterr() == ("", "")


def test_version_is_the_package_s(library: c.CDLL) -> None:
    import tisdiss_rt

    assert library.tisdiss_version().decode() == tisdiss_rt.__version__


# ---- opening ----


@pytest.mark.parametrize("begin", ["", "a"])  # so that in one of them the text would end within a character
def test_long_texts_end_with_a_whole_character(library: c.CDLL, begin: str) -> None:
    status, text, _ = opened(library, Path(begin + "\u00e4" * 5000))
    assert status != OK
    assert (len(text.encode()) > 4000, text[-1]) == (True, "\u00e4")


@pytest.mark.parametrize(
    ("options", "status", "message"),
    [
        ({"provider": b"gpu"}, OPTION, "there are auto, cpu, cuda"),
        ({"provider": b"cuda"}, ONNXRUNTIME, "use the provider cpu"),
        ({"precision": b"int8"}, OPTION, "no precision 'int8', only fp32"),
        ({"threads": -1}, OPTION, "threads must be from 1 to 256"),
        ({"threads": 100_000}, OPTION, "threads must be from 1 to 256"),
        ({"onnxruntime": b"/nowhere/libonnxruntime.so"}, ONNXRUNTIME, "pip install onnxruntime"),
    ],
)
def test_options(
    library: c.CDLL, toys: dict[str, Path], options: dict[str, Any], status: int, message: str
) -> None:
    found, text, _ = opened(library, toys["toy"], **options)
    assert (found, message in text) == (status, True), text


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("old_onnxruntime", "1.10.0 is too old; get 1.18 or newer"),
        ("marking_onnxruntime", "cannot be loaded"),  # it needs functions of its program
    ],
)
def test_another_library(
    library: c.CDLL, release: Built, toys: dict[str, Path], name: str, message: str
) -> None:
    path = release.programs / f"lib{name}.so"
    assert path.is_file()
    status, text, _ = opened(library, toys["toy"], onnxruntime=str(path).encode())
    assert (status, message in text) == (ONNXRUNTIME, True), text


def test_an_interface_that_is_not_there(
    library: c.CDLL, release: Built, toys: dict[str, Path], capfd: pytest.CaptureFixture[str]
) -> None:
    path = release.programs / "libstrange_onnxruntime.so"
    status, text, _ = opened(library, toys["toy"], onnxruntime=str(path).encode())
    c.CDLL(None).fflush(None)
    assert (status, "too old" in text) == (ONNXRUNTIME, True), text
    assert capfd.readouterr().out == "asked for version 11\n"


def test_a_library_that_is_no_onnx_runtime(library: c.CDLL, release: Built, toys: dict[str, Path]) -> None:
    path = release.prefix / "lib" / "libtisdiss_rt.so"
    status, text, _ = opened(library, toys["toy"], onnxruntime=str(path).encode())
    assert (status, "is not ONNX Runtime" in text) == (ONNXRUNTIME, True), text


def test_nulls(library: c.CDLL, bundle: c.c_void_p, stream: c.c_void_p) -> None:
    """Every pointer that must not be NULL, one after the other."""
    mix, out = np.zeros(STEP, np.float32), np.zeros(8 * STEP, np.float32)
    handle, given = c.c_void_p(), c.c_size_t()
    lib, sound, rows, place = library, pointer(mix), pointer(out), c.byref(given)
    info, report = c.byref(Info()), c.byref(Report())
    calls: list[tuple[str, tuple[Any, ...], Callable[[], bytes]]] = [
        ("open", (None, None, c.byref(handle)), lambda: lib.tisdiss_error_text(None)),
        ("open", (b"folder", None, None), lambda: lib.tisdiss_error_text(None)),
        ("get_info", (None, info), lambda: lib.tisdiss_error_text(None)),
        ("get_info", (bundle, None), lambda: lib.tisdiss_error_text(bundle)),
        ("separate", (None, sound, 9, None, rows, 9, None), lambda: lib.tisdiss_error_text(None)),
        ("separate", (bundle, None, 9, None, rows, 9, None), lambda: lib.tisdiss_error_text(bundle)),
        ("separate", (bundle, sound, 9, None, None, 9, None), lambda: lib.tisdiss_error_text(bundle)),
        ("separate", (bundle, sound, 0, None, rows, 9, None), lambda: lib.tisdiss_error_text(bundle)),
        ("stream_open", (None, None, c.byref(handle)), lambda: lib.tisdiss_error_text(None)),
        ("stream_open", (bundle, None, None), lambda: lib.tisdiss_error_text(bundle)),
        ("stream_process", (None, sound, 9, rows, 9, place), lambda: lib.tisdiss_stream_error_text(None)),
        ("stream_process", (stream, None, 9, rows, 9, place), lambda: lib.tisdiss_stream_error_text(stream)),
        ("stream_process", (stream, sound, 9, rows, 9, None), lambda: lib.tisdiss_stream_error_text(stream)),
        ("stream_flush", (None, rows, 9, place), lambda: lib.tisdiss_stream_error_text(None)),
        ("stream_flush", (stream, rows, 9, None), lambda: lib.tisdiss_stream_error_text(stream)),
        ("stream_reset", (None,), lambda: lib.tisdiss_stream_error_text(None)),
        ("stream_set_depth", (None, 1), lambda: lib.tisdiss_stream_error_text(None)),
        ("stream_get_report", (None, report), lambda: lib.tisdiss_stream_error_text(None)),
        ("stream_get_report", (stream, None), lambda: lib.tisdiss_stream_error_text(stream)),
    ]
    for name, arguments, text in calls:
        assert getattr(lib, f"tisdiss_{name}")(*arguments) == ARGUMENT, name
        assert len(text()) > 10, name
    assert lib.tisdiss_stream_ready(None, 10_000) == lib.tisdiss_stream_rest(None) == 0
    lib.tisdiss_close(None)
    lib.tisdiss_stream_free(None)


# ---- separating ----


def separate(library: c.CDLL, bundle: c.c_void_p, mix: np.ndarray, **options: Any) -> tuple[int, str]:
    out, report = np.zeros((2, len(mix)), np.float32), Report()
    status = library.tisdiss_separate(
        bundle,
        pointer(mix),
        len(mix),
        c.byref(RunOptions(**options)),
        pointer(out),
        len(mix),
        c.byref(report),
    )
    return status, library.tisdiss_error_text(bundle).decode()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"depth": 13}, "from 0 to 12"),
        ({"depth": -2}, "from 0 to 12"),
        ({"budget_ms": -1.0}, "above 0"),
        ({"budget_ms": float("nan")}, "above 0"),
        ({"budget_ms": float("inf")}, "above 0"),
        ({"budget_ms": 5.0, "depth": 2}, "exclude each other"),
        ({"budget_ms": 5.0, "min_depth": 13}, "minimum depth"),
        ({"window_s": 0.0001}, "from 0.002 to 0.8 s"),
        ({"window_s": -1.0}, "from 0.002 to 0.8 s"),
        ({"window_s": float("nan")}, "from 0.002 to 0.8 s"),
        ({"window_s": 0.9}, "from 0.002 to 0.8 s"),
        ({"window_s": float("inf")}, "from 0.002 to 0.8 s"),
    ],
)
def test_impossible_options(
    library: c.CDLL, bundle: c.c_void_p, options: dict[str, Any], message: str
) -> None:
    status, text = separate(library, bundle, np.ones(100, np.float32), **options)
    assert (status, message in text) == (OPTION, True), text


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_sound_that_is_none(
    library: c.CDLL, bundle: c.c_void_p, streaming: c.c_void_p, stream: c.c_void_p, value: float
) -> None:
    mix = np.ones(200, np.float32)
    mix[150] = value
    assert separate(library, bundle, mix) == (ARGUMENT, "the mixture has NaN or infinity: replace them")
    out, given = np.zeros((2, 400), np.float32), c.c_size_t()
    call = library.tisdiss_stream_process
    assert call(stream, pointer(mix), 200, pointer(out), 400, c.byref(given)) == ARGUMENT
    mix[150] = 2e6
    assert call(stream, pointer(mix), 200, pointer(out), 400, c.byref(given)) == ARGUMENT
    assert "scale it down" in library.tisdiss_stream_error_text(stream).decode()
    loud = "the mixture has samples beyond 1e6, where full scale is 1: scale it down"
    assert separate(library, streaming, mix) == (ARGUMENT, loud)
    mix[150] = 1  # the stream goes on as if those had not come
    assert call(stream, pointer(mix), 200, pointer(out), 400, c.byref(given)) == OK
    assert given.value == library.tisdiss_stream_ready(None, 0) == 0
    assert library.tisdiss_stream_rest(stream) == 200


def test_room_for_the_output(library: c.CDLL, bundle: c.c_void_p, stream: c.c_void_p) -> None:
    mix, out, given = np.ones(1000, np.float32), np.full(2000, 7, np.float32), c.c_size_t()
    status = library.tisdiss_separate(bundle, pointer(mix), 1000, None, pointer(out), 999, None)
    assert status == ARGUMENT
    assert "room for 999 samples of each source, where 1000 are needed" in str(
        library.tisdiss_error_text(bundle)
    )
    ready = library.tisdiss_stream_ready(stream, 1000)
    assert ready == 1000 // STEP * STEP - STEP
    call = library.tisdiss_stream_process
    assert call(stream, pointer(mix), 1000, pointer(out), ready - 1, c.byref(given)) == ARGUMENT
    assert (out == 7).all()
    assert call(stream, pointer(mix), 1000, pointer(out), ready, c.byref(given)) == OK
    assert (out[: 2 * ready] != 7).all() and (out[2 * ready :] == 7).all()
    rest = library.tisdiss_stream_rest(stream)
    assert ready + rest == 1000
    assert library.tisdiss_stream_flush(stream, pointer(out), rest - 1, c.byref(given)) == ARGUMENT
    assert library.tisdiss_stream_flush(stream, pointer(out), rest, c.byref(given)) == OK
    assert given.value == rest


def test_states_of_a_stream(library: c.CDLL, bundle: c.c_void_p, stream: c.c_void_p) -> None:
    mix, out, given = np.ones(STEP, np.float32), np.zeros(4 * STEP, np.float32), c.c_size_t()
    lib, place = library, c.byref(given)
    handle = c.c_void_p()
    assert lib.tisdiss_stream_open(bundle, None, c.byref(handle)) == UNSUPPORTED
    assert "use tisdiss_separate" in str(lib.tisdiss_error_text(bundle))
    assert not handle
    for depth, status in ((4, OPTION), (-1, OPTION), (0, OK), (3, OK)):  # it was opened at depth 3
        assert lib.tisdiss_stream_set_depth(stream, depth) == status
    assert lib.tisdiss_stream_process(stream, pointer(mix), STEP, pointer(out), STEP, place) == OK
    assert lib.tisdiss_stream_flush(stream, pointer(out), STEP, place) == OK
    for call in (
        lambda: lib.tisdiss_stream_process(stream, pointer(mix), STEP, pointer(out), STEP, place),
        lambda: lib.tisdiss_stream_flush(stream, pointer(out), STEP, place),
    ):
        assert call() == STATE
        assert "tisdiss_stream_reset begins a new one" in str(lib.tisdiss_stream_error_text(stream))
    report = Report()
    assert lib.tisdiss_stream_get_report(stream, c.byref(report)) == OK
    assert (report.steps, report.misses, report.depth) == (2, 0, 3)
    assert lib.tisdiss_stream_reset(stream) == OK
    assert lib.tisdiss_stream_process(stream, pointer(mix), STEP, pointer(out), STEP, place) == OK
    assert lib.tisdiss_stream_get_report(stream, c.byref(report)) == OK
    assert report.steps == 1
    assert lib.tisdiss_stream_set_depth(stream, 0) == OK
    assert lib.tisdiss_stream_reset(stream) == OK
    assert lib.tisdiss_stream_process(stream, pointer(mix), STEP, pointer(out), STEP, place) == OK
    assert lib.tisdiss_stream_get_report(stream, c.byref(report)) == OK
    assert (report.planned_depth, report.depth) == (3, 3)  # as it was opened


def test_budgets(library: c.CDLL, streaming: c.c_void_p, bundle: c.c_void_p) -> None:
    """A budget has a prediction; one too small says so and goes on at the least depth."""
    mix = np.random.default_rng(0).uniform(-0.5, 0.5, 5000).astype(np.float32)
    out, report = np.zeros((2, 5000), np.float32), Report()
    for handle, budget_ms, depth in ((bundle, 1e6, 4), (bundle, 1e-6, 1), (streaming, 1e6, 3)):
        options = RunOptions(budget_ms=budget_ms)
        status = library.tisdiss_separate(
            handle, pointer(mix), 5000, c.byref(options), pointer(out), 5000, c.byref(report)
        )
        assert status == OK
        assert (report.planned_depth, report.depth) == (depth, depth)
        assert (report.predicted_ms > budget_ms) == (report.misses > 0) == (budget_ms < 1)
        assert report.misses in (0, report.steps)
        assert np.isnan(report.quality_db)


def test_bundles_open_on_several_threads(library: c.CDLL, toys: dict[str, Path]) -> None:
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda _: opened(library, toys["toy"]), range(32)))
    assert {status for status, _, _ in results} == {OK}
    for _, _, handle in results:
        library.tisdiss_close(handle)


def test_bundles_open_while_the_last_one_closes(library: c.CDLL, toys: dict[str, Path]) -> None:
    """In ONNX Runtime all share something that ends with the last of them."""

    def cycles(_: int) -> set[tuple[int, str]]:
        results = set()
        for _ in range(40):
            status, text, handle = opened(library, toys["toy"])
            results.add((status, text))
            library.tisdiss_close(handle)
        return results

    with ThreadPoolExecutor(4) as pool:
        assert set().union(*pool.map(cycles, range(4))) == {(OK, "")}


def test_calls_on_one_bundle_from_several_threads(library: c.CDLL, bundle: c.c_void_p) -> None:
    mix = np.random.default_rng(0).uniform(-0.5, 0.5, 5000).astype(np.float32)
    outs = [np.zeros((2, 5000), np.float32) for _ in range(8)]

    def call(number: int) -> int:
        options = RunOptions(budget_ms=1000 + number // 2, depth=-1, min_depth=4)
        arguments = (bundle, pointer(mix), 5000, c.byref(options), pointer(outs[number]), 5000, None)
        status: int = library.tisdiss_separate(*arguments)
        return status

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(call, range(8))) == {OK}
    assert np.abs(outs[0]).max() > 0.1
    for out in outs[1:]:
        np.testing.assert_array_equal(out, outs[0])


def test_the_output_must_not_overlap_the_mixture(library: c.CDLL, bundle: c.c_void_p) -> None:
    memory = np.ones(4000, np.float32)
    for mix, out, expected in ((0, 0, ARGUMENT), (0, 999, ARGUMENT), (1999, 0, ARGUMENT), (0, 1000, OK)):
        at = [pointer(memory[start:]) for start in (mix, out)]
        assert library.tisdiss_separate(bundle, at[0], 1000, None, at[1], 1000, None) == expected
    assert (
        library.tisdiss_separate(bundle, pointer(memory[2000:]), 1000, None, pointer(memory), 1000, None)
        == OK
    )


def test_quality_of_depths_that_there_are_not(library: c.CDLL, toys: dict[str, Path], tmp_path: Path) -> None:
    folder = shutil.copytree(toys["toy"], tmp_path / "bundle")
    manifest = json.loads((folder / "manifest.json").read_text())
    most = manifest["depth"]["max"]
    row = {"depth": most + 1, "si_sdri_db": 9.0, "low_db": 8.0, "high_db": 10.0}
    quality = {"test_set": "toy", "metric": "dB", "mixtures": 1, "depths": [row], "windows": [], "scenes": []}
    scenes = [{"scene": "telephone", "depths": [row]}]
    window = {"window_s": 0.5, "depth": most + 1, "si_sdri_db": 9.0}
    for change, message in (
        ({"quality": quality}, f"quality must be of depths from 0 to {most}"),
        ({"quality": {**quality, "depths": [], "scenes": scenes}}, f"of depths from 0 to {most}"),
        ({"quality": {**quality, "depths": [], "windows": [window]}}, f"of depths from 0 to {most}"),
        ({"depth": {"trained": 1, "max": 2_000_000_000}}, "max <= 64"),
    ):
        (folder / "manifest.json").write_text(json.dumps({**manifest, **change}))
        status, text, _ = opened(library, folder)
        assert (status, message in text) == (BUNDLE, True), text
        with pytest.raises(TisdissError, match=message):
            bundles.load(folder)


def test_formats_and_parts_are_read_as_python_reads_them(
    library: c.CDLL, toys: dict[str, Path], tmp_path: Path
) -> None:
    folder = shutil.copytree(toys["toy"], tmp_path / "bundle")
    manifest = json.loads((folder / "manifest.json").read_text())
    part = {"name": "stethoscope", "required": False, "graph": None, "values": {"weights": [1, 2.5]}}
    old = {key: value for key, value in manifest.items() if key != "parts"}
    for content, message in (
        (manifest, ""),
        ({**old, "format": 1}, ""),
        ({**manifest, "parts": [part]}, ""),
        ({**manifest, "format": 1}, "unknown"),
        (old, "lacks parts"),
        ({**manifest, "format": 3}, "newer tisdiss-rt"),
        ({**manifest, "parts": [{**part, "required": True}]}, "needs the part 'stethoscope'"),
        ({**manifest, "parts": [{**part, "required": 1}]}, "required"),
        ({**manifest, "parts": [{**part, "values": {"weights": 1}}]}, "values"),
        ({**manifest, "parts": [{**part, "graph": {}}]}, "graph"),
    ):
        (folder / "manifest.json").write_text(json.dumps(content))
        status, text, _ = opened(library, folder)
        if message:
            assert (status, message in text) == (BUNDLE, True), text
            with pytest.raises(TisdissError, match=message):
                bundles.load(folder)
        else:
            assert status == OK, text
            bundles.load(folder)


def test_a_bundle_may_be_closed_before_its_stream(library: c.CDLL, toys: dict[str, Path]) -> None:
    _, _, bundle = opened(library, toys["stream-toy"])
    stream, given, out = c.c_void_p(), c.c_size_t(), np.zeros(1024, np.float32)
    assert library.tisdiss_stream_open(bundle, None, c.byref(stream)) == OK
    library.tisdiss_close(bundle)
    status = library.tisdiss_stream_process(
        stream, pointer(np.ones(512, np.float32)), 512, pointer(out), 512, c.byref(given)
    )
    assert (status, given.value) == (OK, 384)
    library.tisdiss_stream_free(stream)


# ---- bundles ----


def test_folders_that_are_no_bundle(library: c.CDLL, tmp_path: Path) -> None:
    for folder, message in ((tmp_path / "gone", "there is no such folder"), (tmp_path, "no manifest.json")):
        status, text, _ = opened(library, folder)
        assert (status, message in text) == (BUNDLE, True), text
    (tmp_path / "manifest.json").write_text("{")
    status, text, _ = opened(library, tmp_path)
    assert (status, "not JSON" in text) == (BUNDLE, True), text


def test_damaged_graphs(library: c.CDLL, toys: dict[str, Path], tmp_path: Path) -> None:
    folder = shutil.copytree(toys["toy"], tmp_path / "bundle")
    content = (folder / "block.onnx").read_bytes()
    (folder / "block.onnx").write_bytes(content[:-1])
    status, text, _ = opened(library, folder)
    assert (status, "block.onnx is damaged" in text) == (BUNDLE, True), text
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["graphs"]["block"]["files"]["fp32"]["sha256"] = bundles.sha256_of(folder / "block.onnx")
    (folder / "manifest.json").write_text(json.dumps(manifest))
    status, text, _ = opened(library, folder)
    assert (status, "block.onnx: it is not an ONNX file: cut off" in text) == (BUNDLE, True), text
    (folder / "block.onnx").unlink()
    status, text, _ = opened(library, folder)
    assert (status, "block.onnx is missing" in text) == (BUNDLE, True), text


def with_graph(folder: Path, graph: str, change: Callable[[onnx.ModelProto], None]) -> Path:
    """Change a graph of the bundle in a folder, and its hash in the manifest."""
    path = folder / f"{graph}.onnx"
    model = onnx.load(path)
    change(model)
    onnx.save(model, path)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["graphs"][graph]["files"]["fp32"]["sha256"] = bundles.sha256_of(path)
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


def test_a_network_that_fails_fails_the_stream(
    library: c.CDLL, toys: dict[str, Path], tmp_path: Path
) -> None:
    def forget_a_half(model: onnx.ModelProto) -> None:
        half = next(i for i, constant in enumerate(model.graph.initializer) if constant.name == "c0.5")
        model.graph.initializer[half].CopyFrom(onnx.numpy_helper.from_array(np.float32(np.nan), "c0.5"))

    folder = with_graph(shutil.copytree(toys["stream-toy"], tmp_path / "bundle"), "block", forget_a_half)
    _, _, bundle = opened(library, folder)
    stream, given, out = c.c_void_p(), c.c_size_t(), np.zeros(1024, np.float32)
    assert library.tisdiss_stream_open(bundle, None, c.byref(stream)) == OK
    mix = np.ones(4 * STEP, np.float32)
    arguments = (stream, pointer(mix), 4 * STEP, pointer(out), 512, c.byref(given))
    for status, message in ((BUNDLE, "returned NaN"), (STATE, "has failed: tisdiss_stream_reset")):
        assert library.tisdiss_stream_process(*arguments) == status
        assert message in library.tisdiss_stream_error_text(stream).decode()
        assert given.value == 0
    assert library.tisdiss_stream_reset(stream) == OK
    assert library.tisdiss_stream_process(*arguments) == BUNDLE
    library.tisdiss_stream_free(stream)
    library.tisdiss_close(bundle)


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Paths of everything in decoded JSON."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield (*path, key)
        yield from places(item, (*path, key))


def mutated(manifest: Any, rng: np.random.Generator) -> Any:
    """The manifest with one entry gone, replaced or added."""
    changed = copy.deepcopy(manifest)
    all_places = list(places(changed))
    *path, key = all_places[rng.integers(len(all_places))]
    parent = changed
    for step in path:
        parent = parent[step]
    replacements = (
        None,
        True,
        0,
        -1,
        1,
        2.5,
        2**40,
        "",
        "samples",
        [],
        {},
        [1],
        "..",
        "/etc/passwd",
        "x" * 300,
    )
    match rng.integers(4):
        case 0:
            del parent[key]
        case 1 if isinstance(parent, dict):
            parent["surprise"] = 1
        case _:
            parent[key] = replacements[rng.integers(len(replacements))]
    return changed


@pytest.mark.parametrize("name", ["toy", "stream-toy"])
def test_changed_manifests_are_refused_as_by_python(
    library: c.CDLL, toys: dict[str, Path], name: str, tmp_path: Path
) -> None:
    folder = shutil.copytree(toys[name], tmp_path / "bundle")
    manifest = json.loads((folder / "manifest.json").read_text())
    rng, taken, differ = np.random.default_rng(0), 0, []
    for _ in range(400):
        changed = mutated(manifest, rng)
        (folder / "manifest.json").write_text(json.dumps(changed))
        try:
            open_engine(bundles.load(folder), "cpu")
            python = "ok"
        except TisdissError as error:
            python = str(error)
        status, text, handle = opened(library, folder)
        library.tisdiss_close(handle)
        assert status in (OK, BUNDLE), text
        taken += status == OK
        if (status == OK) != (python == "ok"):
            differ.append(f"{python}  <>  {text}")
    assert taken > 1
    assert not differ, "\n".join(differ)


@pytest.mark.parametrize(
    ("axis", "newest", "message"),
    [
        (-1, [2, 2], "state.axis is out of range"),
        (2, [2, 2], "state edges has no axis 2"),
        (0, [2, 2], "cannot be appended"),
        (1, [2], "cannot be appended"),
        (1, [2, 6], "cannot be appended"),
        (1, [3, 2], "cannot be appended"),
    ],
)
def test_buffers_that_cannot_be_are_refused(
    library: c.CDLL, toys: dict[str, Path], tmp_path: Path, axis: int, newest: list[int], message: str
) -> None:
    folder = shutil.copytree(toys["stream-toy"], tmp_path / "bundle")
    manifest = json.loads((folder / "manifest.json").read_text())
    outputs = manifest["graphs"]["block"]["outputs"]
    next(t for t in outputs if t["name"] == "edges_new")["shape"] = newest
    next(b for b in manifest["state"] if b["input"] == "edges")["axis"] = axis
    (folder / "manifest.json").write_text(json.dumps(manifest))
    status, text, _ = opened(library, folder)
    assert status == BUNDLE
    assert message in text
