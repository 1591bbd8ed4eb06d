"""Part of `faults.py`: a corpus that is killed over and over gives the same voices as one run for each file.

Files are of many formats and rates, and one in ten is broken. Every one is separated by itself; then
`separate --manifest` separates all with two workers, and is killed at random moments and resumed until it
ends. What both leave must be equal to the bit, `failed.jsonl` must name every broken file, and a voice that
is there is never written again.
"""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile
import soxr

from benchmarks.endurance import EXAMPLE

FORMATS = (".wav", ".flac", ".ogg", ".mp3", ".aiff")
RATES_HZ = (8000, 16000, 22050, 44100, 48000)
BROKEN = ("cut", "text", "no samples", "no numbers", "gone")
SHARE_BROKEN = 0.1
KILLS = 20
ENGINE = ("--provider", "cpu", "--precision", "fp32", "--threads", "1", "--depth", "0", "--quiet")


def make(folder: Path, files: int) -> tuple[list[Path], set[str]]:
    """Write files; returns all of them and the names of those that are broken."""
    rng, sound = random.Random(0), soundfile.read(EXAMPLE, dtype="float32")[0]
    paths, broken = [], set()
    for number in range(files):
        rate = rng.choice(RATES_HZ)
        samples = np.roll(sound, rng.randrange(len(sound)))[: round(16000 * rng.uniform(0.2, 2.5))]
        samples = np.stack([soxr.resample(samples, 16000, rate)] * rng.choice((1, 1, 2)), 1)
        path = folder / f"{number:04}{rng.choice(FORMATS)}"
        if rng.random() < SHARE_BROKEN:
            path = path.with_suffix(".wav")
            _write_broken(path, rng.choice(BROKEN), samples, rate)
            broken.add(path.name)
        else:
            soundfile.write(path, samples, rate)
        paths.append(path)
    return paths, broken


def _write_broken(path: Path, how: str, samples: np.ndarray, rate: int) -> None:
    if how == "cut":
        soundfile.write(path, samples, rate)
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    elif how == "text":
        path.write_text("no audio")
    elif how == "no samples":
        soundfile.write(path, samples[:0], rate)
    elif how == "no numbers":
        soundfile.write(path, np.full_like(samples, np.nan), rate, subtype="FLOAT")


def start(*arguments: object) -> subprocess.Popen[bytes]:
    """Start ``separate``."""
    program = [sys.executable, "-c", "from tisdiss_rt.cli.main import main; main()", "separate"]
    return subprocess.Popen([*program, *map(str, (*arguments, *ENGINE))], stderr=subprocess.DEVNULL)


def rows_of(path: Path) -> list[dict[str, object]]:
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def killed_and_resumed(manifest: Path, out: Path, files: int) -> tuple[int, list[str]]:
    """Separate the manifest, killed `KILLS` times after some voices; returns exit status and faults."""
    rng, times, faults = random.Random(1), dict[Path, int](), []
    for left in range(KILLS, -1, -1):
        process = start("--manifest", manifest, "-o", out, "--workers", "2", "--resume")
        if left:
            most = len(rows_of(out / "manifest.jsonl")) + rng.randrange(3 * files // KILLS)
            while process.poll() is None and len(rows_of(out / "manifest.jsonl")) < most:
                time.sleep(0.01)
            time.sleep(rng.uniform(0.0, 0.2))
            if process.poll() is not None:
                faults.append("it ended before it was killed so often")
            process.send_signal(signal.SIGKILL)
        status = process.wait()
        time.sleep(0.5)  # its workers end with it
        now = {path: path.stat().st_mtime_ns for path in out.rglob("[!.]*.wav")}
        told = {out / str(row["audio_filepath"]) for row in rows_of(out / "manifest.jsonl")}
        faults += [f"{path.name} was made twice" for path in times if now[path] != times[path]]
        times = {path: at for path, at in now.items() if path in told}
        print(f"{len(told)} voices after {KILLS - left + 1} runs", flush=True)
    return status, faults


def faults_of(files: int) -> list[str]:
    """Make files, separate them both ways, and return what is wrong."""
    with tempfile.TemporaryDirectory() as folder:
        return _faults_in(Path(folder), files)


def _faults_in(folder: Path, files: int) -> list[str]:
    (folder / "in").mkdir()
    paths, broken = make(folder / "in", files)
    manifest = folder / "in.jsonl"
    manifest.write_text("".join(json.dumps({"audio_filepath": f"in/{path.name}"}) + "\n" for path in paths))
    start(*paths, "-o", folder / "alone").wait()
    status, faults = killed_and_resumed(manifest, folder / "out", files)
    faults += [f"exit status {status}"] * (status != bool(broken))
    failed = {Path(str(row["audio_filepath"])).name for row in rows_of(folder / "out" / "failed.jsonl")}
    faults += [f"{name} is broken, or said to be, but not both" for name in failed ^ broken]
    rows = rows_of(folder / "out" / "manifest.jsonl")
    made = {f"{Path(str(row['parent'])).stem}_spk{row['talker']}.wav": row["audio_filepath"] for row in rows}
    alone = {path.name: path.read_bytes() for path in (folder / "alone").iterdir()}
    faults += [f"{name} is in one of both only" for name in made.keys() ^ alone.keys()]
    faults += [f"{len(rows) - len(made)} rows are there twice"] * (len(rows) != len(made))
    for name in made.keys() & alone.keys():
        if (folder / "out" / str(made[name])).read_bytes() != alone[name]:
            faults.append(f"{name} differs")
    print(f"{len(alone)} voices of {files} files, {len(broken)} of them broken, {KILLS} kills", flush=True)
    return faults
