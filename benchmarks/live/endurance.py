"""Half an hour of live sound, in which devices are lost and found again, in PulseAudio or PipeWire.

    python -m benchmarks.live.endurance --minutes 30 --every 5 --server pulseaudio

The microphone gives a tone; every few minutes the server goes away for some seconds. Afterwards the
recording must be as long as the run, memory as it was, and neither the recording nor what the headphones play
may have a step between neighbouring samples. Where the headphones' device ran dry, as nobody served it in
time, the server itself breaks off and goes on, as it may at the microphone; these holes are counted. Run it
beside nothing: a server that is held up leaves out sound in all of its streams, with no hole to tell.
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
from collections.abc import Sequence
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
HOLE = 4  # samples of silence at least: a server may run dry at any sample of its period
SILENT = 1e-4
SMEARED = 64  # samples over which resampling spreads the edge of a hole
FOLLOWED = 512  # samples in which voices still follow such an edge of the mixture
MOST_MISSING_S = 0.1
MOST_GROWTH_MB = 10.0
SETTLED_S = 120.0  # after which memory may grow no more


def memory_mb(process: int) -> float:
    """Return the memory that a process holds now."""
    pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def steps(sound: np.ndarray, voices: Sequence[np.ndarray] = ()) -> tuple[float, int]:
    """Return the largest difference of neighbouring samples, and how many silences have sharp edges.

    These edges do not count for the difference: nobody faded them, so they are the server's. ``voices`` are
    judged with their mixture ``sound``, all (n,).
    """
    differences = np.abs(np.diff([sound, *voices]))
    is_silent = np.abs(sound) < SILENT
    edges = np.flatnonzero(np.diff(is_silent, prepend=False, append=False)).reshape(-1, 2)
    holes = 0
    for begin, end in edges[edges[:, 1] - edges[:, 0] >= HOLE]:
        near = [slice(max(0, begin - SMEARED), begin), slice(end - 1, end + SMEARED)]
        if any(differences[0, part].max(initial=0.0) > MOST_STEP for part in near):
            holes += 1
            differences[:, max(0, begin - SMEARED) : end + FOLLOWED] = 0.0
    return float(differences.max()), holes


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
    memories_mb.append(memory_mb(running.pid))
    running.send_signal(signal.SIGINT)
    report = json.loads(running.communicate(timeout=60)[0])
    for name, tap in taps.items():
        heard[name].append(tap.close())
    names = ("mixture", "spk1", "spk2")
    recorded = [soundfile.read(folder / "rec" / f"{name}.wav", dtype="float32")[0] for name in names]
    found = [
        [steps(sound) for sound in heard["virtmic"]],
        [steps(recorded[0], recorded[1:])],
        [steps(sound) for sound in heard["virtspk"]],
    ]
    largest = [max(step for step, _ in each) for each in found]
    holes = [sum(count for _, count in each) for each in found]
    return faults_of(report, lost, memories_mb, len(recorded[0]) / RATE, largest, holes)


def faults_of(
    report: dict[str, Any],
    lost: int,
    memories_mb: list[float],
    recorded_s: float,
    largest: list[float],
    holes: list[int],
) -> list[str]:
    """Print how it went; ``largest`` steps and ``holes``: of microphone, recording and headphones."""
    missing_s = report["running_s"] - recorded_s
    growth_mb = max(memories_mb) - memories_mb[0]
    print(
        f"{report['running_s'] / 60:.1f} min, lost {lost} times, {report['restarts']} restarts, "
        f"depth {report['depth_run']}, {report['misses']} late steps, {report['underflows']} underflows, "
        f"{report['overflows']} overflows; recording {missing_s:+.3f} s from the run; "
        f"memory {memories_mb[0]:.0f} MB, {growth_mb:+.1f} MB; largest step in the microphone "
        f"{largest[0]:.3f}, recorded {largest[1]:.3f}, played {largest[2]:.3f}; holes of the server there: "
        f"{holes[0]}, {holes[1]}, {holes[2]}",
        flush=True,
    )
    wrong = {
        f"{report['restarts']} restarts": report["restarts"] < lost,
        f"{missing_s:.2f} s missing": abs(missing_s) > MOST_MISSING_S,
        f"memory grew by {growth_mb:.1f} MB": growth_mb > MOST_GROWTH_MB,
        f"steps of {max(largest[1:]):.3f}": max(largest[1:]) > MOST_STEP,
        f"{holes[1]} holes recorded": holes[1] > holes[0],
        f"{holes[2]} holes of the headphones": holes[2] > report["underflows"] + holes[0],
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
