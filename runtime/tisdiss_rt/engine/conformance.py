"""Does this machine compute what the exporter computed? Every bundle carries an example to ask with."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from numpy.lib.npyio import NpzFile

from tisdiss_rt.audio import Array
from tisdiss_rt.bundle import Bundle
from tisdiss_rt.engine.offline import OfflineEngine
from tisdiss_rt.engine.streaming import StreamingEngine

TOLERANCE = 1e-4  # of the peak
CUDA_TOLERANCE = 2e-3  # convolutions there round to 10 bits of mantissa


def differences(bundle: Bundle, engine: OfflineEngine | StreamingEngine) -> dict[int | str, float]:
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
    estimates = every_depth(engine, mix, depths[-1])
    found: dict[int | str, float] = {n: _difference(estimates[n], arrays[f"est_{n}"]) for n in depths}
    if isinstance(engine, StreamingEngine) and "depths" in arrays.files:
        estimate = run_steps(engine, mix, arrays["depths"].tolist())
        found["switching"] = _difference(estimate, arrays["est_switching"])
    return found


def depths_of(arrays: NpzFile) -> list[int]:
    """The depths that an example has estimates for, in rising order."""
    return sorted(int(n.removeprefix("est_")) for n in arrays.files if n.removeprefix("est_").isdigit())


def every_depth(engine: OfflineEngine | StreamingEngine, mix: Array, deepest: int) -> list[Array]:
    """Separate a whole mixture (n,) at each depth from 0 to ``deepest``: estimates (sources, n)."""
    if isinstance(engine, StreamingEngine):
        return _every_depth_of_steps(engine, mix, deepest)
    state = engine.start(mix)
    estimates = [engine.decode(state)]
    for _ in range(deepest):
        engine.repeat(state)
        estimates.append(engine.decode(state))
    return estimates


def run_steps(engine: StreamingEngine, mix: Array, depths: Sequence[int]) -> Array:
    """Separate a whole mixture (n,) as a stream with a depth for each step: the estimate (sources, n).

    There are ``ceil((n + latency_samples - step_samples) / step_samples)`` steps.
    """
    stream = engine.open(max(depths))
    pieces = []
    for hop, depth in zip(_steps(engine, mix), depths, strict=True):
        step = stream.start(hop)
        while step.depth < depth:
            stream.repeat(step)
        pieces.append(stream.decode(step))
    return _join(engine, pieces, mix)


def _every_depth_of_steps(engine: StreamingEngine, mix: Array, deepest: int) -> list[Array]:
    """Run all repetitions in every step, and after each of them a decoder with a memory of its own."""
    stream = engine.open(deepest)
    decoders = [engine.memory("decoder") for _ in range(deepest + 1)]
    pieces: list[list[Array]] = [[] for _ in decoders]
    for hop in _steps(engine, mix):
        step = stream.start(hop)
        for depth, memory in enumerate(decoders):
            if depth:
                stream.repeat(step)
            pieces[depth].append(engine.run("decoder", step.tensors, memory)[0]["est"])
    return [_join(engine, estimates, mix) for estimates in pieces]


def _steps(engine: StreamingEngine, mix: Array) -> Array:
    """Cut a mixture (n,) into steps (steps, step_samples), with silence until all of it has come out."""
    timing = engine.timing
    late = timing.latency_samples - timing.step_samples
    steps = -(-(len(mix) + late) // timing.step_samples)
    return np.pad(mix, (0, steps * timing.step_samples - len(mix))).reshape(steps, -1)


def _join(engine: StreamingEngine, pieces: list[Array], mix: Array) -> Array:
    late = engine.timing.latency_samples - engine.timing.step_samples
    return np.concatenate(pieces, axis=1)[:, late : late + len(mix)]


def _difference(estimate: Array, expected: Array) -> float:
    return float(np.abs(estimate - expected).max() / np.abs(expected).max())
