"""The connection to both devices for as long as a session lasts: watched, and made again when it is lost.

It is made again with longer buffers, too, where the machine does not serve the devices in time.

Nobody waits for a sound server here but a thread that may be left behind (`time_limit`)::

            stopped: told                    delivers: told
    open ──────────────> being made again ──────────────> open
                              │ after wait_s
                              └──────────> DeviceError
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout  # the builtin from Python 3.11 on
from contextlib import suppress

from tisdiss_rt.errors import DeviceError, TisdissError
from tisdiss_rt.live.devices import LIST_THEM, Endpoint, Pair, find_again
from tisdiss_rt.live.open_pair import STALLED_S, Callback, OpenPair
from tisdiss_rt.live.portaudio import look_again
from tisdiss_rt.live.time_limit import ANSWER_S, in_background, leave_behind, within

FIRST_S = 5.0  # for the first sound to come
RETRY_S = 0.3  # between attempts
SPARE_S = 0.1  # beyond what the output device says it takes, for the end to be heard
MOST_REST_S = 0.4
CLOSE_S = 2.0  # for devices to close
MOST_LATENCY_S = 0.2  # that is asked of a device


class Connection:
    """Both devices, open. Raises DeviceError if they cannot be opened.

    Args:
        pair: what to open.
        block_s: seconds of each callback.
        on_input, on_output: callbacks, as of `open_pair.OpenPair`.
        before_reopen: called before lost devices are opened again, in another thread.
        tell: called with a message when a device is lost and when it is back.
        wait_s: for lost devices to come back.

    Attribute ``restarts`` counts how often they were opened again.
    """

    def __init__(
        self,
        pair: Pair,
        block_s: float,
        on_input: Callback,
        on_output: Callback,
        before_reopen: Callable[[], None],
        tell: Callable[[str], None],
        wait_s: float,
    ) -> None:
        self.restarts = 0
        self._pair, self._block_s = pair, block_s
        self._on_input, self._on_output = on_input, on_output
        self._before_reopen, self._tell, self._wait_s = before_reopen, tell, wait_s
        self._repair: Future[OpenPair | None] | None = None
        self._ended = threading.Event()
        self._lost_s: float | None = None  # since when
        self._lost: Sequence[Endpoint] = ()
        self._has_delivered = False
        self._has_stopped = False  # one at least, at the last look
        self._asked_s: dict[str, float] = {}  # latency, by kind of endpoint
        self._opened = within(ANSWER_S, lambda: self._open(pair))

    @property
    def latency_s(self) -> tuple[float, float]:
        """What input and output say that they take."""
        return self._opened.latency_s

    def watch(self) -> None:
        """See whether both devices run, and do something about it; never waits.

        Raises DeviceError if they were lost and did not come back in time.
        """
        if self._repair is not None:
            if not self._repair.done():
                self._give_up_if_late()
                return
            opened = self._repair.result()
            assert opened is not None  # as it has not ended
            self._opened, self._repair = opened, None
            self.restarts += 1
        stopped = self._opened.stopped()
        had_stopped, self._has_stopped = self._has_stopped, bool(stopped)
        if len(stopped) == 1 and not had_stopped:
            return  # until the next look, as a server that goes takes the other one a moment later
        if stopped:
            self._lose(stopped)
        elif self._opened.delivers and not self._has_delivered:
            self._has_delivered, self._lost_s = True, None
        elif self._opened.delivers and self._lost_s is not None:
            self._tell(f"{_names(self._lost)} came back after {time.monotonic() - self._lost_s:.0f} s")
            self._lost_s = None
        elif held_up := [end for end in self._opened.held_up() if self._can_wait(end)]:
            self._lengthen(held_up)

    def refuse_silence(self) -> None:
        """Raise DeviceError if a device was lost before it did anything at all."""
        if self._lost_s is not None and not self._has_delivered:
            nothing = " and ".join(_says_nothing(endpoint) for endpoint in self._lost)
            raise DeviceError(
                f"{nothing}: wake it, end other programs that use it, or choose another; {LIST_THEM}"
            )

    def close(self) -> None:
        """Close the devices, after what they have to play; what does not answer is left behind."""
        self._ended.set()
        if self._repair is None and not self._opened.stopped():
            time.sleep(min(MOST_REST_S, self.latency_s[1] + 2 * self._block_s + SPARE_S))
        opened: OpenPair | None = self._opened
        if self._repair is not None:
            opened = None
            try:
                opened = self._repair.result(CLOSE_S)  # if it was ready just now
            except FutureTimeout:
                leave_behind(self._repair)
        if opened is not None:
            with suppress(DeviceError):  # told already, or nothing is left to tell
                within(CLOSE_S, opened.close)

    def _open(self, pair: Pair) -> OpenPair:
        return OpenPair(pair, self._block_s, self._on_input, self._on_output, self._asked_s)

    def _lose(self, stopped: Sequence[Endpoint]) -> None:
        if self._lost_s is None:
            self._lost_s, self._lost = time.monotonic(), stopped
            if self._has_delivered:
                self._tell(f"{_names(stopped)} stopped; waiting up to {self._wait_s:g} s")
        self._give_up_if_late()
        self._repair = in_background(self._reopen)

    def _can_wait(self, endpoint: Endpoint) -> bool:
        return self._asked_s.get(endpoint.kind, 0.0) < MOST_LATENCY_S

    def _lengthen(self, held_up: Sequence[Endpoint]) -> None:
        """Open the devices again with longer buffers: later sound is better than sound with holes."""
        taken_s = dict(zip(("input", "output"), self.latency_s, strict=True))
        for end in held_up:
            longer_s = 2 * max(taken_s[end.kind], self._asked_s.get(end.kind, 0.0))
            self._asked_s[end.kind] = min(longer_s, MOST_LATENCY_S)
        self._tell(f"the machine is too busy for {_names(held_up)}; opening again with a longer buffer")
        self._lost_s, self._lost = time.monotonic(), held_up
        self._repair = in_background(self._reopen)

    def _give_up_if_late(self) -> None:
        assert self._lost_s is not None
        waited_s = time.monotonic() - self._lost_s
        if not self._has_delivered and waited_s > FIRST_S - STALLED_S:
            self.refuse_silence()
        if self._has_delivered and waited_s > self._wait_s:
            raise DeviceError(
                f"sound stopped: {_names(self._lost)} did not come back within {self._wait_s:g} s; "
                "connect it or start the sound server"
            )

    def _reopen(self) -> OpenPair | None:
        """Open lost devices, by name as their numbers may change; None if the session ends before."""
        self._opened.close()
        while not self._ended.is_set():
            look_again()
            try:
                found = find_again(self._pair)
                self._before_reopen()
                opened = self._open(found)
            except TisdissError:
                self._ended.wait(RETRY_S)
            else:
                if not self._ended.is_set():
                    return opened
                opened.close()
        return None


def _names(endpoints: Sequence[Endpoint]) -> str:
    """Name devices as a person would."""
    if len(endpoints) == 2 and endpoints[0].name == endpoints[1].name:
        return f"the sound device {endpoints[0].name!r}"
    return " and ".join(f"{endpoint.role} {endpoint.name!r}" for endpoint in endpoints)


def _says_nothing(endpoint: Endpoint) -> str:
    does = "delivers" if endpoint.kind == "input" else "takes"
    return f"{endpoint.role} {endpoint.name!r} {does} nothing"
