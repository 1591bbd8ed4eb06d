"""Sound devices: found and chosen so that everything that can be wrong with them says what to do.

PortAudio's own messages name neither the device nor the way out.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from tisdiss_rt.errors import DeviceError, OptionError
from tisdiss_rt.live import sound_server
from tisdiss_rt.live.portaudio import device_at, every_device, portaudio

USUAL_RATES_HZ = (8000, 16000, 32000, 44100, 48000, 96000)
LIST_THEM = "`tisdiss-rt devices` lists what there is"
SERVER = "sound server"
_ON_SERVER = {"input": "PULSE_SOURCE", "output": "PULSE_SINK"}  # where ALSA's pulse finds a device's name


@dataclass(frozen=True)
class Endpoint:
    """A device in one direction, ``kind`` input or output, and how it is opened.

    Attributes:
        kind: ``input`` or ``output``.
        index: its number in PortAudio.
        name: its name there, or in the sound server.
        api: the host API of PortAudio that has it, or `SERVER`.
        channels: that it is opened with.
        sample_rate: that it is opened with, in Hz.
        channel: of an input, the one that is taken, from 1; None is the mean of all.
    """

    kind: str
    index: int
    name: str
    api: str
    channels: int
    sample_rate: int = 0
    channel: int | None = None

    @property
    def full_name(self) -> str:
        """A name that finds this device again, whatever its number is then."""
        return f"{self.api}:{self.name}"

    @property
    def role(self) -> str:
        """What it is to a person."""
        return "the microphone" if self.kind == "input" else "the headphones"


@dataclass(frozen=True)
class Pair:
    """Where sound comes from, and where it goes."""

    source: Endpoint
    sink: Endpoint

    @property
    def sample_rate(self) -> int:
        """Rate of all that is played and recorded, in Hz; the source's own may be another one."""
        return self.sink.sample_rate


def listing() -> list[str]:
    """Describe every device in a line; raises DeviceError if there is none."""
    sounddevice = portaudio()
    lines = []
    defaults = tuple(sounddevice.default.device)
    for index, device in enumerate(every_device(sounddevice)):
        directions = zip(("input", "output"), defaults, strict=True)
        marks = [f"default {kind}" for kind, default in directions if default == index]
        channels = f"{device['max_input_channels']} in, {device['max_output_channels']} out"
        host = sounddevice.query_hostapis(device["hostapi"])["name"]
        text = f"{index:3d}  {device['name']} ({host}): {channels}, {device['default_samplerate']:g} Hz"
        lines.append(f"{text}  [{', '.join(marks)}]" if marks else text)
    if not lines:
        raise DeviceError(
            f"no sound device at all: connect one, or start the sound server{sound_server.looked_for()}"
        )
    for kind in ("input", "output"):
        for name, description in sound_server.names(kind).items():
            lines.append(f"     {name} (sound server): {kind}, {description}")
    return lines


def choose(
    source: str | None,
    sink: str | None,
    asked_hz: int | None,
    model_hz: int,
    input_channel: int | None = None,
) -> Pair:
    """Choose devices and rates: the asked one, or the first that both do, the network's before all others.

    Where no rate is asked for and both have none in common, each gets one that it does.

    Args:
        source: the microphone: its number, its name or a part of it, with or without its host API before it
            (``ALSA:USB Audio``), or a name of the sound server; None is the default.
        sink: the same for the headphones.
        asked_hz: None is any.
        model_hz: rate of the bundle.
        input_channel: the microphone's channel to take, from 1; None is the mean of all.

    Raises:
        DeviceError: no such device, or one that does not do the rate.
        OptionError: a name that fits several devices, or an impossible rate or channel.
    """
    if asked_hz is not None and asked_hz <= 0:
        raise OptionError(f"the sample rate must be above 0 Hz, not {asked_hz}")
    sounddevice = portaudio()
    found = [_find(sounddevice, kind, wanted) for kind, wanted in (("input", source), ("output", sink))]
    if input_channel is not None:
        found[0] = _with_channel(found[0], input_channel)
    own_hz = [round(device_at(sounddevice, endpoint.index)["default_samplerate"]) for endpoint in found]
    candidates = [asked_hz] if asked_hz is not None else [model_hz, 48000, *own_hz]
    opened = [{rate: _does(sounddevice, endpoint, rate) for rate in candidates} for endpoint in found]
    for rate in candidates:
        if (source_end := opened[0][rate]) and (sink_end := opened[1][rate]):
            return Pair(source_end, sink_end)
    source_end, sink_end = (next(filter(None, by_rate.values()), None) for by_rate in opened)
    if source_end and sink_end:
        return Pair(source_end, sink_end)
    raise _no_rate(sounddevice, found, candidates)


def find_again(pair: Pair) -> Pair:
    """Return the same devices, whose numbers may have changed; raises DeviceError if they are not there."""
    sounddevice = portaudio()
    return Pair(*(_again(sounddevice, end) for end in (pair.source, pair.sink)))


def _again(sounddevice: Any, end: Endpoint) -> Endpoint:
    alike = [each for each in _having(sounddevice, end.kind) if each.full_name == end.full_name]
    same = [each for each in alike if each.index == end.index]  # of two with one name
    there = (same or alike or [_find(sounddevice, end.kind, end.full_name)])[0]
    opened = _does(sounddevice, replace(there, channel=end.channel), end.sample_rate)
    if opened is None:
        raise _no_rate(sounddevice, [there], [end.sample_rate])
    return opened


def _find(sounddevice: Any, kind: str, wanted: str | None) -> Endpoint:
    """Return the device that a user means."""
    devices = _having(sounddevice, kind)
    if wanted is None:
        default = sounddevice.default.device[kind == "output"]
        matching = [device for device in devices if device.index == default]
        problem = (
            f"no {kind} device: connect one, or choose it with --{kind}-device{sound_server.looked_for()}; "
            f"{LIST_THEM}"
        )
    else:
        matching = _matching(devices, wanted) or _of_server(devices, kind, wanted)
        problem = f"no {kind} device {wanted!r}; {LIST_THEM}"
    if not matching:
        raise DeviceError(problem)
    if len(matching) > 1:
        those = ", ".join(f"{each.index} {each.full_name}" for each in matching)
        if matching[0].api == SERVER:
            those = ", ".join(each.name for each in matching)
        raise OptionError(f"{wanted!r} fits several {kind} devices; choose one of {those}")
    if matching[0].api == SERVER:
        os.environ[_ON_SERVER[kind]] = matching[0].name
    return matching[0]


def _having(sounddevice: Any, kind: str) -> list[Endpoint]:
    """Return the devices of a kind, with all of their channels."""
    has = f"max_{kind}_channels"
    return [
        Endpoint(kind, index, each["name"], sounddevice.query_hostapis(each["hostapi"])["name"], each[has])
        for index, each in enumerate(every_device(sounddevice))
        if each[has] > 0
    ]


def _matching(devices: list[Endpoint], wanted: str) -> list[Endpoint]:
    """Return those that a user may mean, by the first way that finds any."""
    low = wanted.lower()
    api, _, rest = low.partition(":")
    ways: list[Callable[[Endpoint], bool]] = [
        lambda device: str(device.index) == wanted,
        lambda device: low in (device.name.lower(), device.full_name.lower()),
        lambda device: low in device.name.lower(),
        lambda device: bool(rest) and api in device.api.lower() and rest in device.name.lower(),
    ]
    return next(filter(None, ([each for each in devices if way(each)] for way in ways)), [])


def _of_server(devices: list[Endpoint], kind: str, wanted: str) -> list[Endpoint]:
    """Return the sound server's device of that name, or of a part of it: PortAudio has it as ALSA's pulse."""
    pulse = [device for device in devices if device.name == "pulse"]
    wanted = wanted.removeprefix(f"{SERVER}:")
    names = sound_server.names(kind) if pulse else {}
    fitting = [name for name in names if wanted.lower() in name.lower()]
    chosen = [wanted] if wanted in names else fitting
    return [replace(pulse[0], name=name, api=SERVER) for name in chosen]


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
                return replace(endpoint, channels=channels, sample_rate=rate)
    return None


def _no_rate(sounddevice: Any, found: list[Endpoint], candidates: list[int]) -> DeviceError:
    """Return an error that names the rates that the devices support."""
    done = [{hz for hz in USUAL_RATES_HZ if _does(sounddevice, endpoint, hz)} for endpoint in found]
    refusing = [
        endpoint for endpoint in found if not any(_does(sounddevice, endpoint, hz) for hz in candidates)
    ]
    names = " and ".join(f"{endpoint.kind} device {endpoint.name!r}" for endpoint in refusing or found)
    common = ", ".join(str(hz) for hz in sorted(set.intersection(*done)))
    way_out = f"--sample-rate {common}" if common else "leave --sample-rate out, or choose another device"
    if common.count(","):
        way_out = f"both devices do --sample-rate {common}"
    rates = ", ".join(str(hz) for hz in dict.fromkeys(candidates))
    return DeviceError(f"the {names} cannot be opened at {rates} Hz: {way_out}; {LIST_THEM}")
