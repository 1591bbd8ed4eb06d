"""In Chromium, by onnxruntime-web on one thread, the bundles give what their examples expect."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from embedding import estimates
from test_conformance import BUNDLES, compare, every_depth


@pytest.fixture(scope="session")
def command(chromium: str, programs: Path) -> list[str | Path]:
    return ["env", f"CHROMIUM={chromium}", "node", programs / "browser.mjs"]


def test_offline(command: list[str | Path], tmp_path: Path) -> None:
    """At every depth that the bundle may run."""
    bundle = BUNDLES["edge-16k"]
    arrays = np.load(bundle / "conformance.npz")
    expected = every_depth(bundle)
    runs = [f"separate:{depth}" for depth in range(len(expected))]
    for depth, found in enumerate(estimates(command, bundle, arrays["mix"], runs, tmp_path)):
        compare(found, expected[depth])
        if f"est_{depth}" in arrays:
            compare(found, arrays[f"est_{depth}"])


def test_stream(command: list[str | Path], tmp_path: Path) -> None:
    """At every depth that the example of the bundle has, and with a depth that changes."""
    bundle = BUNDLES["live-16k"]
    arrays = np.load(bundle / "conformance.npz")
    depths = [depth for depth in range(13) if f"est_{depth}" in arrays]
    runs = [f"stream:{depth}:128" for depth in depths] + ["steps:" + ",".join(map(str, arrays["depths"]))]
    expected = [arrays[f"est_{depth}"] for depth in depths] + [arrays["est_switching"]]
    assert len(depths) > 3
    for found, wanted in zip(
        estimates(command, bundle, arrays["mix"], runs, tmp_path), expected, strict=True
    ):
        compare(found, wanted)
