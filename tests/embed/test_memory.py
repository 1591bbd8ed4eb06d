"""Nothing is read or written where it should not be, nothing leaks, and a stream's steps allocate nothing."""

from __future__ import annotations

import itertools
import statistics
from pathlib import Path

import numpy as np
import pytest
from embedding import ONNXRUNTIME, Built, estimates, need, run
from test_conformance import BUNDLES, compare

LEAK_SUPPRESSIONS = "leak:libonnxruntime\n"  # what it keeps for the life of the process


def check_conformance(command: list[str | Path], bundle: Path, tmp_path: Path, depths: list[int]) -> None:
    """Run a bundle's example and look at what comes out, too."""
    arrays = np.load(bundle / "conformance.npz")
    runs = [f"separate:{depth}" for depth in depths]
    expected = [arrays[f"est_{depth}"] for depth in depths]
    if "depths" in arrays.files:
        runs += [f"stream:{depths[-1]}:100", "steps:" + ",".join(map(str, arrays["depths"]))]
        expected += [expected[-1], arrays["est_switching"]]
    for found, wanted in zip(
        estimates(command, bundle, arrays["mix"], runs, tmp_path), expected, strict=True
    ):
        compare(found, wanted)


def find_leaks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    suppressions = tmp_path / "leaks.txt"
    suppressions.write_text(LEAK_SUPPRESSIONS)
    monkeypatch.setenv("LSAN_OPTIONS", f"suppressions={suppressions}:print_suppressions=0")
    monkeypatch.setenv("ASAN_OPTIONS", "detect_leaks=1:detect_stack_use_after_return=1")


@pytest.mark.parametrize(
    ("language", "name"),
    [*itertools.product(["c", "cpp"], ["toy", "stream-toy"]), ("cpp", "edge-16k"), ("cpp", "live-16k")],
)
def test_sanitizers(
    sanitized: Built,
    toys: dict[str, Path],
    language: str,
    name: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """AddressSanitizer, UndefinedBehaviorSanitizer and LeakSanitizer on the conformance run.

    C++ passes on what C computes: of shipped bundles, which take long, one of the two is enough.
    """
    find_leaks(tmp_path, monkeypatch)
    program = sanitized.programs / f"conformance_{language}"
    assert f"{sanitized.prefix}/lib/libtisdiss_rt.so" in run("ldd", program).stdout
    bundle = BUNDLES.get(name) or toys[name]
    check_conformance([program], bundle, tmp_path, [1, 4])


def valgrind() -> list[str | Path]:
    need("valgrind")
    suppressions = Path(__file__).parent / "programs" / "valgrind.supp"
    failing = ("--error-exitcode=9", "--leak-check=full", "--errors-for-leak-kinds=definite")
    return ["valgrind", "--quiet", *failing, f"--suppressions={suppressions}"]


@pytest.mark.parametrize("name", ["toy", "stream-toy"])
def test_valgrind(release: Built, toys: dict[str, Path], name: str, tmp_path: Path) -> None:
    check_conformance([*valgrind(), release.programs / "conformance_c"], toys[name], tmp_path, [1, 4])


@pytest.mark.parametrize("tool", ["sanitized", "watched", "valgrind"])
def test_calls_from_several_threads(
    request: pytest.FixtureRequest,
    tool: str,
    toys: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Cancelling, a stream that two threads use, and bundles in memory."""
    find_leaks(tmp_path, monkeypatch)
    before = [*valgrind(), "--fair-sched=yes"] if tool == "valgrind" else []
    programs = request.getfixturevalue("release" if tool == "valgrind" else tool)
    folder = programs.programs if isinstance(programs, Built) else programs
    done = run(*before, folder / "calls_cpp", toys["toy"], toys["stream-toy"])
    assert (done.returncode, done.stdout, done.stderr) == (0, "done\n", "")


@pytest.mark.parametrize("name", ["toy", "stream-toy"])
def test_a_thousand_cycles_leak_nothing(release: Built, toys: dict[str, Path], name: str) -> None:
    """A leak grows in most rounds, a heap with holes now and then; the first round warms up."""
    done = run(release.programs / "cycles_c", toys[name], "6", "170")
    assert done.returncode == 0, done.stderr
    _, *grown_kb = map(int, done.stdout.split())
    assert statistics.median(grown_kb) < 170, grown_kb  # a kilobyte for each cycle


@pytest.mark.parametrize("name", ["live-16k", "stream-toy"])
def test_steps_allocate_nothing(release: Built, toys: dict[str, Path], name: str) -> None:
    done = run(
        release.programs / "allocations_cpp",
        BUNDLES.get(name) or toys[name],
        release.programs / "libmarking_onnxruntime.so",
        env={"REAL_ONNXRUNTIME": str(ONNXRUNTIME)},
    )
    assert done.returncode == 0, done.stderr
    of_opening, of_steps = map(int, done.stdout.split())
    assert of_opening > 10  # or the counting would not work
    assert of_steps == 0


def test_two_streams_on_two_threads(release: Built, toys: dict[str, Path], tmp_path: Path) -> None:
    """Both take every step; how well they keep a budget is measured in benchmarks/speed/embed.py."""
    mix = np.random.default_rng(0).uniform(-0.5, 0.5, 16000).astype(np.float32)
    mix.tofile(tmp_path / "mix.f32")
    done = run(release.programs / "threads_cpp", toys["stream-toy"], tmp_path / "mix.f32", "6")
    assert done.returncode == 0, done.stderr
    assert [line.split()[0] for line in done.stdout.splitlines()] == ["125", "125"]


def test_everything_needed_is_here() -> None:
    """So that a tool that is missing on the machine of CI is seen as a skip, and nothing else is."""
    assert ONNXRUNTIME.is_file()


def test_nothing_is_reported_home(
    release: Built, toys: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ONNX Runtime keeps what it reports, and a number of the machine, in the home folder."""
    monkeypatch.delenv("ORT_DISABLE_TELEMETRY", raising=False)  # which the runtime for Python has set
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    done = run(release.programs / "cycles_c", toys["toy"], "2", "1")
    assert done.returncode == 0, done.stderr
    assert list(tmp_path.iterdir()) == []
