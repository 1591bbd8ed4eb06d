"""The public interface: one object that separates arrays and files along the same path.

::

    array or file ─> channels ─> resample ─> windows (separate each within the plan)
                                                └─> who is who ─> resample ─> array or files

A streaming bundle separates arrays and files as it does live sound: by a `Stream`, in its own steps. Who is
who is decided when all has been separated.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, nullcontext
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tisdiss_rt.audio import Array, files, results
from tisdiss_rt.audio.blocks import reporting
from tisdiss_rt.audio.channels import number_of, of_array
from tisdiss_rt.bundle import load, shipped
from tisdiss_rt.estimate.estimator import estimator_of
from tisdiss_rt.planning.autoselect import open_fastest
from tisdiss_rt.planning.forecast import Timings
from tisdiss_rt.planning.plan import Plan, Step
from tisdiss_rt.planning.planner import Planner
from tisdiss_rt.separation import FileSeparation, Progress, Separation, Task, at_rate, decoded, found_in
from tisdiss_rt.streaming import sliding_core
from tisdiss_rt.streaming.opening import in_steps, open_stream, warn_of_falling_behind
from tisdiss_rt.streaming.stream import STEPS_KEPT, Stream
from tisdiss_rt.talkers.causal import CausalOrder
from tisdiss_rt.talkers.meeting import MOST_TALKERS
from tisdiss_rt.talkers.recording import Recording, settled, wanted_of
from tisdiss_rt.talkers.sample import Sample, Voices
from tisdiss_rt.talkers.turns import rttm as as_rttm
from tisdiss_rt.talkers.voiceprints import voiceprints_of
from tisdiss_rt.talkers.waiting import Waiting
from tisdiss_rt.talkers.windows import in_windows

__all__ = ["FileSeparation", "Progress", "Separation", "Separator", "Step"]


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
    - ``min_gain_db``: a repetition runs only where it is expected to add as many dB; with a budget, only if
      it is in time; without one, at most ``depth``, and a voice that is known to be alone is passed on.
    - ``window_s``: length of the windows in seconds, by default as planned for the budget, or the longest.
      Not for a streaming bundle.

    Arrays and files may have several channels. ``channels`` says what is separated of them:

    - ``mix``: their mean. Silent channels are left out, and where channels cancel each other, only the
      loudest is taken; a SeparationWarning says so.
    - ``left``, ``right``, or the number of a channel, from 1: that channel alone.
    - ``split``: each channel as a recording of its own, or as it is where one person talks in it.

    Sources are as many as the bundle has. ``talkers``, the number of people from 1 to 8 or ``auto``, gives a
    source for each person instead, with silence where they do not talk; two may talk at a time. ``voice``,
    an audio file, or samples with their sample rate, puts the person of that sample on the first source.

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
        self._estimator = estimator_of(self.bundle)
        self._model_hz, self._sources = self.bundle.manifest.sample_rate, self.bundle.manifest.sources
        self._voices = Voices(self._voiceprints, self._model_hz)

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
        talkers: int | str | None = None,
        voice: Sample | None = None,
        progress: Progress | None = None,
        min_gain_db: float | None = None,
    ) -> Separation:
        """Separate an array; ``budget_ms`` to ``voice``, and ``min_gain_db``, are options of the class.

        Args:
            mix: (n,) or (n, channels) floating point, n at least 1, up to 32 channels.
            sample_rate: sample rate of ``mix`` in Hz.
            progress: called as ``progress(done_s, total_s)`` while the result grows.

        Raises:
            AudioError: ``mix`` has another shape or type, no samples, not the channel, or NaN or infinity.
            OptionError: an option has an impossible value.
        """
        given = of_array(mix, sample_rate, "the mixture")
        wanted = wanted_of(talkers, voice, channels, MOST_TALKERS, self._voices, self._sources)
        plan = self.plan(
            budget_ms=budget_ms, depth=depth, min_depth=min_depth, window_s=window_s, min_gain_db=min_gain_db
        )
        task = Task(given, given.choose(channels), wanted, plan)
        pieces: list[list[Array]] = [[] for _ in task.choices]
        recordings: list[Recording] = []
        for piece in self._separate_each(task, recordings, None, progress):
            pieces[len(recordings) - 1].append(piece)
        sources = np.concatenate([np.concatenate(of_channel).T for of_channel in pieces])  # (S, n)
        return Separation(np.ascontiguousarray(sources), sample_rate, **found_in(task, recordings))

    def separate_file(
        self,
        path: str | os.PathLike[str] | files.AudioReader,
        paths: Iterable[str | os.PathLike[str]],
        budget_ms: float | None = None,
        depth: int | None = None,
        min_depth: int = 1,
        window_s: float | None = None,
        channels: str | int = "mix",
        talkers: int | str | None = None,
        voice: Sample | None = None,
        rttm: str | os.PathLike[str] | None = None,
        progress: Progress | None = None,
        min_gain_db: float | None = None,
    ) -> FileSeparation:
        """Separate a file of any length, in memory that grows by about 6 MB for each hour.

        A streaming bundle takes more, as every step has a record. ``budget_ms`` to ``voice``, and
        ``min_gain_db``, are options of the class. Of a truncated or damaged file, what is there is separated:
        a SeparationWarning and the result's ``problem`` say what is missing.

        Args:
            path: an audio file, ``-`` for standard input, or either opened.
            paths: the WAV files to write, one for each source, with ``split`` for each of every channel; they
                get the rate, the length and the resolution of the input, and appear whole or not at all.
                Existing files are replaced. With ``talkers="auto"`` there may be more than people, and the
                first of them are written.
            rttm: file that says who talks when, written with ``talkers``.
            progress: called as ``progress(done_s, total_s)`` while the files grow; ``total_s`` is None where
                the header of the input does not say how long it is.

        Raises:
            AudioError: the input cannot be used.
            OutputError: the output cannot be written.
            OptionError: an option has an impossible value.
        """
        targets = [Path(target) for target in paths]
        wanted = wanted_of(talkers, voice, channels, len(targets), self._voices, self._sources)
        plan = self.plan(
            budget_ms=budget_ms, depth=depth, min_depth=min_depth, window_s=window_s, min_gain_db=min_gain_db
        )
        opened = nullcontext(path) if isinstance(path, files.AudioReader) else files.AudioReader(path)
        with opened as reader:
            given = reader.mixture()
            task = Task(given, given.choose(channels), wanted, plan)
            wanted.check_files(len(targets), self._sources * len(task.choices))
            digest = None if reader.is_part else results.digest_of(reader.path, number_of(channels))
            rate = given.sample_rate
            with results.WavWriters(targets, rate, reader.subtype, given.expected, digest) as writers:
                recordings: list[Recording] = []
                for piece in self._separate_each(task, recordings, targets[0].parent, progress):
                    writers.write(piece, self._sources * (len(recordings) - 1))
                if talkers is not None:
                    writers.keep(piece.shape[1])  # the others are not needed
                writers.fault = reader.fault
                if rttm is not None and recordings[0].turns is not None:
                    writers.add_turns(Path(rttm), as_rttm(recordings[0].turns, Path(rttm).stem))
        lost = (reader.missing_s, reader.problem, writers.clipped)
        written = FileSeparation(writers.paths, rate, reader.done, *lost, **found_in(task, recordings))
        written.warn(reader.label)
        return written

    def stream(
        self,
        sample_rate: int,
        budget_ms: float | None = None,
        depth: int | None = None,
        min_depth: int = 1,
        voice: Sample | None = None,
        min_gain_db: float | None = None,
    ) -> Stream:
        """Open a stream of live sound at ``sample_rate`` Hz; any number may run side by side.

        The options are those of the class. With a budget, this measures the machine for a moment. It warns as
        `plan` does, and also if the budget is longer than a step, since live sound does not wait. An offline
        bundle slides a window of up to 2 s along the sound, with a long latency, see `Stream.latency_ms`.

        Raises:
            AudioError: the sample of a voice cannot be used.
            OptionError: an option has an impossible value.
        """
        lengths_s = sliding_core.windows_s(self.bundle.manifest)
        plan = self._planner.plan(budget_ms, depth, min_depth, lengths_s, min_gain_db)
        talkers = CausalOrder(self._voiceprints, self._sources, self._model_hz, self._voices.of(voice))
        stream = self._open_stream(sample_rate, plan, STEPS_KEPT, talkers)
        warn_of_falling_behind(stream)
        return stream

    def plan(
        self,
        *,
        budget_ms: float | None = None,
        depth: int | None = None,
        min_depth: int = 1,
        window_s: float | None = None,
        min_gain_db: float | None = None,
    ) -> Plan:
        """Choose window and depth for the options of the class; plans are kept for later calls.

        With a budget, this measures the machine for up to a few seconds. If not even the least work fits, it
        warns (SeparationWarning) and names the budget that would be enough.

        Raises:
            OptionError: an option has an impossible value.
        """
        lengths_s = self.bundle.manifest.lengths_s(window_s)
        return self._planner.plan(budget_ms, depth, min_depth, lengths_s, min_gain_db)

    def _open_stream(
        self, sample_rate: int, plan: Plan, steps_kept: int | None, talkers: CausalOrder | None
    ) -> Stream:
        fixed = plan.budget_ms is None
        timings = Timings() if fixed else copy.deepcopy(self._planner.measure(plan.window_samples))
        return open_stream(self.engine, sample_rate, plan, timings, steps_kept, talkers, self._estimator)

    def _separate_each(
        self, task: Task, recordings: list[Recording], folder: Path | None, progress: Progress | None
    ) -> Iterator[Array]:
        """Separate what was chosen, one after the other; yields (m, sources), adds to ``recordings``."""
        for number, choice in enumerate(task.choices):
            recordings.append(recording := task.recording(choice, self._sources))
            with Waiting(folder, self._sources) as waiting:
                part = task.part(progress, number)
                for piece in self._separate(recording, task.plan, waiting, part):
                    if choice.is_passed_on and recording.one_talker:
                        break
                    yield piece
            if choice.is_passed_on and recording.one_talker:
                for block in recording.mono():
                    yield np.pad(block[:, None], ((0, 0), (0, self._sources - 1)))

    def _separate(
        self, recording: Recording, plan: Plan, waiting: Waiting, progress: Progress | None
    ) -> Iterator[Array]:
        """Separate a recording into pieces (m, sources), as many samples in all."""
        with closing(decoded(recording, plan, model_hz := self._model_hz)) as mono:
            if plan.overlaps:
                separated = self._in_windows(mono, plan, recording.steps)
            else:
                separated = in_steps(self._open_stream(model_hz, plan, None, None), mono, recording.steps)
            if progress is not None:
                separated = reporting(separated, model_hz, recording.expected_s, progress)
            voices = settled(separated, self._voiceprints, model_hz, waiting, recording)
            yield from at_rate(voices, recording, model_hz, self._sources)

    def _in_windows(self, mono: Iterable[Array], plan: Plan, steps: list[Step]) -> Iterator[Array]:
        """Separate blocks (m,) at the bundle's rate in windows; yields (sources, m), adds to ``steps``."""
        known = self._planner.timings.get(plan.window_samples)
        timings = copy.deepcopy(known) or Timings()  # several threads may separate at once
        yield from in_windows(self.engine, mono, plan, timings, steps, self._estimator)
        if known is not None:
            self._planner.timings[plan.window_samples] = timings
