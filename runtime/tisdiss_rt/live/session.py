"""Live sound through two devices: the thread that separates, and the watch over it.

::

    microphone ─> InputQueue ─> Intake ─> Stream ─> Playback ─> OutputQueue ─> headphones
                                            └────> Recorder: the mixture and every source as they are

No thread waits for another here: callbacks queue, the recorder has its own thread, and the caller of `run`
shows what goes on. All threads ask for the same priority, since a thread with Python's lock must not be kept
off the processor by other programs while the others wait for it. Where the devices have no rate in common,
the microphone's sound is resampled on its way in, and everything else is at the rate of the headphones.
"""

from __future__ import annotations

import gc
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from tisdiss_rt.audio import Array
from tisdiss_rt.audio.resampling import StreamResampler
from tisdiss_rt.live.clock_drift import REACH
from tisdiss_rt.live.connection import Connection
from tisdiss_rt.live.devices import Pair
from tisdiss_rt.live.findings import Findings
from tisdiss_rt.live.intake import Intake
from tisdiss_rt.live.microphone import MicrophoneWatch
from tisdiss_rt.live.playback import Playback
from tisdiss_rt.live.queues import Gap, InputQueue, OutputQueue
from tisdiss_rt.live.recorder import Recorder
from tisdiss_rt.planning.benchmark import noise
from tisdiss_rt.priority import raised_priority
from tisdiss_rt.streaming.stream import Stream

BLOCK_S = 0.008  # what the devices are asked to give and take at once
JITTER_S = 0.008  # unevenness of devices and scheduling that is borne from the start
WARMING_S = 0.5
WARMING_STEPS = 10  # at least: those of a sliding window take longer once the window is full
WAIT_S = 30.0  # for a lost device to come back
RECENT = 64  # steps that say how long computing takes
LOCK_TURN_S = 1e-4  # a thread that computes in Python gives way to the others after this time


@dataclass(frozen=True)
class Status:
    """How it goes.

    ``latency_ms`` is by parts in the order of the sound, ``peaks`` since the last look, ``loudest`` since
    the beginning, ``feedbacks`` how often the output was muted for feedback, ``messages`` what the user is to
    be told, in order of time.
    """

    running_s: float
    listen: int
    depth: int
    compute_ms: float
    steps: int
    misses: int
    underflows: int
    overflows: int
    speed: float
    restarts: int
    invalid: int
    feedbacks: int
    is_muted: bool
    priority: str
    latency_ms: dict[str, float]
    peaks: list[float]  # mixture, then each source
    loudest: list[float]
    recorded_s: float | None
    messages: tuple[str, ...]

    @property
    def total_ms(self) -> float:
        """From a sound at the microphone to the same sound in the headphones."""
        return sum(self.latency_ms.values())


class LiveSession:
    """One run from the microphone to the headphones; `run` does it.

    Args:
        stream: at the devices' rate; it is warmed up here.
        sources: how many there are.
        pair: the devices.
        listen: what is heard: 0 the mixture, else the number of a source. May be set at any time.
        recorder: gets the mixture and every source.
        wait_s: for a lost device to come back.
    """

    def __init__(
        self,
        stream: Stream,
        sources: int,
        pair: Pair,
        listen: int = 0,
        recorder: Recorder | None = None,
        wait_s: float = WAIT_S,
    ) -> None:
        self.listen = listen
        self._stream, self._pair, self._recorder, self._wait_s = stream, pair, recorder, wait_s
        rate, came_hz = pair.sample_rate, pair.source.sample_rate
        self._to_output = StreamResampler(came_hz, rate, 1)
        block, step = (round(length_s * rate) for length_s in (BLOCK_S, _warm_up(stream)))
        delay = stream.latency_ms
        stream.reset()
        self._fixed_ms = {
            "algorithmic": delay.algorithmic,
            "resampling": 1e3 * (self._to_output.latency_s + REACH / rate)
            + delay.resampling_in
            + delay.resampling_out,
        }
        # A block has to be there when it is taken. A step that does not end with a block waits for the next.
        blocks = 1 if step % block == 0 and delay.resampling_in == self._to_output.latency_s == 0 else 2
        longest_s = (sum(self._fixed_ms.values()) + delay.compute) / 1e3 + blocks * block / rate
        self.input = InputQueue(came_hz, round(BLOCK_S * came_hz))
        self.output = OutputQueue(rate, longest_s + JITTER_S)
        self._intake = Intake(came_hz, pair.source.channel)
        self._playback = Playback(self.output, rate, listen)
        self._findings = Findings(pair.source.name)
        self._mixture: Array = np.zeros(0, np.float32)  # whose sources have not come yet
        self._peaks = self._loudest = np.zeros(1 + sources)
        self._failure: BaseException | None = None
        self._connection: Connection | None = None
        self._priority = "normal"
        self._begin_s = time.monotonic()
        self._thread = threading.Thread(target=self._separate_all, name="separation")

    def run(self, tick: Callable[[Status], bool]) -> Status:
        """Run until ``tick``, which is called repeatedly and waits a little each time, returns False.

        Raises:
            DeviceError: the devices cannot be opened, or were lost and did not come back.
            BundleError: the network failed.
        """
        with _prompt_threads(), raised_priority():
            self._connection = Connection(
                self._pair,
                BLOCK_S,
                self.on_input,
                self.on_output,
                self._before_reopen,
                self._findings.tell,
                self._wait_s,
            )
            self._begin_s = time.monotonic()
            self._thread.start()
            ended_s = None
            try:
                with MicrophoneWatch(self._findings.tell):
                    while self._failure is None and tick(self.status()):
                        self._connection.watch()
                ended_s = time.perf_counter()
            finally:
                self.output.end()
                self._connection.close()
                self.input.end(ended_s)
                self._thread.join()
        if self._failure is not None:
            raise self._failure
        self._connection.refuse_silence()
        return self.status()

    def status(self) -> Status:
        """Return the current status."""
        recent = list(self._stream.steps)[-RECENT:]
        compute_ms = sum(step.elapsed_ms for step in recent) / max(1, len(recent))
        peaks, self._peaks = self._peaks, np.zeros_like(self._peaks)
        self._loudest = np.maximum(self._loudest, peaks)
        device_s = self._connection.latency_s if self._connection else (0.0, 0.0)
        inside_ms = {**self._fixed_ms, "compute": compute_ms}
        latency_ms = {
            "input device": 1e3 * device_s[0],
            **inside_ms,
            "queue": max(0.0, 1e3 * self.output.delay_s - sum(inside_ms.values())),
            "output device": 1e3 * device_s[1],
        }
        recorder = self._recorder
        return Status(
            running_s=time.monotonic() - self._begin_s,
            listen=self.listen,
            depth=self._stream.depth,
            compute_ms=compute_ms,
            steps=self._stream.depth_counts.total(),
            misses=self._stream.misses,
            underflows=self.output.underflows,
            overflows=self.input.overflows + self.output.overflows,
            speed=self.output.speed,
            restarts=self._connection.restarts if self._connection else 0,
            invalid=self._intake.invalid,
            feedbacks=self._playback.feedback.mutings,
            is_muted=self._playback.feedback.is_muted,
            priority=self._priority,
            latency_ms=latency_ms,
            peaks=peaks.tolist(),
            loudest=self._loudest.tolist(),
            recorded_s=recorder.samples / self._pair.sample_rate if recorder else None,
            messages=tuple(self._findings.messages),
        )

    def on_input(self, data: Array, frames: int, when: Any, status: Any) -> None:
        """Callback of the microphone: ``data`` (frames, channels) is only lent."""
        if status.input_overflow:
            self.input.lose()
        self.input.put(data.copy())

    def on_output(self, data: Array, frames: int, when: Any, status: Any) -> None:
        """Callback of the headphones: fills ``data`` (frames, channels)."""
        if status.output_underflow:
            self.output.lose()
        came = self.input.came * self._pair.sample_rate / self._pair.source.sample_rate
        data[:] = self.output.take(frames, came)[:, None]

    def _before_reopen(self) -> None:
        self.output.restart()
        self.input.restart()

    def _separate_all(self) -> None:
        """Separate the blocks of the microphone until it ends; runs in the thread."""
        try:
            with raised_priority() as self._priority:
                while (block := self.input.take()) is not None:
                    if isinstance(block, Gap):
                        self._separate(self._intake.miss(block.fed))
                        self._record_silence(block.samples - block.fed)
                    else:
                        self._separate(self._intake.process(block))
                    self._findings.look(self._intake, self._playback.feedback, self._recorder)
                self._play(self._to_output.flush()[:, 0])
                self._deliver(self._stream.flush())
        except BaseException as error:  # told by run, in the thread of the caller
            self._failure = error

    def _separate(self, mono: Array) -> None:
        """Separate, record and play (n,), at the microphone's rate."""
        self._play(self._to_output.process(mono[:, None])[:, 0])

    def _play(self, mono: Array) -> None:
        """Do it with (n,) at the rate of everything else."""
        self._mixture = np.concatenate([self._mixture, mono])
        self._playback.play(self._deliver(self._stream.process(mono)), self.listen)

    def _deliver(self, estimate: Array) -> Array:
        """Record the (sources, m) that are ready after the mixture's (m,); return all (1 + sources, m)."""
        ready = estimate.shape[1]
        tracks = np.concatenate([self._mixture[None, :ready], estimate])
        self._mixture = self._mixture[ready:]
        if self._recorder is not None:
            self._recorder.put(tracks)
        if ready:
            self._peaks = np.maximum(self._peaks, np.abs(tracks).max(axis=1))
        return tracks

    def _record_silence(self, samples: int) -> None:
        """Keep the recording's time true where sound was missed."""
        if self._recorder is not None:
            missed = samples * self._pair.sample_rate / self._pair.source.sample_rate
            self._recorder.put_silence(round(missed))


def _warm_up(stream: Stream) -> float:
    """Run on noise, as the first steps are slow and some run nothing on silence; return a step's seconds."""
    warming_s = max(WARMING_S, WARMING_STEPS * stream.step_s)
    stream.process(noise(round(warming_s * stream.sample_rate)))
    return stream.step_s


@contextmanager
def _prompt_threads() -> Iterator[None]:
    """While the block runs, no thread waits long for Python's lock, nor for the garbage collector.

    A collection may hold the lock for 40 ms. Nothing here makes reference cycles, which alone need it.
    """
    before_s, collects = sys.getswitchinterval(), gc.isenabled()
    sys.setswitchinterval(LOCK_TURN_S)
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()
        sys.setswitchinterval(before_s)
