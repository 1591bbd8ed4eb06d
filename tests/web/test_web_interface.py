"""What the interface for JavaScript promises beyond numbers: options, errors, progress, streams."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from embedding import run

import tisdiss_rt

EDGE = Path(tisdiss_rt.__file__).parent / "bundles" / "edge-16k"
OPTIONS = {
    "both": "a budget and a fixed depth exclude each other",
    "no budget": "the budget must be above 0 ms, not 0",
    "too deep": "the depth must be from 0 to 12 for this bundle, not 13",
    "half a depth": "the depth must be from 0 to 12 for this bundle, not 1.5",
    "a least depth that is too deep": "the minimum depth must be from 0 to 12 for this bundle, not 13",
    "a long window": "the window must be from 0.002 to 0.8 s, not 1; "
    "the memory that it takes grows with its square",
    "a gain that cannot be told": "bundle toy cannot tell what a repetition adds: export it with --calibrate",
    "window of a stream": "a streaming bundle has steps of fixed length; leave the window out",
    "negative gain": "the least gain must be from 0 dB on, not -1",
    "stream of an offline bundle": "bundle toy is for whole signals: use separate, or a streaming bundle",
    "precision": "bundle toy has no precision 'int8', only fp32",
    "provider": "no provider 'webgpu' here, only auto, cpu",
    "threads": "threads must be from 1 to 256, not 0",
    "too deep for the stream": "the depth must be from 0 to 2, which the stream was opened with, not 3",
    "least depth of a stream without a budget": "without a budget, the depth is fixed: use setDepth",
    "depth of a stream with a budget": "the budget chooses the depth: open the stream without one",
}
AUDIO = {
    "empty": "the mixture is empty",
    "NaN": "the mixture has NaN or infinity: replace them",
    "a list": "the mixture must be a Float32Array of one channel",
    "busy": "the stream is busy: await each call before the next one",
    "loud": "the mixture has samples beyond 1000000, where full scale is 1: scale it down",
    "ended": "the stream has ended with flush(); reset() begins a new one",
}
ERRORS = {
    **{name: f"OptionError: {message}" for name, message in OPTIONS.items()},
    **{name: f"AudioError: {message}" for name, message in AUDIO.items()},
    "no bundle": "BundleError: no bundle 'nowhere': neither a folder nor installed (edge-16k, live-16k)",
    "stopped": "AbortError: This operation was aborted",
    "stopped stream": "AbortError: This operation was aborted",
}


@pytest.fixture(scope="session")
def found(programs: Path, toys: dict[str, Path]) -> dict[str, Any]:
    """What each call of the program gave, or its error."""
    done = run("node", programs / "interface.mjs", toys["toy"], toys["stream-toy"], EDGE)
    assert done.returncode == 0, done.stderr[-3000:]
    told: dict[str, Any] = json.loads(done.stdout)
    return told


@pytest.mark.parametrize("name", ERRORS)
def test_errors(found: dict[str, Any], name: str) -> None:
    assert found[name] == ERRORS[name]


def test_progress_and_records(found: dict[str, Any]) -> None:
    """Windows of 1600 samples begin every 800, the last one ends with the signal of 5000."""
    starts_s = [start / 16000 for start in (0, 800, 1600, 2400, 3200, 3400)]
    progress = found["progress"]
    assert progress["told"] == [[done_s, 0.3125] for done_s in (*starts_s, 0.3125)]
    assert progress["steps"] == [[start_s, 0.1, 2, False] for start_s in starts_s]
    assert progress["plan"] == {
        "windowS": 0.1,
        "windowSamples": 1600,
        "advanceS": 0.05,
        "depth": 2,
        "minDepth": 2,
        "maxDepth": 2,
        "budgetMs": None,
        "predictedMs": None,
        "qualityDb": None,
        "minGainDb": None,
    }


def test_integers(found: dict[str, Any]) -> None:
    """A bundle that is installed with the package opens by its name, in a precision that it carries."""
    assert found["integers"] == "int8"


def test_node_has_one_provider(found: dict[str, Any]) -> None:
    assert found["no choice"] == "cpu"


def test_silence_runs_nothing(found: dict[str, Any]) -> None:
    assert found["silence"] == [[True, True], True]


def test_budgets(found: dict[str, Any]) -> None:
    """A large budget leads to the trained depth; an impossible one to the least, and to what would fit."""
    budget = found["budget"]
    assert (budget["plan"]["depth"], budget["depth"], budget["missed"]) == (4, 4, False)
    assert budget["plan"]["predictedMs"] < 1000
    assert found["impossible budget"] == [True, 1, True]


def test_streams(found: dict[str, Any]) -> None:
    """Two chunks of 5000 samples in steps of 128, two steps late. What was refused was not pushed."""
    assert found["latency before"] == {"algorithmic": 16, "compute": 0, "total": 16}
    assert found["after loud"] == [4992, 4992]
    assert found["flush"] == [144, 144]
    assert found["again"] == [True, 2, [[2, 39]], 39]
    assert found["least depth"] == [1, 0, 2]
    assert found["no samples"] == [0, 0]
