"""Parts of `speed.py`: time and memory that files of any length take, and what `bench` predicts."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile
import torch

import tisdiss_rt
from benchmarks.shipped import shipped_network
from benchmarks.speed.tools import EXAMPLE, THREADS
from tisdiss_export import export_bundle
from tisdiss_models import Network, save_checkpoint
from tisdiss_rt.engine.base import Engine
from tisdiss_rt.planning import benchmark


def growth() -> str:
    """Measure time and peak memory by length, depth, threads and sources, each in a process of its own."""
    lines = [
        "| bundle | audio | depth | threads | sources | time | peak memory |",
        "|---|---|---|---|---|---|---|",
    ]
    with tempfile.TemporaryDirectory() as name:
        three = Path(name) / "three"
        config = shipped_network("edge-16k").config
        torch.manual_seed(0)
        network = Network(dataclasses.replace(config, sources=3)).eval()
        save_checkpoint(Path(name) / "three.pt", network, {})
        export_bundle(Path(name) / "three.pt", three)
        probes = [("edge-16k", seconds, 4, THREADS) for seconds in (1, 4, 16, 60, 600)]
        probes += [("edge-16k", 16, depth, THREADS) for depth in (0, 1, 2, 8, 12)]
        probes += [("edge-16k", 16, 4, 1), (str(three), 16, 4, THREADS)]
        probes += [("live-16k", seconds, 4, 1) for seconds in (1, 16)]
        for bundle, seconds, depth, threads in probes:
            taken_s, memory_mb = measured(bundle, seconds, depth, threads)
            sources, label = (3, "edge-16k, other weights") if bundle == str(three) else (2, bundle)
            lines.append(
                f"| {label} | {seconds} s | {depth} | {threads} | {sources} "
                f"| {taken_s:.2f} s | {memory_mb:.0f} MB |"
            )
    return "\n".join(lines) + "\n"


def probe(bundle: str, seconds: str, depth: str, threads: str) -> None:
    """Separate a file once, and print seconds and megabytes."""
    mix, rate = soundfile.read(EXAMPLE, dtype="float32")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "mix.wav"
        soundfile.write(path, np.resize(mix, int(seconds) * rate), rate)
        del mix
        separator = tisdiss_rt.Separator(bundle, provider="cpu", threads=int(threads))
        targets = [Path(folder) / f"{n}.wav" for n in range(separator.bundle.manifest.sources)]
        begin_s = time.perf_counter()
        separator.separate_file(path, targets, depth=int(depth))
        taken_s = time.perf_counter() - begin_s
    print(json.dumps([taken_s, benchmark.peak_memory_mb()]))


def predicted() -> str:
    """Compare what `bench` predicts for a file, before and after, with what `separate` takes in between."""
    seconds = 20
    lines = [
        f"{seconds} s of audio. Predicted is the mean of a promise before each round and one after it, which",
        "differ by what the machine itself changed in between; means of rounds, least and greatest ratio.",
        "Windows overlap by half, so that the last half needs none.",
        "",
        "| bundle | threads | window | depth | predicted | promises differ by | taken | taken / predicted |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, threads, rounds in (("edge-16k", THREADS, 3), ("live-16k", 1, 2)):
        engine = tisdiss_rt.Separator(name, provider="cpu", threads=threads).engine
        windows_s = engine.manifest.windows_s  # none in a bundle for streams
        computed_s = seconds - windows_s[-1] / 2 if windows_s else seconds
        found = [window_costs(engine)]
        depths = (1, 4, len(found[0]) - 1)
        taken_s = []
        for _ in range(rounds):
            taken_s.append([measured(name, seconds, depth, threads)[0] for depth in depths])
            found.append(window_costs(engine))
        for depth, taken in zip(depths, np.transpose(taken_s), strict=True):
            promised = np.array([computed_s * costs[depth].real_time_factor for costs in found])
            expected = (promised[:-1] + promised[1:]) / 2
            differ = np.abs(promised[1:] / promised[:-1] - 1).mean()
            ratios = taken / expected
            lines.append(
                f"| {name} | {threads} | {found[0][0].window_s:g} s | {depth} | {expected.mean():.2f} s "
                f"| {100 * differ:.0f} % | {taken.mean():.2f} s "
                f"| {ratios.mean():.2f} ({ratios.min():.2f} to {ratios.max():.2f}) |"
            )
    return "\n".join(lines) + "\n"


def window_costs(engine: Engine) -> list[benchmark.DepthCost]:
    """Return what `bench` finds for the longest window, or the step, in rising order of depth."""
    return benchmark.measure_window(engine, benchmark.lengths(engine.manifest)[-1], 2.0)[0]


def measured(bundle: str, seconds: int, depth: int, threads: int) -> tuple[float, float]:
    """Run `probe` in a process of its own; return seconds and megabytes."""
    command = [
        sys.executable,
        "-m",
        "benchmarks.speed.growth",
        bundle,
        str(seconds),
        str(depth),
        str(threads),
    ]
    taken_s, memory_mb = json.loads(
        subprocess.run(command, check=True, capture_output=True, text=True).stdout
    )
    return taken_s, memory_mb


if __name__ == "__main__":
    probe(*sys.argv[1:])
