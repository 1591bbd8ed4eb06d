"""Sound devices: found and chosen so that everything that can be wrong with them says what to do.

PortAudio's own messages name neither the device nor the way out, and without its library not even
``import sounddevice`` works; so nothing else imports it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tisdiss_rt.errors import DeviceError, OptionError

USUAL_RATES_HZ = (8000, 16000, 32000, 44100, 48000, 96000)
LIST_THEM = "`tisdiss-rt devices` lists what there is"


@dataclass(frozen=True)
class Endpoint:
    """A device in one direction, ``kind`` input or output, and the channels that it is opened with.

    Of an input, ``channel`` is the one that is taken, from 1; None is the mean of all.
    """

    kind: str
    index: int
    name: str
    channels: int
    channel: int | None = None

    @property
    def role(self) -> str:
        """What it is to a person."""
        return "the microphone" if self.kind == "input" else "the headphones"


@dataclass(frozen=True)
class Pair:
    """Where sound comes from, where it goes, and the rate of both."""

    source: Endpoint
    sink: Endpoint
    sample_rate: int


def portaudio() -> Any:
    """Import sounddevice; raises DeviceError where PortAudio is missing."""
    try:
        import sounddevice
    except OSError as error:
        raise DeviceError(
            "the library PortAudio is missing: install libportaudio2 (Debian, Ubuntu), portaudio (Fedora, "
            "Arch, Homebrew), or use a file with --input"
        ) from error
    return sounddevice


def listing() -> list[str]:
    """Describe every device in a line; raises DeviceError if there is none."""
    sounddevice = portaudio()
    lines = []
    defaults = tuple(sounddevice.default.device)
    for index, device in enumerate(sounddevice.query_devices()):
        directions = zip(("input", "output"), defaults, strict=True)
        marks = [f"default {kind}" for kind, default in directions if default == index]
        channels = f"{device['max_input_channels']} in, {device['max_output_channels']} out"
        host = sounddevice.query_hostapis(device["hostapi"])["name"]
        text = f"{index:3d}  {device['name']} ({host}): {channels}, {device['default_samplerate']:g} Hz"
        lines.append(f"{text}  [{', '.join(marks)}]" if marks else text)
    if not lines:
        raise DeviceError(f"no sound device at all: connect one, or start the sound server{_server()}")
    return lines


def choose(
    source: str | None,
    sink: str | None,
    asked_hz: int | None,
    model_hz: int,
    input_channel: int | None = None,
) -> Pair:
    """Choose devices and rate: the asked one, or the first that both do, the network's before all others.

    Args:
        source: number of the microphone, or a part of its name; None is the default.
        sink: the same for the headphones.
        asked_hz: None is any.
        model_hz: rate of the bundle.
        input_channel: the microphone's channel to take, from 1; None is the mean of all.

    Raises:
        DeviceError: no such device, or no common rate.
        OptionError: a name that fits several devices, or an impossible rate or channel.
    """
    if asked_hz is not None and asked_hz <= 0:
        raise OptionError(f"the sample rate must be above 0 Hz, not {asked_hz}")
    sounddevice = portaudio()
    found = [_find(sounddevice, kind, wanted) for kind, wanted in (("input", source), ("output", sink))]
    if input_channel is not None:
        found[0] = _with_channel(found[0], input_channel)
    own_hz = [round(sounddevice.query_devices(endpoint.index)["default_samplerate"]) for endpoint in found]
    candidates = [asked_hz] if asked_hz is not None else [model_hz, 48000, *own_hz]
    for rate in candidates:
        opened = [_does(sounddevice, endpoint, rate) for endpoint in found]
        if opened[0] is not None and opened[1] is not None:
            return Pair(opened[0], opened[1], rate)
    raise _no_rate(sounddevice, found, candidates)


def _find(sounddevice: Any, kind: str, wanted: str | None) -> Endpoint:
    """Return the device that a user means, with all of its channels."""
    has = f"max_{kind}_channels"
    devices = [(index, device) for index, device in enumerate(sounddevice.query_devices()) if device[has] > 0]
    if wanted is None:
        default = sounddevice.default.device[kind == "output"]
        matching = [(index, device) for index, device in devices if index == default]
        problem = f"no {kind} device: connect one, or choose it with --{kind}-device{_server()}; {LIST_THEM}"
    else:
        matching = [pair for pair in devices if str(pair[0]) == wanted]
        matching = matching or [pair for pair in devices if pair[1]["name"].lower() == wanted.lower()]
        matching = matching or [pair for pair in devices if wanted.lower() in pair[1]["name"].lower()]
        problem = f"no {kind} device {wanted!r}; {LIST_THEM}"
    if not matching:
        raise DeviceError(problem)
    if len(matching) > 1:
        those = ", ".join(f"{index} {device['name']}" for index, device in matching)
        raise OptionError(f"{wanted!r} fits several {kind} devices; choose one by its number: {those}")
    index, device = matching[0]
    return Endpoint(kind, index, device["name"], device[has])


def _with_channel(endpoint: Endpoint, channel: int) -> Endpoint:
    """Return the same device, reduced to one channel."""
    if not 1 <= channel <= endpoint.channels:
        raise OptionError(
            f"the input device {endpoint.name!r} has channels 1 to {endpoint.channels}, not {channel}"
        )
    return replace(endpoint, channel=channel)


def _does(sounddevice: Any, endpoint: Endpoint, rate: int) -> Endpoint | None:
    """Return the device with the channels to open at this rate; None if it does not support the rate."""
    check = getattr(sounddevice, f"check_{endpoint.kind}_settings")
    least = endpoint.channel or 1
    some = (least, 2, endpoint.channels) if endpoint.kind == "input" else (2, 1)
    for channels in dict.fromkeys(some):
        if least <= channels <= endpoint.channels:
            with suppress(sounddevice.PortAudioError, ValueError):
                check(device=endpoint.index, channels=channels, dtype="float32", samplerate=rate)
                return replace(endpoint, channels=channels)
    return None


def _no_rate(sounddevice: Any, found: list[Endpoint], candidates: list[int]) -> DeviceError:
    """Return an error that names the rates that both devices support."""
    done = [{hz for hz in USUAL_RATES_HZ if _does(sounddevice, endpoint, hz)} for endpoint in found]
    refusing = [
        endpoint for endpoint in found if not any(_does(sounddevice, endpoint, hz) for hz in candidates)
    ]
    names = " and ".join(f"{endpoint.kind} device {endpoint.name!r}" for endpoint in refusing or found)
    common = ", ".join(str(hz) for hz in sorted(done[0] & done[1]))
    way_out = f"--sample-rate {common}" if common else f"choose another device; {LIST_THEM}"
    if common.count(","):
        way_out = f"both devices do --sample-rate {common}"
    rates = ", ".join(str(hz) for hz in dict.fromkeys(candidates))
    return DeviceError(f"the {names} cannot be opened at {rates} Hz: {way_out}")


def look_again() -> None:
    """Let PortAudio find devices that have come since it was loaded; no stream may be open."""
    sounddevice = portaudio()
    with suppress(sounddevice.PortAudioError):
        sounddevice._terminate()
    with suppress(sounddevice.PortAudioError):
        sounddevice._initialize()


def _server() -> str:
    """Where a sound server was looked for, on Linux, if it is not there."""
    if not sys.platform.startswith("linux"):
        return ""
    if named := os.environ.get("PULSE_SERVER"):
        return f"; the sound server was looked for at PULSE_SERVER, {named}"
    folder = os.environ.get("XDG_RUNTIME_DIR")
    if not folder:
        return "; no sound server was looked for, as XDG_RUNTIME_DIR is not set: set it to /run/user/ID"
    socket = Path(folder, "pulse", "native")
    return "" if socket.exists() else f"; there is no sound server at {socket}"


@contextmanager
def quiet_libraries() -> Iterator[None]:
    """While the block runs, keep what PortAudio and ALSA print themselves off standard error; ours stays."""
    if sys.stderr is None:  # closed, and another file may have its number
        yield
        return
    sys.stderr.flush()
    kept = os.dup(2)
    ours, python_stderr = os.fdopen(os.dup(2), "w", buffering=1), sys.stderr
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        is_plain = sys.stderr.fileno() == 2
    except (OSError, AttributeError):
        is_plain = False
    os.dup2(nowhere, 2)
    if is_plain:
        sys.stderr = ours
    try:
        yield
    finally:
        sys.stderr = python_stderr
        os.dup2(kept, 2)
        ours.close()
        os.close(kept)
        os.close(nowhere)
