"""Live streams with a network that was made for whole signals, by sliding a window along with the sound.

An offline bundle can thus be used live; the price is a latency of the hop and of what the network needs after
a sample. With every hop of H new samples the network runs on the newest W::

    window before   |========================|~~fade~~|.lookahead.|
    this window                    |========================|~~fade~~|.lookahead.|
    emitted                                  |~blend~~|=this|
                                             <----- H ----->

The network does worst at the end of its window, so the last ``lookahead`` samples are not used, and those of
``fade`` before them only fade out, with a raised cosine, while the next window fades in. A sample comes out
once H + fade + lookahead from it on have gone in. While less than W has arrived, at the beginning or after a
silence, the window is what there is: zeros in front of it cost almost 2 dB.

A separator returns its sources in any order. They are put into the order of the previous window by the W - H
samples that both share. Who is who, after a silence and from turn to turn, `talkers.causal` decides.
"""

from __future__ import annotations

import copy
import dataclasses
from dataclasses import dataclass

import numpy as np

from tisdiss_rt.audio import Array, is_silent
from tisdiss_rt.audio.filters import fade_in
from tisdiss_rt.bundle import Manifest
from tisdiss_rt.engine.base import StepEngine
from tisdiss_rt.estimate.estimator import Estimator
from tisdiss_rt.planning.controller import run_step
from tisdiss_rt.planning.forecast import Timings
from tisdiss_rt.planning.need import Need
from tisdiss_rt.planning.plan import Plan, StepResult
from tisdiss_rt.talkers.causal import CausalOrder
from tisdiss_rt.talkers.order import match_order

# A compromise from benchmarks/live/sliding.py, for edge-16k: half the hop takes twice the time, and the whole
# hop more latency; longer windows gain some tenths of a decibel and take longer than a hop on a slow core.
WINDOW_S = 2.0
HOP_S, LOOKAHEAD_S, FADE_S = 0.25, 0.064, 0.064
# Shares of a window, at most, so that most of a short one is still sound of the previous window.
HOP_SHARE, LOOKAHEAD_SHARE, FADE_SHARE = 1 / 4, 1 / 16, 1 / 16

_EMPTY_SHARE = (
    1e-4  # of the stream's power: no help to the network. A distant talker may follow something loud.
)
_LEVEL_HALF_LIFE_S = 30.0  # of the stream's power, when it gets quieter


def windows_s(manifest: Manifest) -> tuple[float, ...]:
    """Return the lengths that are short enough for a stream: up to ``WINDOW_S``, or the shortest."""
    lengths_s = manifest.lengths_s()
    return tuple(length_s for length_s in lengths_s if length_s <= WINDOW_S) or lengths_s[:1]


def longest_step_s(manifest: Manifest) -> float:
    """Return how far the longest window slides."""
    return min(HOP_S, HOP_SHARE * windows_s(manifest)[-1])


@dataclass(frozen=True)
class Slide:
    """How the window slides, in samples; the three together are at most the window."""

    hop: int
    lookahead: int
    fade: int

    @classmethod
    def of(cls, plan: Plan, sample_rate: int) -> Slide:
        """Return the default for a plan's window."""

        def samples(longest_s: float, share: float) -> int:
            return max(1, int(min(longest_s * sample_rate, share * plan.window_samples)))

        return cls(
            samples(HOP_S, HOP_SHARE), samples(LOOKAHEAD_S, LOOKAHEAD_SHARE), samples(FADE_S, FADE_SHARE)
        )


class SlidingCore:
    """A `stream.Core` of an offline bundle.

    Args:
        engine: runs the graphs.
        manifest: of the bundle.
        plan: window, depth and budget; to keep up, a step must take less than its hop.
        timings: measured for windows of the plan; added to.
        slide: None is the default for the window.
        talkers: decide who is who in what comes out; None leaves that to what windows share.
        estimator: of the bundle, where it has one.

    ``step_samples`` and ``latency_samples`` are as in `bundle.StreamTiming`; ``plan`` is what each step does.
    """

    plan: Plan
    step_samples: int
    latency_samples: int

    def __init__(
        self,
        engine: StepEngine,
        manifest: Manifest,
        plan: Plan,
        timings: Timings,
        slide: Slide | None = None,
        talkers: CausalOrder | None = None,
        estimator: Estimator | None = None,
    ) -> None:
        self._slide = slide = slide or Slide.of(plan, manifest.sample_rate)
        self.step_samples = slide.hop
        self.latency_samples = slide.hop + slide.fade + slide.lookahead
        assert 0 <= slide.fade <= slide.hop and slide.lookahead >= 0
        assert self.latency_samples <= plan.window_samples
        self._fade_in = fade_in(slide.fade)
        self._engine = engine
        self._manifest, self._timings, self.talkers = manifest, timings, talkers
        self.need = None if estimator is None else Need(estimator, plan.window_s, plan.min_gain_db)
        self._keep = float(0.5 ** (slide.hop / manifest.sample_rate / _LEVEL_HALF_LIFE_S))
        self.plan = dataclasses.replace(plan, advance_s=slide.hop / manifest.sample_rate)
        self.reset()

    def reset(self) -> None:
        """Discard everything that was pushed, and all that is known of the talkers."""
        self._engine.reset()
        sources = self._manifest.sources
        self._history: Array = np.zeros(0, np.float32)  # of the mixture, the newest W
        # The estimate of the window before, in the order of the output; it ends where _history ends.
        self._held: Array = np.zeros((sources, self.plan.window_samples), np.float32)
        self._order = tuple(range(sources))
        self._level = 0.0  # power of the stream
        if self.talkers is not None:
            self.talkers.reset()

    def push(self, mix: Array) -> StepResult:
        """Separate (step_samples,) of the mixture.

        The estimate (sources, step_samples) is of what came ``latency_samples - step_samples`` earlier, zeros
        before the beginning. Raises BundleError if the network failed.
        """
        assert mix.shape == (self.step_samples,)
        window = self.plan.window_samples
        if self._is_below(_EMPTY_SHARE, self._history):  # what of it is still to come out is enough
            emitted = len(self._history) - (self.latency_samples - self.step_samples)
            self._history = self._history[max(emitted, 0) :]
        self._history = np.concatenate([self._history, mix])[-window:]
        power = float(np.mean(np.square(self._history)))
        self._level = max(power, self._level * self._keep)
        if is_silent(self._history):
            if self.need is not None:
                self.need.begin()
            silence = np.zeros((len(self._held), len(self._history)), np.float32)
            return StepResult(self._join(silence), 0, 0.0, missed=False)
        timings = self._timings
        if len(self._history) != window:
            timings = copy.deepcopy(timings)  # a shorter window predicts nothing for a full one
        return run_step(self._engine, self._history, self.plan, timings, need=self.need, join=self._join)

    def _join(self, estimate: Array) -> Array:
        """Join the estimate (sources, n) of a window; return what to emit, (sources, step_samples)."""
        hop, window = self.step_samples, self.plan.window_samples
        begin, fade = window - self.latency_samples, self._slide.fade
        before = self._held[:, hop:]  # (sources, W - H)
        filled = np.zeros_like(self._held)
        filled[:, window - estimate.shape[1] :] = estimate
        self._order = match_order(before, filled[:, : before.shape[1]], self._order)
        self._held = filled[list(self._order)]
        emitted: Array = self._held[:, begin : begin + hop].copy()
        old = before[:, begin : begin + fade]
        emitted[:, :fade] = old + self._fade_in * (emitted[:, :fade] - old)
        return emitted if self.talkers is None else self.talkers.in_order(emitted)

    def _is_below(self, share: float, mix: Array) -> bool:
        """Return whether a part of the mixture has less than this share of the stream's power or is empty."""
        return len(mix) == 0 or float(np.mean(np.square(mix))) < share * self._level
