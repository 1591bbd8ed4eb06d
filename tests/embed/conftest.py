"""What the library for C is built to, and toy bundles for it."""

from __future__ import annotations

import ctypes as c
from collections.abc import Iterator
from pathlib import Path

import pytest
from embedding import PROGRAMS, RUNTIME, SANITIZERS, Built, build, built, json_headers, need, once, opened
from toys import make_stream_toy, make_toy

from benchmarks.c_library import OK, load


@pytest.fixture(scope="session")
def release() -> Built:
    """The library as users build it."""
    return built("release")


@pytest.fixture(scope="session")
def sanitized() -> Built:
    """With AddressSanitizer and UndefinedBehaviorSanitizer, and the programs that are run with it."""
    flags = (f"-DCMAKE_{language}_FLAGS={SANITIZERS}" for language in ("C", "CXX"))
    programs = ("conformance_c", "conformance_cpp", "of_0_1_0", "calls_cpp")
    return built("sanitized", "-DCMAKE_BUILD_TYPE=Debug", "-DTISDISS_LADSPA=OFF", *flags, programs=programs)


@pytest.fixture(scope="session")
def watched(release: Built) -> Path:
    """A folder with programs and the plug-in, watched by ThreadSanitizer.

    The library is static, a part of the project.
    """
    flags = [f"-DCMAKE_{language}_FLAGS=-fsanitize=thread" for language in ("C", "CXX")]
    flags += ["-DCMAKE_BUILD_TYPE=Debug", "-DFROM_SOURCES=ON", "-DTISDISS_LADSPA=ON"]
    headers = [f"-DONNXRUNTIME_INCLUDE_DIR={release.headers}", *json_headers()]

    def into(folder: Path) -> None:
        build("cmake", "-S", PROGRAMS, "-B", folder, *flags, *headers)
        build("cmake", "--build", folder, "--parallel", "2", "--target", "calls_cpp", "plugins")

    return once("watched", into)


@pytest.fixture(scope="session")
def csharp(release: Built) -> Path:
    """A folder with the binding and the programs in C#."""
    need("mcs", "mono")

    def into(folder: Path) -> None:
        where = f'<dllmap dll="tisdiss_rt" target="{release.prefix}/lib/libtisdiss_rt.so"/>'
        (folder / "TisdissRt.dll.config").write_text(f"<configuration>{where}</configuration>\n")
        sources = RUNTIME / "csharp"
        strict = ("mcs", "-langversion:7.2", "-warnaserror")
        binding = folder / "TisdissRt.dll"
        build(*strict, "-target:library", f"-out:{binding}", *sorted(sources.glob("src/*.cs")))
        programs = (
            PROGRAMS / "Conformance.cs",
            PROGRAMS / "Interface.cs",
            sources / "examples" / "Separate.cs",
        )
        for program in programs:
            build(*strict, f"-r:{binding}", f"-out:{folder / program.stem}.exe", program)

    return once("csharp", into)


@pytest.fixture(scope="session")
def toys(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Toy bundles, not to be changed: their sources change places, or it is a streaming one."""
    folder = tmp_path_factory.mktemp("toys")
    return {"toy": make_toy(folder / "toy", swap=True), "stream-toy": make_stream_toy(folder / "stream-toy")}


@pytest.fixture(scope="session")
def library(release: Built) -> c.CDLL:
    return load(release.prefix / "lib" / "libtisdiss_rt.so")


@pytest.fixture
def bundle(library: c.CDLL, toys: dict[str, Path]) -> Iterator[c.c_void_p]:
    status, text, handle = opened(library, toys["toy"])
    assert status == OK, text
    yield handle
    library.tisdiss_close(handle)


@pytest.fixture
def streaming(library: c.CDLL, toys: dict[str, Path]) -> Iterator[c.c_void_p]:
    status, text, handle = opened(library, toys["stream-toy"])
    assert status == OK, text
    yield handle
    library.tisdiss_close(handle)


@pytest.fixture
def stream(library: c.CDLL, streaming: c.c_void_p) -> Iterator[c.c_void_p]:
    handle = c.c_void_p()
    assert library.tisdiss_stream_open(streaming, None, c.byref(handle)) == OK
    yield handle
    library.tisdiss_stream_free(handle)
