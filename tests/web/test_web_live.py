"""Live in Chromium, whose own microphone plays the example: what is heard is one of its voices."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import soundfile
from embedding import run
from node_package import BUILD

import tisdiss_rt

EXAMPLE = Path(tisdiss_rt.__file__).parent / "example" / "two_voices.wav"
RATE, SECONDS = 16000, 8
HALF = RATE // 2


def likeness(heard: np.ndarray, played: np.ndarray) -> np.ndarray:
    """How much each half second of what was heard is like any place of what was played: (parts,), 0 to 1."""
    found = []
    for part in np.split(heard[: len(heard) // HALF * HALF], len(heard) // HALF):
        size = 1 << (len(played) + len(part)).bit_length()
        products = np.fft.irfft(np.fft.rfft(played, size) * np.fft.rfft(part, size).conj())[: len(played)]
        place = int(products.argmax())
        length = np.linalg.norm(part) * np.linalg.norm(played[place : place + len(part)])
        found.append(float(products[place] / (length + 1e-9)))
    return np.array(found)


@pytest.fixture(scope="module")
def ends(chromium: str, programs: Path) -> dict[str, Any]:
    """What the page said, and what became of the microphone, where live sound ends or nearly does."""
    done = run("node", programs / "live-ends.mjs", BUILD / "page", EXAMPLE, env={"CHROMIUM": chromium})
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout)
    assert found["errors"] == []
    return cast("dict[str, Any]", found)


def test_the_microphone_is_let_go(ends: dict[str, Any]) -> None:
    """Whatever fails after it was opened says why, and closes it; one can go live again."""
    assert ends["recording"] == ["no room for a recording", "ended"]
    assert ends["no output"] == ["no sound device", "ended"]
    assert ends["live"] == ["Live. Nothing leaves your machine.", "live"]
    assert ends["failed"] == ["Live has ended: the clock has stopped", "ended"]
    assert ends["unplugged"] == ["Live has ended: the microphone is gone", "ended"]
    assert ends["stopped"] == ["", "ended"]


def test_in_the_background(ends: dict[str, Any]) -> None:
    """Live goes on behind other tabs; where the browser stops the sound, the page says so."""
    assert ends["background"] and ends["goes on"]
    assert ends["suspended"] == "Your browser has stopped the sound. It goes on when this page is in front."
    assert re.fullmatch(r"Live again; your browser had stopped the sound for \d+\.\d s\.", ends["resumed"])


@pytest.mark.realtime
def test_live(chromium: str, programs: Path, tmp_path: Path) -> None:
    command = ("node", programs / "live.mjs", BUILD / "page", tmp_path, EXAMPLE, str(SECONDS))
    done = run(*command, env={"CHROMIUM": chromium})
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout)
    assert found["errors"] == []
    assert re.match(r"Your recording: \d+\.\d s of sound in [\d.]+ s; expected quality", found["recording"])
    assert found["live-status"] == "Live. Nothing leaves your machine."
    assert re.fullmatch(r"\d now, \d\.\d\d on the mean", found["live-depth"])
    told = re.fullmatch(
        r"\d+ of (\d+) steps over 6 ms; (\d+) chunks too late for the headphones, (\d+) dropped",
        found["live-late"],
    )
    assert told is not None
    steps, late, dropped = (int(number) for number in told.groups())
    assert steps > 0.3 * SECONDS * 125
    assert re.fullmatch(
        r"\d+ ms: network 16, computing and waiting \d+, output \d+; .*", found["live-latency"]
    )
    assert found["pressed"] == "false"

    if late + dropped > 0.05 * steps:
        pytest.skip(f"too busy a machine to listen: {late} of {steps} chunks were late, {dropped} dropped")
    heard = np.fromfile(tmp_path / "heard.f32", np.float32)
    mix = np.tile(soundfile.read(EXAMPLE, dtype="float32")[0], 2)  # the microphone begins again at the end
    stream = tisdiss_rt.Separator("live-16k", "cpu").stream(RATE, depth=1)
    voices = np.concatenate([stream.process(mix), stream.flush()], axis=1)
    of_voices = np.maximum(*(likeness(heard, voice) for voice in voices))
    assert of_voices.max() > 0.8
    assert of_voices.mean() > likeness(heard, mix).mean() + 0.03
