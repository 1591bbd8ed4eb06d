"""Where the microphone's sound really comes from: PulseAudio and PipeWire decide that themselves.

Where there is no microphone, or the one in use was unplugged, both servers give a monitor instead: what some
output plays. That may be what is wanted, to separate the voices of a call, or be the program's own output.
The server is asked with ``pactl``, which both have, in a process of its own, so that a server that does not
answer holds nothing up.
"""

from __future__ import annotations

import json
import os
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

ASK_S = 2.0  # from one question to the next
ANSWER_S = 2.0  # for the server to answer
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
    server = _ask()
    return None if server is None else _find_monitor(server, str(process or os.getpid()))


def name_warning(name: str) -> str | None:
    """Return the same warning for a device whose name shows that it is a monitor."""
    return _say(name) if any(word in name.lower() for word in MONITOR_WORDS) else None


def _ask() -> dict[str, Any] | None:
    """Return all that the server has, by kind; None if there is no server, or it does not answer."""
    if not _has_server():
        return None
    environment = {**os.environ, "LC_ALL": "C"}  # in others numbers may be written in a way that is no JSON
    try:
        done = subprocess.run(
            ["pactl", "--format=json", "list"],
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=ANSWER_S,
            check=True,
        )
        found = json.loads(done.stdout.decode("utf-8", "replace"), strict=False)
    except (OSError, subprocess.SubprocessError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def _has_server() -> bool:
    """Return whether there is a server; ``pactl`` would start one that is not there."""
    folders = [os.environ.get("PULSE_RUNTIME_PATH"), f"{os.environ.get('XDG_RUNTIME_DIR', '')}/pulse"]
    return "PULSE_SERVER" in os.environ or any(
        Path(folder, "native").exists() for folder in folders if folder
    )


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
        self._thread.join(ASK_S + ANSWER_S)

    def _run(self) -> None:
        last = None
        wait_s = 0.0  # the server takes a moment to know us
        while not self._end.wait(wait_s):
            now = warning()
            if now is not None and now != last:
                self._tell(now)
            last, wait_s = now, ASK_S
