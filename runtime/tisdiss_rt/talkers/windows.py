"""Windows of a recording, separated one by one within the plan."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator

import numpy as np

from tisdiss_rt.audio import Array
from tisdiss_rt.audio.overlap_add import separate_windows
from tisdiss_rt.engine.base import Engine
from tisdiss_rt.planning.controller import run_step
from tisdiss_rt.planning.forecast import Timings
from tisdiss_rt.planning.plan import Plan, Step, StepResult
from tisdiss_rt.talkers.order import match_order

# A window whose peak is below this is silence: less than any integer format can hold.
_SILENCE = 1e-10


def in_windows(
    engine: Engine, blocks: Iterable[Array], plan: Plan, timings: Timings, steps: list[Step]
) -> Iterator[Array]:
    """Separate blocks (m,) at the rate of the network into pieces (sources, m).

    Adds to ``steps``, and to ``timings`` what full windows took.
    """
    model_hz, sources = engine.manifest.sample_rate, engine.manifest.sources
    opened = engine.open(plan.max_depth)

    def separate_window(mix: Array, start: int) -> Array:
        if np.abs(mix).max() < _SILENCE:
            result = StepResult(np.zeros((sources, len(mix)), np.float32), 0, 0.0, missed=False)
        else:  # a shorter window predicts nothing for the next full one
            known = timings if len(mix) == plan.window_samples else copy.deepcopy(timings)
            result = run_step(opened, mix, plan, known)
        times_s = (start / model_hz, len(mix) / model_hz)
        steps.append(Step(*times_s, result.depth, result.elapsed_ms, result.missed))
        return result.estimate

    return separate_windows(blocks, plan.window_samples, separate_window, match_order)
