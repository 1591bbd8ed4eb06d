"""How much faster a CPU trains when mixtures go through the network one by one and memory is not given back.

Each way to train runs in a process of its own, in turn, several rounds, since machines change their speed:
the whole batch at once, convolutions as products of shifted copies, with the allocator of the C library (as
version 0.1.0 did), mixtures one by one, that with real convolutions, with jemalloc preloaded, and in several
processes, as the documentation advises. Voices are noise: they take as long as speech.

    python -m benchmarks.speed.training                # edge-16k, steps of 8 mixtures of 4 s
    python -m benchmarks.speed.training --rounds 5
"""

from __future__ import annotations

import argparse
import ctypes.util
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
from torch import Tensor

from tisdiss_models.acoustics import draw_batch
from tisdiss_models.cli import CONFIGS
from tisdiss_models.network import use_gemm
from tisdiss_models.options import read_yaml
from tisdiss_models.processes import joined, place
from tisdiss_models.training import Trainer

STEPS = 3  # timed in each process, after one that compiles
JEMALLOC = {
    "LD_PRELOAD": ctypes.util.find_library("jemalloc") or "",
    "MALLOC_CONF": "dirty_decay_ms:5000,muzzy_decay_ms:-1,"
    "oversize_threshold:0,narenas:1,lg_extent_max_active_fit:12",
}


class Products(Trainer):
    """Training on CPUs with products of shifted copies instead of convolutions."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        use_gemm(self.network)


class WholeBatch(Products):
    """Training as version 0.1.0 did it on CPUs."""

    def _accumulate(self, mix: Tensor, sources: Tensor, depth: int) -> Tensor:
        loss = self._loss(mix, sources, depth, self.generator)
        loss.backward()
        return loss.detach()


PROCESSES = min(os.cpu_count() or 1, 8)  # no more than mixtures of a step
WAYS: dict[str, tuple[type[Trainer], dict[str, str], int]] = {  # with variables and processes
    "whole batch": (WholeBatch, {}, 1),
    "one by one": (Products, {}, 1),
    "one by one, convolutions": (Trainer, {}, 1),
    "one by one, convolutions, jemalloc": (Trainer, JEMALLOC, 1),
    f"one by one, convolutions, jemalloc, {PROCESSES} processes": (Trainer, JEMALLOC, PROCESSES),
}


def write_voices(folder: Path, sample_rate: int) -> None:
    rng = np.random.default_rng(0)
    for part, names in (("train", 6), ("validation", 2), ("noise/train", 2), ("noise/validation", 2)):
        (folder / part).mkdir(parents=True)
        for name in range(names):
            noise = 0.1 * rng.standard_normal(6 * sample_rate)
            soundfile.write(folder / part / f"{part[0]}{name}-0.wav", noise, sample_rate)


def step_s(config: str, kind: type[Trainer], compile_parts: bool) -> tuple[float, float]:
    """Measure a training step, and drawing its mixtures alone: medians in seconds."""
    network, training = read_yaml(CONFIGS / f"{config}.yaml")
    with tempfile.TemporaryDirectory() as folder:
        write_voices(Path(folder), network.sample_rate)
        trainer = kind(network, training, torch.device("cpu"), Path(folder), compile_parts)
    trainer._draw_depth = lambda: network.trained_depth  # type: ignore[method-assign]
    trainer.train_step()
    took_s, drawn_s = [], []
    for _ in range(STEPS):
        started = time.perf_counter()
        trainer.train_step()
        took_s.append(time.perf_counter() - started)
        started = time.perf_counter()
        draw_batch(
            trainer.talkers,
            training.scenes,
            training.batch,
            training.crop_s,
            trainer.generator,
            trainer.noises,
        )
        drawn_s.append(time.perf_counter() - started)
    return float(np.median(took_s)), float(np.median(drawn_s))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config", default="edge-16k", help="of a shipped network")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--no-compile", action="store_true")
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.way:
        with joined():
            took = step_s(options.config, WAYS[options.way][0], not options.no_compile)
            if place()[0] == 0:
                print(*took)
        return
    if not JEMALLOC["LD_PRELOAD"]:
        sys.exit("jemalloc is not installed (libjemalloc2 of Debian)")
    training = read_yaml(CONFIGS / f"{options.config}.yaml")[1]
    times: dict[str, list[float]] = {way: [] for way in WAYS}
    drawing: list[float] = []
    for _ in range(options.rounds):
        for way, (_, environment, processes) in WAYS.items():
            torchrun = ["torch.distributed.run", "--nproc-per-node", str(processes), "-m"]
            modules = [*(torchrun if processes > 1 else []), __spec__.name]
            command = [sys.executable, "-m", *modules, *sys.argv[1:], "--way", way]
            done = subprocess.run(
                command, env=os.environ | environment, check=True, text=True, capture_output=True
            )
            step, draw = (float(word) for word in done.stdout.split())
            times[way].append(step)
            drawing.append(draw / step)
    base = np.array(times["whole batch"])
    print("| way to train | audio a second | of the whole batch's time |\n|---|---|---|")
    for way, values in times.items():
        rate = training.batch * training.crop_s / np.median(values)
        ratio = np.median(np.array(values) / base)
        print(f"| {way} | {rate:.1f} s | {ratio:.2f} |")
    print(f"\nDrawing the mixtures takes {100 * np.median(drawing):.1f} % of a step.")


if __name__ == "__main__":
    main()
