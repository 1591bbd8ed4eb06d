"""The page, used in Chromium as people do: example, files, sliders, keys, downloads, without a network."""

from __future__ import annotations

import gzip
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from embedding import run
from node_package import BUILD

import tisdiss_rt

EXAMPLE = Path(tisdiss_rt.__file__).parent / "example"
DONE = r"The example: 6\.0 s of sound in [\d.]+ s; expected quality [\d.]+ dB \([\d.]+ to [\d.]+\)\."
EFFORT = r"{}: \d+\.\d dB gained, \d+ ms for 4 s"


@pytest.fixture(scope="module")
def used(
    chromium: str, programs: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[dict[str, Any], Path]:
    """What the page showed, and the folder with what it saved."""
    folder = tmp_path_factory.mktemp("page")
    sound = EXAMPLE / "two_voices_ref1.wav"
    done = run("node", programs / "demo.mjs", BUILD / "page", folder, sound, env={"CHROMIUM": chromium})
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout), folder


def test_the_example_is_there_at_once(used: tuple[dict[str, Any], Path]) -> None:
    found, folder = used
    assert found["errors"] == []
    assert found["runtime"] == "edge-16k runs in WebAssembly."
    assert re.fullmatch(
        r"edge-16k runs in WebAssembly "
        r"\(WebGPU: (this browser offers no adapter|the only adapter is software)\)\.",
        found["chosen runtime"],
    )
    assert re.fullmatch(DONE, found["example"])
    mix, rate = soundfile.read(EXAMPLE / "two_voices.wav", dtype="float32")
    expected = tisdiss_rt.Separator("edge-16k", "cpu").separate(mix, rate).sources
    for number, voice in enumerate(expected, 1):
        saved, its_rate = soundfile.read(folder / f"{number}.wav", dtype="float32")
        assert (its_rate, found[f"file {number}"]) == (rate, f"The_example_spk{number}.wav")
        assert np.abs(saved - voice).max() < 2e-4 * np.abs(voice).max() + 1 / 32768


def test_what_is_fetched(used: tuple[dict[str, Any], Path]) -> None:
    """Until the example is separated, as servers compress it. The build for WebGPU is of no use here."""
    found, _ = used
    names = [path.strip("/") or "index.html" for path in found["fetched"]]
    assert not any("webgpu" in name or "asyncify" in name for name in (*names, *found["fetched in the end"]))
    assert {"worker.js", "two_voices.wav", "bundles/edge-16k/block.onnx"} <= set(names)
    assert sum(len(gzip.compress((BUILD / "page" / name).read_bytes())) for name in names) < 9e6


def test_effort(used: tuple[dict[str, Any], Path]) -> None:
    """Three repetitions less are faster, and promise less; a budget is answered with a plan."""
    found, _ = used
    assert re.fullmatch(EFFORT.format(4), found["depth"])
    assert re.fullmatch(EFFORT.format(1), found["shallow depth"])
    assert re.fullmatch(DONE, found["shallow"])
    assert re.fullmatch(r"500 ms: depth \d, windows of [\d.]+ s, .*", found["budget"])


def test_playing(used: tuple[dict[str, Any], Path]) -> None:
    """By keys alone. Where it stands is kept when the voices are replaced."""
    found, _ = used
    assert (found["heard"].strip(), found["playing"], found["paused"]) == ("Voice 2", "Pause", "Play")
    assert found["position"] > 0.5
    assert found["position afterwards"] == found["position"]


def test_files(used: tuple[dict[str, Any], Path]) -> None:
    """One that cannot be decoded is refused; in another one person talks; the example is there again."""
    found, _ = used
    assert found["broken"].startswith(
        "broken.mp3 cannot be used: your browser cannot decode this file: try WAV"
    )
    assert found["chosen"].endswith("one person talks, the second voice is silent.")
    assert re.fullmatch(DONE, found["again"])


def test_what_is_refused(used: tuple[dict[str, Any], Path]) -> None:
    """A microphone that is not allowed, and a bundle with one changed byte."""
    found, _ = used
    assert re.fullmatch(r"no microphone \(.*\): allow it for this page, or choose a file", found["refused"])
    assert re.fullmatch(
        r"The network cannot be loaded: .*block.onnx is damaged: its SHA-256 is .*", found["damaged"]
    )


def test_without_a_network(used: tuple[dict[str, Any], Path]) -> None:
    """What was loaded once is enough to begin: page, worker, network and example."""
    assert used[0]["offline"] == "Separating The example…"


def test_narrow_screens(used: tuple[dict[str, Any], Path]) -> None:
    """Nothing is wider than the screen."""
    assert used[0]["width"] == 360
