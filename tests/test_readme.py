"""Every command and program in README and in the pages of docs/ runs as written, or it is said why not."""

from __future__ import annotations

import importlib.util
import json
import re
import shlex
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
from click.testing import CliRunner

import tisdiss_rt
from tisdiss_rt.cli.main import cli

REPOSITORY = Path(__file__).parents[1]
PAGES = {
    path.relative_to(REPOSITORY).as_posix(): path.read_text(encoding="utf-8")
    for path in (REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").glob("*.md")))
}
PROJECT = (REPOSITORY / "pyproject.toml").read_text(encoding="utf-8")
MAKEFILE = (REPOSITORY / "Makefile").read_text(encoding="utf-8")

# Commands that are not run, by how they begin, and why. Their options are checked all the same.
ELSEWHERE = {
    "tisdiss-rt live --voice": "needs a microphone; tests/runtime/test_live.py has a file in its place",
    "tisdiss-rt live --virtual-mic": "needs one; tests/runtime/test_live_devices.py has a virtual one",
    "tisdiss-rt live --record": "needs a microphone; tests/runtime/test_live_devices.py has a virtual one",
    "tisdiss-rt doctor": "tests/runtime/test_cli.py runs it",
    "tisdiss-rt bench": "tests/runtime/test_bench.py runs it",
    "tisdiss-rt separate --manifest calls.jsonl -o voices --ray": "tests/runtime/test_ray.py runs it",
}
NOT_OURS = {
    "pip install": "changes the environment; the extras that it names are looked up",
    "apt install": "changes the machine",
    "make": "runs this test; the targets are looked up",
    "ray start": "starts a cluster; tests/runtime/test_ray.py does",
    "cmake": "tests/embed builds and installs with these commands",
    "mcs": "tests/embed builds with it",
    "applyplugin": "tests/embed/test_ladspa.py runs it",
    "pactl": "tests/embed/test_ladspa.py takes it from the page, with other numbers",
    "dotnet": "Debian has none; tests/embed checks what it would pack",
    "cd runtime/web": "tests/web builds and packs as these commands do",
    "python3 -m http.server": "serves until it is stopped; tests/web serves the page by itself",
    "npm install": "tests/web installs what it has packed",
}


@dataclass(frozen=True)
class Block:
    """A fenced block: where it is, its language and its text."""

    page: str
    language: str
    text: str


BLOCKS = [
    Block(page, *found)
    for page, text in PAGES.items()
    for found in re.findall(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
]
PYTHON = [block for block in BLOCKS if block.language == "python"]
COMMANDS = {
    page: [line for b in BLOCKS if (b.page, b.language) == (page, "sh") for line in b.text.splitlines()]
    for page in PAGES
}


@pytest.fixture
def exporting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Graphs that another test has written are not exported anew."""
    if importlib.util.find_spec("torch") is None:
        yield
        return
    from exported_networks import written_once

    with written_once(tmp_path_factory):
        yield


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    example = Path(tisdiss_rt.__file__).parent / "example" / "two_voices.wav"
    for name in ("talk.wav", "meeting.wav", "anna.wav"):
        shutil.copy(example, tmp_path / name)
    (tmp_path / "calls.jsonl").write_text('{"audio_filepath": "talk.wav", "duration": 6.0, "lang": "en"}\n')
    (tmp_path / "interviews").mkdir()
    shutil.copy(example, tmp_path / "interviews" / "one.wav")
    for folder in ("runtime", "benchmarks"):
        (tmp_path / folder).symlink_to(REPOSITORY / folder)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_every_block_is_of_a_kind_that_is_tested() -> None:
    """`text` is output, a drawing or settings; tests/embed runs C, C++ and C#, tests/web JavaScript."""
    known = {"python", "sh", "text", "yaml", "c", "cpp", "csharp", "js"}
    assert {block.language for block in BLOCKS} == known
    for language in ("c", "cpp", "csharp"):
        assert [block.page for block in BLOCKS if block.language == language] == ["docs/c.md"]
    assert {block.page for block in BLOCKS if block.language == "js"} == {"docs/web.md"}


def is_separation(names: dict[str, Any], printed: str) -> None:
    assert isinstance(names["result"], tisdiss_rt.Separation)
    assert names["result"].sources.shape == (2, 96000)
    assert names["result"].steps


def is_stream(names: dict[str, Any], printed: str) -> None:
    assert isinstance(names["stream"], tisdiss_rt.Stream)
    assert names["stream"].depth_counts.total() == 751
    assert names["rest"].dtype == np.float32 and names["rest"].shape == (2, 128)
    assert "algorithmic=16.0" in printed


def is_example_of_the_bundle(names: dict[str, Any], printed: str) -> None:
    assert float(printed) < 1e-5


def is_meeting(names: dict[str, Any], printed: str) -> None:
    is_separation(names, printed)
    assert len(names["meeting"].sources) == len({turn.talker for turn in names["meeting"].turns})


def is_dataset(names: dict[str, Any], printed: str) -> None:
    rows = names["ray"].data.read_parquet("voices").take_all()
    names["ray"].shutdown()
    assert sorted(row["talker"] for row in rows) == [1, 2]


def is_manifest_of_cuts(names: dict[str, Any], printed: str) -> None:
    (line,) = Path("cuts.jsonl").read_text().splitlines()
    assert json.loads(line) == {"audio_filepath": "talk.wav", "offset": 1.0, "duration": 2.0, "cut": "part"}


def are_cuts_of_voices(names: dict[str, Any], printed: str) -> None:
    voices = list(names["voices"])
    assert [(cut.duration, cut.talker, cut.lang) for cut in voices] == [(6.0, 1, "en"), (6.0, 2, "en")]
    assert voices[0].load_audio().shape == (1, 96000)


def is_sound_again(names: dict[str, Any], printed: str) -> None:
    np.testing.assert_array_equal(names["soundfile"].read("voice.wav")[0], names["talk"])


CHECKS: list[tuple[str, Callable[[dict[str, Any], str], None]]] = [
    ("README.md", is_separation),
    ("docs/c.md", is_sound_again),
    ("docs/corpora.md", is_dataset),
    ("docs/corpora.md", is_manifest_of_cuts),
    ("docs/corpora.md", are_cuts_of_voices),
    ("docs/live.md", is_stream),
    ("docs/other-languages.md", is_example_of_the_bundle),
    ("docs/other-languages.md", is_example_of_the_bundle),
    ("docs/python.md", is_meeting),
]


def test_a_loop_for_any_language_is_short() -> None:
    lengths = [len(block.text.splitlines()) for block in PYTHON if block.page == "docs/other-languages.md"]
    assert len(lengths) == 2 and max(lengths) < 60


def prepare_parquet() -> None:
    """Write a Parquet file with a recording, for a cluster that is not there yet."""
    import pyarrow
    import pyarrow.parquet

    Path("calls").mkdir()
    table = pyarrow.table({"bytes": [Path("talk.wav").read_bytes()], "lang": ["en"]})
    pyarrow.parquet.write_table(table, "calls/0.parquet")


def prepare_cuts() -> None:
    """Write a set with a part of a recording, and separate a manifest."""
    from lhotse import CutSet, Recording

    cut = Recording.from_file("talk.wav").to_cut().truncate(offset=1.0, duration=2.0).with_id("part")
    CutSet.from_cuts([cut]).to_file("cuts.jsonl.gz")
    arguments = ["separate", "--manifest", "calls.jsonl", "-o", "voices", "--depth", "1", "--workers", "1"]
    assert CliRunner().invoke(cli, arguments).exit_code == 0


PREPARED = {"ray": prepare_parquet, "lhotse": prepare_cuts}


@pytest.mark.filterwarnings("ignore::tisdiss_rt.SeparationWarning")
@pytest.mark.parametrize("number", range(max(len(PYTHON), len(CHECKS))))
def test_python(workplace: Path, capsys: pytest.CaptureFixture[str], number: int) -> None:
    page, check = CHECKS[number]
    assert PYTHON[number].page == page
    for package, prepare in PREPARED.items():
        if f"import {package}\n" in PYTHON[number].text or f"from {package} " in PYTHON[number].text:
            pytest.importorskip(package)
            prepare()
    names: dict[str, Any] = {}
    exec(PYTHON[number].text, names)
    check(names, capsys.readouterr().out)


def without_environment(line: str) -> list[str]:
    """The words of a command, without what is set for it alone and what starts several processes of it."""
    words = shlex.split(line)
    while re.match(r"[A-Z_]+=", words[0]):
        del words[0]
    if words[0] == "torchrun":  # what it starts is tried, in one process
        words = words[words.index("--no-python") + 1 :]
    return words


def check_options(words: list[str]) -> None:
    """Parse a command of ours, without running it."""
    command = cli.get_command(click.Context(cli), words[1])
    assert command is not None, words
    command.make_context(words[1], words[2:])


@pytest.mark.filterwarnings("ignore::tisdiss_rt.SeparationWarning")
@pytest.mark.parametrize("page", [page for page, lines in COMMANDS.items() if lines])
def test_commands(workplace: Path, exporting: None, monkeypatch: pytest.MonkeyPatch, page: str) -> None:
    """Run the commands of a page in their order; those that train, up to the first step."""
    lines = [" ".join(without_environment(line)) for line in COMMANDS[page]]
    ours = [line for line in lines if not line.startswith(tuple(NOT_OURS))]
    if any(line.startswith(("tisdiss-rt train", "tisdiss-rt export")) for line in ours):
        prepare_training(workplace, monkeypatch)
    for line in ours:
        words = shlex.split(line)
        assert words[0] == "tisdiss-rt", line
        check_options(words)
        if line != "tisdiss-rt live" and not line.startswith(tuple(ELSEWHERE)):
            result = CliRunner().invoke(cli, words[1:])
            assert result.exit_code == 0, f"{line}\n{result.output}"


def prepare_training(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put SPEECH and CHECKPOINT there; a training ends before its first step, one of a voiceprint soon."""
    torch = pytest.importorskip("torch")
    from exported_networks import STREAMING, random_network
    from synthetic import write_corpus

    from tisdiss_models import checkpoint, training, voiceprint
    from tisdiss_models import cli as train_cli

    speech = write_corpus(workplace / "SPEECH", speakers=12, length_s=5.0, rate=16000)
    shutil.copytree(speech / "train", speech / "noise" / "train")
    (workplace / "CHECKPOINT").mkdir()
    checkpoint.save_checkpoint(
        workplace / "CHECKPOINT" / "network.pt", random_network(STREAMING), {"steps": 7}
    )
    short = {"clean": (torch.randn(1, 8000), torch.randn(1, 2, 8000))}
    monkeypatch.setattr(training, "validation_sets", lambda recordings: short)
    briefly = partial(voiceprint.train_voiceprint, excerpts=16, steps=2, batch=8)
    monkeypatch.setattr(voiceprint, "train_voiceprint", briefly)
    monkeypatch.setattr(train_cli, "train", lambda trainer, folder, *_: trainer.save(folder / "state.pt"))


def test_commands_in_the_text() -> None:
    """Commands, options, modules and targets that the text names are there."""
    commands = {
        name: cli.get_command(click.Context(cli), name) for name in cli.list_commands(click.Context(cli))
    }
    options = {"--help"}
    for name, command in commands.items():
        assert command is not None
        if name in ("export", "train"):
            pytest.importorskip("torch")
            result = CliRunner().invoke(cli, [name, "--help"])
            options |= set(re.findall(r"--[a-z][a-z-]+", result.output))
        else:
            options |= {word for parameter in command.params for word in parameter.opts}
    for page, text in PAGES.items():
        inline = re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL))
        for code in inline:
            words = shlex.split(code) if "'" in code else code.split()
            if words[0] == "tisdiss-rt" and len(words) > 1:
                assert words[1] in commands, (page, code)
            if words[0] in ("tisdiss-rt", *(word for word in words[:1] if word.startswith("--"))):
                named = [word for word in words if word.startswith("--")]
                assert set(named) <= options, (page, code)
            if words[:2] == ["python", "-m"]:
                assert importlib.util.find_spec(words[2]), (page, code)
            if words[0] == "make":
                assert re.search(rf"^{words[1]}:", MAKEFILE, re.MULTILINE), (page, code)


def test_extras_and_targets() -> None:
    lines = [line for page in PAGES for line in COMMANDS[page]] + re.findall(
        r"`(pip install [^`]*)`", "".join(PAGES.values())
    )
    found = [line for line in lines if line.startswith("pip install")]
    assert len(found) > 3
    for line in found:
        for extra in re.findall(r"\[([\w,]+)\]", line):
            assert all(re.search(rf"^{name} = \[", PROJECT, re.MULTILINE) for name in extra.split(",")), line
    for line in lines:
        if line.startswith("make "):
            assert re.search(rf"^{line.split()[1]}:", MAKEFILE, re.MULTILINE), line


def test_every_room_is_in_the_drawing() -> None:
    (drawing,) = [b.text for b in BLOCKS if b.page == "docs/architecture.md" and "│ cli " in b.text]
    rooms = [path.parent.name for path in (REPOSITORY / "runtime" / "tisdiss_rt").glob("*/__init__.py")]
    assert len(rooms) > 5
    assert not [room for room in rooms if f"│ {room} " not in drawing]


def test_training_file() -> None:
    pytest.importorskip("torch")
    import yaml

    from tisdiss_models.config import TrainingConfig
    from tisdiss_models.options import from_mapping

    (block,) = [block for block in BLOCKS if block.language == "yaml"]
    config = from_mapping(TrainingConfig, yaml.safe_load(block.text)["training"], block.page)
    assert config.scenes.room_share > 0


@pytest.mark.filterwarnings("ignore::tisdiss_rt.SeparationWarning")
def test_output(workplace: Path) -> None:
    """The output in README is what the command before it prints, but for numbers and what runs it."""
    shown = next(block.text for block in BLOCKS if (block.page, block.language) == ("README.md", "text"))
    result = CliRunner().invoke(cli, ["separate", "talk.wav", "--budget-ms", "100000"])
    assert result.exit_code == 0, result.output

    def skeleton(text: str) -> list[str]:
        text = re.sub(r" on \w+, (\d+) threads, \w+:", " on P, N threads, P:", text)
        text = re.sub(r"depth \d+ to \d+", "depth 1", text)
        return sorted(re.sub(r"\d+(\.\d+)?", "N", text).splitlines())

    assert skeleton(result.output) == skeleton(shown)


def test_readme_is_short_and_its_pictures_are_found() -> None:
    """Pictures have addresses that work on a package page, too; links lead to files."""
    readme = PAGES["README.md"]
    assert len(readme.splitlines()) <= 130
    (source,) = re.findall(r'^Source = "(.*)"$', PROJECT, re.MULTILINE)
    assert f"repo_url: {source}\n" in (REPOSITORY / "mkdocs.yml").read_text(encoding="utf-8")
    raw = source.replace("github.com", "raw.githubusercontent.com") + "/main/"
    pictures = re.findall(r"!\[[^]]+\]\(([^)]+)\)", readme)
    assert len(pictures) == 3
    for address in pictures:
        assert address.startswith(raw)
        assert (REPOSITORY / address.removeprefix(raw)).is_file()
    links = re.findall(r"(?<!!)\[[^]]+\]\(([^):#]+)\)", readme)
    assert len(links) > 10
    for target in links:
        assert (REPOSITORY / target).is_file(), target
