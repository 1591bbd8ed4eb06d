"""What recipe and network could be instead: ``RECIPES.md``, from the checkpoints in ``states/claims``.

python benchmarks/recipes.py              # print the page's tables
python benchmarks/recipes.py --update     # and write them to RECIPES.md
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

import numpy as np
import torch
from claims import table
from claims_measured import load, test_one
from claims_networks import ALL, BASE, COUNTED_S, RECIPES, SEEDS
from claims_train import load_data, state_path
from cost import giga_macs
from pages import update
from quality import interval_db, speech_folder
from torch import multiprocessing

PAGE = Path(__file__).parent / "RECIPES.md"
SECTIONS = ("Recipes", "Networks")


def measure() -> dict[tuple[str, int], np.ndarray]:
    """SI-SDR improvement (mixtures,) at the trained depth, of the base with every seed and of all others."""
    wanted = [("base", seed) for seed in SEEDS] + [(name, SEEDS[0]) for name in RECIPES]
    missing = [f"{name} {seed}" for name, seed in wanted if not state_path(name, seed).exists()]
    if missing:
        sys.exit(f"not trained: {', '.join(missing)}; run benchmarks/claims_train.py, also with --recipes")
    test = load_data(speech_folder()).test
    with multiprocessing.get_context("spawn").Pool(os.cpu_count(), maxtasksperchild=1) as pool:
        tables = pool.map(test_one, [(*each, *test) for each in wanted], chunksize=1)
    return {each: db[:, ALL[each[0]].depth] for each, db in zip(wanted, tables, strict=True)}


def row(name: str, db: np.ndarray, base_db: np.ndarray, spread_db: float) -> list[str]:
    """One line: cost, quality, difference to the base with the same seed, verdict."""
    low, high = interval_db(db - base_db)
    change = float((db - base_db).mean())
    if low > 0 and change > spread_db:
        verdict = "helps"
    elif high < 0 and -change > spread_db:
        verdict = "hurts"
    else:
        verdict = "no difference shown"
    shown = f"{change:+.2f} ({low:+.2f} to {high:+.2f})"
    return [*costs(name), f"{db.mean():.2f}", *(("", "") if name == "base" else (shown, verdict))]


def costs(name: str) -> list[str]:
    """Name, what it is, operations, parameters, steps."""
    network, state = load(name, SEEDS[0])
    mix = torch.randn(1, int(COUNTED_S * BASE.sample_rate))
    gmacs = giga_macs(lambda: network.separate(mix, network.variant.depth), COUNTED_S)
    parameters = sum(p.numel() for p in network.parameters()) / 1e3
    return [f"`{name}`", ALL[name].title, f"{gmacs:.2f}", f"{parameters:.0f} k", str(state["steps"])]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--update", action="store_true", help="write RECIPES.md")
    options = parser.parse_args()
    found = measure()
    base = [found["base", seed] for seed in SEEDS]
    means = [db.mean() for db in base]
    spread_db = float(max(means) - min(means))
    head = ["name", "what", "GMAC/s", "parameters", "steps", "dB", "difference to `base`", "verdict"]
    note = (
        f"`base` with {len(SEEDS)} seeds: {', '.join(f'{mean:.2f}' for mean in means)} dB; the widest "
        f"difference, {spread_db:.2f} dB, is what a change has to exceed.\n\n"
    )
    for title in SECTIONS:
        names = [n for n, v in RECIPES.items() if (bool(v.training or v.first)) == (title == "Recipes")]
        rows = [row(name, found[name, SEEDS[0]], base[0], spread_db) for name in ["base", *names]]
        text = note + table(head, rows)
        print(f"## {title}\n\n{text}")
        if options.update:
            update(PAGE, SECTIONS, title, text)


if __name__ == "__main__":
    main()
