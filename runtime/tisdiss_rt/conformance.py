"""Does this machine compute what the exporter computed? Every bundle carries an example to ask with."""

from __future__ import annotations

import io

import numpy as np

from tisdiss_rt.bundle import Bundle
from tisdiss_rt.engine import Engine

TOLERANCE = 1e-4


def differences(bundle: Bundle, engine: Engine) -> dict[int, float]:
    """Run the example of ``conformance.npz`` at every depth that it holds.

    Returns:
        For each depth the largest absolute difference over the largest absolute expected value.
    """
    arrays = np.load(io.BytesIO(bundle.read(bundle.manifest.conformance)))
    state = engine.start(arrays["mix"])
    result = {}
    for depth in sorted(int(name.removeprefix("est_")) for name in arrays.files if name.startswith("est_")):
        while state.depth < depth:
            engine.repeat(state)
        expected = arrays[f"est_{depth}"]  # (S, n)
        result[depth] = float(np.abs(engine.decode(state) - expected).max() / np.abs(expected).max())
    return result
