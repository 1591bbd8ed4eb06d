"""What recipe and network could be instead: ``RECIPES.md``, from the checkpoints in ``states/claims``.

python -m benchmarks.claims.recipes              # print the page's tables
python -m benchmarks.claims.recipes --update     # and write them to RECIPES.md
"""

from __future__ import annotations

import argparse
import math
import sys
from pathlib import Path

import numpy as np
import torch
from scipy import stats

from benchmarks.claims.claims import table
from benchmarks.claims.measured import Noise, interval, load, test, verdict
from benchmarks.claims.networks import ALL, BASE, COUNTED_S, RECIPES, SEEDS, VARIANTS, Variant
from benchmarks.claims.train import state_path
from benchmarks.cost import giga_macs
from benchmarks.pages import update

PAGE = Path(__file__).parent / "RECIPES.md"
SECTIONS = ("Recipes", "Networks")


def row(name: str, db: np.ndarray, base_db: np.ndarray, noise: Noise) -> list[str]:
    """Return one line: cost, quality (mixtures,), difference from the base with the same seed, verdict."""
    cells = [*costs(name), f"{db.mean():.2f}"]
    if name == "base":
        return [*cells, "", ""]
    each = (db - base_db)[None]
    low, high = interval(each, noise)
    said = {"holds": "helps", "contradicted": "hurts"}.get(verdict(low, high), "no difference shown")
    return [*cells, f"{each.mean():+.2f} dB ({low:+.2f} to {high:+.2f})", said]


def is_recipe(variant: Variant) -> bool:
    """Return whether only its training differs from that of the base; otherwise the network does."""
    return bool(variant.training or variant.first)


def costs(name: str) -> list[str]:
    """Return the cells of name, title, operations, parameters and steps."""
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
    claims = [(name, seed) for name in VARIANTS for seed in SEEDS]
    missing = [f"{name} {seed}" for name, seed in claims if not state_path(name, seed).exists()]
    if missing:
        sys.exit(f"not trained: {', '.join(missing)}; run python -m benchmarks.claims.train")
    trained = {name: v for name, v in RECIPES.items() if state_path(name, SEEDS[0]).exists()}
    wanted = [*claims, *((name, SEEDS[0]) for name in trained)]
    tested = test(wanted, all_depths=False)
    found = dict(zip(wanted, (db[:, 0] for db in tested), strict=True))  # (mixtures,) each
    means = np.array([[found[name, seed].mean() for seed in SEEDS] for name in VARIANTS])
    noise = Noise.of_training(means)
    head = ["name", "what", "GMAC/s", "parameters", "steps", "dB", "difference to `base`", "verdict"]
    note = (
        f"Another seed changes a variant by {math.sqrt(noise.variance):.2f} dB (standard deviation, from the "
        f"{len(claims)} networks of CLAIMS.md): that alone makes an interval of "
        f"{stats.t.ppf(0.975, noise.freedom) * math.sqrt(2 * noise.variance):.2f} dB to both sides.\n\n"
    )
    for title in SECTIONS:
        names = [n for n, v in trained.items() if is_recipe(v) == (title == "Recipes")]
        rows = [row(name, found[name, SEEDS[0]], found["base", SEEDS[0]], noise) for name in ["base", *names]]
        text = note + table(head, rows)
        left = [
            f"`{n}`" for n, v in RECIPES.items() if n not in trained and is_recipe(v) == (title == "Recipes")
        ]
        if left:
            text += f"\nNot trained yet: {', '.join(left)}.\n"
        print(f"## {title}\n\n{text}")
        if options.update:
            update(PAGE, SECTIONS, title, text)


if __name__ == "__main__":
    main()
