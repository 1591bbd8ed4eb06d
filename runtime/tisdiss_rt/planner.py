"""What each step of a separation will do on this machine: options checked, machine measured, plans kept."""

from __future__ import annotations

import math
import warnings

from tisdiss_rt import timing_cache
from tisdiss_rt.budget import (
    MEASURED_DEPTH,
    Plan,
    budget_plan,
    fixed_plan,
    measure_steps,
    stream_plan,
)
from tisdiss_rt.engine import Engine
from tisdiss_rt.errors import OptionError, SeparationWarning
from tisdiss_rt.forecast import Timings
from tisdiss_rt.stream_engine import StreamEngine


class Planner:
    """Makes the plans for an engine, one for each combination of options.

    Attribute ``timings`` holds what was measured here, by the length of windows or steps in samples.
    """

    def __init__(self, engine: Engine | StreamEngine) -> None:
        self.timings: dict[int, Timings] = {}
        self._engine, self._manifest = engine, engine.manifest
        self._plans: dict[tuple[float | None, ...], Plan] = {}

    def plan(
        self, budget_ms: float | None, depth: int | None, min_depth: int, windows_s: tuple[float, ...]
    ) -> Plan:
        """Choose the depth, and for an offline bundle one of ``windows_s``.

        With a budget this measures the machine; if not even the least fits, it warns (SeparationWarning) with
        the number that would. Raises OptionError.
        """
        key = (budget_ms, depth, min_depth, *windows_s)
        if key not in self._plans:
            self._check(budget_ms, depth, min_depth)
            self._plans[key] = self._make(budget_ms, depth, min_depth, windows_s)
        return self._plans[key]

    def measure(self, samples: int) -> Timings:
        """Give what windows or steps of so many samples take here: what `bench` kept, or measured now."""
        if samples not in self.timings:
            self.timings[samples] = timing_cache.read(self._engine, samples) or self._measure(samples)
        return self.timings[samples]

    def _measure(self, samples: int) -> Timings:
        engine = self._engine
        steps = engine.open(MEASURED_DEPTH) if isinstance(engine, StreamEngine) else engine
        return measure_steps(steps, self._manifest, samples)

    def _check(self, budget_ms: float | None, depth: int | None, min_depth: int) -> None:
        if budget_ms is not None and depth is not None:
            raise OptionError("a budget and a fixed depth exclude each other")
        if budget_ms is not None and not 0 < budget_ms < math.inf:
            raise OptionError(f"the budget must be above 0 ms, not {budget_ms:g}")
        most = self._manifest.depth.max
        for name, value in (("depth", depth), ("minimum depth", min_depth)):
            if value is not None and not 0 <= value <= most:
                raise OptionError(f"the {name} must be from 0 to {most} for this bundle, not {value}")

    def _make(
        self, budget_ms: float | None, depth: int | None, min_depth: int, windows_s: tuple[float, ...]
    ) -> Plan:
        manifest = self._manifest
        if manifest.stream is not None:
            timings = Timings() if budget_ms is None else self.measure(manifest.stream.step_samples)
            plan = stream_plan(manifest, budget_ms, depth, min_depth, timings)
        elif budget_ms is None:
            plan = fixed_plan(manifest, windows_s[-1], manifest.depth.trained if depth is None else depth)
        else:
            plan = budget_plan(manifest, windows_s, budget_ms, min_depth, self.measure)
        if not plan.fits:
            assert plan.predicted_ms is not None
            unit = "steps" if manifest.stream else "windows"
            message = (
                f"a budget of {budget_ms:g} ms is too small here: {unit} of {plan.window_s:g} s at depth "
                f"{min_depth} need about {math.ceil(plan.predicted_ms)} ms; going on, over budget"
            )
            warnings.warn(message, SeparationWarning, stacklevel=4)
        return plan
