"""A microphone that other programs can choose, and that gives them what is played: one voice of a call.

PulseAudio and PipeWire make one of two modules: an output that nobody hears, and a source of what it plays::

    live ──> null sink tisdiss_rt.NAME ──> its monitor ──> remapped source NAME ──> calls, recorders

The modules are removed at the end. Those of a run that was killed are found by the number of its process.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from tisdiss_rt.errors import DeviceError, OptionError
from tisdiss_rt.live import sound_server

_OWNER = "tisdiss_rt.process"
_ELSEWHERE = {
    "darwin": "install BlackHole, and give it as --output-device",
    "win32": "install VB-CABLE, and give it as --output-device",
}


@contextmanager
def virtual_microphone(name: str, sample_rate: int) -> Iterator[str]:
    """Provide a microphone while the block runs; yields the output whose sound it gives.

    Where no microphone was chosen for this program, it keeps the one that is the default now, as the new one
    may become it.

    Args:
        name: what other programs know it by: letters, digits, dots, hyphens and underscores.
        sample_rate: in Hz.

    Raises:
        DeviceError: there is no sound server that can do it, or another run has this microphone.
        OptionError: a name that cannot be.
    """
    if not re.fullmatch(r"[\w.-]{1,100}", name, re.ASCII):
        raise OptionError(f"a microphone's name has letters, digits, dots, - and _ alone; not {name!r}")
    if not sound_server.is_there():
        way_out = _ELSEWHERE.get(sys.platform, f"start one{sound_server.looked_for()}")
        raise DeviceError(f"a virtual microphone needs PulseAudio or PipeWire: {way_out}")
    _remove_leftovers()
    if name in sound_server.names("input"):
        raise DeviceError(f"there is a microphone {name!r} already: choose another name")
    if "PULSE_SOURCE" not in os.environ:
        server = json.loads(sound_server.control("--format=json", "info"))
        os.environ["PULSE_SOURCE"] = server["default_source_name"]
    sink, modules = f"tisdiss_rt.{name}", []
    described = f"device.description={name} {_OWNER}={os.getpid()}"
    # Two channels, as programs play; of one channel made from both some servers would make them louder.
    left = ("channels=1", "channel_map=mono", "master_channel_map=front-left", "remix=no")
    one = (*left, f'source_properties="{described}"')
    to_load = (
        ("module-null-sink", f"sink_name={sink}", f"rate={sample_rate}", f'sink_properties="{described}"'),
        ("module-remap-source", f"source_name={name}", f"master={sink}.monitor", *one),
    )
    try:
        for module, *arguments in to_load:
            modules.append(sound_server.control("load-module", module, *arguments))
        yield sink
    finally:
        for number in reversed(modules):
            with suppress(DeviceError):  # the server has gone, and they with it
                sound_server.control("unload-module", number)


def _remove_leftovers() -> None:
    """Unload the modules of runs that are no more."""
    for line in reversed(sound_server.control("list", "short", "modules").splitlines()):
        owner = re.search(rf"{re.escape(_OWNER)}=(\d+)", line)
        if owner and not _runs(int(owner[1])):
            with suppress(DeviceError):
                sound_server.control("unload-module", line.split()[0])


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
