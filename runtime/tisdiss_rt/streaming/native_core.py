"""Live sound with a streaming bundle: one step of the stream is one step of the network."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import replace

from tisdiss_rt.audio import Array
from tisdiss_rt.engine.base import Engine
from tisdiss_rt.estimate.estimator import Estimator
from tisdiss_rt.planning.controller import Clock, run_step
from tisdiss_rt.planning.forecast import HISTORY, Timings, high
from tisdiss_rt.planning.need import Need
from tisdiss_rt.planning.plan import Plan, StepResult
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
        self._steps = engine.open(plan.max_depth)
        self.talkers = talkers
        self._block_ends_ms: deque[float] = deque(maxlen=HISTORY)
        self.plan, self._timings, self._clock = plan, timings, clock
        self.need = None
        if estimator is not None:
            share = min(1.0, plan.advance_s / AVERAGE_S)
            self.need = Need(estimator, WINDOW_S, plan.min_gain_db, share)

    def push(self, mix: Array) -> StepResult:
        """Run a step on (step_samples,), and put its estimate into the order of the talkers.

        The time that the end of a block takes is set aside before: nothing that comes as surely needs to be
        feared in every step.
        """
        if self.talkers is None:
            return self._run(mix, self.plan)
        plan, ends_block = self.plan, self.talkers.ends_block(len(mix))
        if plan.budget_ms is not None and ends_block:
            plan = replace(plan, budget_ms=plan.budget_ms - high(self._block_ends_ms or [0.0]))
        result = self._run(mix, plan)
        begin_s = self._clock()
        estimate = self.talkers.in_order(result.estimate)
        took_ms = (self._clock() - begin_s) * 1e3
        if ends_block:
            self._block_ends_ms.append(took_ms)
        elapsed_ms = result.elapsed_ms + took_ms
        missed = self.plan.budget_ms is not None and elapsed_ms > self.plan.budget_ms
        return replace(result, estimate=estimate, elapsed_ms=elapsed_ms, missed=missed)

    def _run(self, mix: Array, plan: Plan) -> StepResult:
        return run_step(self._steps, mix, plan, self._timings, self._clock, self.need)

    def reset(self) -> None:
        """Discard everything that was pushed."""
        self._steps.reset()
        if self.need is not None:
            self.need.reset()
        if self.talkers is not None:
            self.talkers.reset()
