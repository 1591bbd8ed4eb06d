"""The public interface: one object that separates arrays and files along the same path.

::

    array or file ─> channels ─> resample ─> windows (separate each within the plan)
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
from contextlib import nullcontext
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tisdiss_rt.audio import Array, files, results
from tisdiss_rt.audio.channels import Choice, Mixture, in_columns, number_of
from tisdiss_rt.audio.highs import with_highs
from tisdiss_rt.bundle import load, shipped
from tisdiss_rt.errors import AudioError, OptionError, SeparationWarning
from tisdiss_rt.planning.autoselect import open_fastest
from tisdiss_rt.planning.forecast import Timings
from tisdiss_rt.planning.plan import Plan, Step
from tisdiss_rt.planning.planner import Planner
from tisdiss_rt.separation import FileSeparation, Separation
from tisdiss_rt.streaming import sliding_core
from tisdiss_rt.streaming.opening import open_stream
from tisdiss_rt.streaming.stream import STEPS_KEPT, Stream
from tisdiss_rt.talkers.blocks import Voiceprints
from tisdiss_rt.talkers.recording import Recording, Waiting, settled
from tisdiss_rt.talkers.voiceprints import voiceprints_of
from tisdiss_rt.talkers.windows import in_windows

__all__ = ["FileSeparation", "Progress", "Separation", "Separator", "Step"]

Progress = Callable[[float, float | None], None]


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

    Arrays and files may have several channels. ``channels`` says what is separated of them:

    - ``mix``: their mean. Silent channels are left out, and where channels cancel each other, only the
      loudest is taken; a SeparationWarning says so.
    - ``left``, ``right``, or the number of a channel, from 1: that channel alone.
    - ``split``: each channel as a recording of its own, or as it is where one person talks in it.

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
        channels: str | int = "mix",
        progress: Progress | None = None,
    ) -> Separation:
        """Separate an array; the options from ``budget_ms`` to ``channels`` are those of the class.

        Args:
            mix: (n,) or (n, channels) floating point, n at least 1, up to 32 channels.
            sample_rate: sample rate of ``mix`` in Hz.
            progress: called as ``progress(done_s, total_s)`` while the result grows.

        Raises:
            AudioError: ``mix`` has another shape or type, no samples, not the channel, or NaN or infinity.
            OptionError: an option has an impossible value.
        """
        signal = np.asarray(mix)
        if signal.ndim not in (1, 2) or signal.size == 0:
            raise AudioError(f"the mixture must be (n,) or (n, channels), not empty; it is {signal.shape}")
        signal = in_columns(signal, "the mixture")  # (n, channels)
        if not 0 < sample_rate < math.inf:
            raise OptionError(f"sample_rate must be above 0, not {sample_rate}")
        plan = self.plan(budget_ms=budget_ms, depth=depth, min_depth=min_depth, window_s=window_s)
        frames, count = signal.shape
        starts = range(0, frames, files.BLOCK_FRAMES)
        given = Mixture(
            lambda: (signal[start : start + files.BLOCK_FRAMES] for start in starts),
            *(count, sample_rate, lambda: frames, frames, "the mixture"),
        )
        choices = given.choose(channels)
        pieces: list[list[Array]] = [[] for _ in choices]
        recordings: list[Recording] = []
        for piece in self._separate_each(given, choices, recordings, plan, None, progress):
            pieces[len(recordings) - 1].append(piece)
        sources = np.concatenate([np.concatenate(of_channel).T for of_channel in pieces])  # (S, n)
        found = _found(given, choices, recordings)
        return Separation(np.ascontiguousarray(sources), sample_rate, _steps(recordings), plan, **found)

    def separate_file(
        self,
        path: str | os.PathLike[str] | files.AudioReader,
        paths: Iterable[str | os.PathLike[str]],
        budget_ms: float | None = None,
        depth: int | None = None,
        min_depth: int = 1,
        window_s: float | None = None,
        channels: str | int = "mix",
        progress: Progress | None = None,
    ) -> FileSeparation:
        """Separate a file of any length, in constant memory except for the record of its steps.

        The options from ``budget_ms`` to ``channels`` are those of the class. Of a truncated or damaged file,
        what is there is separated: a SeparationWarning and the result's ``problem`` say what is missing.

        Args:
            path: an audio file, ``-`` for standard input, or either opened.
            paths: the WAV files to write, one for each source, with ``split`` for each of every channel; they
                get the rate, the length and the resolution of the input, and appear whole or not at all.
                Existing files are replaced.
            progress: called as ``progress(done_s, total_s)`` while the files grow; ``total_s`` is None where
                the header of the input does not say how long it is.

        Raises:
            AudioError: the input cannot be used.
            OutputError: the output cannot be written.
            OptionError: an option has an impossible value.
        """
        targets = [Path(target) for target in paths]
        plan = self.plan(budget_ms=budget_ms, depth=depth, min_depth=min_depth, window_s=window_s)
        opened = nullcontext(path) if isinstance(path, files.AudioReader) else files.AudioReader(path)
        with opened as reader:
            given, sources = reader.mixture(), self.bundle.manifest.sources
            choices = given.choose(channels)
            if len(targets) != sources * len(choices):
                raise OptionError(f"{len(targets)} output files for {sources * len(choices)} sources")
            digest = results.digest_of(reader.path, number_of(channels))
            recordings: list[Recording] = []
            with results.WavWriters(
                targets, given.sample_rate, reader.subtype, given.expected, digest
            ) as writers:
                for piece in self._separate_each(
                    given, choices, recordings, plan, targets[0].parent, progress
                ):
                    writers.write(piece, sources * (len(recordings) - 1))
                writers.fault = reader.fault
        lost = (reader.missing_s, reader.problem, writers.clipped)
        found = _found(given, choices, recordings)
        written = FileSeparation(
            targets, given.sample_rate, reader.done, *lost, _steps(recordings), plan, **found
        )
        written.warn(reader.label)
        return written

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
        stream = self._open_stream(sample_rate, plan, STEPS_KEPT, self._voiceprints)
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

    def _open_stream(
        self, sample_rate: int, plan: Plan, steps_kept: int | None, voiceprints: Voiceprints | None
    ) -> Stream:
        fixed = plan.budget_ms is None
        timings = Timings() if fixed else copy.deepcopy(self._planner.measure(plan.window_samples))
        return open_stream(self.engine, sample_rate, plan, timings, steps_kept, voiceprints)

    def _separate_each(
        self,
        given: Mixture,
        choices: list[Choice],
        recordings: list[Recording],
        plan: Plan,
        folder: Path | None,
        progress: Progress | None,
    ) -> Iterator[Array]:
        """Separate what was chosen, one after the other; yields (m, sources), adds to ``recordings``."""
        sources = self.bundle.manifest.sources
        for number, choice in enumerate(choices):
            recording = Recording(given.mono(choice.taken), given.sample_rate, given.length, given.expected)
            recordings.append(recording)
            with Waiting(folder, sources) as waiting:
                part = progress and _part(progress, number, len(choices))
                for piece in self._separate(
                    recording, partial(given.mono, choice.taken), plan, waiting, part
                ):
                    if choice.is_passed_on and recording.one_talker:
                        break
                    yield piece
            if choice.is_passed_on and recording.one_talker:
                for block in given.mono(choice.taken):
                    yield np.pad(block[:, None], ((0, 0), (0, sources - 1)))

    def _separate(
        self,
        recording: Recording,
        again: Callable[[], Iterator[Array]],
        plan: Plan,
        waiting: Waiting,
        progress: Progress | None,
    ) -> Iterator[Array]:
        """Separate a recording into pieces (m, sources), as many samples in all.

        ``again`` returns its samples once more, for what is above the band of the network.
        """
        model_hz, rate = self.bundle.manifest.sample_rate, recording.sample_rate
        mono = files.resample(recording.blocks, rate, model_hz)
        separated = (self._in_windows if plan.overlaps else self._in_steps)(mono, plan, recording.steps)
        if progress is not None:
            total_s = None if recording.expected is None else recording.expected / rate
            separated = files.reporting(separated, model_hz, total_s, progress)
        voices = settled(separated, self._voiceprints, model_hz, waiting, recording)
        pieces = files.resample((piece.T for piece in voices), model_hz, rate)
        begun = list(islice(pieces, 1))
        frames = recording.length()  # nothing more comes
        pieces = chain(begun, pieces)
        if rate > model_hz:
            pieces = with_highs(pieces, again(), rate, model_hz)
        yield from files.fit_length(pieces, lambda: frames, self.bundle.manifest.sources)

    def _in_steps(self, mono: Iterable[Array], plan: Plan, steps: list[Step]) -> Iterator[Array]:
        """Separate blocks (m,) at the bundle's rate by a stream; yields (sources, m), adds to ``steps``."""
        stream = self._open_stream(self.bundle.manifest.sample_rate, plan, None, None)
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


def _part(progress: Progress, number: int, count: int) -> Progress:
    """Return what to call for one of so many parts of equal length."""

    def of_all(done_s: float, total_s: float | None) -> None:
        progress(done_s + number * (total_s or 0), None if total_s is None else count * total_s)

    return of_all


def _steps(recordings: list[Recording]) -> list[Step]:
    return [step for recording in recordings for step in recording.steps]


def _found(given: Mixture, choices: list[Choice], recordings: list[Recording]) -> dict[str, Any]:
    """Return what became known of a recording, as `Separation` has it."""
    taken = [choice.taken or range(given.channels) for choice in choices]
    alone = [recording.one_talker for recording in recordings]
    kept = [choice.is_passed_on and one_talker for choice, one_talker in zip(choices, alone, strict=True)]
    return {
        "one_talker": all(alone),
        "channels": tuple(channel + 1 for channels in taken for channel in channels),
        "passed_on": tuple(number + 1 for number, is_kept in enumerate(kept) if is_kept),
    }
