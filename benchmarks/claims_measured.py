"""Part of `claims.py`: every checkpoint tested on the same mixtures, and what two of them differ by."""

from __future__ import annotations

import dataclasses
import os
import sys
from functools import partial
from typing import Any

import numpy as np
import torch
from claims_networks import (
    ALL,
    BASE,
    COUNTED_S,
    SEEDS,
    TRAINING,
    VARIANTS,
    VariantNetwork,
    step_gmacs,
)
from claims_train import load_data, state_path
from cost import giga_macs
from quality import interval_db, speech_folder
from torch import Tensor, multiprocessing

from tisdiss_models.losses import best_assignment, si_sdr_db

BEYOND = 12  # depth up to which the networks of claim 3 are run
DEEPEST = {"base": BEYOND, "deep": BEYOND, "random": BEYOND, "last": VARIANTS["late"].depth}
BATCH = 8


@dataclasses.dataclass(frozen=True)
class Measured:
    """One variant: dB of (seeds, mixtures, depths), operations at (depths), and how its training went."""

    name: str
    db: np.ndarray
    gmacs: list[float]  # per second of audio
    parameters: int
    step_tmacs: float  # 10^12 multiply-accumulates of a training step
    logs: list[list[dict[str, Any]]]  # of each seed

    @property
    def depth(self) -> int:
        return VARIANTS[self.name].depth

    def mean_db(self, depth: int) -> float:
        return float(self.db[:, :, depth].mean())

    def shown(self, depth: int) -> str:
        low, high = interval_db(self.db[:, :, depth].mean(0))
        return f"{self.mean_db(depth):.2f} ({low:.2f} to {high:.2f})"


def load(name: str, seed: int) -> tuple[VariantNetwork, dict[str, Any]]:
    state = torch.load(state_path(name, seed), weights_only=True)
    network = VariantNetwork(ALL[name]).eval()
    weights = state.pop("weights")
    network.load_state_dict({k: v.float() if v.is_floating_point() else v for k, v in weights.items()})
    return network, state


@torch.inference_mode()
def test_one(job: tuple[str, int, Tensor, Tensor]) -> np.ndarray:
    """SI-SDR improvement (mixtures, depths) of one checkpoint, on mixtures (N, samples) and their sources."""
    torch.set_num_threads(1)
    name, seed, *test = job
    network, _ = load(name, seed)
    deepest = DEEPEST.get(name, network.variant.depth)
    rows = []
    for mix, sources in zip(*(part.split(BATCH) for part in test), strict=True):
        before = si_sdr_db(mix[:, None].expand_as(sources), sources).mean(1)
        every = network.every_depth(mix, deepest)
        scores = [best_assignment(si_sdr_db(est[:, :, None], sources[:, None])) for est in every]
        rows.append(torch.stack(scores, 1) - before[:, None])
    print(f"{name} {seed}: tested", file=sys.stderr, flush=True)
    return torch.cat(rows).numpy()


def measure() -> dict[str, Measured]:
    """Test every variant, with the seeds that all of them are trained with."""
    seeds = [seed for seed in SEEDS if all(state_path(name, seed).exists() for name in VARIANTS)]
    if not seeds:
        sys.exit("no seed has all variants trained; run benchmarks/claims_train.py")
    test = load_data(speech_folder()).test
    jobs = [(name, seed, *test) for name in VARIANTS for seed in seeds]
    with multiprocessing.get_context("spawn").Pool(os.cpu_count(), maxtasksperchild=1) as pool:
        tables = iter(pool.map(test_one, jobs, chunksize=1))
    found = {}
    for name in VARIANTS:
        db = np.stack([next(tables) for _ in seeds])
        loaded = [load(name, seed) for seed in seeds]
        network = loaded[0][0]
        mix = torch.randn(1, int(COUNTED_S * BASE.sample_rate))
        gmacs = [giga_macs(partial(network.separate, mix, d), COUNTED_S) for d in range(db.shape[2])]
        parameters = sum(p.numel() for p in network.parameters())
        step_tmacs = step_gmacs(VARIANTS[name]) * TRAINING.batch * TRAINING.crop_s / 1e3
        found[name] = Measured(name, db, gmacs, parameters, step_tmacs, [s["log"] for _, s in loaded])
    return found


def difference(ours: np.ndarray, theirs: np.ndarray) -> tuple[str, str]:
    """Mean of ours - theirs (seeds, mixtures) in dB, interval and seeds; and whether "ours is better"."""
    each = ours - theirs
    low, high = interval_db(each.mean(0))
    seeds = each.mean(1)
    if low > 0 and (seeds > 0).all():
        verdict = "holds"
    elif high < 0 and (seeds < 0).all():
        verdict = "contradicted"
    else:
        verdict = "does not show"
    by_seed = ", ".join(f"{seed:+.2f}" for seed in seeds)
    return f"{each.mean():+.2f} ({low:+.2f} to {high:+.2f}; seeds {by_seed})", verdict
