"""Averages of the weights of two networks, one of which goes on from the other, by validation scenes.

Where training on new scenes has cost something on the old ones, weights between both are often better than
either (https://arxiv.org/abs/2109.01903). What is printed is SI-SDR improvement in dB, by depth, and by scene
at the trained depth. The scenes are those that `train` validates by: eight mixtures each, of other people and
noises than it trains on.

    python -m benchmarks.quality.averages BEFORE.pt AFTER.pt --shares 0 0.5 1
    python -m benchmarks.quality.averages BEFORE.pt AFTER.pt --shares 0.7 --write network.pt
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.quality.quality import speech_folder
from tisdiss_models import load_checkpoint, save_checkpoint
from tisdiss_models.data import load_recordings
from tisdiss_models.validation import CROP_S, evaluate, validation_sets


def averaged(before: dict[str, Tensor], after: dict[str, Tensor], share: float) -> dict[str, Tensor]:
    """Return weights with a share from 0 to 1 of those after, the rest of those before."""
    return {name: torch.lerp(before[name], after[name], share) for name in before}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("before", type=Path)
    parser.add_argument("after", type=Path)
    parser.add_argument("--shares", type=float, nargs="+", default=[0.0, 0.5, 1.0], help="of AFTER")
    parser.add_argument("--write", type=Path, help="checkpoint to write; for one share")
    options = parser.parse_args()
    if options.write is not None and (len(options.shares) != 1 or options.write.exists()):
        parser.error("--write is for one share, and a file that does not exist")
    network, facts = load_checkpoint(options.after)
    after = {name: weight.clone() for name, weight in network.state_dict().items()}
    before = load_checkpoint(options.before)[0].state_dict()
    sets = validation_sets(load_recordings(speech_folder(), network.config.sample_rate, CROP_S, 8))
    for share in options.shares:
        network.load_state_dict(averaged(before, after, share))
        deepest = network.config.trained_depth
        gains = {scene: evaluate(network, *mixtures, deepest) for scene, mixtures in sets.items()}
        means = [sum(by_depth) / len(gains) for by_depth in zip(*gains.values(), strict=True)]
        print(f"share {share:g}: mean by depth {', '.join(f'{mean:.2f}' for mean in means)}")
        print(
            "  " + ", ".join(f"{scene} {by_depth[-1]:.2f}" for scene, by_depth in gains.items()), flush=True
        )
    if options.write is not None:
        options.write.parent.mkdir(parents=True, exist_ok=True)
        save_checkpoint(options.write, network, facts)


if __name__ == "__main__":
    main()
