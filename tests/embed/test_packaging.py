"""What is installed serves other projects: pkg-config, CMake, the examples, and the programs of docs/c.md."""

from __future__ import annotations

import functools
import hashlib
import re
import shutil
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile
from embedding import PROGRAMS, REPOSITORY, RUNTIME, Built, build, need, run
from test_conformance import BUNDLES, PACKAGE, compare

import tisdiss_rt

PAGE = (REPOSITORY / "docs" / "c.md").read_text(encoding="utf-8")


def program(language: str) -> str:
    """The one program of the page in a language."""
    (text,) = re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    return text


@pytest.fixture
def talk(tmp_path: Path) -> np.ndarray:
    """The example as talk.wav, and as talk.f32."""
    mix, rate = soundfile.read(PACKAGE / "example" / "two_voices.wav", dtype="float32")
    soundfile.write(tmp_path / "talk.wav", mix, rate)
    mix.tofile(tmp_path / "talk.f32")
    return mix


def flags(prefix: Path) -> list[str]:
    need("pkg-config")
    done = run(
        "pkg-config", "--cflags", "--libs", "tisdiss_rt", env={"PKG_CONFIG_PATH": f"{prefix}/lib/pkgconfig"}
    )
    assert done.returncode == 0, done.stderr
    return [*done.stdout.split(), f"-Wl,-rpath,{prefix}/lib"]


def python(bundle: str, mix: np.ndarray, **options: int) -> np.ndarray:
    return _python(bundle, mix.tobytes(), **options)


@functools.cache
def _python(bundle: str, mix: bytes, **options: int) -> np.ndarray:
    separator = tisdiss_rt.Separator(bundle, provider="cpu")
    return separator.separate(np.frombuffer(mix, np.float32), 16000, **options).sources


def same_voice(path: Path, voices: np.ndarray) -> None:
    """One of the voices, but for depth and window, which a budget chooses; these may change their order."""
    found = np.fromfile(path, np.float32)
    assert found.shape == voices[0].shape
    assert max(np.corrcoef(found, voice)[0, 1] for voice in voices) > 0.8


def test_what_is_installed(release: Built) -> None:
    found = {str(path.relative_to(release.prefix)) for path in release.prefix.rglob("*") if path.is_file()}
    expected = {"include/tisdiss_rt.h", "include/tisdiss_rt.hpp", "lib/pkgconfig/tisdiss_rt.pc"}
    expected |= {"lib/libtisdiss_rt.so", "lib/cmake/tisdiss_rt/tisdiss_rtConfig.cmake"}
    assert expected <= found


def test_an_installation_can_be_moved(release: Built, tmp_path: Path) -> None:
    shutil.copytree(release.prefix, tmp_path / "moved")
    found = flags(tmp_path / "moved")
    (include,) = [flag.removeprefix("-I") for flag in found if flag.startswith("-I")]
    (folder,) = [flag.removeprefix("-L") for flag in found if flag.startswith("-L")]
    assert Path(include).resolve() == tmp_path / "moved" / "include"
    assert Path(folder).resolve() == tmp_path / "moved" / "lib"


def test_only_the_interface_is_visible(release: Built) -> None:
    done = run("nm", "-D", "--defined-only", release.prefix / "lib" / "libtisdiss_rt.so")
    names = {line.split()[-1] for line in done.stdout.splitlines()}
    header = (RUNTIME / "cpp" / "include" / "tisdiss_rt.h").read_text()
    declared = set(re.findall(r"^TISDISS_API .*?(tisdiss_\w+)\(", header, re.MULTILINE))
    assert len(declared) == 16
    assert declared == {name for name in names if name.startswith("tisdiss")}
    assert all(name in declared or name.startswith("_") for name in names), names


def test_headers_of_another_hash_are_not_used(tmp_path: Path) -> None:
    """Where npm gives something else in the place of the package with ONNX Runtime's headers."""
    need("cmake")
    npm, script = tmp_path / "npm", RUNTIME / "cpp" / "cmake" / "OnnxRuntimeHeaders.cmake"
    npm.write_text('#!/bin/sh\n[ "$1 $2" = "pack --silent" ] && echo harm > other.tgz && echo other.tgz\n')
    npm.chmod(0o755)
    system = ("-DCMAKE_FIND_USE_CMAKE_SYSTEM_PATH=OFF", "-DCMAKE_FIND_USE_SYSTEM_ENVIRONMENT_PATH=OFF")
    done = run("cmake", "-E", "chdir", tmp_path, "cmake", f"-DNPM={npm}", *system, "-P", script)
    assert done.returncode != 0
    text, found = " ".join(done.stderr.split()), hashlib.sha256(b"harm\n").hexdigest()
    assert re.search(f"nothing of it is used: its SHA-256 is {found}, not [0-9a-f]{{64}}", text), text
    assert "-DONNXRUNTIME_INCLUDE_DIR=FOLDER" in text
    assert list((tmp_path / "onnxruntime").iterdir()) == []


def test_page_in_c(release: Built, talk: np.ndarray, tmp_path: Path) -> None:
    source = tmp_path / "program.c"
    source.write_text(program("c"))
    strict = ("cc", "-std=c99", "-Wall", "-Wextra", "-Werror")
    build(*strict, source, "-o", tmp_path / "program", *flags(release.prefix))
    done = run(tmp_path / "program", BUNDLES["live-16k"], tmp_path / "talk.f32", tmp_path / "voice.f32")
    assert done.returncode == 0, done.stderr
    same_voice(tmp_path / "voice.f32", python("live-16k", talk))


def test_page_in_cpp(release: Built, talk: np.ndarray, tmp_path: Path) -> None:
    source = tmp_path / "program.cpp"
    source.write_text(program("cpp"))
    build(
        "c++",
        "-std=c++17",
        "-Wall",
        "-Wextra",
        "-Werror",
        source,
        "-o",
        tmp_path / "program",
        *flags(release.prefix),
    )
    done = run(tmp_path / "program", BUNDLES["edge-16k"], tmp_path / "talk.f32", tmp_path / "voice.f32")
    assert done.returncode == 0, done.stderr
    same_voice(tmp_path / "voice.f32", python("edge-16k", talk))


def test_page_in_csharp(csharp: Path, talk: np.ndarray, tmp_path: Path) -> None:
    source = tmp_path / "Program.cs"
    source.write_text(program("csharp"))
    build(
        "mcs",
        "-langversion:7.2",
        "-warnaserror",
        f"-r:{csharp}/TisdissRt.dll",
        f"-out:{csharp}/Program.exe",
        source,
    )
    command = (
        "mono",
        csharp / "Program.exe",
        BUNDLES["edge-16k"],
        tmp_path / "talk.f32",
        tmp_path / "voice.f32",
    )
    done = run(*command)
    assert done.returncode == 0, done.stderr
    compare(np.fromfile(tmp_path / "voice.f32", np.float32), python("edge-16k", talk)[0])


@pytest.mark.parametrize("language", ["cpp", "csharp"])
@pytest.mark.parametrize("name", list(BUNDLES))
def test_separate(
    request: pytest.FixtureRequest, language: str, name: str, talk: np.ndarray, tmp_path: Path
) -> None:
    """The examples that read and write WAV files; the one in C++ may fix the depth."""
    if language == "cpp":
        library = request.getfixturevalue("release").library
        done = run(library / "tisdiss_separate", BUNDLES[name], tmp_path / "talk.wav", "--depth", "2")
        expected = python(name, talk, depth=2)
    else:
        done = run(
            "mono", request.getfixturevalue("csharp") / "Separate.exe", BUNDLES[name], tmp_path / "talk.wav"
        )
        expected = python(name, talk)
    assert done.returncode == 0, done.stderr
    for voice, wanted in enumerate(expected, start=1):
        path = tmp_path / f"talk_spk{voice}.wav"
        assert str(path) in done.stdout
        found, rate = soundfile.read(path, dtype="float32")
        assert rate == 16000
        assert np.abs(found - wanted).max() < 1e-4


@pytest.mark.parametrize("subtype", ["FLOAT", "PCM_16"])
@pytest.mark.parametrize("channels", [1, 2])
def test_wav_files_of_the_example(
    release: Built, talk: np.ndarray, subtype: str, channels: int, tmp_path: Path
) -> None:
    sound = np.stack([talk] * channels, axis=1)
    soundfile.write(
        tmp_path / "other.wav", sound, 16000, subtype=subtype, format="WAVEX" if channels == 2 else "WAV"
    )
    program = release.library / "tisdiss_separate"
    done = run(program, BUNDLES["edge-16k"], tmp_path / "other.wav", "--depth", "0")
    assert done.returncode == 0, done.stderr
    found, _ = soundfile.read(tmp_path / "other_spk1.wav", dtype="float32")
    assert np.abs(found - python("edge-16k", talk, depth=0)[0]).max() < 2e-4


@pytest.mark.parametrize("language", ["cpp", "csharp"])
def test_wav_files_with_other_chunks(
    request: pytest.FixtureRequest, language: str, talk: np.ndarray, tmp_path: Path
) -> None:
    """Chunks before and after the sound, in a file without an extension below a folder with one."""
    path = tmp_path / "some.folder" / "talk"
    path.parent.mkdir()
    sound = (talk[:16000] * 32768).astype("<i2").tobytes()
    chunks = (
        (b"JUNK", b"odd"),
        (b"fmt ", struct.pack("<HHIIHH", 1, 1, 16000, 32000, 2, 16)),
        (b"LIST", b"INFO"),
        (b"data", sound),
        (b"JUNK", bytes(1000)),
    )
    content = b"".join(
        name + struct.pack("<I", len(body)) + body + bytes(len(body) % 2) for name, body in chunks
    )
    path.write_bytes(b"RIFF" + struct.pack("<I", 4 + len(content)) + b"WAVE" + content)
    if language == "cpp":
        command = [request.getfixturevalue("release").library / "tisdiss_separate"]
    else:
        command = ["mono", request.getfixturevalue("csharp") / "Separate.exe"]
    done = run(*command, BUNDLES["edge-16k"], path)
    assert done.returncode == 0, done.stderr
    mix = np.frombuffer(sound, "<i2") / np.float32(32768)
    for voice, expected in enumerate(python("edge-16k", mix), start=1):
        found, _ = soundfile.read(path.parent / f"talk_spk{voice}.wav", dtype="float32")
        assert np.abs(found - expected).max() < 1e-4


def test_faults_of_the_examples(release: Built, csharp: Path, talk: np.ndarray, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "slow.wav", talk, 8000)
    bundle, folder = BUNDLES["edge-16k"], release.library
    for command, status, message in (
        ([folder / "tisdiss_separate"], 2, "usage:"),
        ([folder / "tisdiss_separate", bundle, tmp_path / "gone.wav"], 1, "is not a WAV file"),
        (
            [folder / "tisdiss_separate", bundle, tmp_path / "slow.wav"],
            1,
            "has 8000 Hz: resample it to 16000",
        ),
        ([folder / "tisdiss_separate", tmp_path, tmp_path / "talk.wav"], 1, "is not a bundle"),
        ([folder / "tisdiss_stream", bundle], 1, "use tisdiss_separate"),
        (["mono", csharp / "Separate.exe"], 2, "usage:"),
        (["mono", csharp / "Separate.exe", tmp_path, tmp_path / "talk.wav"], 1, "is not a bundle"),
        (
            ["mono", csharp / "Separate.exe", bundle, tmp_path / "slow.wav"],
            1,
            "16-bit mono WAV file of 16000 Hz",
        ),
    ):
        done = run(*command)
        assert (done.returncode, message in done.stderr) == (status, True), (command, done.stderr)


def test_stream_by_pipe(release: Built, talk: np.ndarray, tmp_path: Path) -> None:
    program = release.library / "tisdiss_stream"
    with (tmp_path / "talk.f32").open("rb") as sound, (tmp_path / "voices.f32").open("wb") as voices:
        done = run(program, BUNDLES["live-16k"], stdin=sound, stdout=voices)
    assert done.returncode == 0, done.stderr
    assert "depth 4" in done.stderr
    frames = np.fromfile(tmp_path / "voices.f32", np.float32).reshape(-1, 2)
    compare(frames.T, python("live-16k", talk))


def test_the_plain_loop_fits_the_interface_of_onnx_runtime(csharp: Path) -> None:
    """Types only, against the signatures in OnnxRuntimeSignatures.cs: the real assembly is not at hand."""
    signatures = PROGRAMS / "OnnxRuntimeSignatures.cs"
    source = RUNTIME / "csharp" / "examples" / "PlainLoop.cs"
    build("mcs", "-langversion:7.2", "-warnaserror", f"-out:{csharp}/PlainLoop.exe", source, signatures)
