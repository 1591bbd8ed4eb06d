"""WebGPU: chosen where it is faster and as good, given up where it fails, refused where there is none.

Chromium has it in software: that shows that its numbers are right, and that it is not taken for a card.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from embedding import estimates, run
from test_conformance import BUNDLES, compare

import tisdiss_rt

LOST = "WebGPU: the device was lost, until the page is loaded again"
NONE = "WebGPU: this browser offers no adapter"
RUNS = 3 * (1 + 4 + 1)  # of graphs: three windows at the trained depth
# What runs before the choice, after it and in the end; why not WebGPU; graphs that ran on it; right or not.
WASM = ["wasm", "wasm", "wasm"]
CASES = {
    "faster": ["wasm", "webgpu", "webgpu", None, RUNS, True],
    "wrong": [*WASM, "WebGPU: its results differ by 2.7 of the peak", 0, True],
    "NaN": [*WASM, "WebGPU: bundle toy returned NaN or infinity", 0, True],
    "absent": [*WASM, NONE, 0, True],
    "precision": [[*WASM, None, 0, True], 0],
    "wasm": [[*WASM, None, 0, True], 0],
    "lost": ["wasm", "webgpu", "wasm", LOST, 5, True],
    "asked": ["webgpu", "webgpu", "webgpu", None, RUNS, True],
    "asked, lost": f"ProviderError: {LOST}",
    "asked, absent": f"ProviderError: {NONE}; use the provider auto or wasm",
    "unknown": "OptionError: no provider 'cuda' here, only auto, wasm, webgpu",
    "stream": ["wasm", None, 0],
    "stream, asked": "ProviderError: bundle stream-toy is for streams, which do not run on webgpu",
    "of itself": [["wasm", False, True], ["webgpu", True, True]],
    "not while it separates": ["separated, 0", "chosen"],
    "in turns": [
        ["a", "no", "b"],
        [LOST.replace("lost", "lost (gone)")] * 2,
        ["a", "done", "b", "done"],
    ],
}


@pytest.fixture(scope="session")
def decided(programs: Path, toys: dict[str, Path]) -> dict[str, Any]:
    """What was decided with a stand-in for WebGPU."""
    return told("node", programs / "providers.mjs", toys["toy"], toys["stream-toy"])


@pytest.fixture(scope="session")
def in_chromium(chromium: str, programs: Path, toys: dict[str, Path]) -> dict[str, Any]:
    """What became of WebGPU in Chromium, and whether its build was fetched."""
    return told("env", f"CHROMIUM={chromium}", "node", programs / "webgpu.mjs", toys["toy"])


@pytest.fixture(scope="session")
def on_webgpu(in_chromium: dict[str, Any], chromium: str, programs: Path) -> list[str | Path]:
    """The conformance program, asking for WebGPU."""
    need_software(in_chromium)
    return ["env", f"CHROMIUM={chromium}", "PROVIDER=webgpu", "node", programs / "browser.mjs"]


def told(*command: str | Path) -> dict[str, Any]:
    done = run(*command)
    assert done.returncode == 0, done.stderr[-3000:]
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def need_software(in_chromium: dict[str, Any]) -> None:
    if not in_chromium["software: adapters"][0]:
        pytest.skip("not on this machine: a Chromium with WebGPU in software")


@pytest.mark.parametrize("name", CASES)
def test_decisions(decided: dict[str, Any], name: str) -> None:
    assert decided[name] == CASES[name]


@pytest.mark.parametrize("name", ["slower", "as fast"])
def test_not_faster(decided: dict[str, Any], name: str) -> None:
    *ways, reason, runs, is_right = decided[name]
    assert (ways, runs, is_right) == (WASM, 0, True)
    assert reason.startswith("WebGPU: not faster here, ")


def test_without_an_adapter(in_chromium: dict[str, Any]) -> None:
    assert in_chromium["without: adapters"] == [False, False]
    assert in_chromium["without"] == [["wasm", NONE, 2], False]
    error, is_fetched = in_chromium["without, asked"]
    assert error.endswith(CASES["asked, absent"])
    assert not is_fetched


def test_software_is_no_graphics_card(in_chromium: dict[str, Any]) -> None:
    """It is left alone unless it is asked for; where it passes for a card, it is fetched and found slow."""
    need_software(in_chromium)
    assert in_chromium["software"] == [["wasm", "WebGPU: the only adapter is software", 2], False]
    assert in_chromium["software, asked"] == ["webgpu", True]
    (provider, reason, _), is_fetched = in_chromium["a card"]
    assert (provider, is_fetched) == ("wasm", True)
    assert reason.startswith("WebGPU: not faster here, ")


def test_lost_device(in_chromium: dict[str, Any]) -> None:
    """In the middle of a separation, and from then on."""
    need_software(in_chromium)
    errors, _ = in_chromium["lost"]
    expected = CASES["asked, lost"].replace("lost,", "lost (Device was destroyed.),")
    assert errors == [expected, expected]


def test_conformance_of_a_toy(on_webgpu: list[str | Path], toys: dict[str, Path], tmp_path: Path) -> None:
    arrays = np.load(toys["toy"] / "conformance.npz")
    depths = (0, 1, 4)
    found = estimates(on_webgpu, toys["toy"], arrays["mix"], [f"separate:{d}" for d in depths], tmp_path)
    for depth, estimate in zip(depths, found, strict=True):
        compare(estimate, arrays[f"est_{depth}"])


def test_conformance(on_webgpu: list[str | Path], tmp_path: Path) -> None:
    """Of half a second of `edge-16k`, once through each graph: in software this takes its time."""
    bundle = BUNDLES["edge-16k"]
    mix = np.load(bundle / "conformance.npz")["mix"][:8000]
    *_, expected = tisdiss_rt.Separator(bundle, provider="cpu").engine.every_depth(mix, 1)
    (found,) = estimates(on_webgpu, bundle, mix, ["separate:1"], tmp_path)
    compare(found, expected)
