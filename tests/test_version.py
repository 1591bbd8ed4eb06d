"""The version is in one place, the Python package; everything else that has it reads it there."""

import re
from pathlib import Path

from embedding import RUNTIME, need, run

import tisdiss_rt

REPOSITORY = RUNTIME.parent
VERSION = tisdiss_rt.__version__
CMAKE = (RUNTIME / "cpp" / "CMakeLists.txt").read_text()
CSHARP = (RUNTIME / "csharp" / "TisdissRt.csproj").read_text()


def test_no_other_file_has_a_version_of_its_own() -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+", VERSION)
    project = (REPOSITORY / "pyproject.toml").read_text()
    assert 'dynamic = ["version"]' in project
    for text in (project, CMAKE, CSHARP):
        assert VERSION not in text


def test_cmake_reads_it(tmp_path: Path) -> None:
    """By what comes before `project`; what a built library answers is compared in tests/embed."""
    need("cmake")
    before, project = CMAKE.split("project(tisdiss_rt ")
    assert project.startswith("VERSION ${version} ")
    script = tmp_path / "version.cmake"
    script.write_text(
        before.replace("${CMAKE_CURRENT_LIST_DIR}", str(RUNTIME / "cpp")) + "message(${version})"
    )
    done = run("cmake", "-P", script)
    assert (done.returncode, done.stderr.strip()) == (0, VERSION)


def test_csharp_reads_it() -> None:
    """MSBuild is not at hand: what its property functions are given is tried here."""
    found = re.search(
        r"ReadAllText\('\$\(MSBuildThisFileDirectory\)(.*?)'\)\), '(.*)', '\$1'\)\)</Version>", CSHARP
    )
    assert found is not None
    text = (RUNTIME / "csharp" / found[1]).read_text()
    assert re.sub(found[2], r"\1", text) == VERSION


def test_the_changelog_has_it() -> None:
    (newest, *_) = re.findall(r"^## (\S+?),? ", (REPOSITORY / "CHANGELOG.md").read_text() + " ", re.MULTILINE)
    assert newest == VERSION
