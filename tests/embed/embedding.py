"""Builds the C library, the binding for C# and programs that use them, in build/embed.

The library is installed, and the programs find it there, as any other project would. What was built before is
used again where nothing changed.
"""

from __future__ import annotations

import ctypes as c
import os
import shutil
import subprocess
import sys
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from filelock import FileLock

from benchmarks.c_library import OK, OpenOptions

REPOSITORY = Path(__file__).parents[2]
RUNTIME = REPOSITORY / "runtime"
BUILD = REPOSITORY / "build" / "embed"
PROGRAMS = Path(__file__).parent / "programs"
THIS_RUN = os.environ.get("PYTEST_XDIST_TESTRUNUID", uuid.uuid4().hex)  # of all workers together
ONNXRUNTIME = next(Path(onnxruntime.__file__).parent.glob("capi/libonnxruntime.so*"), Path())
SANITIZERS = "-fsanitize=address,undefined -fno-sanitize-recover=all -g"
# What pip installed beside Python comes before what the machine has.
TOOLS = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])


def need(*tools: str) -> None:
    missing = [tool for tool in tools if shutil.which(tool, path=TOOLS) is None]
    if missing:
        pytest.skip(f"not on this machine: {', '.join(missing)}")


def json_headers() -> list[str]:
    """Tell CMake where pip put nlohmann-json, if it did."""
    spec = find_spec("nlohmann_json")
    if spec is None or spec.origin is None:
        return []
    return [f"-DNLOHMANN_JSON_INCLUDE_DIR={Path(spec.origin).parent / 'include'}"]


def run(
    *command: str | Path,
    env: dict[str, str] | None = None,
    stdin: Any = subprocess.DEVNULL,
    stdout: Any = subprocess.PIPE,
) -> subprocess.CompletedProcess[str]:
    """Run a program to its end; what it prints is text."""
    environment = {**os.environ, "PATH": TOOLS, "TISDISS_ONNXRUNTIME": str(ONNXRUNTIME), **(env or {})}
    words = [str(word) for word in command]
    return subprocess.run(
        words, env=environment, stdin=stdin, stdout=stdout, stderr=subprocess.PIPE, text=True, check=False
    )


def build(*command: str | Path) -> None:
    done = run(*command)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"


def once(name: str, into: Callable[[Path], None]) -> Path:
    """Build into a folder, once for all workers of a run; return the folder."""
    folder = BUILD / name
    folder.mkdir(parents=True, exist_ok=True)
    stamp = folder / "built-by-run"
    with FileLock(BUILD / f"{name}.lock"):
        if not stamp.exists() or stamp.read_text() != THIS_RUN:
            into(folder)
            stamp.write_text(THIS_RUN)
    return folder


@dataclass(frozen=True)
class Built:
    """Where the library is built and installed, the programs, and the headers of ONNX Runtime."""

    library: Path
    prefix: Path
    programs: Path
    headers: str


def built(name: str, *options: str, programs: Sequence[str] = ("all",)) -> Built:
    """Build the library with options for CMake, install it, and build programs that use it."""
    need("cmake", "make", "cc", "c++", "npm")
    common = [*options, "-DCMAKE_INSTALL_LIBDIR=lib", *json_headers()]

    def into(folder: Path) -> None:
        library, tests, prefix = (folder / part for part in ("library", "programs", "prefix"))
        build("cmake", "-S", RUNTIME / "cpp", "-B", library, *common)
        build("cmake", "--build", library, "--parallel", "2")
        build("cmake", "--install", library, "--prefix", prefix)
        found = [f"-DCMAKE_PREFIX_PATH={prefix}", f"-DONNXRUNTIME_INCLUDE_DIR={_headers(library)}"]
        build("cmake", "-S", PROGRAMS, "-B", tests, *common, *found)
        build("cmake", "--build", tests, "--parallel", "2", "--target", *programs)

    folder = once(name, into)
    return Built(folder / "library", folder / "prefix", folder / "programs", _headers(folder / "library"))


def _headers(library: Path) -> str:
    """The folder of ONNX Runtime's headers that a build found."""
    cache = (library / "CMakeCache.txt").read_text()
    return cache.split("ONNXRUNTIME_INCLUDE_DIR:PATH=")[1].split("\n")[0]


def estimates(
    command: list[str | Path], bundle: Path, mix: np.ndarray, runs: list[str], folder: Path
) -> list[np.ndarray]:
    """What a conformance program gives for a mixture (n,): (sources, n) for each of the runs."""
    mix.astype(np.float32).tofile(folder / "mix.f32")
    outputs = [folder / f"{i}.f32" for i in range(len(runs))]
    pairs = [word for pair in zip(runs, outputs, strict=True) for word in pair]
    done = run(*command, bundle, folder / "mix.f32", *pairs)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout == ""
    return [np.fromfile(output, np.float32).reshape(-1, len(mix)) for output in outputs]


def pointer(array: np.ndarray) -> c.c_void_p:
    return array.ctypes.data_as(c.c_void_p)


def opened(library: c.CDLL, folder: Path, **options: Any) -> tuple[int, str, c.c_void_p]:
    """The status of tisdiss_open, its text, and the bundle."""
    handle = c.c_void_p()
    given = OpenOptions(**{"onnxruntime": str(ONNXRUNTIME).encode(), **options})
    status = library.tisdiss_open(str(folder).encode(), c.byref(given), c.byref(handle))
    assert bool(handle) == (status == OK)
    return status, library.tisdiss_error_text(None).decode() if status else "", handle
