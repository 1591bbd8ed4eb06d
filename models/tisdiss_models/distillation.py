"""Teach a network the feature maps of another one, part by part.

A network that begins at random gives both voices the same for hours: as long as it does not matter which is
which, gradients say little. A teacher's maps say it for every frame, band and channel:

    mix --teacher's stem--> z0 --teacher's block--> z1 --teacher's block--> z2 ...
    mix --stem--> as z0     z0 --block--> as z1     z1 --block--> as z2

The loss is the energy of what differs: of the stem relative to the map, of the block to what a repetition
changes. A. Romero et al., "FitNets: hints for thin deep nets", ICLR 2015.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor

from .config import ConfigError, NetworkConfig
from .depth_loss import Scorer

# Options that give maps their shape and meaning.
SHARED = ("streaming", "sample_rate", "sources", "n_fft", "hop", "bands", "dim")


def check_teacher(own: NetworkConfig, taught: NetworkConfig) -> None:
    """Raise ConfigError if two networks have feature maps of different shapes or meanings."""
    for name in SHARED:
        expected, found = getattr(own, name), getattr(taught, name)
        if found != expected:
            raise ConfigError(f"the teacher's maps do not fit: {name} is {found}, not {expected}")


def map_loss_db(network: Scorer, teacher: Scorer, mix: Tensor, depth: int) -> Tensor:
    """Judge the feature maps of mixtures (B, samples) against a teacher's.

    Returns:
        The mean over mixtures and depths 0 to `depth` in dB; 0 dB is a map of zeros, or a repetition without
        effect.
    """
    with torch.no_grad(), teacher.autocast:
        z, repeat = teacher.begin(mix)
        taught = [z]
        for _ in range(depth):
            taught.append(repeat(taught[-1]))
    with network.autocast:
        z, repeat = network.begin(mix)
        found = [z, *map(repeat, taught[:-1])]
    changes = [taught[0], *(after - before for before, after in pairwise(taught))]
    errors = [
        _energies(own - right, len(mix)) / _energies(change, len(mix))
        for own, right, change in zip(found, taught, changes, strict=True)
    ]
    return 10 * torch.log10(torch.stack(errors)).mean()


def _energies(maps: Tensor, mixtures: int) -> Tensor:
    """Return the mean square of the maps (B S, T, F, D) of each of B mixtures: (B,)."""
    return maps.float().square().reshape(mixtures, -1).mean(1)
