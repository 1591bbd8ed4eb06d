"""Train the designs of `networks` in their small size, and measure them: ``measured.json``.

Two tasks. "voices" are the three of CLAIMS.md, whose ends are kept for measuring: few steps go far with them.
"scenes" are those of live-16k, of all talkers; to measure with are other people and noises.

Designs that are named together train beside each other: one batch is drawn, each makes one update on it. So
all have the same mixtures in the same order, as they have in runs of their own. In 32-bit floats, one thread.

    python -m benchmarks.designs.train voices wide context    # these
    python -m benchmarks.designs.train scenes attention context-stem
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.claims.train import load_data, make_optimiser
from benchmarks.designs.networks import DESIGNS, SMALL, Design
from tisdiss_models import SceneConfig, StreamingNetwork, TrainingConfig
from tisdiss_models.acoustics import SCENES, draw_batch
from tisdiss_models.cli import CONFIGS
from tisdiss_models.data import Corpus, load_recordings, speech_folder
from tisdiss_models.losses import best_assignment, multi_depth_loss, pairwise_soft_snr_db, si_sdr_db
from tisdiss_models.options import read_yaml
from tisdiss_models.training import draw_depths, learning_rate
from tisdiss_models.validation import CROP_S, NOT_JUDGED

MEASURED = Path(__file__).parent / "measured.json"
MIXTURES = 16  # of each scene, to measure with
DEEPEST = 4
SHOWN_EVERY = 25  # steps
VOICES = TrainingConfig(
    steps=1000,
    batch=4,
    crop_s=1.5,
    learning_rate=2e-3,
    warmup_steps=100,
    ema=0.99,
    depth_weights=(1.0,) * (SMALL.trained_depth + 1),
    scenes=SceneConfig(alone_share=0.0, late_share=0.05, speed_range=0.0),
)
SCENES_OF_LIVE = read_yaml(CONFIGS / "live-16k.yaml")[1].scenes
TRAINING = {
    "voices": VOICES,
    "scenes": dataclasses.replace(VOICES, steps=350, crop_s=2.0, scenes=SCENES_OF_LIVE),
}


class Data(NamedTuple):
    """Training data of a task; sets of mixtures (N, samples) and voices (N, 2, samples) to measure with."""

    talkers: Corpus
    noises: Corpus | None
    sets: dict[str, tuple[Tensor, Tensor]]


def load(task: str, speech: Path) -> Data:
    if task == "voices":
        data = load_data(speech)
        return Data(data.corpus, None, {"voices": data.test})
    recordings = load_recordings(speech, SMALL.sample_rate, CROP_S + 1.0, VOICES.validation_speakers)
    sets = {}
    for number, (name, scene) in enumerate(SCENES.items()):
        if name not in (*NOT_JUDGED, "turns"):
            generator = torch.Generator().manual_seed(4321 + number)
            talkers, noises = recordings.validation_talkers, recordings.validation_noises
            sets[name] = draw_batch(talkers, scene, MIXTURES, CROP_S, generator, noises)
    return Data(recordings.talkers, recordings.noises, sets)


class Run:
    """One design while it learns."""

    def __init__(self, design: Design, config: TrainingConfig) -> None:
        self.config = config
        self.network = design.network(design.small, config.seed)
        self.average = design.network(design.small, config.seed).eval().requires_grad_(False)
        self.optimiser = make_optimiser(self.network, config)
        self.losses_db: list[float] = []
        self.taken_s = 0.0  # of this process's time

    def train_step(self, step: int, mix: Tensor, voices: Tensor, depths: Tensor) -> None:
        """Make one update on mixtures (B, samples) and voices (B, 2, samples) at depths (T, B)."""
        begin = time.process_time()
        config = self.config
        for group in self.optimiser.param_groups:
            group["lr"] = learning_rate(step, config)
        estimates = self.network.every_depth(mix, SMALL.trained_depth, depths)
        scores = [pairwise_soft_snr_db(e, voices, mix, config.soft_limit_db) for e in estimates]
        loss = multi_depth_loss(scores, config.depth_weights)
        loss.backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), config.gradient_clip)
        self.optimiser.step()
        self.optimiser.zero_grad()
        keep = min(config.ema, (1 + step) / (10 + step))
        with torch.no_grad():
            torch._foreach_lerp_(list(self.average.parameters()), list(self.network.parameters()), 1 - keep)
        self.losses_db.append(float(loss.detach()))
        self.taken_s += time.process_time() - begin


def train(names: list[str], config: TrainingConfig, data: Data) -> dict[str, Run]:
    runs = {name: Run(DESIGNS[name], config) for name in names}
    frames = -(-round(config.crop_s * SMALL.sample_rate) // SMALL.hop) + 1
    for step in range(config.steps):
        generator = torch.Generator().manual_seed(step)
        mix, voices = draw_batch(
            data.talkers, config.scenes, config.batch, config.crop_s, generator, data.noises
        )
        depths = draw_depths(frames, config.batch, config.switch_share, SMALL.trained_depth, generator)
        for run in runs.values():
            run.train_step(step, mix, voices, depths)
        if (step + 1) % SHOWN_EVERY == 0:
            shown = [f"{n} {sum(r.losses_db[-SHOWN_EVERY:]) / SHOWN_EVERY:.2f}" for n, r in runs.items()]
            print(time.strftime("%H:%M:%S"), step + 1, ", ".join(shown), file=sys.stderr, flush=True)
    return runs


@torch.no_grad()
def improvements_db(network: StreamingNetwork, mix: Tensor, voices: Tensor) -> list[list[float]]:
    """Measure the SI-SDR improvement of each mixture, at depths 0 to `DEEPEST`: (depths, N)."""
    gains: list[list[Tensor]] = [[] for _ in range(DEEPEST + 1)]
    for x, s in zip(mix.split(4), voices.split(4), strict=True):
        before = si_sdr_db(x[:, None].expand_as(s), s).mean(1)
        for depth, estimate in enumerate(network.every_depth(x, DEEPEST)):
            gains[depth].append(best_assignment(si_sdr_db(estimate[:, :, None], s[:, None])) - before)
    return [[round(value, 2) for value in torch.cat(gain).tolist()] for gain in gains]


def measure(task: str, networks: dict[str, StreamingNetwork], data: Data) -> None:
    """Measure networks and put the values in their places: task, design, set."""
    for name, network in networks.items():
        gains = {title: improvements_db(network, *mixtures) for title, mixtures in data.sets.items()}
        record(task, name, gains)
        print(task, name, np.mean([np.mean(values, 1) for values in gains.values()], 0).round(2), flush=True)


def record(section: str, name: str, values: object) -> None:
    """Add values to the file."""
    measured = json.loads(MEASURED.read_text(encoding="utf-8")) if MEASURED.exists() else {}
    measured.setdefault(section, {})[name] = values
    MEASURED.write_text(json.dumps(measured) + "\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("task", choices=TRAINING)
    parser.add_argument("designs", nargs="+", help=f"of {', '.join(DESIGNS)}")
    options = parser.parse_args()
    unknown = set(options.designs) - set(DESIGNS)
    if unknown:
        parser.error(f"unknown designs {', '.join(sorted(unknown))}; known are {', '.join(DESIGNS)}")
    speech = speech_folder()
    if speech is None:
        sys.exit("no speech found; name its folder with TISDISS_SPEECH")
    torch.set_num_threads(1)
    data = load(options.task, speech)
    print(time.strftime("%H:%M:%S"), "loaded", file=sys.stderr, flush=True)
    runs = train(options.designs, TRAINING[options.task], data)
    for name, run in runs.items():
        record(f"{options.task}_training_s", name, round(run.taken_s))
    measure(options.task, {name: run.average for name, run in runs.items()}, data)


if __name__ == "__main__":
    main()
