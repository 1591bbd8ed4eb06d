"""Training of the voiceprint: to recognise the people of ``train/``, in rooms, noise and on the telephone.

Excerpts are drawn once, as features; that takes most of the time. The network then learns from them to name
the talker of 1 to 3 s. A talker who is played faster or slower counts as another person, since pitch
and vocal tract are another's then. The classes are compared by angle with a margin (arXiv 1801.05599), and
forgotten afterwards: what is kept is how voices lie to each other.
"""

from __future__ import annotations

import dataclasses
import sys
import time
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..acoustics.channels import draw_channel
from ..acoustics.drawing import Draw
from ..acoustics.filters import filtered, smooth_response
from ..acoustics.noises import draw_noise
from ..acoustics.rooms import convolved, draw_responses
from ..acoustics.voices import at_speeds
from ..checkpoint import CheckpointError, read_tensors, save_tensors
from ..config import SceneConfig
from ..data import Corpus, load_corpus
from .network import VoiceConfig, Voiceprint, pooled

SPEEDS = (0.88, 1.0, 1.13)
EXCERPT_S = 3.0
LEAST_S = 0.7
SCALE, MARGIN = 24.0, 0.15
# What a separator leaves of noise lies far below the voice.
SCENE = SceneConfig(
    room_share=0.4, distance_m=(0.3, 2.0), field_share=0.2, coloured_share=0.2, fan_share=0.15, hum_share=0.1,
    babble_share=0.15, noise_db=(8.0, 35.0), lowpass_share=0.1, narrowband_share=0.1, telephone_share=0.15,
    microphone_db=5.0,
)  # fmt: skip
LEAK_SHARE, LEAK_DB = 0.6, (8.0, 30.0)  # of another talker in a separated voice, and how far below


@dataclasses.dataclass(frozen=True)
class Excerpts:
    """Drawn once: features (N, inputs, frames) float16, weights (N, frames), talkers (N,)."""

    features: Tensor
    weights: Tensor
    talkers: Tensor


def draw_voices(
    draw: Draw, talkers: Corpus, recorded: Corpus | None, batch: int, samples: int
) -> tuple[Tensor, Tensor]:
    """Draw voices as a separator gives them: (batch, samples), and who talks, of talkers times speeds."""
    rate = talkers.sample_rate
    who = torch.randint(len(talkers.lengths), (2, batch), generator=draw.generator)
    speed = torch.randint(len(SPEEDS), (batch,), generator=draw.generator)
    taken = [2 * round(samples * SPEEDS[i] / 2) for i in speed.tolist()] + [samples] * batch
    colour = smooth_response(draw, 2 * batch, samples // 2 + 1, 2.0)
    both = at_speeds(draw, talkers, who.flatten(), taken, samples, colour).unflatten(0, (2, batch))
    both = both / both.square().mean(-1, keepdim=True).sqrt().clamp(min=1e-4) * 0.05
    in_room = draw.rows(batch, SCENE.room_share)
    if len(in_room):
        responses = draw_responses(draw, SCENE, len(in_room), rate).transpose(0, 1)
        both = both.index_copy(1, in_room, convolved(both[:, in_room], responses))
    leak = 10 ** (-draw.uniform(batch, 1, span=LEAK_DB) / 20)
    leak = leak * (draw.uniform(batch, 1) < LEAK_SHARE)
    voice = both[0] + leak * both[1]
    scene = SCENE if recorded is not None else dataclasses.replace(SCENE, field_share=0.0)
    voice = voice + draw_noise(draw, scene, voice, talkers, recorded)
    voice = filtered(voice, draw_channel(draw, SCENE, batch, samples, rate))
    return voice, who[0] * len(SPEEDS) + speed


@torch.no_grad()
def draw_excerpts(
    network: Voiceprint, talkers: Corpus, recorded: Corpus | None, count: int, generator: torch.Generator
) -> Excerpts:
    """Draw `count` excerpts of `EXCERPT_S`, in batches."""
    samples = round(EXCERPT_S * talkers.sample_rate)
    features, weights, named = [], [], []
    for begin in range(0, count, 32):
        draw = Draw(generator, talkers.samples.device)
        voices, who = draw_voices(draw, talkers, recorded, min(32, count - begin), samples)
        for voice in voices:  # each for itself: those that are given together share a sound
            one, weight = network.features(voice[None])
            features.append(one.half())
            weights.append(weight)
        named.append(who)
    return Excerpts(torch.cat(features), torch.cat(weights), torch.cat(named))


def train_voiceprint(
    speech: Path, output: Path, excerpts: int = 10000, steps: int = 2500, batch: int = 96, seed: int = 1
) -> Voiceprint:
    """Train a voiceprint and write it to a file.

    Args:
        speech: folder with ``train/``, and ``noise/train/`` where there is one.
        output: the file, for `load_voiceprint`.
        excerpts: how many are drawn; each is used several times, a different part of it each time.
        steps: of the optimiser.
        batch: excerpts a step.
        seed: of all randomness.

    Raises ValueError if the speech cannot be read, and OSError if the file cannot be written.
    """
    output.parent.mkdir(parents=True, exist_ok=True)
    network = Voiceprint()
    generator = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    rate = network.config.sample_rate
    talkers = load_corpus(speech / "train", rate, 1.2 * EXCERPT_S)
    noises = speech / "noise" / "train"
    recorded = load_corpus(noises, rate, EXCERPT_S, by_file=True) if noises.is_dir() else None
    drawn = draw_excerpts(network, talkers, recorded, excerpts, generator)
    print(f"{excerpts} excerpts of {len(talkers.lengths)} people", file=sys.stderr, flush=True)
    network = fit(network, drawn, len(SPEEDS) * len(talkers.lengths), steps, batch, generator)
    content = {"voiceprint": network.state_dict(), "config": dataclasses.asdict(network.config)}
    save_tensors(output, content)
    return network


def fit(
    network: Voiceprint, drawn: Excerpts, classes: int, steps: int, batch: int, generator: torch.Generator
) -> Voiceprint:
    """Fit the network to excerpts; returns it, ready to run."""
    centres = nn.Parameter(0.1 * torch.randn(classes, network.config.size))
    optimiser = torch.optim.AdamW([*network.parameters(), centres], 3e-3, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 4e-3, steps)
    frame_s = network.config.hop / network.config.sample_rate
    total = drawn.weights.shape[1]
    begin_s, correct = time.monotonic(), 0.0
    network.train()
    for step in range(1, steps + 1):
        rows = torch.randint(len(drawn.talkers), (batch,), generator=generator)
        length = int(torch.randint(round(LEAST_S / frame_s), total + 1, (), generator=generator))
        first = int(torch.randint(total - length + 1, (), generator=generator))
        part = slice(first, first + length)
        features, weights = drawn.features[rows, :, part].float(), drawn.weights[rows, part]
        prints = pooled(network.layers(features).transpose(1, 2), weights)
        angles = prints @ F.normalize(centres, dim=1).T  # (batch, classes)
        named = drawn.talkers[rows]
        margin = MARGIN * F.one_hot(named, classes) * min(1.0, step / (0.3 * steps))
        loss = F.cross_entropy(SCALE * (angles - margin), named)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        correct += float((angles.argmax(1) == named).float().mean())
        if step % 200 == 0:
            took_s = time.monotonic() - begin_s
            print(
                f"step {step}: loss {float(loss):.3f}, {correct / 2:.0f} % named, {took_s:.0f} s",
                file=sys.stderr,
                flush=True,
            )
            correct = 0.0
    return network.eval()


def load_voiceprint(path: Path) -> Voiceprint:
    """Load what `train_voiceprint` wrote; raises CheckpointError for anything else."""
    content: dict[str, Any] = read_tensors(path)
    try:
        network = Voiceprint(VoiceConfig(**content["config"]))
        network.load_state_dict(content["voiceprint"])
    except (KeyError, TypeError, RuntimeError, AssertionError) as error:
        raise CheckpointError(f"{path}: not a voiceprint: {error}") from error
    return network.eval()
