"""Plans for the steps of a separation: options are checked, the machine is measured, and plans are kept."""

from __future__ import annotations

import dataclasses
import math
import warnings
from collections.abc import Callable, Iterable

from tisdiss_rt.bundle import ESTIMATE, Manifest
from tisdiss_rt.engine.base import Engine
from tisdiss_rt.errors import OptionError, SeparationWarning, is_whole
from tisdiss_rt.planning import timing_cache
from tisdiss_rt.planning.benchmark import MEASURED_DEPTH, measure_steps
from tisdiss_rt.planning.forecast import Timings, planned_ms
from tisdiss_rt.planning.plan import Plan, fixed_plan


class Planner:
    """Makes the plans for an engine, one for each combination of options.

    Attribute ``timings`` holds what was measured here, by the length of windows or steps in samples.
    """

    def __init__(self, engine: Engine) -> None:
        self.timings: dict[int, Timings] = {}
        self._engine, self._manifest = engine, engine.manifest
        self._plans: dict[tuple[float | None, ...], Plan] = {}

    def plan(
        self,
        budget_ms: float | None,
        depth: int | None,
        min_depth: int,
        windows_s: tuple[float, ...],
        min_gain_db: float | None = None,
    ) -> Plan:
        """Choose the depth, and one of ``windows_s``.

        With a budget this measures the machine; if not even the least fits, it warns (SeparationWarning) with
        the number that would. Raises OptionError.
        """
        if budget_ms is not None and depth is not None:
            raise OptionError("a budget and a fixed depth exclude each other")
        if budget_ms is not None and not 0 < budget_ms < math.inf:
            raise OptionError(f"the budget must be above 0 ms, not {budget_ms:g}")
        depth = None if depth is None else self._checked("depth", depth)
        min_depth = self._checked("minimum depth", min_depth)
        key = (budget_ms, depth, min_depth, *windows_s)
        if key not in self._plans:
            self._plans[key] = self._make(budget_ms, depth, min_depth, windows_s)
        if min_gain_db is None:
            return self._plans[key]
        self._check_gain(min_gain_db)
        return dataclasses.replace(self._plans[key], min_gain_db=min_gain_db)

    def measure(self, samples: int) -> Timings:
        """Return the times of windows or steps of this many samples: kept by `bench`, or measured now."""
        if samples not in self.timings:
            self.timings[samples] = timing_cache.read(self._engine, samples) or self._measure(samples)
        return self.timings[samples]

    def _measure(self, samples: int) -> Timings:
        return measure_steps(self._engine.open(MEASURED_DEPTH), self._manifest, samples)

    def _checked(self, name: str, depth: int) -> int:
        most = self._manifest.depth.max
        if not is_whole(depth, 0, most):
            raise OptionError(f"the {name} must be from 0 to {most} for this bundle, not {depth}")
        return int(depth)

    def _check_gain(self, min_gain_db: float) -> None:
        if not 0 <= min_gain_db < math.inf:
            raise OptionError(f"the least gain must be from 0 dB on, not {min_gain_db:g}")
        if all(part.name != ESTIMATE for part in self._manifest.parts):
            raise OptionError(
                f"bundle {self._manifest.name} cannot tell what a repetition adds: export it with --calibrate"
            )

    def _make(
        self, budget_ms: float | None, depth: int | None, min_depth: int, windows_s: tuple[float, ...]
    ) -> Plan:
        manifest = self._manifest
        if budget_ms is None:
            plan = fixed_plan(manifest, windows_s[-1], manifest.depth.trained if depth is None else depth)
        else:
            plan = budget_plan(manifest, windows_s, budget_ms, min_depth, self.measure)
        if not plan.fits:
            assert plan.predicted_ms is not None
            message = (
                f"a budget of {budget_ms:g} ms is too small here: {manifest.unit}s of {plan.window_s:g} s at "
                f"depth {min_depth} need about {math.ceil(plan.predicted_ms)} ms; going on, over budget"
            )
            warnings.warn(message, SeparationWarning, stacklevel=4)
        return plan


def budget_plan(
    manifest: Manifest,
    windows_s: Iterable[float],
    budget_ms: float,
    min_depth: int,
    measure: Callable[[int], Timings],
) -> Plan:
    """Choose the pair of window and depth of best measured quality whose predicted time fits.

    Without a measurement in the manifest, depth counts most, up to the trained one, then a longer window. The
    most that a step may do is the depth of best measured quality for its window, or the trained depth.

    Args:
        manifest: says what was measured.
        windows_s: the candidates in rising order; measuring stops at the first that does not fit.
        budget_ms: time that a step may take.
        min_depth: repetitions that always run.
        measure: times a window of so many samples on this machine.

    Returns the best plan; if none fits, the first window at ``min_depth`` (see ``Plan.fits``).
    """
    best: Plan | None = None
    best_rank: tuple[float, ...] = ()
    for window_s in windows_s:
        timings = measure(manifest.length_samples(window_s))
        quality, trained = manifest.quality_db(window_s), manifest.depth.trained
        limit = max(min_depth, max(quality, key=quality.__getitem__) if quality else trained)
        for depth in range(min_depth, limit + 1):
            predicted_ms = timings.step_ms(depth)
            if best is not None and predicted_ms > planned_ms(budget_ms):
                break
            rank = (quality.get(depth, -math.inf), min(depth, trained), window_s)
            if best is None or rank > best_rank:
                best_rank = rank
                best = dataclasses.replace(
                    fixed_plan(manifest, window_s, depth),
                    min_depth=min_depth,
                    max_depth=limit,
                    budget_ms=budget_ms,
                    predicted_ms=predicted_ms,
                )
        if timings.step_ms(min_depth) > budget_ms:
            break
    assert best is not None
    return best
