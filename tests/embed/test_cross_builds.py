"""The library is built for other systems, where their compilers are, and started, where they are emulated."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from embedding import PROGRAMS, RUNTIME, Built, build, json_headers, need, once, run

TOOLCHAIN = """\
set(CMAKE_SYSTEM_NAME {system})
set(CMAKE_SYSTEM_PROCESSOR {processor})
set(CMAKE_C_COMPILER {prefix}gcc{suffix})
set(CMAKE_CXX_COMPILER {prefix}g++{suffix})
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
"""
WINDOWS = {"system": "Windows", "processor": "AMD64", "prefix": "x86_64-w64-mingw32-"}
SYSTEMS = {
    "aarch64": {"system": "Linux", "processor": "aarch64", "prefix": "aarch64-linux-gnu-", "suffix": ""},
    "windows-posix": {**WINDOWS, "suffix": "-posix"},
    "windows-win32": {**WINDOWS, "suffix": "-win32"},
}
OF_WINDOWS = {"KERNEL32.dll", "msvcrt.dll"}
OF_LINUX = {"libstdc++.so.6", "libm.so.6", "libgcc_s.so.1", "libc.so.6", "ld-linux-aarch64.so.1"}


@pytest.fixture(scope="session", params=list(SYSTEMS))
def system(request: pytest.FixtureRequest) -> str:
    words = SYSTEMS[request.param]
    need(f"{words['prefix']}g++{words['suffix']}")
    return str(request.param)


@pytest.fixture(scope="session")
def prefix(system: str, release: Built) -> Path:
    """Where the library for a system is installed."""

    def into(folder: Path) -> None:
        toolchain = folder / "toolchain.cmake"
        toolchain.write_text(TOOLCHAIN.format(**SYSTEMS[system]))
        found = [f"-DONNXRUNTIME_INCLUDE_DIR={release.headers}", *json_headers()]
        common = (f"-DCMAKE_TOOLCHAIN_FILE={toolchain}", "-DCMAKE_INSTALL_LIBDIR=lib", *found)
        quickly = ("-DCMAKE_BUILD_TYPE=None", "-DCMAKE_CXX_FLAGS=-Werror")
        build("cmake", "-S", RUNTIME / "cpp", "-B", folder / "library", *quickly, *common)
        build("cmake", "--build", folder / "library", "--parallel", "2")
        build("cmake", "--install", folder / "library", "--prefix", folder / "prefix")

    return once(f"cross-{system}", into) / "prefix"


def needed(system: str, library: Path) -> set[str]:
    """The libraries that a library loads when it is loaded."""
    done = run(f"{SYSTEMS[system]['prefix']}objdump", "-p", library)
    lines = (line.split() for line in done.stdout.splitlines())
    return {words[-1] for words in lines if words[:1] == ["NEEDED"] or words[:2] == ["DLL", "Name:"]}


def test_it_needs_nothing_but_the_system(system: str, prefix: Path) -> None:
    if system == "aarch64":
        assert needed(system, prefix / "lib" / "libtisdiss_rt.so") <= OF_LINUX
    else:
        assert (prefix / "lib" / "libtisdiss_rt.dll.a").exists()
        assert needed(system, prefix / "bin" / "tisdiss_rt.dll") <= OF_WINDOWS


def emulated(system: str) -> list[str | Path]:
    """What starts a program of another system."""
    if system == "aarch64":
        need("qemu-aarch64")
        return ["qemu-aarch64", "-L", "/usr/aarch64-linux-gnu"]
    found = shutil.which("wine64", path=os.pathsep.join([os.environ["PATH"], "/usr/lib/wine"]))
    if found is None:
        pytest.skip("not on this machine: wine64")
    return [found]


def test_it_starts(system: str, prefix: Path, toys: dict[str, Path], tmp_path: Path) -> None:
    """There is no ONNX Runtime for these systems here: the library says where it has looked."""
    words = SYSTEMS[system]
    compiler, binary = f"{words['prefix']}gcc{words['suffix']}", prefix / "bin" / "conformance.exe"
    binary.parent.mkdir(exist_ok=True)
    found = (f"-I{prefix}/include", f"-L{prefix}/lib", "-ltisdiss_rt", f"-Wl,-rpath,{prefix}/lib")
    build(compiler, "-std=c99", PROGRAMS / "conformance.c", "-o", binary, *found)
    env = {"TISDISS_ONNXRUNTIME": "", "WINEPREFIX": str(tmp_path / "wine"), "WINEDEBUG": "-all"}
    done = run(*emulated(system), binary, toys["toy"], "mix.f32", env=env)
    looked_for = "libonnxruntime.so.1, libonnxruntime.so" if system == "aarch64" else "bin\\onnxruntime.dll"
    assert done.returncode == 1
    assert "ONNX Runtime is not found as" in done.stderr and f"{looked_for}; get" in done.stderr, done.stderr
