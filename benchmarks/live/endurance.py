"""Half an hour of live sound, in which devices are lost and found again, in PulseAudio or PipeWire.

    python -m benchmarks.live.endurance --minutes 30 --every 5 --server pulseaudio

The microphone gives a tone; every few minutes the server goes away for some seconds. Afterwards the
recording must be as long as the run, memory as it was, and neither the recording nor what the headphones play
may have a step between neighbouring samples that the microphone did not give. Where the headphones' device
ran dry, as nobody served it in time, the server itself breaks off; these holes are counted.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from benchmarks.live.virtual_sound import VirtualPipeWire, VirtualSound

COMMAND = "from tisdiss_rt.cli.main import main; main()"
SERVERS = {"pulseaudio": VirtualSound, "pipewire": VirtualPipeWire}
RATE = 16000
TONE_HZ, LEVEL = 200, 0.2  # neighbouring samples differ by 0.016; PipeWire makes it twice as loud
AWAY_S = 6.0
MOST_STEP = 0.05
HOLE = 32  # samples of silence at least
MOST_MISSING_S = 0.1
MOST_GROWTH_MB = 10.0
SETTLED_S = 120.0  # after which memory may grow no more


def memory_mb(process: int) -> float:
    """Return the memory that a process holds now."""
    pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def steps(sound: np.ndarray) -> float:
    """Return the largest difference of neighbouring samples."""
    return float(np.abs(np.diff(sound)).max())


def mend_holes(sound: np.ndarray) -> tuple[np.ndarray, int]:
    """Return the sound without the steps into silence that nobody faded, and how many there were."""
    is_silent = np.concatenate([sound == 0.0, np.ones(HOLE, bool)])
    begins = np.convolve(is_silent, np.ones(HOLE), "valid")[1 : len(sound)] == HOLE
    holes = np.flatnonzero(begins & (np.abs(np.diff(sound)) > MOST_STEP))
    mended = sound.copy()
    for hole in holes:
        mended[hole + 1 :][:HOLE] = sound[hole] * np.linspace(1, 0, HOLE)[: len(sound) - hole - 1]
    return mended, len(holes)


def start(sound: VirtualSound, recording: Path) -> subprocess.Popen[str]:
    """Start ``live``, so that Ctrl-C ends it."""
    options = ["--provider", "cpu", "--depth", "1", "--listen", "mix", "--sample-rate", str(RATE)]
    return subprocess.Popen(
        [sys.executable, "-c", COMMAND, "live", "--no-ui", "--json", *options, "--record", str(recording)],
        env=sound.environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def run(sound: VirtualSound, folder: Path, minutes: float, every: float) -> list[str]:
    """Run ``live`` for so long, lose the devices every so often; returns what was wrong."""
    tone = LEVEL * np.sin(2 * np.pi * TONE_HZ / RATE * np.arange(round(60 * (minutes + 1) * RATE)))
    soundfile.write(folder / "tone.wav", tone.astype(np.float32), RATE, subtype="FLOAT")
    running = start(sound, folder / "rec")
    begin_s, lost, memories_mb = time.monotonic(), 0, []
    heard: dict[str, list[np.ndarray]] = {"virtmic": [], "virtspk": []}
    sound.play(folder / "tone.wav")
    taps = {name: sound.tap(name) for name in heard}
    while (now_s := time.monotonic() - begin_s) < 60 * minutes:
        time.sleep(1.0)
        if now_s > min(SETTLED_S, 15 * minutes):
            memories_mb.append(memory_mb(running.pid))
        if now_s > 60 * every * (lost + 1) and now_s < 60 * minutes - 2 * AWAY_S:
            lost += 1
            sound.kill()
            for name, tap in taps.items():
                heard[name].append(tap.close())
            time.sleep(AWAY_S)
            sound.launch()
            sound.play(folder / "tone.wav")
            taps = {name: sound.tap(name) for name in heard}
    running.send_signal(signal.SIGINT)
    report = json.loads(running.communicate(timeout=60)[0])
    for name, tap in taps.items():
        heard[name].append(tap.close())
    recorded = [soundfile.read(path, dtype="float32")[0] for path in sorted((folder / "rec").glob("*.wav"))]
    played, holes = zip(*map(mend_holes, heard["virtspk"]), strict=True)
    largest = [max(map(steps, sounds)) for sounds in (heard["virtmic"], recorded, played)]
    return faults_of(report, lost, memories_mb, len(recorded[0]) / RATE, largest, sum(holes))


def faults_of(
    report: dict[str, Any],
    lost: int,
    memories_mb: list[float],
    recorded_s: float,
    largest: list[float],
    holes: int,
) -> list[str]:
    """Print how it went; ``largest`` steps are those of microphone, recording and headphones."""
    missing_s = report["running_s"] - recorded_s
    growth_mb = max(memories_mb) - memories_mb[0]
    print(
        f"{report['running_s'] / 60:.1f} min, lost {lost} times, {report['restarts']} restarts, "
        f"depth {report['depth_run']}, {report['misses']} late steps, {report['underflows']} underflows, "
        f"{report['overflows']} overflows; recording {missing_s:+.3f} s from the run; "
        f"memory {memories_mb[0]:.0f} MB, {growth_mb:+.1f} MB; largest step in the microphone "
        f"{largest[0]:.3f}, recorded {largest[1]:.3f}, played {largest[2]:.3f}; {holes} holes of the device",
        flush=True,
    )
    wrong = {
        f"{report['restarts']} restarts": report["restarts"] < lost,
        f"{missing_s:.2f} s missing": abs(missing_s) > MOST_MISSING_S,
        f"memory grew by {growth_mb:.1f} MB": growth_mb > MOST_GROWTH_MB,
        f"steps of {max(largest[1:]):.3f}": max(largest[1:]) > max(MOST_STEP, largest[0]),
        f"{holes} holes, more than underflows": holes > report["underflows"],
    }
    return [text for text, is_wrong in wrong.items() if is_wrong]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--every", type=float, default=5.0, help="minutes from one loss to the next")
    parser.add_argument("--server", choices=sorted(SERVERS), default="pulseaudio")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, SERVERS[options.server](RATE) as sound:
        wrong = run(sound, Path(folder), options.minutes, options.every)
    for text in wrong:
        print(f"{options.server}: {text}")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
