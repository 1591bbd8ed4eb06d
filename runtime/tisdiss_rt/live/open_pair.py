"""Two running streams, one for each device: opened, with errors that say what to do, and watched."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from tisdiss_rt.errors import DeviceError
from tisdiss_rt.live.devices import LIST_THEM, Endpoint, Pair
from tisdiss_rt.live.portaudio import portaudio
from tisdiss_rt.priority import raised_new_threads

Callback = Callable[..., None]

STALLED_S = 2.0  # without a callback, though the stream calls itself active
HOLD_UPS = 3  # of a device, within HOLD_UPS_S, after which its buffer is too short
HOLD_UPS_S = 30.0
APART_S = 0.5  # callbacks that come closer report the same hold-up


class OpenPair:
    """Both streams of a pair, running. Two of them: one for both directions is not reliable everywhere.

    Args:
        pair: what to open.
        block_s: seconds of each callback.
        on_input: called as sounddevice does for an InputStream.
        on_output: called as sounddevice does for an OutputStream.
        asked_s: latency to ask for, by kind of endpoint; without one, the lowest that the device offers.

    Attribute ``latency_s``: what input and output say that they take. Raises DeviceError.
    """

    def __init__(
        self,
        pair: Pair,
        block_s: float,
        on_input: Callback,
        on_output: Callback,
        asked_s: Mapping[str, float],
    ) -> None:
        sounddevice = portaudio()
        self._ends = (pair.sink, pair.source)
        self._opened_s = time.monotonic()
        self._called_s = [self._opened_s, self._opened_s]
        self._held_up_s: list[deque[float]] = [deque(maxlen=HOLD_UPS), deque(maxlen=HOLD_UPS)]
        self._streams: list[Any] = []
        # The output first: it fills its own buffer with silence before there is anything to hear.
        ends = (
            (pair.sink, sounddevice.OutputStream, on_output),
            (pair.source, sounddevice.InputStream, on_input),
        )
        try:
            with raised_new_threads():  # that call back, and that talk to the sound server
                for number, (endpoint, kind, callback) in enumerate(ends):
                    stream = kind(
                        samplerate=endpoint.sample_rate,
                        blocksize=round(block_s * endpoint.sample_rate),
                        device=endpoint.index,
                        channels=endpoint.channels,
                        dtype="float32",
                        latency=asked_s.get(endpoint.kind, "low"),
                        callback=self._noting(number, callback),
                    )
                    self._streams.append(stream)
                    stream.start()
        except (sounddevice.PortAudioError, ValueError) as error:
            self.close()
            raise DeviceError(
                f"the {endpoint.kind} device {endpoint.name!r} cannot be opened ({_reason(error)}): close "
                f"other programs that use it, or choose another; {LIST_THEM}"
            ) from error
        self.latency_s: tuple[float, float] = (self._streams[1].latency, self._streams[0].latency)

    def _noting(self, number: int, callback: Callback) -> Callback:
        def call(data: Any, frames: int, when: Any, status: Any) -> None:
            now_s = self._called_s[number] = time.monotonic()
            held_up_s = self._held_up_s[number]
            if (status.output_underflow or status.input_overflow) and now_s > max(
                held_up_s, default=0.0
            ) + APART_S:
                held_up_s.append(now_s)
            callback(data, frames, when, status)

        return call

    def stopped(self) -> list[Endpoint]:
        """Those that do not run, none of them if all is well; a device that was lost only stops."""
        late_s = time.monotonic() - STALLED_S
        states = zip(self._ends, self._streams, self._called_s, strict=True)
        return [end for end, stream, called_s in states if called_s < late_s or not stream.active][::-1]

    def held_up(self) -> list[Endpoint]:
        """Those that were not served in time again and again: their buffers are too short."""
        since_s = time.monotonic() - HOLD_UPS_S
        times = zip(self._ends, self._held_up_s, strict=True)
        return [end for end, held_up_s in times if len(held_up_s) == HOLD_UPS and held_up_s[0] > since_s]

    @property
    def delivers(self) -> bool:
        """Whether both have called back."""
        return min(self._called_s) > self._opened_s

    def close(self) -> None:
        """Stop at once."""
        sounddevice = portaudio()
        for stream in self._streams:
            with suppress(sounddevice.PortAudioError):  # the device is gone already
                stream.abort()
                stream.close()


def _reason(error: Exception) -> str:
    return str(error).split(":")[-1].strip().split(" [PaError")[0].lower()
