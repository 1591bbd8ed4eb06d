"""The public interface: one object that separates arrays and files along the same path.

::

    array or file ─> mono ─> resample ─> windows (separate each within the plan)
                                            └─> who is who ─> resample ─> array or files

A streaming bundle separates arrays and files as it does live sound: by a `Stream`, in its own steps. Who is
who is decided when all has been separated.
"""

from __future__ import annotations

import copy
import math
import os
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tisdiss_rt.audio import Array, files, results
from tisdiss_rt.bundle import load, shipped
from tisdiss_rt.errors import AudioError, OptionError, SeparationWarning
from tisdiss_rt.planning.autoselect import open_fastest
from tisdiss_rt.planning.forecast import Timings
from tisdiss_rt.planning.plan import Plan, Step
from tisdiss_rt.planning.planner import Planner
from tisdiss_rt.streaming import sliding_core
from tisdiss_rt.streaming.opening import open_stream
from tisdiss_rt.streaming.stream import STEPS_KEPT, Stream
from tisdiss_rt.talkers.recording import Recording, Waiting, settled
from tisdiss_rt.talkers.voiceprints import voiceprints_of
from tisdiss_rt.talkers.windows import in_windows

__all__ = ["FileSeparation", "Progress", "Separation", "Separator", "Step"]

Progress = Callable[[float, float | None], None]


@dataclass(frozen=True)
class Separation:
    """The result of `Separator.separate`.

    Attributes:
        sources: (sources, n) float32, one row for each voice.
        sample_rate: of the sources, in Hz.
        steps: one record for each window or step.
        plan: what each step was planned to do.
        one_talker: whether nobody else talks; all but the first source are silent then.
    """

    sources: Array
    sample_rate: int
    steps: list[Step]
    plan: Plan
    one_talker: bool = False


@dataclass(frozen=True)
class FileSeparation:
    """The files that were written, one for each source, and how they were made.

    ``problem`` says what of the input could not be read, and ``missing_s`` how many seconds of it, as far as
    its header tells; None and 0 where it is whole. ``one_talker`` is as in `Separation`.
    """

    paths: list[Path]
    sample_rate: int
    frames: int
    missing_s: float
    problem: str | None
    clipped: int
    steps: list[Step]
    plan: Plan
    one_talker: bool = False


class Separator:
    """Separates mixtures with a bundle.

    Args:
        bundle: name of a shipped bundle, or the folder of any bundle.
        provider: ``auto`` (CUDA where it works, otherwise the fastest), ``cpu``, ``cuda``, ``openvino``, or
            any execution provider of the installed ONNX Runtime, by its name or its short form: ``coreml``
            for ``CoreMLExecutionProvider``.
        threads: number of CPU threads; None means one per physical core, or one for a streaming bundle.
        precision: ``auto``, or one that the bundle carries; with OpenVINO, ``bf16`` or ``fp32``.
        provider_options: options of the provider, under its own names for them.

    The methods take these options by name:

    - ``budget_ms``: milliseconds that a window may take; window and depth follow from it. The windows of a
      streaming bundle are its steps, and only the depth follows.
    - ``depth``: repetitions of the block, instead of a budget. With neither, the bundle's trained depth.
    - ``min_depth``: repetitions that always run, with a budget.
    - ``window_s``: length of the windows in seconds, by default as planned for the budget, or the longest.
      Not for a streaming bundle.

    Raises:
        BundleError: the bundle is missing or damaged.
        OptionError: an option has an impossible value.
        ProviderError: the provider is not available on this machine.
    """

    def __init__(
        self,
        bundle: str | os.PathLike[str] = "edge-16k",
        provider: str = "auto",
        threads: int | None = None,
        precision: str = "auto",
        provider_options: Mapping[str, str] | None = None,
    ) -> None:
        self.bundle = load(bundle)
        name = os.fspath(bundle)
        self._name = name if name in shipped() else str(self.bundle.folder.absolute())
        self.engine = open_fastest(self.bundle, provider, threads, precision, provider_options)
        self._planner = Planner(self.engine)
        self._voiceprints = voiceprints_of(self.bundle)

    def __reduce__(self) -> tuple[type[Separator], tuple[object, ...]]:
        """Return how to make a copy, also in another process: the same bundle, opened in the same way."""
        way = (self.engine.provider, self.engine.threads, self.engine.precision, self.engine.provider_options)
        return Separator, (self._name, *way)

    def separate(
        self,
        mix: npt.ArrayLike,
        sample_rate: int,
        budget_ms: float | None = None,
        depth: int | None = None,
        min_depth: int = 1,
        window_s: float | None = None,
        progress: Progress | None = None,
    ) -> Separation:
        """Separate an array; the options from ``budget_ms`` to ``window_s`` are those of the class.

        Args:
            mix: (n,) or (n, channels) floating point, n at least 1; up to 32 channels are averaged.
            sample_rate: sample rate of ``mix`` in Hz.
            progress: called as ``progress(done_s, total_s)`` while the result grows.

        Raises:
            AudioError: ``mix`` has another shape or type, no samples, or NaN or infinity.
            OptionError: an option has an impossible value.
        """
        signal = np.asarray(mix)
        if signal.ndim not in (1, 2) or signal.size == 0:
            raise AudioError(f"the mixture must be (n,) or (n, channels), not empty; it is {signal.shape}")
        signal = files.in_columns(signal, "the mixture")  # (n, channels)
        if not 0 < sample_rate < math.inf:
            raise OptionError(f"sample_rate must be above 0, not {sample_rate}")
        plan = self.plan(budget_ms=budget_ms, depth=depth, min_depth=min_depth, window_s=window_s)
        starts = range(0, len(signal), files.BLOCK_FRAMES)
        blocks = (files.mix_down(signal[start : start + files.BLOCK_FRAMES]) for start in starts)
        recording = Recording(blocks, sample_rate, lambda: len(signal), len(signal))
        with Waiting(None, self.bundle.manifest.sources) as waiting:
            pieces = list(self._separate(recording, plan, waiting, progress))
        sources = np.ascontiguousarray(np.concatenate(pieces).T)  # (n, S) -> (S, n)
        return Separation(sources, sample_rate, recording.steps, plan, recording.one_talker)

    def separate_file(
        self,
        path: str | os.PathLike[str],
        paths: Iterable[str | os.PathLike[str]],
        budget_ms: float | None = None,
        depth: int | None = None,
        min_depth: int = 1,
        window_s: float | None = None,
        progress: Progress | None = None,
    ) -> FileSeparation:
        """Separate a file of any length, in constant memory except for the record of its steps.

        The options from ``budget_ms`` to ``window_s`` are those of the class. Of a truncated or damaged file,
        what is there is separated: a SeparationWarning and the result's ``problem`` say what is missing.

        Args:
            path: an audio file, or ``-`` for standard input.
            paths: the WAV files to write, one for each source; they get the rate, the length and the
                resolution of the input, and appear whole or not at all. Existing files are replaced.
            progress: called as ``progress(done_s, total_s)`` while the files grow; ``total_s`` is None where
                the header of the input does not say how long it is.

        Raises:
            AudioError: the input cannot be used.
            OutputError: the output cannot be written.
            OptionError: an option has an impossible value.
        """
        targets = [Path(target) for target in paths]
        if len(targets) != self.bundle.manifest.sources:
            raise OptionError(f"{len(targets)} output files for {self.bundle.manifest.sources} sources")
        plan = self.plan(budget_ms=budget_ms, depth=depth, min_depth=min_depth, window_s=window_s)
        with files.AudioReader(path) as reader:
            rate, frames = reader.sample_rate, reader.frames
            recording = Recording(reader.blocks(), rate, lambda: reader.done, frames)
            with (
                results.WavWriters(targets, rate, reader.subtype, frames, results.origin_of(path)) as writers,
                Waiting(targets[0].parent, len(targets)) as waiting,
            ):
                for piece in self._separate(recording, plan, waiting, progress):
                    writers.write(piece)
        lost = (reader.missing_s, reader.problem, writers.clipped)
        _warn_of(path, *lost[1:])
        return FileSeparation(targets, rate, reader.done, *lost, recording.steps, plan, recording.one_talker)

    def stream(
        self, sample_rate: int, budget_ms: float | None = None, depth: int | None = None, min_depth: int = 1
    ) -> Stream:
        """Open a stream of live sound at ``sample_rate`` Hz; any number may run side by side.

        The options are those of the class. With a budget, this measures the machine for a moment. It warns as
        `plan` does, and also if the budget is longer than a step, since live sound does not wait. An offline
        bundle slides a window of up to 2 s along the sound, with a long latency, see `Stream.latency_ms`.

        Raises:
            OptionError: an option has an impossible value.
        """
        lengths_s = sliding_core.windows_s(self.bundle.manifest)
        plan = self._planner.plan(budget_ms, depth, min_depth, lengths_s)
        stream = self._open_stream(sample_rate, plan, STEPS_KEPT)
        if budget_ms is not None and budget_ms > 1e3 * stream.step_s:
            longer = f"a budget of {budget_ms:g} ms is longer than a step of {1e3 * stream.step_s:g} ms"
            message = f"{longer}: a stream that uses it up falls behind live sound"
            warnings.warn(message, SeparationWarning, stacklevel=2)
        return stream

    def plan(
        self,
        *,
        budget_ms: float | None = None,
        depth: int | None = None,
        min_depth: int = 1,
        window_s: float | None = None,
    ) -> Plan:
        """Choose window and depth for the options of the class; plans are kept for later calls.

        With a budget, this measures the machine for up to a few seconds. If not even the least work fits, it
        warns (SeparationWarning) and names the budget that would be enough.

        Raises:
            OptionError: an option has an impossible value.
        """
        return self._planner.plan(budget_ms, depth, min_depth, self.bundle.manifest.lengths_s(window_s))

    def _open_stream(self, sample_rate: int, plan: Plan, steps_kept: int | None) -> Stream:
        fixed = plan.budget_ms is None
        timings = Timings() if fixed else copy.deepcopy(self._planner.measure(plan.window_samples))
        return open_stream(self.engine, sample_rate, plan, timings, steps_kept)

    def _separate(
        self, recording: Recording, plan: Plan, waiting: Waiting, progress: Progress | None
    ) -> Iterator[Array]:
        """Separate a recording into pieces (m, sources), as many samples in all."""
        model_hz, rate = self.bundle.manifest.sample_rate, recording.sample_rate
        mono = files.resample(recording.blocks, rate, model_hz)
        separated = (self._in_windows if plan.overlaps else self._in_steps)(mono, plan, recording.steps)
        if progress is not None:
            total_s = None if recording.expected is None else recording.expected / rate
            separated = files.reporting(separated, model_hz, total_s, progress)
        voices = settled(separated, self._voiceprints, model_hz, waiting, recording)
        pieces = files.resample((piece.T for piece in voices), model_hz, rate)
        yield from files.fit_length(pieces, recording.length, self.bundle.manifest.sources)

    def _in_steps(self, mono: Iterable[Array], plan: Plan, steps: list[Step]) -> Iterator[Array]:
        """Separate blocks (m,) at the bundle's rate by a stream; yields (sources, m), adds to ``steps``."""
        stream = self._open_stream(self.bundle.manifest.sample_rate, plan, None)
        for block in mono:
            yield stream.process(block)
        yield stream.flush()
        steps.extend(stream.steps)

    def _in_windows(self, mono: Iterable[Array], plan: Plan, steps: list[Step]) -> Iterator[Array]:
        """Separate blocks (m,) at the bundle's rate in windows; yields (sources, m), adds to ``steps``."""
        known = self._planner.timings.get(plan.window_samples)
        timings = copy.deepcopy(known) or Timings()  # several threads may separate at once
        yield from in_windows(self.engine, mono, plan, timings, steps)
        if known is not None:
            self._planner.timings[plan.window_samples] = timings


def _warn_of(path: str | os.PathLike[str], problem: str | None, clipped: int) -> None:
    if problem is not None:
        warnings.warn(f"{problem}; what is there is separated", SeparationWarning, stacklevel=3)
    if clipped:
        message = f"{os.fspath(path)}: {clipped} samples of the sources clipped at full scale"
        warnings.warn(message, SeparationWarning, stacklevel=3)
