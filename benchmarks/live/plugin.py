"""Ten minutes of the LADSPA plug-in in PulseAudio or PipeWire, without a dropout.

    make embed    # builds the plug-in, where ladspa-sdk and libspeexdsp-dev are installed
    python -m benchmarks.live.plugin --minutes 10 --server pulseaudio

The example is played over and over again into a sink of `module-ladspa-sink`, or into the microphone of which
the configuration in docs/ladspa.md takes one voice. What comes out is compared with what a stream gives in
Python, in pieces of 50 ms: where the voice talks, a piece that is not the same is a dropout. So is whatever
the plug-in tells to be late, which may be less than a piece.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import soundfile
import soxr

import tisdiss_rt
from benchmarks.live.virtual_sound import Tap, VirtualPipeWire, VirtualSound, find
from tisdiss_rt.audio import Array

REPOSITORY = Path(__file__).parents[2]
PLUGIN = REPOSITORY / "build" / "embed" / "release" / "prefix" / "lib" / "ladspa" / "tisdiss_ladspa.so"
PAGE_NAME = "docs/ladspa.md"
PAGE = (REPOSITORY / PAGE_NAME).read_text(encoding="utf-8")
BUNDLE = Path(tisdiss_rt.__file__).parent / "bundles" / "live-16k"
EXAMPLE = Path(tisdiss_rt.__file__).parent / "example" / "two_voices.wav"
SERVERS = {"pulseaudio": VirtualSound, "pipewire": VirtualPipeWire}
RATE, DEPTH, VOICE = 48000, 1, 1
STEP = 128
PIECE_S = 0.05
TALKS = 0.02  # root mean square of a piece
LEAST_DB = 6.0  # of signal to difference; where a quarter of a piece is missing, it is less
BEGINS_S = 4  # by then; the example begins anew after 6 s
SETTLED_S = 1.0  # what the stream remembers from before the sound
END_S = 0.1  # when a player ends, PulseAudio may begin the plug-in anew, and what is still in it is lost


def surroundings(bundle: Path) -> dict[str, str]:
    """Return the environment in which a server finds all that the plug-in needs."""
    runtime = next(Path(onnxruntime.__file__).parent.glob("capi/libonnxruntime.so*"))
    return {
        "LADSPA_PATH": str(PLUGIN.parent),
        "TISDISS_ONNXRUNTIME": str(runtime),
        "TISDISS_BUNDLE": str(bundle),
    }


def expected_of(separator: tisdiss_rt.Separator, mix: Array, phase: int) -> Array:
    """Return the voice (n,) of a mixture at 16 kHz, at the server's rate; a step begins ``phase`` early."""
    before = np.zeros(32 * STEP + phase, np.float32)
    stream = separator.stream(16000, depth=DEPTH)
    sound = np.concatenate([before, mix])
    pieces = [stream.process(sound[i : i + 16000]) for i in range(0, len(sound), 16000)]
    voices = np.concatenate([*pieces, stream.flush()], axis=1)
    voice: Array = soxr.resample(voices[VOICE - 1, len(before) :], 16000, RATE)
    return voice


def expected_in(heard: Array, separator: tisdiss_rt.Separator, mix: Array) -> Array:
    """Return the voice of a mixture with the steps where the server's are, which nobody tells."""
    begun = mix[: 2 * 16000]

    def same_db(phase: int) -> float:
        return float(np.median(decibels(heard, expected_of(separator, begun, phase))))

    return expected_of(separator, mix, max(range(0, STEP, 8), key=same_db))


def configuration(folder: Path) -> Path:
    """Write the page's configuration of PipeWire, with the virtual microphone as its input."""
    (text,) = re.findall(r"```text\n(# voice.conf\n.*?)```", PAGE, re.DOTALL)
    ours = 'capture.props = { stream.capture.sink = true target.object = "virtmic"'
    text = replaced(text, "capture.props = {", ours)
    path = folder / "voice.conf"
    path.write_text(replaced(text, '"Budget (ms)" = 6 "Depth" = 4', f'"Budget (ms)" = 0 "Depth" = {DEPTH}'))
    return path


def replaced(text: str, old: str, new: str) -> str:
    assert text.count(old) == 1, f"{PAGE_NAME} has no {old!r}"
    return text.replace(old, new)


def start(sound: VirtualSound, folder: Path) -> tuple[str, Tap, Callable[[], None]]:
    """Put the plug-in, as the page does it, between a sink and a recording.

    Returns the name of the sink, the recording, and what removes the plug-in.
    """
    if isinstance(sound, VirtualPipeWire):
        filters = sound.start("pipewire", "-c", str(configuration(folder)))
        sound.wait_for("pactl", "get-source-volume", "voice")
        return "virtmic", sound.tap_source("voice"), filters.terminate
    (command,) = re.findall(r"^pactl (load-module module-ladspa-sink .*)$", PAGE, re.MULTILINE)
    words = replaced(command, "control=6,4,1,", f"control=0,{DEPTH},{VOICE},").split()
    module = sound.control(*words, "sink_master=virtspk", f"rate={RATE}")
    return "voices", sound.tap("virtspk"), lambda: print(sound.control("unload-module", module), end="")


def decibels(heard: Array, expected: Array) -> Array:
    """Compare pieces of (n,) with what was expected, where that talks: return signal to difference in dB."""
    size = round(PIECE_S * RATE)
    begin = find(expected[: 2 * RATE], heard[: (BEGINS_S + 2) * RATE])
    expected = expected[: -round(END_S * RATE)]
    heard = heard[begin : begin + len(expected)]
    heard = heard * (heard @ expected[: len(heard)]) / (heard @ heard)  # PipeWire adds two channels for one
    pieces = len(heard) // size
    wanted = expected[: pieces * size].reshape(pieces, size)
    off = wanted - heard[: pieces * size].reshape(pieces, size)
    power = (wanted**2).mean(axis=1)
    compared = (power > TALKS**2) & (np.arange(pieces) * PIECE_S > SETTLED_S)
    found: Array = 10 * np.log10((power / ((off**2).mean(axis=1) + 1e-12))[compared])
    return found


def measure(server: str, bundle: Path, seconds: float, folder: Path) -> tuple[Array, list[str]]:
    """Run the plug-in for so long; return what `decibels` does, and what the plug-in tells."""
    separator = tisdiss_rt.Separator(bundle, provider="cpu")
    mix = np.resize(soundfile.read(EXAMPLE, dtype="float32")[0], round(seconds * 16000))
    soundfile.write(folder / "mix.wav", soxr.resample(mix, 16000, RATE), RATE, subtype="FLOAT")
    os.environ.update(surroundings(bundle))
    with SERVERS[server](RATE) as sound:
        sink, tap, remove = start(sound, folder)
        player = sound.play(folder / "mix.wav", sink)
        player.wait()
        time.sleep(1.0)
        heard = tap.close()
        remove()
        time.sleep(0.5)
        told = [line for line in sound.messages() if line.startswith("tisdiss_ladspa")]
    return decibels(heard, expected_in(heard, separator, mix)), told


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--server", choices=sorted(SERVERS), default="pulseaudio")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        same_db, told = measure(options.server, BUNDLE, 60 * options.minutes, Path(folder))
    lost = int((same_db < LEAST_DB).sum())
    print(
        f"{options.server}: {options.minutes:g} min, {len(same_db)} pieces of {1e3 * PIECE_S:.0f} ms "
        f"with speech, {lost} dropouts; {same_db.min():.1f} dB to the stream in Python at least, "
        f"{np.median(same_db):.1f} dB in the median; the plug-in tells: {told or 'nothing'}"
    )
    sys.exit(lost > 0 or bool(told))


if __name__ == "__main__":
    main()
