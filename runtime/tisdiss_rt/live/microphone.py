"""Where the microphone's sound really comes from: PulseAudio and PipeWire decide that themselves.

Where there is no microphone, or the one in use was unplugged, both servers give a monitor instead: what some
output plays. That may be what is wanted, to separate the voices of a call, or be the program's own output.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Any

from tisdiss_rt.live import sound_server

ASK_S = 2.0  # from one question to the next
MONITOR_WORDS = (
    "monitor of",
    ".monitor",
    "stereo mix",
    "loopback",
    "what u hear",
    "blackhole",
    "soundflower",
)


def warning(process: int | None = None) -> str | None:
    """Return a warning if a process, by default this one, records a monitor of the server, or None.

    None if it does not, or if there is no such server.
    """
    return _find_monitor(sound_server.ask(), str(process or os.getpid()))


def name_warning(name: str) -> str | None:
    """Return the same warning for a device whose name shows that it is a monitor."""
    return _say(name) if any(word in name.lower() for word in MONITOR_WORDS) else None


def _find_monitor(server: dict[str, Any], process: str) -> str | None:
    def is_ours(entry: dict[str, Any]) -> bool:
        return str(entry.get("properties", {}).get("application.process.id")) == process

    clients = {str(client["index"]) for client in server.get("clients", ()) if is_ours(client)}

    def ours(kind: str, device: str) -> set[str]:
        """Names of the devices that the process uses."""
        names = {entry["index"]: entry["name"] for entry in server.get(f"{device}s", ())}
        streams = [entry for entry in server.get(kind, ()) if is_ours(entry) or entry["client"] in clients]
        return {names[entry[device]] for entry in streams if entry[device] in names}

    sinks = ours("sink_inputs", "sink")
    for source in sorted(ours("source_outputs", "source")):
        sink = source.removesuffix(".monitor")
        if sink != source:
            return _say(source) if sink not in sinks else _say(source, is_own=True)
    return None


def _say(name: str, is_own: bool = False) -> str:
    what = "our own output, which feeds itself" if is_own else "what other programs play"
    return f"the microphone is {name!r}, that is {what}: if it should be a microphone, choose or connect one"


class MicrophoneWatch:
    """While the block runs, asks the server again and again, and tells ``tell`` every new warning."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name="microphone watch", daemon=True)

    def __enter__(self) -> MicrophoneWatch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join(ASK_S + sound_server.ANSWER_S)

    def _run(self) -> None:
        last = None
        wait_s = 0.0  # the server takes a moment to know us
        while not self._end.wait(wait_s):
            now = warning()
            if now is not None and now != last:
                self._tell(now)
            last, wait_s = now, ASK_S
