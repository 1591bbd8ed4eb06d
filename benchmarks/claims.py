"""The paper's claims, measured on small networks: ``CLAIMS.md``, from the checkpoints in ``states/claims``.

python benchmarks/claims.py              # print the page's sections
python benchmarks/claims.py --update     # and write them to CLAIMS.md, the pictures to docs/
"""

from __future__ import annotations

import argparse
import dataclasses
import multiprocessing
import os
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import torch
from claims_networks import ALL, BASE, SEEDS, VARIANTS, VariantNetwork
from claims_train import TRAINING, state_path
from cost import cost, giga_macs
from pages import update
from quality import improvement_db, interval_db, mixtures, speech_folder
from speed_tools import THREADS, noise, published_bundle, take_turns, whole

from tisdiss_models import Network, NetworkConfig
from tisdiss_rt.stream_engine import open_engine

PAGE = Path(__file__).parent / "CLAIMS.md"
DOCS = Path(__file__).parents[1] / "docs"
BEYOND = 12  # depth up to which the networks of claim 3 are run, see `DEEPEST`
DEEPEST = {"base": BEYOND, "deep": BEYOND, "random": BEYOND, "last": VARIANTS["late"].depth}
PUBLISHED_DB = {1: 21.51, 2: 23.48, 3: 24.39, 4: 24.82, 5: 25.03, 6: 25.13, 7: 25.19, 8: 25.20}
GRID_S = 4.0  # length of a mixture for operations and times
SECTIONS = (
    "What was trained",
    "1. Early split, and every depth judged",
    "2. One shared block",
    "3. Trained deeper, and run deeper than trained",
    "4. One assignment of the sources for all depths",
    "5. What training and running cost",
    "6. The published size",
)


@dataclasses.dataclass(frozen=True)
class Measured:
    """One variant: dB of (seeds, mixtures, depths), operations at (depths), and how its training went."""

    name: str
    db: np.ndarray
    gmacs: list[float]  # per second of audio
    parameters: int
    cpu_s: list[float]  # of each seed
    logs: list[list[dict[str, Any]]]

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


def test_one(job: tuple[str, int]) -> np.ndarray:
    """SI-SDR improvement (mixtures, depths) of one checkpoint."""
    torch.set_num_threads(1)
    name, seed = job
    network, _ = load(name, seed)
    deepest = DEEPEST.get(name, network.variant.depth)
    rows = []
    with torch.inference_mode():
        for mix, references in mixtures(speech_folder(), BASE.sample_rate):
            every = network.every_depth(torch.from_numpy(mix)[None], deepest)
            rows.append([improvement_db(est[0].numpy(), references, mix) for est in every])
    print(f"{name} {seed}: tested", file=sys.stderr, flush=True)
    return np.array(rows)


def measure() -> dict[str, Measured]:
    """Test every checkpoint; only variants that are trained with all seeds."""
    names = [name for name in VARIANTS if all(state_path(name, seed).exists() for seed in SEEDS)]
    jobs = [(name, seed) for name in names for seed in SEEDS]
    with multiprocessing.get_context("spawn").Pool(os.cpu_count(), maxtasksperchild=1) as pool:
        tables = iter(pool.map(test_one, jobs, chunksize=1))
    found = {}
    for name in names:
        db = np.stack([next(tables) for _ in SEEDS])
        loaded = [load(name, seed) for seed in SEEDS]
        network = loaded[0][0]
        gmacs = [giga_macs(partial(run, network, d), GRID_S) for d in range(db.shape[2])]
        parameters = sum(p.numel() for p in network.parameters())
        states = [state for _, state in loaded]
        found[name] = Measured(
            name, db, gmacs, parameters, [s["cpu_s"] for s in states], [s["log"] for s in states]
        )
    return found


def run(network: VariantNetwork, depth: int) -> torch.Tensor:
    """Separate `GRID_S` of noise at one depth, decoding once."""
    mix = torch.randn(1, int(GRID_S * BASE.sample_rate))
    spec, scale = network.stem.analyse(mix)
    x = network.encode(spec)
    for n in range(1, depth + 1):
        x = network.block(n)(x)
    return network.estimate(x, spec, scale, mix.shape[1])


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


def table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def comparison(found: dict[str, Measured], ours: str, theirs: str, claim: str) -> list[str]:
    """One row: is the first better than the second, each at the depth that it was trained for?"""
    a, b = found[ours], found[theirs]
    shown, verdict = difference(a.db[:, :, a.depth], b.db[:, :, b.depth])
    return [claim, f"`{ours}` - `{theirs}`", shown, verdict]


CLAIM_HEAD = ["claim", "difference", "dB", "verdict"]


def what_was_trained(found: dict[str, Measured]) -> str:
    rows = [
        [
            f"`{m.name}`",
            VARIANTS[m.name].title,
            f"{m.parameters / 1e3:.0f} k",
            f"{m.gmacs[m.depth]:.2f}",
            f"{np.mean(m.cpu_s) / 60:.0f}",
            str(m.depth),
            m.shown(m.depth),
            ", ".join(f"{v:.2f}" for v in m.db[:, :, m.depth].mean(1)),
        ]
        for m in found.values()
    ]
    seconds = TRAINING.steps * TRAINING.batch * TRAINING.crop_s
    head = ["name", "what", "parameters", "GMAC/s", "minutes", "depth", "dB at that depth", "each seed"]
    total_h = sum(sum(m.cpu_s) for m in found.values()) / 3600
    return (
        f"{TRAINING.steps} steps of {TRAINING.batch} mixtures of {TRAINING.crop_s:g} s: {seconds / 3600:.0f} "
        f"hours of mixtures for each run, {len(SEEDS)} seeds. GMAC/s: billions of multiply-accumulates per "
        "second of audio at the trained depth. Minutes: of one core to train, mean of the seeds; "
        f"{total_h:.0f} hours in all.\n\n" + table(head, rows)
    )


def early_split(found: dict[str, Measured]) -> str:
    rows = [
        comparison(found, "base", "last", "Judging every depth helps the last"),
        comparison(found, "base", "late", "Early split with every depth judged beats a late split"),
        comparison(found, "last", "late", "An early split alone beats a late split"),
        comparison(found, "base", "late-multi", "Early beats late split, every depth judged in both"),
    ]
    depths = range(VARIANTS["late"].depth + 1)
    names = [n for n in ("base", "last", "late", "late-multi") if n in found]
    return (
        "The late splits run twice the repetitions, because theirs work on one map instead of two: about as "
        "many operations (see above).\n\n"
        + table(CLAIM_HEAD, rows)
        + "\nWhat each gives at every depth, mean dB; only networks judged at every depth can stop early:\n\n"
        + table(
            ["", *map(str, depths)],
            [[f"`{n}`", *(f"{found[n].mean_db(d):.2f}" for d in depths)] for n in names],
        )
    )


def shared_block(found: dict[str, Measured]) -> str:
    rows = [
        comparison(found, "base", "unshared-small", "Shared beats unshared blocks of the same parameters"),
        comparison(found, "base", "unshared", "Shared is no worse than unshared blocks of the same depth"),
    ]
    base, own = found["base"], found["unshared"]
    low, high = interval_db((base.db[:, :, 3] - own.db[:, :, 3]).mean(0))
    rows[1][3] = "holds" if low > -0.1 else "contradicted" if high < -0.1 else "does not show"
    return table(CLAIM_HEAD, rows) + (
        f"\nThe unshared network has {own.parameters / base.parameters:.2f} times the parameters of the "
        "shared one and cannot run deeper than it was trained. The second line holds where the interval lies "
        "above -0.1 dB and is contradicted where it lies below.\n"
    )


def depths(found: dict[str, Measured]) -> str:
    names = ("base", "deep", "random")
    base, deep, random = (found[name] for name in names)
    rows = []
    for depth in (1, 2, 3):
        shown, verdict = difference(deep.db[:, :, depth], base.db[:, :, depth])
        rows.append([f"Trained with 6, better at depth {depth}", "`deep` - `base`", shown, verdict])
    for depth in (1, 3, 6):
        shown, verdict = difference(random.db[:, :, depth], deep.db[:, :, depth])
        rows.append([f"Random depth, better at depth {depth}", "`random` - `deep`", shown, verdict])
    for m in (base, deep):
        ahead = m.depth + 2
        shown, verdict = difference(m.db[:, :, ahead], m.db[:, :, m.depth])
        rows.append(
            [f"Quality goes on rising from depth {m.depth} to {ahead}", f"`{m.name}`", shown, verdict]
        )
    grid = range(BEYOND + 1)
    draw_depths([base, deep, random])
    return (
        "Published at full size: +0.5 dB at depth 3 from training with 6 instead of 3; +0.07 dB from depth 6 "
        "to 8.\n\n"
        + table(CLAIM_HEAD, rows)
        + "\n"
        + table(
            ["", *map(str, grid)], [[f"`{n}`", *(f"{found[n].mean_db(d):.2f}" for d in grid)] for n in names]
        )
        + "\nBest depth: "
        + "; ".join(f"`{n}` {max(grid, key=found[n].mean_db)}" for n in names)
        + ".\n\n![dB by depth](../docs/claims-depth.png)\n"
    )


def assignment(found: dict[str, Measured]) -> str:
    base, own = found["base"], found["own"]
    rows = []
    for depth in range(4):
        shown, verdict = difference(base.db[:, :, depth], own.db[:, :, depth])
        rows.append([f"One assignment for all, better at depth {depth}", "`base` - `own`", shown, verdict])
    return table(CLAIM_HEAD, rows)


def reached(log: list[dict[str, Any]], target_db: float, depth: int) -> tuple[float, float] | None:
    """Steps and processor seconds until validation at the depth reached so much, linear between looks."""
    before = {"step": 0, "cpu_s": 0.0, "si_sdri_db": [0.0] * (depth + 1)}
    for look in log:
        now, then = look["si_sdri_db"][depth], before["si_sdri_db"][depth]
        if now >= target_db:
            share = (target_db - then) / max(now - then, 1e-9)
            return tuple(before[k] + share * (look[k] - before[k]) for k in ("step", "cpu_s"))
        before = look
    return None


def training_cost(found: dict[str, Measured]) -> str:
    names = ("base", "last")
    final = [np.mean([log[-1]["si_sdri_db"][3] for log in found[n].logs]) for n in names]
    target_db = np.floor(20 * min(final)) / 20 - 0.25
    rows, costs = [], {}
    for name in names:
        m = found[name]
        each = [reached(log, target_db, 3) for log in m.logs]
        if None in each:
            rows.append([f"`{name}`", "not by every seed", "", ""])
            continue
        steps, cpu_s = np.mean(each, axis=0)
        costs[name] = cpu_s
        decoded = m.gmacs[3] if name == "last" else everything_gmacs(3)
        per_step = 3 * decoded * TRAINING.batch * TRAINING.crop_s  # forward, and twice that back
        rows.append([f"`{name}`", f"{steps:.0f}", f"{steps * per_step / 1e6:.2f}", f"{cpu_s / 60:.1f}"])
    draw_learning([found[name] for name in names])
    saved = (
        ""
        if len(costs) < 2
        else (
            f"\nJudging every depth changes the training cost to that quality by "
            f"**{100 * (costs['base'] / costs['last'] - 1):+.0f} %** (project's description: -32 %).\n"
        )
    )
    head = ["", "steps", "10^15 multiply-accumulates", "processor minutes"]
    return (
        f"**Training.** To reach {target_db:.2f} dB at depth 3 on held-out speakers of the training set, "
        "mean of the seeds:\n\n"
        + table(head, rows)
        + saved
        + "\n![learning curves](../docs/claims-learning.png)\n\n"
        + running_cost(found)
    )


def everything_gmacs(depth: int) -> float:
    """GMAC/s of decoding every depth, as training does."""
    network = VariantNetwork(VARIANTS["base"]).eval()
    mix = torch.randn(1, int(GRID_S * BASE.sample_rate))
    return giga_macs(lambda: list(network.every_depth(mix, depth)), GRID_S)


def running_cost(found: dict[str, Measured]) -> str:
    """The deeper-trained network at the depth at which it is as good as the other at 3."""
    base, deep = found["base"], found["deep"]
    wanted_db = base.mean_db(3)
    depth = next((d for d in range(BEYOND + 1) if deep.mean_db(d) >= wanted_db), None)
    if depth is None:
        return f"**Running.** Trained with 6, it never has the {wanted_db:.2f} dB of the other at depth 3.\n"
    network, _ = load("deep", 0)
    torch.set_num_threads(1)
    with torch.inference_mode():
        calls = {str(d): partial(run, network, d) for d in {3, depth}}
        for call in calls.values():
            call()
        taken = take_turns(calls, 21)
    change = np.median(taken[str(depth)]) / np.median(taken["3"]) - 1
    return (
        f"**Running.** The network trained with 6 has {deep.mean_db(depth):.2f} dB at depth {depth}; trained "
        f"with 3, {wanted_db:.2f} dB take depth 3. Operations "
        f"{100 * (deep.gmacs[depth] / base.gmacs[3] - 1):+.0f} %, time **{100 * change:+.0f} %** (PyTorch, "
        f"one core, {GRID_S:g} s; project's description: -47 %).\n"
    )


def published_size() -> str:
    stem, block, decoder = cost(Network(NetworkConfig(separator_residual=True)).eval())
    with tempfile.TemporaryDirectory() as folder:
        network, bundle = published_bundle(Path(folder))
        engine = open_engine(bundle, "cpu", THREADS)
        mix = noise(bundle)
        whole(engine, mix, 1)
        calls = {str(d): lambda d=d: whole(engine, mix, d) for d in PUBLISHED_DB}
        taken = take_turns(calls, 3)
    seconds = len(mix) / bundle.manifest.sample_rate
    rows = []
    for depth, db in PUBLISHED_DB.items():
        took_s = float(np.median(taken[str(depth)]))
        gmacs = stem + depth * block + decoder
        first = stem + block + decoder
        rate = 2 * gmacs * seconds / took_s
        rows.append(
            [str(depth), f"{db:.2f}", f"{gmacs:.0f}", f"{gmacs / first:.2f}", f"{1e3 * took_s:.0f} ms",
             f"{took_s / seconds:.2f}", f"{rate:.0f}"]
        )  # fmt: skip
    parts = sum(p.numel() for p in network.parameters()) / 1e6
    head = ["depth", "authors' dB", "GMAC/s", "times depth 1", "4 s take", "real-time factor", "GFLOP/s"]
    return (
        f"{parts:.1f} M parameters. Stem {stem:.0f}, each repetition {block:.0f}, decoder {decoder:.1f} GMAC "
        "per second of audio, counted on the network as it runs here (`cost.py --published`): without the "
        "padding that the published code multiplies (131 at depth 1 and 68 for each further repetition with "
        f"it). Times: ONNX Runtime, float32, {THREADS} threads, random weights.\n\n" + table(head, rows)
    )


def draw_depths(variants: list[Measured]) -> None:
    figure, axis = plt.subplots(figsize=(6, 3.4), layout="constrained")
    titles = {"base": "trained with 3", "deep": "trained with 6", "random": "trained with 1 to 6"}
    for m in variants:
        each = m.db.mean(1)  # (seeds, depths)
        axis.fill_between(range(BEYOND + 1), each.min(0), each.max(0), alpha=0.2)
        axis.plot(range(BEYOND + 1), each.mean(0), marker="o", label=titles[m.name])
    axis.set(xlabel="depth", ylabel="SI-SDR improvement in dB")
    axis.legend(title="mean and range of three seeds")
    figure.savefig(DOCS / "claims-depth.png", dpi=90)
    plt.close(figure)


def draw_learning(variants: list[Measured]) -> None:
    figure, axis = plt.subplots(figsize=(6, 3.4), layout="constrained")
    titles = {"base": "every depth judged", "last": "only the last depth judged"}
    for m in variants:
        minutes = np.mean([[look["cpu_s"] / 60 for look in log] for log in m.logs], 0)
        each = np.array([[look["si_sdri_db"][3] for look in log] for log in m.logs])
        axis.fill_between(minutes, each.min(0), each.max(0), alpha=0.2)
        axis.plot(minutes, each.mean(0), label=titles[m.name])
    axis.set(xlabel="minutes of one core", ylabel="dB at depth 3, held-out speakers")
    axis.legend(title="mean and range of three seeds")
    figure.savefig(DOCS / "claims-learning.png", dpi=90)
    plt.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--update", action="store_true", help="write CLAIMS.md and the pictures")
    options = parser.parse_args()
    begin_s = time.monotonic()
    found = measure()
    missing = sorted(set(VARIANTS) - set(found))
    if missing:
        sys.exit(f"not trained with every seed: {', '.join(missing)}; run benchmarks/claims_train.py")
    parts = (what_was_trained, early_split, shared_block, depths, assignment, training_cost)
    texts = [part(found) for part in parts]
    minutes = (time.monotonic() - begin_s) / 60
    texts.append(published_size() + f"\nThe whole page took {minutes:.0f} minutes.\n")
    for title, text in zip(SECTIONS, texts, strict=True):
        print(f"## {title}\n\n{text}")
        if options.update:
            update(PAGE, SECTIONS, title, text)


if __name__ == "__main__":
    main()
