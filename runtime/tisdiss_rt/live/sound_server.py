"""What PulseAudio, or PipeWire in its place, says of its devices and of who uses them.

The server is asked with ``pactl``, which both have, in a process of its own, so that a server that does not
answer holds nothing up.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from tisdiss_rt.errors import DeviceError

ANSWER_S = 2.0  # for the server to answer
_LISTS = {"input": "sources", "output": "sinks"}


def ask() -> dict[str, Any]:
    """Return all that the server has, by kind; nothing if there is no server, or it does not answer."""
    if not is_there():
        return {}
    try:
        found = json.loads(control("--format=json", "list"), strict=False)
    except (DeviceError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def control(*command: str) -> str:
    """Run ``pactl`` with a command and return what it prints; raises DeviceError if that fails."""
    environment = {**os.environ, "LC_ALL": "C"}  # in others numbers may be written in a way that is no JSON
    try:
        done = subprocess.run(
            ["pactl", *command],
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=ANSWER_S,
            check=True,
        )
    except FileNotFoundError as error:
        raise DeviceError("pactl is missing: install pulseaudio-utils") from error
    except subprocess.CalledProcessError as error:
        reason = " ".join(error.stderr.decode("utf-8", "replace").split())
        raise DeviceError(f"the sound server refuses {command[0]}: {reason}") from error
    except (OSError, subprocess.SubprocessError) as error:
        raise DeviceError("the sound server does not answer") from error
    return done.stdout.decode("utf-8", "replace").strip()


def names(kind: str) -> dict[str, str]:
    """Return the server's devices of a kind, ``input`` or ``output``: their names, and descriptions."""
    return {str(each["name"]): str(each.get("description", "")) for each in ask().get(_LISTS[kind], ())}


def looked_for() -> str:
    """Say where a server was looked for, on Linux, if it is not there."""
    if not sys.platform.startswith("linux"):
        return ""
    if named := os.environ.get("PULSE_SERVER"):
        return f"; the sound server was looked for at PULSE_SERVER, {named}"
    folder = os.environ.get("XDG_RUNTIME_DIR")
    if not folder:
        return "; no sound server was looked for, as XDG_RUNTIME_DIR is not set: set it to /run/user/ID"
    socket = Path(folder, "pulse", "native")
    return "" if socket.exists() else f"; there is no sound server at {socket}"


def is_there() -> bool:
    """Return whether there is a server; ``pactl`` would start one that is not there."""
    folders = [os.environ.get("PULSE_RUNTIME_PATH"), f"{os.environ.get('XDG_RUNTIME_DIR', '')}/pulse"]
    return "PULSE_SERVER" in os.environ or any(
        Path(folder, "native").exists() for folder in folders if folder
    )
