"""Opens a stream: what runs its steps depends on whether the plan's windows overlap. Runs one to its end."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator

from tisdiss_rt.audio import Array
from tisdiss_rt.engine.base import Engine
from tisdiss_rt.errors import SeparationWarning
from tisdiss_rt.estimate.estimator import Estimator
from tisdiss_rt.planning.forecast import Timings
from tisdiss_rt.planning.plan import Plan, Step
from tisdiss_rt.streaming.native_core import NativeCore
from tisdiss_rt.streaming.sliding_core import SlidingCore
from tisdiss_rt.streaming.stream import Core, Stream
from tisdiss_rt.talkers.causal import CausalOrder


def open_stream(
    engine: Engine,
    sample_rate: int,
    plan: Plan,
    timings: Timings,
    steps_kept: int | None,
    talkers: CausalOrder | None,
    estimator: Estimator | None = None,
) -> Stream:
    """Open a stream at ``sample_rate`` Hz that keeps the records of its last ``steps_kept`` steps.

    ``talkers`` decide who is who; None leaves that to whoever opens it. With an ``estimator``, it tells how
    good its voices are.
    """
    manifest = engine.manifest
    core: Core
    if plan.overlaps:
        core = SlidingCore(
            engine.open(plan.max_depth), manifest, plan, timings, talkers=talkers, estimator=estimator
        )
    else:
        core = NativeCore(engine, plan, timings, talkers=talkers, estimator=estimator)
    return Stream(core, manifest.sources, manifest.sample_rate, sample_rate, steps_kept, estimator)


def warn_of_falling_behind(stream: Stream) -> None:
    """Warn the caller's caller if the budget of a stream is longer than its steps."""
    budget_ms, step_ms = stream.plan.budget_ms, 1e3 * stream.step_s
    if budget_ms is not None and budget_ms > step_ms:
        longer = f"a budget of {budget_ms:g} ms is longer than a step of {step_ms:g} ms"
        message = f"{longer}: a stream that uses it up falls behind live sound"
        warnings.warn(message, SeparationWarning, stacklevel=3)


def in_steps(stream: Stream, blocks: Iterable[Array], steps: list[Step]) -> Iterator[Array]:
    """Separate blocks (m,) at the rate of a stream into pieces (sources, m); adds to ``steps``."""
    for block in blocks:
        yield stream.process(block)
    yield stream.flush()
    steps.extend(stream.steps)
