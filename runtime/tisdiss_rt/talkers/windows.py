"""Windows of a recording, separated one by one within the plan."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Iterable, Iterator

import numpy as np

from tisdiss_rt.audio import Array, is_silent
from tisdiss_rt.audio.overlap_add import separate_windows
from tisdiss_rt.engine.base import Engine
from tisdiss_rt.estimate.estimator import Estimated, Estimator
from tisdiss_rt.planning.controller import run_step
from tisdiss_rt.planning.forecast import Timings
from tisdiss_rt.planning.need import Need
from tisdiss_rt.planning.plan import Plan, Step, StepResult
from tisdiss_rt.talkers.order import match_order


def in_windows(
    engine: Engine,
    blocks: Iterable[Array],
    plan: Plan,
    timings: Timings,
    steps: list[Step],
    estimator: Estimator | None = None,
) -> Iterator[Array]:
    """Separate blocks (m,) at the rate of the network into pieces (sources, m).

    Adds to ``steps``, and to ``timings`` what full windows took. With an ``estimator``, steps say how good
    their voices are, and the depth follows the need if the plan says so.
    """
    windows = _Windows(engine, plan, timings, steps, estimator)
    return separate_windows(blocks, plan.window_samples, windows.separate, windows.match)


class _Windows:
    """Separates one window after the other; arguments as `in_windows`."""

    def __init__(
        self, engine: Engine, plan: Plan, timings: Timings, steps: list[Step], estimator: Estimator | None
    ) -> None:
        self._model_hz, self._sources = engine.manifest.sample_rate, engine.manifest.sources
        self._steps, self._records = engine.open(plan.max_depth), steps
        self._plan, self._timings = plan, timings
        self._estimator = estimator
        self._need = None if estimator is None else Need(estimator, plan.window_s, plan.min_gain_db)

    def separate(self, mix: Array, start: int) -> Array:
        """Separate a window (n,) that begins at a sample; returns (sources, n)."""
        if is_silent(mix):
            result = StepResult(np.zeros((self._sources, len(mix)), np.float32), 0, 0.0, missed=False)
            self._record(result, mix, start, None)
            return result.estimate
        # A shorter window predicts nothing for the next full one.
        known = self._timings if len(mix) == self._plan.window_samples else copy.deepcopy(self._timings)
        result = run_step(self._steps, mix, self._plan, known, need=self._need)
        voices = None
        if self._estimator is not None and self._need is not None:
            voices = self._estimator.voices(mix, result.estimate, self._need.changes)
        self._record(result, mix, start, voices)
        return result.estimate

    def match(self, before: Array, after: Array, last: tuple[int, ...]) -> tuple[int, ...]:
        """Order the sources of the last window as `match_order`; its record follows."""
        order = match_order(before, after, last)
        step = self._records[-1]
        if step.voices is not None:
            in_order = tuple(step.voices[source] for source in order)
            self._records[-1] = dataclasses.replace(step, voices=in_order)
        return order

    def _record(
        self, result: StepResult, mix: Array, start: int, voices: tuple[Estimated | None, ...] | None
    ) -> None:
        times_s = (start / self._model_hz, len(mix) / self._model_hz)
        self._records.append(Step(*times_s, result.depth, result.elapsed_ms, result.missed, voices))
