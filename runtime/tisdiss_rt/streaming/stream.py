"""Live sound in chunks of any size and rate, for a core that takes steps of one size at one rate.

::

    chunk ─> mono ─> resample ─> collect a step ─> core ─> drop what is before the start ─> resample ─> chunk

The output is the input's timeline from its first sample on: nothing is shifted, it only comes later, by
`Stream.latency_ms`. In model samples, with a latency of two steps::

    pushed       | step 0 | step 1 | step 2 | step 3 |              flush pushes zeros
    core gives   | before | step 0 | step 1 | step 2 |
                 |  drop  |
"""

from __future__ import annotations

import math
import warnings
from collections import Counter, deque
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from tisdiss_rt.audio import Array, channels
from tisdiss_rt.audio.resampling import StreamResampler
from tisdiss_rt.errors import AudioError, OptionError, SeparationWarning
from tisdiss_rt.estimate.estimator import Estimated, Estimator
from tisdiss_rt.planning.forecast import high
from tisdiss_rt.planning.need import Need
from tisdiss_rt.planning.plan import Plan, Step, StepResult
from tisdiss_rt.streaming.trailing import Trailing
from tisdiss_rt.talkers.causal import CausalOrder

STEPS_KEPT = 1000
CANCELLED = 1e-4  # peak of the mean of channels, by that of the loudest
LOUDEST = 1e6  # larger samples are no audio of full scale 1, and a network that follows levels never recovers


class Core(Protocol):
    """Separates steps: a fixed number of samples in and as many out, at the bundle's rate.

    ``step_samples`` and ``latency_samples`` are as in `bundle.StreamTiming`; ``plan`` is what each step does;
    ``talkers`` decide who is who; ``need`` is what the last step's repetitions changed, None where the bundle
    does not tell.
    """

    plan: Plan
    step_samples: int
    latency_samples: int
    talkers: CausalOrder | None
    need: Need | None

    def push(self, mix: Array) -> StepResult:
        """Separate a step (step_samples,) into an estimate (sources, step_samples)."""

    def reset(self) -> None:
        """Discard everything that was pushed."""


@dataclass(frozen=True)
class Latency:
    """Milliseconds from a sound going in to the same sound coming out, by cause.

    Attributes:
        algorithmic: collecting a step, and the samples that the network needs beyond it.
        resampling_in: conversion to the bundle's rate.
        resampling_out: conversion back to the stream's rate.
        compute: the budget; without one, a high quantile of the times of recent steps, 0 before the first.

    The lengths of chunks and the buffers of devices are not included; only the caller can add them.
    """

    algorithmic: float
    resampling_in: float
    resampling_out: float
    compute: float

    @property
    def total(self) -> float:
        """The sum of the parts."""
        return self.algorithmic + self.resampling_in + self.resampling_out + self.compute


class Stream:
    """Separates live sound chunk by chunk. Opened by `Separator.stream`; not thread-safe.

    Args:
        core: separates one step at a time.
        sources: number of sources.
        model_hz: sample rate of the core in Hz.
        sample_rate: sample rate of the stream in Hz.
        steps_kept: how many of the latest steps ``steps`` holds; None keeps all.
        estimator: of the bundle, where it has one.

    Attributes:
        steps: records of the latest steps since the beginning or the last reset.
        depth_counts: number of steps at each depth.
        misses: number of steps that took longer than the budget.
        voices: how good each source is expected to be, of the last two seconds and renewed every second; None
            for one that does not talk, and before there is an estimate.
    """

    steps: deque[Step]
    depth_counts: Counter[int]
    misses: int
    voices: tuple[Estimated | None, ...] | None

    def __init__(
        self,
        core: Core,
        sources: int,
        model_hz: int,
        sample_rate: int,
        steps_kept: int | None = STEPS_KEPT,
        estimator: Estimator | None = None,
    ) -> None:
        if not 0 < sample_rate < math.inf or sample_rate != int(sample_rate):
            raise OptionError(f"sample_rate must be a whole number above 0, not {sample_rate}")
        self.sample_rate = sample_rate = int(sample_rate)
        self._core, self._sources, self._model_hz = core, sources, model_hz
        self._steps_kept, self._estimator = steps_kept, estimator
        self._to_model = StreamResampler(sample_rate, model_hz, 1)
        self._from_model = StreamResampler(model_hz, sample_rate, sources)
        self.reset()

    def reset(self) -> None:
        """Begin anew, as if just opened, but keep what was measured about the machine's speed."""
        self._core.reset()
        self._to_model.reset()
        self._from_model.reset()
        self.steps = deque(maxlen=self._steps_kept)
        self.depth_counts = Counter()
        self.misses = 0
        self.voices = None
        self._trailing: Trailing | None = None
        if self._estimator is not None:
            step, latency = self._core.step_samples, self._core.latency_samples
            self._trailing = Trailing(self._estimator, self._model_hz, step, latency - step)
        self._waiting: Array = np.zeros(0, np.float32)  # model samples, less than a step
        self._to_drop = self._core.latency_samples - self._core.step_samples  # model samples
        self._owed_to_model = 0  # model samples that came and of which no estimate is there yet
        self._owed = 0  # samples that came and were not given back yet
        self._ended = False
        self._failed = False
        self._has_warned = False

    @property
    def plan(self) -> Plan:
        """The plan of each step: its window, and the bounds of its depth."""
        return self._core.plan

    @property
    def step_s(self) -> float:
        """Length of a step in seconds."""
        return self._core.step_samples / self._model_hz

    @property
    def depth(self) -> int:
        """Depth of the last step; 0 before the first."""
        return self.steps[-1].depth if self.steps else 0

    @property
    def voice_found(self) -> bool | None:
        """Whether the voice of the sample was on the first output so far; None where none was given."""
        return None if self._core.talkers is None else self._core.talkers.voice_found

    @property
    def latency_ms(self) -> Latency:
        """Delay of the output behind the input, by cause."""
        compute = self.plan.budget_ms
        if compute is None:
            compute = high(step.elapsed_ms for step in self.steps) if self.steps else 0.0
        return Latency(
            algorithmic=1e3 * self._core.latency_samples / self._model_hz,
            resampling_in=1e3 * self._to_model.latency_s,
            resampling_out=1e3 * self._from_model.latency_s,
            compute=compute,
        )

    def process(self, chunk: npt.ArrayLike) -> Array:
        """Push a chunk, and return the output that has become ready.

        Args:
            chunk: (n,) or (n, channels) floating point, any n including 0; up to 32 channels are averaged. A
                SeparationWarning says once if they cancel each other.

        Returns:
            (sources, m) float32; m may be 0.

        Raises:
            AudioError: the chunk has another shape or type, NaN, infinity or values far beyond full scale
                (the stream continues as if it had not been pushed), or the stream has ended or failed.
            BundleError: the network failed; the stream must be reset.
        """
        self._refuse_unless_open()
        given = np.asarray(chunk)
        mono = _mono(given)  # (n,)
        self._warn_of_cancelling(given, mono)
        self._owed += len(mono)
        mix = self._to_model.process(mono[:, None])[:, 0]  # (n, 1) -> (model samples,)
        self._owed_to_model += len(mix)
        self._waiting = np.concatenate([self._waiting, mix])
        whole = len(self._waiting) - len(self._waiting) % self._core.step_samples
        estimate = self._separate(self._waiting[:whole])
        self._waiting = self._waiting[whole:]
        return self._give(self._from_model.process(estimate.T))

    def flush(self) -> Array:
        """End the stream, and return the rest of the output.

        Returns:
            (sources, m) float32; the whole output is then as long as the whole input.

        Raises:
            AudioError: the stream has already ended, or failed.
        """
        self._refuse_unless_open()
        self._ended = True
        mix = self._to_model.flush()[:, 0]
        self._owed_to_model += len(mix)
        rest, step = self._owed_to_model, self._core.step_samples
        steps = -(-(rest + self._to_drop) // step) if rest else 0
        padded = np.zeros(steps * step, np.float32)
        heard = np.concatenate([self._waiting, mix])
        padded[: len(heard)] = heard
        estimate = self._separate(padded)[:, :rest]
        pieces = [self._from_model.process(estimate.T), self._from_model.flush()]
        return self._give(np.concatenate(pieces)[: self._owed])

    def _separate(self, mix: Array) -> Array:
        """Push whole steps (m,); return the estimate (sources, k), without what precedes the start."""
        step = self._core.step_samples
        estimates = [np.zeros((self._sources, 0), np.float32)]
        self._failed = True  # unless all steps are done
        for begin in range(0, len(mix), step):
            part = mix[begin : begin + step]
            result = self._core.push(part)
            self._record(result, self._estimated(part, result))
            dropped = min(self._to_drop, step)
            self._to_drop -= dropped
            estimates.append(result.estimate[:, dropped:])
        joined = np.concatenate(estimates, axis=1)
        self._owed_to_model -= joined.shape[1]
        self._failed = False
        return joined

    def _estimated(self, mix: Array, result: StepResult) -> tuple[Estimated | None, ...] | None:
        """Return how good the voices are, where it is time to tell."""
        if self._trailing is None or self._core.need is None:
            return None
        voices = self._trailing.add(mix, result.estimate, self._core.need.changes)
        self.voices = voices or self.voices
        return voices

    def _record(self, result: StepResult, voices: tuple[Estimated | None, ...] | None) -> None:
        start_s = self.depth_counts.total() * self.step_s
        self.steps.append(Step(start_s, self.step_s, result.depth, result.elapsed_ms, result.missed, voices))
        self.depth_counts[result.depth] += 1
        self.misses += result.missed

    def _give(self, output: Array) -> Array:
        """Return (m, sources) in the layout of the caller, (sources, m)."""
        self._owed -= len(output)
        return np.ascontiguousarray(output.T)  # (sources, m)

    def _warn_of_cancelling(self, given: npt.NDArray[np.generic], mono: Array) -> None:
        if self._has_warned or given.ndim < 2 or not len(mono):
            return
        if np.abs(mono).max() < CANCELLED * np.abs(given).max():
            self._has_warned = True
            text = "the channels of the stream cancel each other, their mean is silence: push one of them"
            warnings.warn(text, SeparationWarning, stacklevel=3)

    def _refuse_unless_open(self) -> None:
        if self._failed:
            raise AudioError("the stream has failed; reset() begins a new one")
        if self._ended:
            raise AudioError("the stream has ended with flush(); reset() begins a new one")


def _mono(chunk: npt.NDArray[np.generic]) -> Array:
    """Check a chunk (n,) or (n, channels) and average it to (n,)."""
    if chunk.ndim not in (1, 2) or 0 in chunk.shape[1:]:
        raise AudioError(f"a chunk must be (n,) or (n, channels); it is {chunk.shape}")
    mono = channels.mix_down(channels.in_columns(chunk, "the chunk"), "the chunk")
    if len(mono) and np.abs(mono).max() > LOUDEST:
        raise AudioError(f"a chunk with samples beyond {LOUDEST:g}, where full scale is 1: scale it down")
    return mono
