"""What a run is judged by while it trains: scenes of people and noises that it is not trained on."""

from __future__ import annotations

import torch
from torch import Tensor

from .acoustics import SCENES, draw_batch
from .data import Recordings
from .losses import best_assignment, si_sdr_db
from .network import Network
from .streaming import StreamingNetwork

MIXTURES = 8  # of each scene
CROP_S = 4.0
NOT_JUDGED = ("fan-15", "hum-15", "babble-15", "field-15", "unequal", "one-talker")  # others tell as much


def validation_sets(recordings: Recordings) -> dict[str, tuple[Tensor, Tensor]]:
    """Make the mixtures (N, samples) and voices (N, 2, samples) of each scene, always the same."""
    sets = {}
    for number, (name, scene) in enumerate(SCENES.items()):
        if name in NOT_JUDGED or (scene.field_share and recordings.validation_noises is None):
            continue
        generator = torch.Generator().manual_seed(4321 + number)
        mix, voices = draw_batch(
            recordings.validation_talkers, scene, MIXTURES, CROP_S, generator, recordings.validation_noises
        )
        both_talk = voices.square().sum(-1).min(1).values > 1e-3  # in turns somebody may be silent throughout
        sets[name] = (mix[both_talk], voices[both_talk])
    return sets


@torch.no_grad()
def evaluate(network: Network | StreamingNetwork, mix: Tensor, sources: Tensor, depth: int) -> list[float]:
    """Measure the mean SI-SDR improvement in dB at depths 0 to `depth`, on the network's device."""
    device = next(network.parameters()).device
    sums = torch.zeros(depth + 1)
    for at in range(0, len(mix), 8):
        x, s = mix[at : at + 8].to(device), sources[at : at + 8].to(device)
        before = si_sdr_db(x[:, None].expand_as(s), s).mean(1)
        for n, est in enumerate(network.every_depth(x, depth)):
            gain = best_assignment(si_sdr_db(est[:, :, None], s[:, None])) - before
            sums[n] += gain.sum().cpu()
    return [round(float(v) / max(len(mix), 1), 3) for v in sums]
