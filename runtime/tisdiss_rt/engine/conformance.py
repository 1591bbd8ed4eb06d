"""Whether this machine computes what the exporter computed, by the example that every bundle carries."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from numpy.lib.npyio import NpzFile

from tisdiss_rt.audio import Array
from tisdiss_rt.bundle import Bundle
from tisdiss_rt.engine.base import Engine


def differences(bundle: Bundle, engine: Engine) -> dict[int | str, float]:
    """Run the example of ``conformance.npz`` at every depth that it holds.

    That of a streaming bundle also holds ``depths``, one for each step that `run_steps` needs, and the
    ``est_switching`` that they give.

    Returns:
        For each depth, and for ``switching``, the largest absolute difference over the largest absolute
        expected value.
    """
    arrays = np.load(io.BytesIO(bundle.read(bundle.manifest.conformance)))
    mix = arrays["mix"]
    depths = depths_of(arrays)
    estimates = engine.every_depth(mix, depths[-1])
    found: dict[int | str, float] = {n: _difference(estimates[n], arrays[f"est_{n}"]) for n in depths}
    if "depths" in arrays.files:
        estimate = run_steps(engine, mix, arrays["depths"].tolist())
        found["switching"] = _difference(estimate, arrays["est_switching"])
    return found


def depths_of(arrays: NpzFile) -> list[int]:
    """Return the depths that an example has estimates for, in rising order."""
    return sorted(int(n.removeprefix("est_")) for n in arrays.files if n.removeprefix("est_").isdigit())


def run_steps(engine: Engine, mix: Array, depths: Sequence[int]) -> Array:
    """Separate a whole mixture (n,) with a depth for each of the steps that `Engine.cut` gives.

    Returns the estimate (sources, n).
    """
    steps = engine.open(max(depths))
    estimates = []
    for part, depth in zip(engine.cut(mix), depths, strict=True):
        state = steps.start(part)
        for _ in range(depth):
            steps.repeat(state)
        estimates.append(steps.decode(state))
    return engine.join(estimates, len(mix))


def _difference(estimate: Array, expected: Array) -> float:
    return float(np.abs(estimate - expected).max() / np.abs(expected).max())
