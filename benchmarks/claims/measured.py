"""Part of `claims.py`: every checkpoint tested on the same mixtures, and what two of them differ by."""

from __future__ import annotations

import dataclasses
import os
import sys
from functools import partial
from typing import Any

import numpy as np
import torch
from scipy import stats
from torch import Tensor, multiprocessing

from benchmarks.claims.networks import (
    ALL,
    BASE,
    COUNTED_S,
    SEEDS,
    TRAINING,
    VARIANTS,
    VariantNetwork,
    step_gmacs,
)
from benchmarks.claims.train import load_data, state_path
from benchmarks.cost import giga_macs
from benchmarks.quality.quality import interval_db, speech_folder
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
        return f"{self.mean_db(depth):.2f} dB ({low:.2f} to {high:.2f})"


def load(name: str, seed: int) -> tuple[VariantNetwork, dict[str, Any]]:
    state = torch.load(state_path(name, seed), weights_only=True)
    network = VariantNetwork(ALL[name]).eval()
    weights = state.pop("weights")
    network.load_state_dict({k: v.float() if v.is_floating_point() else v for k, v in weights.items()})
    return network, state


@torch.inference_mode()
def test_one(job: tuple[str, int, bool, Tensor, Tensor]) -> np.ndarray:
    """Measure the SI-SDR improvement (mixtures, depths) of one checkpoint on mixtures (N, samples).

    The job is name, seed, whether to measure all depths or only the trained one, mixtures and sources.
    """
    torch.set_num_threads(1)
    name, seed, all_depths, *test = job
    network, _ = load(name, seed)
    trained = network.variant.depth
    rows = []
    for mix, sources in zip(*(part.split(BATCH) for part in test), strict=True):
        before = si_sdr_db(mix[:, None].expand_as(sources), sources).mean(1)
        deepest = DEEPEST.get(name, trained)
        estimates = network.every_depth(mix, deepest) if all_depths else [network.separate(mix, trained)]
        scores = [best_assignment(si_sdr_db(est[:, :, None], sources[:, None])) for est in estimates]
        rows.append(torch.stack(scores, 1) - before[:, None])
    print(f"{name} {seed}: tested", file=sys.stderr, flush=True)
    return torch.cat(rows).numpy()


def test(checkpoints: list[tuple[str, int]], all_depths: bool = True) -> list[np.ndarray]:
    """Return the result of `test_one` for each variant with its seed."""
    data = load_data(speech_folder()).test
    jobs = [(name, seed, all_depths, *data) for name, seed in checkpoints]
    with multiprocessing.get_context("spawn").Pool(os.cpu_count(), maxtasksperchild=1) as pool:
        return pool.map(test_one, jobs, chunksize=1)


def measure() -> dict[str, Measured]:
    """Test every variant, with the seeds that all of them are trained with."""
    seeds = [seed for seed in SEEDS if all(state_path(name, seed).exists() for name in VARIANTS)]
    if not seeds:
        sys.exit("no seed has all variants trained; run python -m benchmarks.claims.train")
    tables = iter(test([(name, seed) for name in VARIANTS for seed in seeds]))
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


@dataclasses.dataclass(frozen=True)
class Noise:
    """Variance of a network's mean dB from training to training, and its degrees of freedom."""

    variance: float
    freedom: int

    @classmethod
    def of_training(cls, means: np.ndarray) -> Noise:
        """Estimate it from mean dB (variants, seeds): what is left after the means of variants and of seeds.

        All variants are pooled, because three seeds of a single one say next to nothing.
        """
        rest = means - means.mean(0) - means.mean(1, keepdims=True) + means.mean()
        freedom = (means.shape[0] - 1) * (means.shape[1] - 1)
        return cls(float(np.square(rest).sum()) / freedom, freedom)


def interval(each: np.ndarray, noise: Noise | None) -> tuple[float, float]:
    """Compute the 95 % interval of the mean of differences (seeds, mixtures), for other seeds and mixtures.

    Args:
        each: the differences, in dB.
        noise: of each of the two networks; None where both are one network, at two depths.
    """
    seeds, mixtures = each.shape
    if noise is None:
        noise = Noise(float(each.mean(1).var(ddof=1)) / 2, seeds - 1)
    variance = 2 * noise.variance / seeds + float(each.mean(0).var(ddof=1)) / mixtures
    reach = stats.t.ppf(0.975, noise.freedom) * np.sqrt(variance)
    return float(each.mean() - reach), float(each.mean() + reach)


def verdict(low: float, high: float, bar: float = 0.0) -> str:
    """Return whether an interval shows that a difference is above the bar."""
    return "holds" if low > bar else "contradicted" if high < bar else "does not show"


def difference(ours: np.ndarray, theirs: np.ndarray, noise: Noise | None, bar: float = 0.0) -> list[str]:
    """Return two cells: the mean of ours - theirs (seeds, mixtures) with interval and seeds; the verdict."""
    each = ours - theirs
    low, high = interval(each, noise)
    by_seed = ", ".join(f"{seed:+.2f}" for seed in each.mean(1))
    return [f"{each.mean():+.2f} dB ({low:+.2f} to {high:+.2f}; seeds {by_seed})", verdict(low, high, bar)]
