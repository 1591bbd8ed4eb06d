"""The library PortAudio: loaded where sound devices are needed, and asked what there is.

Without the library not even ``import sounddevice`` works; so nothing else imports it.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from tisdiss_rt.errors import DeviceError


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


def every_device(sounddevice: Any) -> list[dict[str, Any]]:
    """Return what PortAudio says of every device."""
    found: list[dict[str, Any]] = []
    with suppress(sounddevice.PortAudioError):  # after the last one
        while True:
            found.append(device_at(sounddevice, len(found)))
    return found


def device_at(sounddevice: Any, index: int) -> dict[str, Any]:
    """Return what PortAudio says of one device."""
    try:
        found: dict[str, Any] = sounddevice.query_devices(index)
    except UnicodeDecodeError as error:  # sounddevice takes names for UTF-8
        info = sounddevice._lib.Pa_GetDeviceInfo(index)
        found = {
            "name": error.object.decode("latin-1"),
            "hostapi": info.hostApi,
            "max_input_channels": info.maxInputChannels,
            "max_output_channels": info.maxOutputChannels,
            "default_samplerate": info.defaultSampleRate,
        }
    return found


def look_again() -> None:
    """Let PortAudio find devices that have come since it was loaded; no stream may be open."""
    sounddevice = portaudio()
    with suppress(sounddevice.PortAudioError):
        sounddevice._terminate()
    with suppress(sounddevice.PortAudioError):
        sounddevice._initialize()
