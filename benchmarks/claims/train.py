"""Train every variant of `networks` with every seed; what is already trained is left as it is.

Three voices, those with ten minutes and more of speech each: to separate anybody's voice takes many more
steps than these runs have. The end of each voice is kept for testing.

The same steps, the same mixtures in the same order for all variants of one seed, in 32-bit floats on one
thread each, so that it does not matter on which machine. Runs can be stopped at any time and go on from their
last save.

    python -m benchmarks.claims.train              # all, one for each core at a time
    python -m benchmarks.claims.train base deep    # only these variants
    python -m benchmarks.claims.train --recipes    # the variants for `recipes.py`, with one seed

The latter get as many steps as take the same operations as those of the base.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, multiprocessing

from benchmarks.claims.networks import (
    ALL,
    BASE,
    RECIPES,
    SEEDS,
    STATES,
    TRAINING,
    VARIANTS,
    Objective,
    VariantNetwork,
    step_gmacs,
)
from tisdiss_models import TrainingConfig
from tisdiss_models.acoustics import SCENES, draw_batch
from tisdiss_models.data import Corpus, load_corpus, speech_folder
from tisdiss_models.training import learning_rate
from tisdiss_models.validation import evaluate

LEAST_S = 600.0  # of speech, for a voice to be used
TRAINING_SHARE, VALIDATION_SHARE = 0.8, 0.1  # of each voice, from its beginning; the rest is for testing
MIXTURES, MIXTURE_S = {"validation": 64, "test": 200}, 4.0
EVALUATE_EVERY = 250
SAVE_S = 240.0


class Data(NamedTuple):
    """Voices to train with; two fixed sets of mixtures (N, samples) with their sources (N, 2, samples)."""

    corpus: Corpus
    validation: tuple[Tensor, Tensor]
    test: tuple[Tensor, Tensor]


def load_data(speech: Path) -> Data:
    whole = load_corpus(speech / "train", BASE.sample_rate)
    chosen = whole.lengths > LEAST_S * BASE.sample_rate
    starts, lengths = whole.starts[chosen], whole.lengths[chosen]

    def part(begin: float, end: float) -> Corpus:
        first, last = (lengths * begin).long(), (lengths * end).long()
        return dataclasses.replace(whole, starts=starts + first, lengths=last - first)

    trained, validated = TRAINING_SHARE, TRAINING_SHARE + VALIDATION_SHARE
    sets = {}
    for name, share in (("validation", part(trained, validated)), ("test", part(validated, 1.0))):
        generator = torch.Generator().manual_seed(4321)
        sets[name] = draw_batch(share, SCENES["clean"], MIXTURES[name], MIXTURE_S, generator)
    return Data(part(0.0, trained), **sets)


def make_optimiser(network: torch.nn.Module, config: TrainingConfig) -> torch.optim.Optimizer:
    """Make AdamW, by which all networks of these tables learned; ``tisdiss-rt train`` is faster now."""
    matrices = [p for p in network.parameters() if p.ndim > 1]
    vectors = [p for p in network.parameters() if p.ndim <= 1]
    groups = [
        {"params": matrices, "weight_decay": config.weight_decay},
        {"params": vectors, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, betas=(0.9, 0.98), fused=True)


def state_path(name: str, seed: int) -> Path:
    return STATES / f"{name}-{seed}.pt"


def write(path: Path, content: dict[str, Any]) -> None:
    part = path.with_name(path.name + ".part")
    torch.save(content, part)
    part.replace(path)


class Run:
    """One variant with one seed."""

    def __init__(self, name: str, seed: int, data: Data) -> None:
        self.name, self.seed, self.data = name, seed, data
        self.variant = ALL[name]
        self.training = self.variant.training_config
        if name in RECIPES:
            same = step_gmacs(ALL["base"]) / step_gmacs(self.variant)
            self.training = dataclasses.replace(self.training, steps=round(same * TRAINING.steps))
        self.first = dataclasses.replace(self.training, **self.variant.first)
        torch.manual_seed(seed)
        self.network, self.average = VariantNetwork(self.variant), VariantNetwork(self.variant).eval()
        self.average.load_state_dict(self.network.state_dict())
        self.optimiser = make_optimiser(self.network, self.training)
        self.objective = Objective(self.network)
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
        generator = torch.Generator().manual_seed(1_000_003 * self.seed + self.step)
        config = self.first if 3 * self.step < self.training.steps else self.training
        mix, sources = draw_batch(self.data.corpus, config.scenes, config.batch, config.crop_s, generator)
        depth = self.variant.depth
        if self.variant.random_depth:
            depth = int(torch.randint(1, depth + 1, (1,), generator=generator))
        for group in self.optimiser.param_groups:
            group["lr"] = learning_rate(self.step, config)
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
                si_sdri_db = evaluate(self.average, *self.data.validation, self.variant.depth)  # type: ignore[arg-type]
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


def train_one(job: tuple[str, int, Data]) -> None:
    torch.set_num_threads(1)
    Run(*job).train()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("variants", nargs="*", help=f"of {', '.join(ALL)}; by default those of the claims")
    parser.add_argument("--recipes", action="store_true", help="the variants for `recipes.py`")
    parser.add_argument("--at-once", type=int, default=os.cpu_count(), help="runs beside each other")
    options = parser.parse_args()
    unknown = set(options.variants) - set(ALL)
    if unknown:
        parser.error(f"unknown variants {', '.join(sorted(unknown))}; known are {', '.join(ALL)}")
    speech = speech_folder()
    if speech is None:
        sys.exit("no speech found; name its folder with TISDISS_SPEECH")
    STATES.mkdir(parents=True, exist_ok=True)
    data = load_data(speech)
    names = options.variants or list(RECIPES if options.recipes else VARIANTS)
    seeds = {name: SEEDS if name in VARIANTS else SEEDS[:1] for name in names}
    wanted = [(name, seed, data) for seed in SEEDS for name in names if seed in seeds[name]]
    jobs = [job for job in wanted if not state_path(*job[:2]).exists()]
    print(f"{len(jobs)} to train", flush=True)
    with multiprocessing.get_context("spawn").Pool(options.at_once, maxtasksperchild=1) as pool:
        for _ in pool.imap_unordered(train_one, jobs):
            pass


if __name__ == "__main__":
    main()
