"""What ``auto`` stands for: provider and precision that are fastest here and as good, measured once and kept.

There is something to choose without CUDA, where the bundle carries graphs in 8-bit integers, or OpenVINO
is installed. All then separate the example that the bundle carries. A precision is as good where its error
there stays `ACCEPTED_SNR_DB` below the expected estimate at the trained depth. On other mixtures it may be
above; what matters, the mean loss of separation over many of them, is in ``benchmarks/quality/QUALITY.md``.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from contextlib import suppress

import numpy as np

from tisdiss_rt.audio import Array
from tisdiss_rt.bundle import Bundle
from tisdiss_rt.engine import open_engine
from tisdiss_rt.engine.backends import BACKENDS
from tisdiss_rt.engine.base import Engine
from tisdiss_rt.engine.conformance import depths_of, read_example
from tisdiss_rt.errors import BundleError, ProviderError
from tisdiss_rt.planning import timing_cache

ACCEPTED_SNR_DB = 30.0
MIN_SPEEDUP = 1.1  # at least so many times as fast, or the reference stays
ROUNDS = 3  # the fastest counts: the first warms up, and other programs may be in the way of some
MEASURED_S = 1.0  # of audio at most: how fast a precision is depends on the length


def open_fastest(
    bundle: Bundle,
    provider: str,
    threads: int | None,
    precision: str,
    provider_options: Mapping[str, str] | None = None,
) -> Engine:
    """Open a bundle as `open_engine` does; with ``auto`` for both, with what is fastest here.

    The first time on a machine this takes some seconds. Raises BundleError, OptionError or ProviderError.
    """
    reference = open_engine(bundle, provider, threads, precision, provider_options)
    asked = provider != "auto" or precision != "auto"
    others = [] if asked or reference.backend.is_preferred else _others(bundle, reference)
    if not others:
        return reference
    kept = timing_cache.read_choice(reference)
    if kept == (reference.provider, reference.precision):
        return reference
    if kept in others:
        with suppress(BundleError, ProviderError):  # it does not work any more: choose again
            return open_engine(bundle, kept[0], threads, kept[1])
    chosen = reference
    for other in others:
        with suppress(BundleError, ProviderError):  # what does not work here is not chosen
            candidate = open_engine(bundle, other[0], threads, other[1])
            if _is_better(bundle, candidate, chosen):
                chosen = candidate
    timing_cache.write_choice(reference, chosen)
    return chosen


def _others(bundle: Bundle, reference: Engine) -> list[tuple[str, str]]:
    """What there is besides the reference: its other precisions, and what other providers prefer."""
    ways = []
    for backend in BACKENDS.values():
        if backend.is_preferred or backend.version() is None:
            continue
        with suppress(ProviderError):  # it does not load
            precisions = backend.precisions(bundle)
            if backend.name == reference.provider:
                ways += [(backend.name, other) for other in precisions if other != reference.precision]
            else:
                ways.append((backend.name, precisions[0]))
    return ways


def is_as_good(bundle: Bundle, engine: Engine) -> bool:
    """Return whether the bundle's example comes out as the exporter expected it, by `ACCEPTED_SNR_DB`."""
    arrays = read_example(bundle)
    depth = min(depths_of(arrays), key=lambda depth: abs(depth - bundle.manifest.depth.trained))
    expected = arrays[f"est_{depth}"]
    error = engine.every_depth(arrays["mix"], depth)[depth] - expected
    return bool(np.square(error).sum() <= 10 ** (-ACCEPTED_SNR_DB / 10) * np.square(expected).sum())


def _is_better(bundle: Bundle, ours: Engine, reference: Engine) -> bool:
    if not is_as_good(bundle, ours):
        return False
    mix: Array = read_example(bundle)["mix"]
    depth = bundle.manifest.depth.trained
    if bundle.manifest.step_s is None:
        longest_s = min(bundle.manifest.windows_s[-1], MEASURED_S)
        mix = np.resize(mix, round(longest_s * bundle.manifest.sample_rate))
    taken_s = dict.fromkeys((ours, reference), math.inf)
    for _ in range(ROUNDS):
        for engine in taken_s:
            begin_s = time.perf_counter()
            engine.every_depth(mix, depth)
            taken_s[engine] = min(taken_s[engine], time.perf_counter() - begin_s)
    return MIN_SPEEDUP * taken_s[ours] < taken_s[reference]
