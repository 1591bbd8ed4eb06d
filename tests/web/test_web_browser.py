"""In Chromium, by onnxruntime-web on one thread, the bundles give what their examples expect."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from embedding import estimates
from test_conformance import BUNDLES, compare

DEPTHS = (0, 1, 4)  # tests/embed has more, in Node


@pytest.fixture(scope="session")
def command(chromium: str, programs: Path) -> list[str | Path]:
    return ["env", f"CHROMIUM={chromium}", "node", programs / "browser.mjs"]


def test_offline(command: list[str | Path], tmp_path: Path) -> None:
    bundle = BUNDLES["edge-16k"]
    arrays = np.load(bundle / "conformance.npz")
    runs = [f"separate:{depth}" for depth in DEPTHS]
    for depth, found in zip(DEPTHS, estimates(command, bundle, arrays["mix"], runs, tmp_path), strict=True):
        compare(found, arrays[f"est_{depth}"])


def test_stream(command: list[str | Path], tmp_path: Path) -> None:
    """Also with a depth that changes, and beside another stream."""
    bundle = BUNDLES["live-16k"]
    arrays = np.load(bundle / "conformance.npz")
    runs = [f"stream:{depth}:128" for depth in DEPTHS] + ["steps:" + ",".join(map(str, arrays["depths"]))]
    expected = [arrays[f"est_{depth}"] for depth in DEPTHS] + [arrays["est_switching"]]
    runs += ["beside:4:1", "beside:1:4"]
    expected += [arrays["est_4"], arrays["est_1"]]
    for found, wanted in zip(
        estimates(command, bundle, arrays["mix"], runs, tmp_path), expected, strict=True
    ):
        compare(found, wanted)
