"""Train the variants of `claims_networks`; what is already trained is left as it is.

The same steps, the same mixtures in the same order for all variants of one seed, in 32-bit floats on one
thread each, so that it does not matter on which machine. Runs can be stopped at any time and go on from their
last save.

    python benchmarks/claims_train.py              # the claims, every seed; some five hours of two cores
    python benchmarks/claims_train.py --recipes    # the comparisons of recipes, one seed
    python benchmarks/claims_train.py base deep    # only these variants
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import multiprocessing
import os
import sys
import time
from pathlib import Path
from typing import Any

import torch
from claims_networks import ALL, BASE, RECIPES, SEEDS, STATES, VARIANTS, Objective, VariantNetwork
from torch import Tensor

from tisdiss_models import TrainingConfig
from tisdiss_models.data import Corpus, draw_batch, load_corpus, speech_folder
from tisdiss_models.training import evaluate, learning_rate, make_optimiser, validation_set

TRAINING = TrainingConfig(
    steps=3000,
    batch=4,
    crop_s=1.5,
    learning_rate=2e-3,
    warmup_steps=200,
    ema=0.998,
    pause_share=0.05,
    absent_share=0.0,
    speed_range=0.0,
    validation_speakers=16,
)
EVALUATE_EVERY = 500
SAVE_S = 240.0


def state_path(name: str, seed: int) -> Path:
    return STATES / f"{name}-{seed}.pt"


def write(path: Path, content: dict[str, Any]) -> None:
    part = path.with_name(path.name + ".part")
    torch.save(content, part)
    part.replace(path)


def voices(speech: Path) -> tuple[tuple[Tensor, Tensor], Corpus]:
    """Load the mixtures of held-out speakers that runs are judged by, and the corpus of the others."""
    corpus = load_corpus(speech / "train", BASE.sample_rate, 4.01)
    held_out = TRAINING.validation_speakers
    validation = validation_set(corpus.speakers(0, held_out), TRAINING)
    return validation, corpus.speakers(held_out, len(corpus.lengths))


class Run:
    """One variant with one seed."""

    def __init__(self, name: str, seed: int, speech: Path) -> None:
        self.name, self.seed = name, seed
        self.variant = ALL[name]
        self.training = dataclasses.replace(TRAINING, **self.variant.training)
        self.first = dataclasses.replace(self.training, **self.variant.first)
        torch.manual_seed(seed)
        self.network, self.average = VariantNetwork(self.variant), VariantNetwork(self.variant).eval()
        self.average.load_state_dict(self.network.state_dict())
        self.optimiser = make_optimiser(self.network, TRAINING)
        self.objective = Objective(self.network)
        self.validation, self.corpus = voices(speech)
        self.step, self.log = 0, []
        self.path = state_path(name, seed)
        self.unfinished = self.path.with_suffix(".unfinished")
        if self.unfinished.exists():
            state = torch.load(self.unfinished, weights_only=True)
            self.network.load_state_dict(state["latest"])
            self.average.load_state_dict(state["weights"])
            self.optimiser.load_state_dict(state["optimiser"])
            self.step, self.log = state["step"], state["log"]

    def train_step(self) -> None:
        config = self.first if 3 * self.step < self.training.steps else self.training
        generator = torch.Generator().manual_seed(1_000_003 * self.seed + self.step)
        mix, sources = draw_batch(self.corpus, config, config.batch, config.crop_s, generator)
        depth = self.variant.depth
        if self.variant.random_depth:
            depth = int(torch.randint(1, depth + 1, (1,), generator=generator))
        for group in self.optimiser.param_groups:
            group["lr"] = learning_rate(self.step, self.training)
        self.objective(mix, sources, depth).backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), config.gradient_clip)
        self.optimiser.step()
        self.optimiser.zero_grad()
        keep = min(config.ema, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            torch._foreach_lerp_(list(self.average.parameters()), list(self.network.parameters()), 1 - keep)
        self.step += 1

    def train(self) -> None:
        saved = time.monotonic()
        while self.step < self.training.steps:
            self.train_step()
            if self.step % EVALUATE_EVERY == 0 or self.step == self.training.steps:
                si_sdri_db = evaluate(self.average, *self.validation, self.variant.depth)
                self.log.append({"step": self.step, "si_sdri_db": si_sdri_db})
                print(self.name, self.seed, json.dumps(self.log[-1]), flush=True)
            if time.monotonic() - saved > SAVE_S:
                self.save()
                saved = time.monotonic()
        facts = {"variant": self.name, "seed": self.seed, "steps": self.step}
        halves = {k: v.half() if v.is_floating_point() else v for k, v in self.average.state_dict().items()}
        write(self.path, {**facts, "log": self.log, "weights": halves})
        self.unfinished.unlink(missing_ok=True)

    def save(self) -> None:
        weights = {"latest": self.network.state_dict(), "weights": self.average.state_dict()}
        state = {"step": self.step, "log": self.log, "optimiser": self.optimiser.state_dict()}
        write(self.unfinished, {**state, **weights})


def train_one(job: tuple[str, int, Path]) -> None:
    torch.set_num_threads(1)
    Run(*job).train()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("variants", nargs="*", help=f"of {', '.join(ALL)}; by default the claims'")
    parser.add_argument("--recipes", action="store_true", help="the comparisons of recipes, one seed")
    parser.add_argument("--at-once", type=int, default=os.cpu_count(), help="runs beside each other")
    options = parser.parse_args()
    unknown = set(options.variants) - set(ALL)
    if unknown:
        parser.error(f"unknown variants {', '.join(sorted(unknown))}; known are {', '.join(ALL)}")
    speech = speech_folder()
    if speech is None:
        sys.exit("no speech found; name its folder with TISDISS_SPEECH")
    STATES.mkdir(parents=True, exist_ok=True)
    names = options.variants or list(RECIPES if options.recipes else VARIANTS)
    wanted = [(name, seed) for seed in SEEDS for name in names if name in VARIANTS or seed == SEEDS[0]]
    jobs = [(*job, speech) for job in wanted if not state_path(*job).exists()]
    print(f"{len(jobs)} to train", flush=True)
    with multiprocessing.get_context("spawn").Pool(options.at_once, maxtasksperchild=1) as pool:
        for _ in pool.imap_unordered(train_one, jobs):
            pass


if __name__ == "__main__":
    main()
