"""Live sound with a streaming bundle: one step of the stream is one step of the network."""

from __future__ import annotations

import time

from tisdiss_rt.audio import Array
from tisdiss_rt.engine.base import Engine
from tisdiss_rt.estimate.estimator import Estimator
from tisdiss_rt.planning.controller import Clock, run_step
from tisdiss_rt.planning.forecast import Timings
from tisdiss_rt.planning.need import Need
from tisdiss_rt.planning.plan import Plan, StepResult
from tisdiss_rt.streaming.joined_steps import JoinedSteps
from tisdiss_rt.streaming.trailing import WINDOW_S
from tisdiss_rt.talkers.causal import CausalOrder

AVERAGE_S = 0.5  # over which steps tell what repetitions change: a single one says little


class NativeCore:
    """A stream on a streaming bundle, as `stream.Core`: each push is a step within the plan.

    Args:
        engine: runs the graphs.
        plan: bounds of the depth, and the budget.
        timings: what the controller predicts from and adds to; not shared with another stream.
        clock: seconds, as ``time.perf_counter``.
        talkers: decide who is who in what comes out; None leaves that to the network.
        estimator: of the bundle, where it has one.
    """

    def __init__(
        self,
        engine: Engine,
        plan: Plan,
        timings: Timings,
        clock: Clock = time.perf_counter,
        talkers: CausalOrder | None = None,
        estimator: Estimator | None = None,
    ) -> None:
        self.step_samples = plan.window_samples
        self.latency_samples = plan.window_samples + engine.delay_samples
        steps = engine.open(plan.max_depth)
        self._steps = steps if talkers is None else JoinedSteps(steps, talkers.in_order)
        self.talkers = talkers
        self.plan, self._timings, self._clock = plan, timings, clock
        self.need = None
        if estimator is not None:
            share = min(1.0, plan.advance_s / AVERAGE_S)
            self.need = Need(estimator, WINDOW_S, plan.min_gain_db, share)

    def push(self, mix: Array) -> StepResult:
        """Run a step on (step_samples,)."""
        return run_step(self._steps, mix, self.plan, self._timings, self._clock, self.need)

    def reset(self) -> None:
        """Discard everything that was pushed."""
        self._steps.reset()
        if self.need is not None:
            self.need.reset()
        if self.talkers is not None:
            self.talkers.reset()
