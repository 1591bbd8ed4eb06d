"""Build what a release consists of, in dist/, and try each part from its file.

    python tests/packages.py wheel    # the runtime's tests without PyTorch, with oldest and newest versions
    python tests/packages.py dist     # source archive, wheel, and the C library for this machine

Needs the packages uv, cmake and nlohmann-json; `make wheel` and `make dist` install them.
"""

from __future__ import annotations

import array
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tarfile
import wave
from importlib.util import find_spec
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).parents[1]
BUILD, DIST = REPOSITORY / "build" / "packages", REPOSITORY / "dist"
SCRIPTS = "Scripts" if os.name == "nt" else "bin"
TOOLS = Path(sys.executable).parent
RUNTIME = REPOSITORY / "runtime"
EXAMPLE = RUNTIME / "tisdiss_rt" / "example" / "two_voices.wav"
OLDEST_ONNXRUNTIME = "1.18.0"  # as ort.cpp has it
# What a program needs of the library, as docs/c.md has it.
PROGRAM = """\
cmake_minimum_required(VERSION 3.20)
project(program LANGUAGES C)
find_package(tisdiss_rt REQUIRED)
add_executable(program {source})
target_link_libraries(program tisdiss_rt::tisdiss_rt)
set_target_properties(program PROPERTIES RUNTIME_OUTPUT_DIRECTORY $<1:${{CMAKE_BINARY_DIR}}>)
"""
# What an environment's own Python tells of the installed package.
FACTS = """\
import json, pathlib, importlib.util, importlib.metadata, onnxruntime, tisdiss_rt
print(json.dumps({
    "folder": str(pathlib.Path(tisdiss_rt.__file__).parent),
    "versions": [tisdiss_rt.__version__, importlib.metadata.version("tisdiss-rt")],
    "onnxruntime": [str(p) for p in pathlib.Path(onnxruntime.__file__).parent.glob("capi/*onnxruntime.*")],
    "torch": importlib.util.find_spec("torch") is not None,
}))
"""


def run(*command: str | Path, cwd: Path = REPOSITORY) -> None:
    print("+", *command, flush=True)
    subprocess.run([str(word) for word in command], check=True, cwd=cwd)


def build_python() -> tuple[Path, Path]:
    """Return the source archive, and the wheel that is built from it."""
    for old in (*DIST.glob("tisdiss_rt-*.whl"), *DIST.glob("tisdiss_rt-*.tar.gz")):
        old.unlink()
    run(TOOLS / "uv", "build", "--quiet", "--out-dir", DIST, REPOSITORY)
    (source,), (wheel,) = DIST.glob("tisdiss_rt-*.tar.gz"), DIST.glob("tisdiss_rt-*.whl")
    return source, wheel


def environment(name: str, wheel: Path, resolution: str) -> Path:
    """Install the wheel into an environment of its own; return where its programs are."""
    folder, pins = BUILD / name, BUILD / f"{name}.txt"
    run(TOOLS / "uv", "venv", "--quiet", "--clear", "--python", sys.executable, folder)
    extras = ("--extra", "cpu", "--extra", "test")
    how = ("--resolution", resolution, "--only-binary", ":all:", "--annotation-style", "line")
    asked = (REPOSITORY / "pyproject.toml", *extras, *how, "--no-header", "--python", folder)
    run(TOOLS / "uv", "pip", "compile", "--quiet", *asked, "--output-file", pins)
    direct = re.findall(r"^(\S+==\S+) .*via .*tisdiss-rt", pins.read_text(), re.MULTILINE)
    print(f"{name}: Python {sys.version.split()[0]}, {', '.join(direct)}", flush=True)
    what = (f"tisdiss-rt[cpu,test] @ {wheel.as_uri()}", "--constraint", pins, "--only-binary", ":all:")
    run(TOOLS / "uv", "pip", "install", "--quiet", "--python", folder, *what)
    return folder / SCRIPTS


def facts(programs: Path, wheel: Path) -> dict[str, Any]:
    """Check that an environment has the wheel, its version and no PyTorch."""
    found = subprocess.run([programs / "python", "-c", FACTS], check=True, capture_output=True, cwd=BUILD)
    told: dict[str, Any] = json.loads(found.stdout)
    assert Path(told["folder"]).is_relative_to(programs.parent), told
    assert told["versions"] == [wheel.name.split("-")[1]] * 2, told
    assert not told["torch"], told
    return told


def try_wheel(wheel: Path) -> None:
    for name, resolution in (("oldest", "lowest-direct"), ("newest", "highest")):
        programs = environment(name, wheel, resolution)
        facts(programs, wheel)
        run(programs / "tisdiss-rt", "doctor", cwd=BUILD)
        run(programs / "python", "-m", "pytest", "tests/runtime")


def build_library() -> Path:
    """Return the archive of the C library for this machine."""
    json_headers = find_spec("nlohmann_json")
    assert json_headers is not None and json_headers.origin is not None
    options = ["-DCMAKE_BUILD_TYPE=Release", "-DCMAKE_INSTALL_LIBDIR=lib"]
    options += [f"-DNLOHMANN_JSON_INCLUDE_DIR={Path(json_headers.origin).parent / 'include'}"]
    folder, packed = BUILD / "library", BUILD / "packed"
    run(TOOLS / "cmake", "-S", RUNTIME / "cpp", "-B", folder, *options)
    run(TOOLS / "cmake", "--build", folder, "--config", "Release", "--parallel", "2")
    shutil.rmtree(packed, ignore_errors=True)
    run(TOOLS / "cpack", "--config", folder / "CPackConfig.cmake", "-C", "Release", "-B", packed)
    (archive,) = packed.glob("libtisdiss_rt-*.tar.gz")
    for old in DIST.glob("libtisdiss_rt-*.tar.gz"):
        old.unlink()
    return Path(shutil.move(archive, DIST))


def oldest_onnxruntime() -> str:
    """Fetch the oldest ONNX Runtime that the library loads; wheels have it as a library from 1.19 on."""
    folder = BUILD / "onnxruntime-node"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    npm = shutil.which("npm") or "npm"
    run(npm, "pack", "--silent", f"onnxruntime-node@{OLDEST_ONNXRUNTIME}", cwd=folder)
    machine = {"aarch64": "arm64", "x86_64": "x64", "amd64": "x64"}
    system = f"{platform.system().lower()}/{machine.get(platform.machine().lower(), platform.machine())}/"
    (archive,) = folder.glob("*.tgz")
    with tarfile.open(archive) as file:
        names = [name for name in file.getnames() if system in name and "libonnxruntime." in name]
        file.extract(names[0], folder)
    return str(folder / names[0])


def try_library(archive: Path, onnxruntime: str, voices: Path) -> None:
    """Build an example against the unpacked archive, and compare its voices with those of the wheel."""
    prefix, folder, source = BUILD / "unpacked", BUILD / "program", BUILD / "source"
    for old in (prefix, folder, source):
        shutil.rmtree(old, ignore_errors=True)
        old.mkdir()
    with tarfile.open(archive) as file:
        file.extractall(prefix)
    (inside,) = prefix.iterdir()
    shutil.copy(RUNTIME / "cpp" / "examples" / "stream.c", source)
    (source / "CMakeLists.txt").write_text(PROGRAM.format(source="stream.c"))
    run(TOOLS / "cmake", "-S", source, "-B", folder, f"-DCMAKE_PREFIX_PATH={inside}")
    run(TOOLS / "cmake", "--build", folder, "--config", "Release")
    mix = array.array("f", (sample / 32768 for sample in samples(EXAMPLE)))
    done = subprocess.run(
        [folder / "program", RUNTIME / "tisdiss_rt" / "bundles" / "live-16k"],
        input=mix.tobytes(),
        env={**os.environ, "TISDISS_ONNXRUNTIME": onnxruntime},
        stdout=subprocess.PIPE,
        check=True,
    )
    frames = array.array("f", done.stdout)
    for voice in range(2):
        expected = samples(voices / f"two_voices_spk{voice + 1}.wav")
        found = [round(32768 * sample) for sample in frames[voice::2]]
        assert len(found) == len(expected)
        assert max(abs(f - e) for f, e in zip(found, expected, strict=True)) <= 4
        assert max(map(abs, found)) > 1000
    print(
        f"{archive.name}: a program built with it separates the example as the wheel does, with {onnxruntime}"
    )


def samples(path: Path) -> array.array[int]:
    with wave.open(str(path)) as file:
        assert (file.getnchannels(), file.getsampwidth()) == (1, 2)
        return array.array("h", file.readframes(file.getnframes()))


def try_dist(source: Path, wheel: Path) -> None:
    archive = build_library()
    programs = environment("release", wheel, "highest")
    (onnxruntime,) = facts(programs, wheel)["onnxruntime"]
    voices = BUILD / "voices"
    options = ("--bundle", "live-16k", "--provider", "cpu", "--precision", "fp32", "--force", "-o", voices)
    run(programs / "tisdiss-rt", "separate", EXAMPLE, *options, cwd=BUILD)
    for path in (oldest_onnxruntime(), onnxruntime):
        try_library(archive, path, voices)
    print("dist:", *(file.name for file in (source, wheel, archive)), sep="\n  ")


def main() -> None:
    if sys.argv[1:] not in (["wheel"], ["dist"]):
        sys.exit(__doc__)
    BUILD.mkdir(parents=True, exist_ok=True)
    source, wheel = build_python()
    if sys.argv[1] == "wheel":
        try_wheel(wheel)
    else:
        try_dist(source, wheel)


if __name__ == "__main__":
    main()
