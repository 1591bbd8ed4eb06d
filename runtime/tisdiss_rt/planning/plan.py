"""What every step of a separation may do, and what was done: the words that all rooms share.

A plan without a budget always runs the same depth. With one, the planner chooses window and depth, and the
controller decides in each step how deep it goes.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields

from tisdiss_rt.audio import Array
from tisdiss_rt.bundle import Manifest
from tisdiss_rt.estimate.estimator import Estimated

LIVE_SHARE = 0.75  # of a step's duration that computing may take by default; the rest is for all else


@dataclass(frozen=True, slots=True)
class Step:
    """Record of one window, or of one step of a stream.

    Attributes:
        start_s: where it starts.
        window_s: its length.
        depth: repetitions that ran; 0 for a silent window, which runs nothing.
        elapsed_ms: time that it took.
        missed: whether that was longer than the budget.
        voices: how good each voice is expected to be, in the order of the sources, None for one that does not
            talk; with ``talkers``, in the order in which the network has them. None where the bundle does not
            tell, and of streams for all steps but the last of each second.
    """

    start_s: float
    window_s: float
    depth: int
    elapsed_ms: float
    missed: bool
    voices: tuple[Estimated | None, ...] | None = None


def mean_of(steps: Iterable[Step]) -> Estimated | None:
    """Return the mean estimate of the voices of steps; None where there is none."""
    told = [voice for step in steps for voice in step.voices or () if voice is not None]
    if not told:
        return None
    means = (sum(getattr(voice, field.name) for voice in told) / len(told) for field in fields(Estimated))
    return Estimated(*(round(mean, 3) for mean in means))


@dataclass(frozen=True)
class StepResult:
    """Result of a step: the estimate (sources, samples), the depth that ran, and the time it took.

    ``missed`` tells whether that was longer than the budget of its plan.
    """

    estimate: Array
    depth: int
    elapsed_ms: float
    missed: bool


@dataclass(frozen=True)
class Plan:
    """What every step will do.

    Attributes:
        window_s: length of a window or step.
        window_samples: the same in samples at the bundle's rate.
        advance_s: distance between the starts of two steps: less than the window where windows overlap.
        depth: the depth that the planner expects.
        min_depth: the least depth that the controller may choose.
        max_depth: the greatest depth that the controller may choose.
        budget_ms: time that a step may take; None where time does not matter.
        predicted_ms: predicted time of a step at ``depth``; None where unknown.
        quality_db: SI-SDR improvement that the manifest promises at ``depth``; None where unknown.
        min_gain_db: what a repetition must be expected to add, or it and all further ones are left out; None
            where that does not matter.
    """

    window_s: float
    window_samples: int
    advance_s: float
    depth: int
    min_depth: int
    max_depth: int
    budget_ms: float | None
    predicted_ms: float | None
    quality_db: float | None
    min_gain_db: float | None = None

    @property
    def overlaps(self) -> bool:
        """Whether windows overlap, so that estimates are joined; else a step goes on where the last ended."""
        return self.advance_s < self.window_s

    @property
    def fits(self) -> bool:
        """Whether a step is expected to keep the budget; True without one."""
        return self.budget_ms is None or self.predicted_ms is None or self.predicted_ms <= self.budget_ms


def fixed_plan(manifest: Manifest, window_s: float, depth: int) -> Plan:
    """Return the plan without a budget: always the same depth."""
    return Plan(
        window_s=window_s,
        window_samples=manifest.length_samples(window_s),
        advance_s=manifest.advance_s(window_s),
        depth=depth,
        min_depth=depth,
        max_depth=depth,
        budget_ms=None,
        predicted_ms=None,
        quality_db=manifest.quality_db(window_s).get(depth),
    )
