"""What was tried for the shipped recipe and network: ``RECIPES.md``, from checkpoints in ``states/claims``.

python benchmarks/recipes.py              # print the page's tables
python benchmarks/recipes.py --update     # and write them to RECIPES.md
"""

from __future__ import annotations

import argparse
import sys
from functools import partial
from pathlib import Path

import numpy as np
import torch
from claims import GRID_S, load, run, table
from claims_networks import ALL, RECIPES, SEEDS
from claims_train import state_path, voices
from cost import giga_macs
from pages import update
from quality import interval_db, speech_folder
from torch import Tensor

from tisdiss_models.losses import best_assignment, si_sdr_db

PAGE = Path(__file__).parent / "RECIPES.md"
SECTIONS = ("Recipes", "Networks")
BATCH = 8


@torch.inference_mode()
def improvements_db(name: str, seed: int, mix: Tensor, sources: Tensor) -> np.ndarray:
    """SI-SDR improvement of each held-out mixture at the depth that the network was trained for."""
    network, _ = load(name, seed)
    found = []
    for x, s in zip(mix.split(BATCH), sources.split(BATCH), strict=True):
        est = list(network.every_depth(x, network.variant.depth))[-1]
        before = si_sdr_db(x[:, None].expand_as(s), s).mean(1)
        found.append(best_assignment(si_sdr_db(est[:, :, None], s[:, None])) - before)
    return torch.cat(found).numpy()


def row(name: str, base_db: np.ndarray, spread_db: float, mix: Tensor, sources: Tensor) -> list[str]:
    """One line: cost, quality, difference to the base with the same seed, verdict."""
    db = improvements_db(name, SEEDS[0], mix, sources)
    network, state = load(name, SEEDS[0])
    gmacs = giga_macs(partial(run, network, network.variant.depth), GRID_S)
    low, high = interval_db(db - base_db)
    change = float((db - base_db).mean())
    if low > 0 and change > spread_db:
        verdict = "helps"
    elif high < 0 and -change > spread_db:
        verdict = "hurts"
    else:
        verdict = "no difference shown"
    return [
        f"`{name}`", ALL[name].title, f"{gmacs:.2f}", str(state["steps"]), f"{state['cpu_s'] / 60:.1f}",
        f"{db.mean():.2f}", f"{change:+.2f} ({low:+.2f} to {high:+.2f})", verdict,
    ]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--update", action="store_true", help="write RECIPES.md")
    options = parser.parse_args()
    wanted = [(name, SEEDS[0]) for name in RECIPES] + [("base", seed) for seed in SEEDS]
    missing = [f"{name} {seed}" for name, seed in wanted if not state_path(name, seed).exists()]
    if missing:
        sys.exit(f"not trained: {', '.join(missing)}; run benchmarks/claims_train.py, also with --recipes")
    (mix, sources), _ = voices(speech_folder())
    base = [improvements_db("base", seed, mix, sources) for seed in SEEDS]
    means = [db.mean() for db in base]
    spread_db = float(max(means) - min(means))
    head = ["name", "what", "GMAC/s", "steps", "minutes", "dB", "difference to `base`", "verdict"]
    first = row("base", base[0], spread_db, mix, sources)
    for title in SECTIONS:
        names = [
            n for n, v in RECIPES.items() if (bool(v.network) or not v.over_sources) == (title == "Networks")
        ]
        rows = [[*first[:6], "", ""], *(row(name, base[0], spread_db, mix, sources) for name in names)]
        text = (
            f"`base` with seeds {', '.join(map(str, SEEDS))}: "
            f"{', '.join(f'{mean:.2f}' for mean in means)} dB; the widest difference, {spread_db:.2f} dB, is "
            "what a change has to exceed.\n\n" + table(head, rows)
        )
        print(f"## {title}\n\n{text}")
        if options.update:
            update(PAGE, SECTIONS, title, text)


if __name__ == "__main__":
    main()
