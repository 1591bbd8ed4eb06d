"""The paper's claims, measured on small networks: ``CLAIMS.md``, from the checkpoints in ``states/claims``.

python -m benchmarks.claims.claims              # print the page's sections
python -m benchmarks.claims.claims --update     # and write them to CLAIMS.md, the pictures to docs/
"""

from __future__ import annotations

import argparse
import math
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import torch

from benchmarks.claims.measured import BEYOND, Measured, Noise, difference, load, measure
from benchmarks.claims.networks import BASE, COUNTED_S, TRAINING, VARIANTS, Objective, VariantNetwork
from benchmarks.cost import cost
from benchmarks.pages import update
from benchmarks.speed.tools import (
    FEW_ROUNDS,
    PUBLISHED_DB,
    THREADS,
    WINDOW_S,
    engine_chain,
    noise,
    pass_through,
    published_bundle,
    take_turns,
)
from tisdiss_rt.engine import open_engine

PAGE = Path(__file__).parent / "CLAIMS.md"
EQUAL_DB = 0.05  # less is inaudible, and would not show again with these networks
DOCS = Path(__file__).parents[2] / "docs"
SECTIONS = (
    "What was trained",
    "1. Early split, and every depth judged",
    "2. One shared block",
    "3. Trained deeper, and run deeper than trained",
    "4. One assignment of the sources for all depths",
    "5. What training and running cost",
    "6. The published size",
)


def table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def comparison(
    found: dict[str, Measured], ours: str, theirs: str, claim: str, depth: int | None = None, bar: float = 0.0
) -> list[str]:
    """Return one row: whether the first beats the second by more than the bar, at a depth or as trained."""
    a, b = (m.db[:, :, m.depth if depth is None else depth] for m in (found[ours], found[theirs]))
    return [claim, f"`{ours}` - `{theirs}`", *difference(a, b, training_noise(found), bar)]


def training_noise(found: dict[str, Measured]) -> Noise:
    return Noise.of_training(np.array([m.db[:, :, m.depth].mean(1) for m in found.values()]))


CLAIM_HEAD = ["claim", "compared", "difference", "verdict"]


def what_was_trained(found: dict[str, Measured]) -> str:
    rows = [
        [
            f"`{m.name}`",
            VARIANTS[m.name].title,
            f"{m.parameters / 1e3:.0f} k",
            f"{m.gmacs[m.depth]:.2f}",
            f"{m.step_tmacs * TRAINING.steps:.1f}",
            str(m.depth),
            m.shown(m.depth),
            ", ".join(f"{v:.2f}" for v in m.db[:, :, m.depth].mean(1)),
        ]
        for m in found.values()
    ]
    seeds = len(found["base"].db)
    hours = TRAINING.steps * TRAINING.batch * TRAINING.crop_s / 3600
    head = ["name", "what", "parameters", "GMAC/s", "training", "depth", "quality at that depth", "each seed"]
    return (
        f"{TRAINING.steps} steps of {TRAINING.batch} mixtures of {TRAINING.crop_s:g} s: {hours:.1f} hours of "
        f"mixtures for each run, {seeds} seeds. GMAC/s: billions of multiply-accumulates per second of "
        "audio at the trained depth. Training: 10^12 multiply-accumulates. Quality: with a 95 % bootstrap "
        "interval over the mixtures. Another seed changes a variant by "
        f"{math.sqrt(training_noise(found).variance):.2f} dB (standard deviation).\n\n" + table(head, rows)
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
        + "\nQuality at every depth, mean dB; only networks judged at every depth can stop early:\n\n"
        + table(
            ["", *map(str, depths)],
            [[f"`{n}`", *(f"{found[n].mean_db(d):.2f}" for d in depths)] for n in names],
        )
    )


def shared_block(found: dict[str, Measured]) -> str:
    rows = [
        comparison(found, "base", "unshared-small", "Shared beats unshared blocks of the same parameters"),
        comparison(
            found, "base", "unshared", "Shared is no worse than unshared blocks of the same depth", bar=-0.1
        ),
    ]
    base, own = found["base"], found["unshared"]
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
        rows.append(comparison(found, "deep", "base", f"Trained with 6, better at depth {depth}", depth))
    for depth in (1, 3, 6):
        rows.append(comparison(found, "random", "deep", f"Random depth, better at depth {depth}", depth))
    for m in (base, deep):
        ahead = m.depth + 2
        cells = difference(m.db[:, :, ahead], m.db[:, :, m.depth], None)
        rows.append([f"Quality goes on rising from depth {m.depth} to {ahead}", f"`{m.name}`", *cells])
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
        + ".\n\n![dB by depth](../../docs/claims-depth.png)\n"
    )


def assignment(found: dict[str, Measured]) -> str:
    claim = "One assignment for all, better at depth {}"
    return table(
        CLAIM_HEAD, [comparison(found, "base", "own", claim.format(depth), depth) for depth in range(4)]
    )


def reached(log: list[dict[str, Any]], target_db: float, depth: int) -> float:
    """Return the steps until validation at the depth reached the target, or infinity; interpolated."""
    step, then = 0, 0.0
    for look in log:
        now = look["si_sdri_db"][depth]
        if now >= target_db:
            return step + (target_db - then) / max(now - then, 1e-9) * (look["step"] - step)
        step, then = look["step"], now
    return math.inf


def training_cost(found: dict[str, Measured]) -> str:
    names = ("base", "last")
    final = [np.mean([log[-1]["si_sdri_db"][3] for log in found[n].logs]) for n in names]
    target_db = np.floor(20 * min(final)) / 20 - 0.25
    taken_s = step_seconds(names)
    rows, costs, by_seed = [], [], []
    for name, step_s in zip(names, taken_s, strict=True):
        m = found[name]
        by_seed.append(np.array([reached(log, target_db, 3) for log in m.logs]))
        steps = by_seed[-1].mean()
        costs.append(np.array([steps, steps * m.step_tmacs, steps * step_s / 60]))
        shown = (f"{value:.{digits}f}" for value, digits in zip(costs[-1], (0, 1, 1), strict=True))
        rows.append([f"`{name}`", *(["not by every seed"] * 3 if np.isinf(steps) else shown)])
    draw_learning([found[name] for name in names])
    seeds = len(found["base"].db)
    steps_of_base = sum(m.step_tmacs for m in found.values()) / found["base"].step_tmacs * TRAINING.steps
    hours = seeds * steps_of_base * taken_s[0] / 3600
    saved = ""
    if np.isfinite(costs).all():
        changes = 100 * (costs[0] / costs[1] - 1)
        saved = (
            f"\nJudging every depth changes the steps to that quality by {changes[0]:+.0f} % (seeds "
            f"{', '.join(f'{v:+.0f}' for v in 100 * (by_seed[0] / by_seed[1] - 1))}), the operations "
            f"by {changes[1]:+.0f} %, the time by **{changes[2]:+.0f} %** (project's description: -32 %).\n"
        )
    head = ["", "steps", "10^12 multiply-accumulates", "minutes of this machine's core"]
    return (
        f"**Training.** To reach {target_db:.2f} dB at depth 3 in validation, mean of the seeds:\n\n"
        + table(head, rows)
        + saved
        + f"\nTraining all {seeds * len(found)} networks again takes about {hours:.1f} hours of such a core "
        "(a step of `base`, times the operations of the others), and minutes of compiling for each.\n"
        + "\n![learning curves](../../docs/claims-learning.png)\n\n"
        + running_cost(found)
    )


def step_seconds(names: Sequence[str]) -> list[float]:
    """Measure the median seconds of a training step of each variant, in turns, on one thread."""
    torch.set_num_threads(1)
    samples = int(TRAINING.crop_s * BASE.sample_rate)
    mix, sources = torch.randn(TRAINING.batch, samples), torch.randn(TRAINING.batch, 2, samples)
    calls: dict[str, Callable[[], object]] = {}
    for name in names:
        objective = Objective(VariantNetwork(VARIANTS[name]))
        calls[name] = partial(training_step, objective, mix, sources, VARIANTS[name].depth)
        calls[name]()
    taken = take_turns(calls, 21)
    return [float(np.median(taken[name])) for name in names]


def training_step(objective: Objective, mix: torch.Tensor, sources: torch.Tensor, depth: int) -> None:
    objective(mix, sources, depth).backward()


def running_cost(found: dict[str, Measured]) -> str:
    """Report what the deeper-trained network saves at nearly the quality that the other has at depth 3."""
    base, deep = found["base"], found["deep"]
    wanted_db = base.mean_db(3) - EQUAL_DB
    needed = [next((d for d in range(BEYOND + 1) if m.mean_db(d) >= wanted_db), None) for m in (base, deep)]
    head = f"**Running.** For {wanted_db:.2f} dB, which is `base` at depth 3 less {EQUAL_DB} dB, "
    if needed[1] is None:
        return f"{head}no depth of `deep` is enough.\n"
    text = f"{head}`base` needs depth {needed[0]} and `deep` depth {needed[1]}: "
    if needed[0] == needed[1]:
        return f"{text}nothing is saved (project's description: -47 % latency).\n"
    shallow, deep_enough = (depth for depth in needed if depth is not None)
    network, _ = load("deep", 0)
    torch.set_num_threads(1)
    mix = torch.randn(1, int(COUNTED_S * BASE.sample_rate))
    with torch.inference_mode():
        calls = {str(d): partial(network.separate, mix, d) for d in (shallow, deep_enough)}
        for call in calls.values():
            call()
        before_s, after_s = (np.median(taken) for taken in take_turns(calls, 21).values())
    return (
        f"{text}operations {100 * (deep.gmacs[deep_enough] / base.gmacs[shallow] - 1):+.0f} %, time "
        f"**{100 * (after_s / before_s - 1):+.0f} %** (PyTorch, one core, {COUNTED_S:g} s; project's "
        "description: -47 %).\n"
    )


def published_size() -> str:
    with tempfile.TemporaryDirectory() as folder:
        network, bundle = published_bundle(Path(folder))
        stem, block, decoder = cost(network)
        chain = engine_chain(open_engine(bundle, "cpu", THREADS), noise(bundle))
        pass_through(chain, [1])  # to be warm
        passes = [pass_through(chain, list(PUBLISHED_DB)) for _ in range(FEW_ROUNDS)]
    rows = []
    for depth, db in PUBLISHED_DB.items():
        took_s = float(np.median([found[depth][0] for found in passes]))
        gmacs = stem + depth * block + decoder
        first = stem + block + decoder
        rate = 2 * gmacs * WINDOW_S / took_s
        rows.append(
            [str(depth), f"{db:.2f}", f"{gmacs:.0f}", f"{gmacs / first:.2f}", f"{1e3 * took_s:.0f} ms",
             f"{took_s / WINDOW_S:.2f}", f"{rate:.0f}"]
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
    axis.legend(title=f"mean and range of {len(each)} seeds")
    figure.savefig(DOCS / "claims-depth.png", dpi=90)
    plt.close(figure)


def draw_learning(variants: list[Measured]) -> None:
    figure, axis = plt.subplots(figsize=(6, 3.4), layout="constrained")
    titles = {"base": "every depth judged", "last": "only the last depth judged"}
    for m in variants:
        operations = np.array([look["step"] for look in m.logs[0]]) * m.step_tmacs
        each = np.array([[look["si_sdri_db"][3] for look in log] for log in m.logs])
        axis.fill_between(operations, each.min(0), each.max(0), alpha=0.2)
        axis.plot(operations, each.mean(0), label=titles[m.name])
    axis.set(xlabel="10^12 multiply-accumulates", ylabel="dB at depth 3, validation")
    axis.legend(title=f"mean and range of {len(each)} seeds")
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
    parts = (what_was_trained, early_split, shared_block, depths, assignment, training_cost)
    texts = [part(found) for part in parts]
    text = published_size()
    minutes = (time.monotonic() - begin_s) / 60
    texts.append(f"{text}\nThe whole page took {minutes:.0f} minutes.\n")
    for title, text in zip(SECTIONS, texts, strict=True):
        print(f"## {title}\n\n{text}")
        if options.update:
            update(PAGE, SECTIONS, title, text)


if __name__ == "__main__":
    main()
