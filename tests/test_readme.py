"""Everything in README runs as written: its Python, and its separations."""

import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import tisdiss_rt
from tisdiss_rt.cli.main import cli

REPOSITORY = Path(__file__).parents[1]
README = (REPOSITORY / "README.md").read_text(encoding="utf-8")
PYTHON = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
SEPARATIONS = re.findall(r"^tisdiss-rt (separate (?!.*my-bundle).*)$", README, re.MULTILINE)
LIVE = re.findall(r"^tisdiss-rt (live .*)$", README, re.MULTILINE)


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    example = Path(tisdiss_rt.__file__).parent / "example" / "two_voices.wav"
    shutil.copy(example, tmp_path / "talk.wav")
    (tmp_path / "interviews").mkdir()
    shutil.copy(example, tmp_path / "interviews" / "one.wav")
    (tmp_path / "runtime").symlink_to(REPOSITORY / "runtime")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_examples_are_found() -> None:
    assert len(PYTHON) == 3
    assert len(SEPARATIONS) == 3
    assert len(LIVE) == 1


@pytest.mark.filterwarnings("ignore::tisdiss_rt.SeparationWarning")
def test_python_interface(workplace: Path) -> None:
    names: dict[str, object] = {}
    exec(PYTHON[0], names)
    result = names["result"]
    assert isinstance(result, tisdiss_rt.Separation)
    assert result.sources.shape == (2, 96000)


def test_python_stream(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names: dict[str, object] = {}
    exec(PYTHON[1], names)
    stream, rest = names["stream"], names["rest"]
    assert isinstance(stream, tisdiss_rt.Stream)
    assert stream.depth_counts.total() == 751
    assert isinstance(rest, np.ndarray) and rest.shape == (2, 128)
    assert "algorithmic=16.0" in capsys.readouterr().out


def test_plain_loop_gives_the_conformance_output(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert len(PYTHON[2].strip().splitlines()) < 30
    exec(PYTHON[2], {})
    assert float(capsys.readouterr().out) < 1e-5


@pytest.mark.parametrize("line", SEPARATIONS)
def test_command_line(workplace: Path, line: str) -> None:
    result = CliRunner().invoke(cli, shlex.split(line))
    assert result.exit_code == 0, result.output
    assert (workplace / "separated" / "talk_spk2.wav").is_file()


@pytest.mark.filterwarnings("ignore::tisdiss_rt.SeparationWarning")
@pytest.mark.parametrize("line", LIVE)
def test_live(workplace: Path, line: str) -> None:
    result = CliRunner().invoke(cli, shlex.split(line))
    assert result.exit_code == 0, result.output
    assert (workplace / "live" / "talk_spk2.wav").is_file()
