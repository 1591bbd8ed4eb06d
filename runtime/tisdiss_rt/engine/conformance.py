"""Whether this machine computes what the exporter computed, by the example that every bundle carries."""

from __future__ import annotations

import io
import re
import tokenize
import zipfile
import zlib
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from tisdiss_rt.audio import Array
from tisdiss_rt.bundle import CHANGE, Bundle, Manifest
from tisdiss_rt.engine.base import Engine
from tisdiss_rt.errors import BundleError

_MOST_BYTES = 1 << 26  # unpacked
_UNREADABLE = (zipfile.BadZipFile, zlib.error, tokenize.TokenError, SyntaxError)  # of numpy's headers, too


def differences(bundle: Bundle, engine: Engine) -> dict[int | str, float]:
    """Run the example of ``conformance.npz`` at every depth that it holds.

    That of a streaming bundle also holds ``depths``, one for each step that `run_steps` needs, and the
    ``est_switching`` that they give.

    Returns:
        For each depth, for ``switching`` and for ``change``, the largest absolute difference over the largest
        absolute expected value.
    """
    arrays = read_example(bundle)
    mix = arrays["mix"]
    depths = depths_of(arrays)
    estimates = engine.every_depth(mix, depths[-1])
    found: dict[int | str, float] = {n: _difference(estimates[n], arrays[f"est_{n}"]) for n in depths}
    if "depths" in arrays:
        estimate = run_steps(engine, mix, arrays["depths"].tolist())
        found["switching"] = _difference(estimate, arrays["est_switching"])
    if engine.manifest.tells_change:
        found[CHANGE] = _difference(every_change(engine, mix, arrays[CHANGE].shape[1]), arrays[CHANGE])
    return found


def read_example(bundle: Bundle) -> dict[str, npt.NDArray[Any]]:
    """Return the arrays of ``conformance.npz``; raises BundleError unless they are as `bundle` has them."""
    path = bundle.folder / bundle.manifest.conformance.path
    content = bundle.read(bundle.manifest.conformance)
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            size = sum(entry.file_size for entry in archive.infolist())
        if size > _MOST_BYTES:
            raise BundleError(f"{path} unpacks to {size} bytes; at most {_MOST_BYTES} are read")
        with np.load(io.BytesIO(content), allow_pickle=False) as loaded:
            arrays = {name: loaded[name] for name in loaded.files}
    except (*_UNREADABLE, ValueError, OSError, EOFError, MemoryError, NotImplementedError) as error:
        raise BundleError(f"{path} cannot be read: {error}") from error
    _check_example(bundle.manifest, arrays, str(path))
    return arrays


def _check_example(manifest: Manifest, arrays: dict[str, npt.NDArray[Any]], label: str) -> None:
    mix = arrays.get("mix", np.zeros(0))
    if mix.ndim != 1 or mix.dtype != np.float32 or len(mix) < manifest.min_samples:
        raise BundleError(f"{label}: mix must be (samples,) float32, at least {manifest.min_samples}")
    depths = depths_of(arrays)
    if not depths or depths[-1] > manifest.depth.max:
        raise BundleError(f"{label}: est_N must be there for depths N from 0 to {manifest.depth.max}")
    names = [f"est_{depth}" for depth in depths]
    if "depths" in arrays:
        names.append("est_switching")
        steps = arrays["depths"]
        is_possible = steps.ndim == 1 and steps.dtype == np.int64 and len(steps) > 0
        if not is_possible or steps.min() < 0 or steps.max() > manifest.depth.max:
            raise BundleError(f"{label}: depths must be (steps,) int64, from 0 to {manifest.depth.max}")
    if manifest.tells_change:
        change = arrays.get(CHANGE, np.zeros(0))
        fits = change.ndim == 3 and change.shape[2] == manifest.sources and change.dtype == np.float32
        if not fits or not 0 < change.shape[1] <= manifest.depth.max:
            raise BundleError(f"{label}: change must be (steps, repetitions, sources) float32")
    for name in names:
        estimate = arrays.get(name, np.zeros(0))
        if estimate.shape != (manifest.sources, len(mix)) or estimate.dtype != np.float32:
            raise BundleError(f"{label}: {name} must be (sources, samples) float32")


def depths_of(arrays: Iterable[str]) -> list[int]:
    """Return the depths that an example has estimates for, in rising order."""
    return sorted(int(name[4:]) for name in arrays if re.fullmatch(r"est_[0-9]{1,4}", name))


def run_steps(engine: Engine, mix: Array, depths: Sequence[int]) -> Array:
    """Separate a whole mixture (n,) with a depth for each of the steps that `Engine.cut` gives.

    Returns the estimate (sources, n).
    """
    parts = engine.cut(mix)
    if len(parts) != len(depths):
        raise BundleError(f"the example has depths for {len(depths)} steps, where it has {len(parts)}")
    steps = engine.open(max(depths))
    estimates = []
    for part, depth in zip(parts, depths, strict=True):
        state = steps.start(part)
        for _ in range(depth):
            steps.repeat(state)
        estimates.append(steps.decode(state))
    return engine.join(estimates, len(mix))


def every_change(engine: Engine, mix: Array, deepest: int) -> Array:
    """Return how much each repetition changes each map of a mixture (n,): (steps, deepest, sources)."""
    steps = engine.open(deepest)
    found = []
    for part in engine.cut(mix):
        state = steps.start(part)
        for _ in range(deepest):
            steps.repeat(state)
            found.append(steps.change(state).copy())
    changes: Array = np.array(found).reshape(-1, deepest, engine.manifest.sources)
    return changes


def _difference(estimate: Array, expected: Array) -> float:
    return float(np.abs(estimate - expected).max() / np.abs(expected).max())
