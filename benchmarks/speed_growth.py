"""Parts of `speed.py`: time and memory that files of any length take, and what `bench` predicts."""

from __future__ import annotations

import dataclasses
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile
import torch
from speed_tools import EXAMPLE, STATES, THREADS

import tisdiss_rt
from tisdiss_export import export_bundle
from tisdiss_models import Network, load_checkpoint, save_checkpoint
from tisdiss_rt import measuring

PREDICTIONS = 2


def growth() -> str:
    """Time and peak memory by length, depth, threads and sources, each in a process of its own."""
    lines = [
        "| bundle | audio | depth | threads | sources | time | peak memory |",
        "|---|---|---|---|---|---|---|",
    ]
    with tempfile.TemporaryDirectory() as name:
        three = Path(name) / "three"
        config = load_checkpoint(STATES / "edge-16k" / "state.pt")[0].config
        torch.manual_seed(0)
        network = Network(dataclasses.replace(config, sources=3)).eval()
        save_checkpoint(Path(name) / "three.pt", network, {})
        export_bundle(Path(name) / "three.pt", three)
        probes = [("edge-16k", seconds, 4, THREADS) for seconds in (1, 4, 16, 60, 600)]
        probes += [("edge-16k", 16, depth, THREADS) for depth in (0, 1, 2, 8, 12)]
        probes += [("edge-16k", 16, 4, 1), (str(three), 16, 4, THREADS)]
        probes += [("live-16k", seconds, 4, 1) for seconds in (1, 16)]
        for bundle, seconds, depth, threads in probes:
            command = [sys.executable, __file__, bundle, str(seconds), str(depth), str(threads)]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            taken_s, memory_mb = json.loads(done.stdout)
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
    print(json.dumps([taken_s, measuring.peak_memory_mb()]))


def predicted() -> str:
    """What `bench` promises for a file, against what `separate` then takes, in turn."""
    seconds = 20
    lines = [
        f"{seconds} s of audio; means of {PREDICTIONS} rounds, each a promise and what was taken then, and "
        "of their ratios (least and greatest). Windows overlap by half, so that the last half needs none.",
        "",
        "| bundle | threads | window | depth | predicted | taken | ratio |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, threads in (("edge-16k", THREADS), ("live-16k", 1)):
        engine = tisdiss_rt.Separator(name, provider="cpu", threads=threads).engine
        windows_s = engine.manifest.windows_s  # none in a bundle for streams
        computed_s = seconds - windows_s[-1] / 2 if windows_s else seconds
        found: dict[int, list[tuple[float, float]]] = {}
        for _ in range(PREDICTIONS):
            costs, _ = measuring.measure_window(engine, measuring.lengths(engine.manifest)[-1], 2.0)
            for cost in (costs[1], costs[4], costs[-1]):
                command = [sys.executable, __file__, name, str(seconds), str(cost.depth), str(threads)]
                done = subprocess.run(command, check=True, capture_output=True, text=True)
                promised_s = computed_s * cost.real_time_factor
                found.setdefault(cost.depth, []).append((promised_s, json.loads(done.stdout)[0]))
        for depth, pairs in found.items():
            promised_s, taken_s = (statistics.mean(times) for times in zip(*pairs, strict=True))
            ratios = sorted(taken / promised for promised, taken in pairs)
            ratio = f"{statistics.mean(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"
            times = f"{promised_s:.2f} s | {taken_s:.2f} s"
            lines.append(f"| {name} | {threads} | {costs[0].window_s:g} s | {depth} | {times} | {ratio} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    probe(*sys.argv[1:])
