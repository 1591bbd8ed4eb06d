"""Structs that grow: a program and the library may be of different versions."""

from __future__ import annotations

import ctypes as c
import re
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from embedding import ONNXRUNTIME, RUNTIME, SANITIZERS, Built, build, pointer, run

import tisdiss_rt
from benchmarks import c_library
from benchmarks.c_library import ARGUMENT, OK, OPTION, Info, OpenOptions, Report, RunOptions, Struct

HEADER = RUNTIME / "cpp" / "include" / "tisdiss_rt.h"
HEADERS = Path(__file__).parent / "headers"
SIZE, LARGEST = c.sizeof(c.c_size_t), 4096
C_TYPES = {"const char *": c.c_char_p, "size_t": c.c_size_t, "double": c.c_double}
C_TYPES |= {"int32_t": c.c_int32, "uint64_t": c.c_uint64}
POINTERS = ("void *", "const void *", "const tisdiss_file *", "const struct OrtApiBase *", "tisdiss_progress")
C_TYPES |= dict.fromkeys(POINTERS, c.c_void_p)
CSHARP_TYPES = {"const char *": "IntPtr", "size_t": "UIntPtr", "double": "double"}
CSHARP_TYPES |= {"int32_t": "int", "uint64_t": "ulong", **dict.fromkeys(POINTERS, "IntPtr")}
OF_0_1_0 = """\
toy: cpu fp32, 1 threads, 16000 Hz, 2 sources, depth 4 to 12, streaming 0, step 0, latency 0, size 1
defaults: depth 4 of 4, 3 steps of 0.2 s, predicted 0, quality 0, size 1
depth 0: depth 0 of 0, 12 steps of 0.05 s, predicted 0, quality 0, size 1
budget: depth 4 of 4, 12 steps of 0.05 s, predicted 1, quality 0, size 1
stream-toy: cpu fp32, 1 threads, 16000 Hz, 2 sources, depth 3 to 6, streaming 1, step 128, latency 256, size 1
stream: depth 2 of 2, 39 steps of 0.008 s, predicted 0, quality 0, size 1
"""


def fields(header: Path) -> dict[str, list[tuple[str, str]]]:
    """Type and name of the fields of every struct in a header."""
    text = re.sub(r"/\*.*?\*/", "", header.read_text(), flags=re.DOTALL)
    structs = re.findall(r"typedef struct (\w+) \{(.*?)\} \1;", text, re.DOTALL)
    return {
        name: [(kind.strip(), field) for kind, field in re.findall(r"^ +(.+?)(\w+);", body, re.MULTILINE)]
        for name, body in structs
    }


Memory = c.Array[c.c_char]
Call = Callable[..., tuple[int, str]]


def memory(struct: Struct, rest: bytes = b"", size: int | None = None) -> Memory:
    """A struct and what follows in memory; the size covers all of that unless given."""
    content = bytes(struct) + rest
    found = c.create_string_buffer(content, len(content))
    c.c_size_t.from_buffer(found).value = len(content) if size is None else size
    return found


@pytest.fixture
def calls(
    library: c.CDLL, toys: dict[str, Path], bundle: c.c_void_p, stream: c.c_void_p
) -> dict[str, tuple[Struct, Call]]:
    """What takes each struct, and what it says."""
    mix, rows = np.ones(1000, np.float32), np.zeros((2, 1000), np.float32)
    sound, out, handle = pointer(mix), pointer(rows), c.c_void_p()
    folder = str(toys["toy"]).encode()

    def text(status: int, owner: c.c_void_p | None) -> tuple[int, str]:
        return status, library.tisdiss_error_text(owner).decode() if status else ""

    def open_with(options: Memory) -> tuple[int, str]:
        found = text(library.tisdiss_open(folder, options, c.byref(handle)), None)
        library.tisdiss_close(handle)
        return found

    def separate(options: Memory, report: Memory | None = None) -> tuple[int, str]:
        return text(library.tisdiss_separate(bundle, sound, 1000, options, out, 1000, report), bundle)

    def stream_report(report: Memory) -> tuple[int, str]:
        return text(library.tisdiss_stream_get_report(stream, report), stream)

    return {
        "open": (OpenOptions(onnxruntime=str(ONNXRUNTIME).encode()), open_with),
        "separate": (RunOptions(), separate),
        "info": (Info(), lambda info: text(library.tisdiss_get_info(bundle, info), bundle)),
        "report": (Report(), lambda report: separate(memory(RunOptions(depth=2)), report)),
        "stream report": (Report(), stream_report),
    }


OPTIONS = ["open", "separate"]
RESULTS = ["info", "report", "stream report"]
FIRST_SIZES = {"open": OpenOptions.files.offset, "separate": RunOptions.progress.offset}


# ---- options ----


def depth_of(calls: dict[str, tuple[Struct, Call]], options: Memory) -> int:
    """The depth that a signal is separated at."""
    report = memory(Report())
    _, separate = calls["separate"]
    assert separate(options, report) == (OK, "")
    return Report.from_buffer(report).depth


def test_zeros_are_defaults(calls: dict[str, tuple[Struct, Call]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TISDISS_ONNXRUNTIME", str(ONNXRUNTIME))
    zeros = c.create_string_buffer(c.sizeof(RunOptions))
    assert depth_of(calls, zeros) == depth_of(calls, memory(RunOptions())) == 4
    assert depth_of(calls, memory(RunOptions(depth=0))) == 0
    _, open_with = calls["open"]
    assert open_with(c.create_string_buffer(c.sizeof(OpenOptions)))[0] == OK


@pytest.mark.parametrize("name", OPTIONS)
def test_values_beside_size_0(calls: dict[str, tuple[Struct, Call]], name: str) -> None:
    """As far as the first version goes: what follows may not belong to the struct."""
    struct, call = calls[name]
    for at in range(SIZE, FIRST_SIZES[name]):
        options = c.create_string_buffer(c.sizeof(struct))
        options[at] = 1
        status, text = call(options)
        assert (status, "values, but size 0" in text) == (ARGUMENT, True), (at, text)


def test_shorter_options(calls: dict[str, tuple[Struct, Call]]) -> None:
    """What lies beyond the size is not looked at."""
    wrong = RunOptions(depth=2, min_depth=99, window_s=float("nan"))
    status, _ = calls["separate"][1](memory(wrong))
    assert status == OPTION
    wrong.min_depth = 1
    assert depth_of(calls, memory(wrong, size=RunOptions.window_s.offset)) == 2
    wrong.depth = wrong.min_depth = 99
    assert depth_of(calls, memory(wrong, size=RunOptions.depth.offset)) == 4
    status, _ = calls["open"][1](memory(OpenOptions(threads=-1), size=OpenOptions.threads.offset))
    assert status == OK


@pytest.mark.parametrize("name", OPTIONS)
def test_longer_options(calls: dict[str, tuple[Struct, Call]], name: str) -> None:
    """A program of a later version: it runs as long as it asks for nothing that is not here."""
    struct, call = calls[name]
    for unknown in (8, 24, LARGEST - c.sizeof(struct)):
        assert call(memory(struct, bytes(unknown)))[0] == OK
        for at in (0, unknown // 2, unknown - 1):
            status, text = call(memory(struct, bytes(at) + b"\1" + bytes(unknown - at - 1)))
            assert (status, f"version {tisdiss_rt.__version__} does not know" in text) == (OPTION, True), text
    beyond = memory(struct, bytes(8) + b"\1" * 8, size=c.sizeof(struct) + 8)
    assert call(beyond)[0] == OK


def test_reserved_fields(calls: dict[str, tuple[Struct, Call]]) -> None:
    struct, call = calls["open"]
    struct.reserved = 1
    status, text = call(memory(struct))
    assert (status, "leave it 0" in text) == (OPTION, True), text


# ---- results ----


@pytest.mark.parametrize("name", ["info", "stream report"])
def test_results_of_any_size(calls: dict[str, tuple[Struct, Call]], name: str) -> None:
    """Nothing is written beyond the size, which stays; what is unknown becomes 0."""
    struct, call = calls[name]
    full, length, beyond = memory(struct), c.sizeof(struct), b"\xaa" * 64
    assert call(full)[0] == OK
    for size in range(2 * SIZE, length + 33, SIZE):
        found = memory(struct, beyond, size)
        c.memset(c.byref(found, SIZE), 0xAA, len(found) - SIZE)
        assert call(found)[0] == OK
        expected = size.to_bytes(SIZE, sys.byteorder) + full.raw[SIZE:size] + bytes(max(0, size - length))
        assert found.raw == expected + b"\xaa" * (len(found) - size)


@pytest.mark.parametrize("name", OPTIONS + RESULTS)
def test_sizes_of_no_version(calls: dict[str, tuple[Struct, Call]], name: str) -> None:
    struct, call = calls[name]
    zero = () if name in OPTIONS else (0,)
    for size in (*zero, 1, SIZE, c.sizeof(struct) - 4, c.sizeof(struct) + 1, LARGEST + SIZE, 2**63):
        found = memory(struct, size=size)
        before = found.raw
        status, text = call(found)
        assert (status, "is of no version: begin with TISDISS_" in text) == (ARGUMENT, True), (size, text)
        assert found.raw == before


# ---- versions ----


def test_a_program_of_the_first_version(sanitized: Built, toys: dict[str, Path]) -> None:
    assert of_0_1_0(sanitized, toys) == OF_0_1_0


def test_with_a_later_library(sanitized: Built, toys: dict[str, Path], tmp_path: Path) -> None:
    """The same program, where every struct has got another field since."""
    header = HEADER.read_text()
    for name in fields(HEADER):
        header = header.replace(f"}} {name};", f"  double later;\n}} {name};")
    (tmp_path / "tisdiss_rt.h").write_text(header)
    assert all(members[-1][1] == "later" for members in fields(tmp_path / "tisdiss_rt.h").values())
    objects = sanitized.library / "CMakeFiles" / "tisdiss_rt.dir" / "src"
    build(
        "c++",
        "-std=c++17",
        "-shared",
        "-fPIC",
        *SANITIZERS.split(),
        "-DTISDISS_BUILDING",
        '-DTISDISS_VERSION="9.9.9"',
        f"-I{tmp_path}",
        f"-I{sanitized.headers}",
        "-Wl,-soname,libtisdiss_rt.so.0",
        f"-o{tmp_path}/libtisdiss_rt.so.0",
        RUNTIME / "cpp" / "src" / "api.cpp",
        *(path for path in objects.glob("*.o") if path.name != "api.cpp.o"),
    )
    assert of_0_1_0(sanitized, toys, LD_LIBRARY_PATH=str(tmp_path)) == OF_0_1_0


def of_0_1_0(sanitized: Built, toys: dict[str, Path], **env: str) -> str:
    """What the program prints."""
    program = sanitized.programs / "of_0_1_0"
    used = env.get("LD_LIBRARY_PATH", f"{sanitized.prefix}/lib")
    assert f"{used}/libtisdiss_rt.so" in run("ldd", program, env=env).stdout
    done = run(program, toys["toy"], toys["stream-toy"], env={"ASAN_OPTIONS": "detect_leaks=0", **env})
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def test_the_first_header_is_kept() -> None:
    """Fields are only ever added: those of the first version are where they were."""
    first = fields(HEADERS / "0.1.0" / "tisdiss_rt.h")
    assert len(first) == 4
    now = fields(HEADER)
    assert {name: now[name][: len(known)] for name, known in first.items()} == first


def test_no_padding_at_the_end_of_a_struct() -> None:
    """It would be undefined in a program's struct, and become a field of the next version."""
    for name, members in fields(HEADER).items():
        struct = type(name, (c.Structure,), {"_fields_": [(field, C_TYPES[kind]) for kind, field in members]})
        last = getattr(struct, members[-1][1])
        assert last.offset + last.size == c.sizeof(struct), name


def test_bindings_have_the_fields_of_the_header() -> None:
    """The library would take a shorter struct as one of an older program."""
    native = (RUNTIME / "csharp" / "src" / "Native.cs").read_text()
    for name, members in fields(HEADER).items():
        in_python = "".join(word.capitalize() for word in name.split("_")[1:])
        struct = getattr(c_library, in_python)
        assert struct._fields_ == tuple((field, C_TYPES[kind]) for kind, field in members)
        (body,) = re.findall(rf"internal struct {in_python}\s*\{{(.*?)\}}", native, re.DOTALL)
        expected = [(CSHARP_TYPES[kind], field) for kind, field in members]
        assert re.findall(r"public (\w+) (\w+);", body) == expected
