"""What Python refuses to open, the package for JavaScript refuses too, for the same reason and at once."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from bad_bundles import OFFLINE, PASSED_OVER, STREAMING, edited
from embedding import run

# JSON has one kind of number, and so has JavaScript: 2.0 is 2.
CASES = {name: ("toy", *case) for name, case in OFFLINE.items() if name != "a fraction of a source"}
CASES |= {name: ("stream-toy", *case) for name, case in STREAMING.items()}


def changed_byte(folder: Path) -> None:
    content = bytearray((folder / "decoder.onnx").read_bytes())
    content[-1] ^= 1
    (folder / "decoder.onnx").write_bytes(content)


def as_format_1(manifest: dict[str, Any]) -> None:
    manifest["format"] = 1
    del manifest["parts"]


CASES |= {
    "a changed byte": ("toy", changed_byte, "decoder.onnx is damaged: its SHA-256 is not the manifest's"),
    "a missing graph": (
        "toy",
        lambda folder: (folder / "block.onnx").unlink(),
        "incomplete: block.onnx is missing",
    ),
    "no manifest": (
        "toy",
        lambda folder: (folder / "manifest.json").unlink(),
        "manifest.json cannot be read",
    ),
    "a newer format": ("toy", edited(lambda m: m.update(format=3)), "made for a newer tisdiss-rt (format 3"),
    "an unknown entry": (
        "toy",
        edited(lambda m: m.update(colour="red")),
        "manifest has unknown colour; known are",
    ),
    "a lacking entry": ("toy", edited(lambda m: m.pop("licence")), "manifest lacks licence"),
    "a path that leaves": (
        "toy",
        edited(lambda m: m["conformance"].update(path="../x.npz")),
        "the path '../x.npz' leaves the bundle",
    ),
}
GOOD = {
    "as it is": lambda folder: None,
    "format 1": edited(as_format_1),
    **PASSED_OVER,
}


@pytest.fixture(scope="session")
def outcomes(
    programs: Path, toys: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, tuple[str, str, float] | None]:
    """Error, message and seconds for each of the bundles, all opened by one program; None where it opens."""
    base = tmp_path_factory.mktemp("bundles")
    edits = {name: (toy, edit) for name, (toy, edit, _) in CASES.items()}
    edits |= {f"{toy}: {name}": (toy, edit) for toy in toys for name, edit in GOOD.items()}
    folders = {}
    for name, (toy, edit) in edits.items():
        folders[name] = shutil.copytree(toys[toy], base / str(len(folders)))
        edit(folders[name])
    done = run("node", programs / "opening.mjs", *folders.values())
    assert done.returncode == 0, done.stderr[-3000:]
    return dict(zip(folders, json.loads(done.stdout), strict=True))


@pytest.mark.parametrize("name", CASES)
def test_refused(outcomes: dict[str, tuple[str, str, float]], name: str) -> None:
    assert outcomes[name] is not None
    error, message, took_s = outcomes[name]
    assert error == "BundleError", message
    assert CASES[name][2] in message
    assert took_s < 5


@pytest.mark.parametrize("toy", ["toy", "stream-toy"])
@pytest.mark.parametrize("name", GOOD)
def test_good_ones_open(outcomes: dict[str, tuple[str, str, float] | None], toy: str, name: str) -> None:
    assert outcomes[f"{toy}: {name}"] is None
