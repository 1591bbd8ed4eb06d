"""Part of `faults.py`: runs that are killed, or whose disk is full, leave whole results or none."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import soundfile

from benchmarks.endurance import EXAMPLE


def faults_of(runs: int) -> tuple[int, list[str]]:
    """Kill runs, or fill their disk, at random moments: how many wrote their results, and the faults.

    The moments are from the first import to beyond the end of a run that nobody stops.
    """
    rng, faults, whole = random.Random(0), [], 0
    samples = np.tile(soundfile.read(EXAMPLE, dtype="float32")[0], 5)
    with tempfile.TemporaryDirectory() as folder:
        soundfile.write(f"{folder}/long.wav", samples, 16000)
        begin_s = time.monotonic()
        _run_and_stop(folder, 600.0, None)
        longest_s = 1.2 * (time.monotonic() - begin_s)
    for run in range(runs):
        with tempfile.TemporaryDirectory() as folder:
            soundfile.write(f"{folder}/long.wav", samples, 16000)
            out = Path(folder) / "out"
            limit_bytes = rng.randrange(1, 2 * 2 * len(samples)) if run % 2 else None
            _run_and_stop(folder, rng.uniform(0.0, longest_s), limit_bytes)
            results = list(out.glob("[!.]*"))
            whole += len(results) == 2
            faults += [
                f"run {run}: {path.name} is half"
                for path in results
                if soundfile.info(path).frames != len(samples)
            ]
            if limit_bytes is not None and list(out.glob(".*")):
                faults.append(f"run {run}: {next(out.glob('.*')).name} is left")
    return whole, faults


def _run_and_stop(folder: str, after_s: float, limit_bytes: int | None) -> None:
    """Separate, and kill it after a time; or let it run into a limit on the size of files."""
    program = "from tisdiss_rt.cli.main import main; main()"
    if limit_bytes is not None:
        ignored = "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)"
        limited = f"resource.setrlimit(resource.RLIMIT_FSIZE, ({limit_bytes}, {limit_bytes}))"
        program = f"import resource, signal; {ignored}; {limited}; {program}"
    arguments = ["separate", "long.wav", "-o", "out", "--depth", "0", "--quiet", "--provider", "cpu"]
    process = subprocess.Popen(
        [sys.executable, "-c", program, *arguments, "--precision", "fp32"],
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "TISDISS_CACHE": folder},
    )
    with suppress(subprocess.TimeoutExpired):
        process.wait(timeout=after_s if limit_bytes is None else 600)
    process.send_signal(signal.SIGKILL)
    process.wait()
