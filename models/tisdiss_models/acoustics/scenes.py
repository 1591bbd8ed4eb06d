"""From speech to mixtures: every part in its place, and the scenes that tables and tests name.

crop, speed, equaliser, level -> who talks when -> room ---+--> voices --------------------+
                                                           +--> sum, noise, distortions -> channel -> muted
"""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from torch import Tensor

from ..config import SceneConfig
from ..data import Corpus
from .channels import distorted, draw_channel
from .drawing import Draw
from .filters import filtered
from .noises import draw_noise
from .rooms import convolved, draw_responses
from .turns import draw_activity
from .voices import draw_voices

CLEAN = SceneConfig(level_db=(0.0, 5.0), speed_range=0.0, equaliser_db=0.0, alone_share=0.0, late_share=0.0)


def _noisy(kind: str, noise_db: float) -> SceneConfig:
    share: dict[str, Any] = {f"{kind}_share": 1.0}
    return dataclasses.replace(CLEAN, noise_db=(noise_db, noise_db), swell_share=0.0, **share)


SCENES: dict[str, SceneConfig] = {
    "clean": CLEAN,
    "narrowband": dataclasses.replace(CLEAN, narrowband_share=1.0),
    "telephone": dataclasses.replace(CLEAN, telephone_share=1.0, codec_share=0.5),
    **{f"{kind}-15": _noisy(kind, 15.0) for kind in ("fan", "hum", "babble", "field")},
    **{f"{kind}-5": _noisy(kind, 5.0) for kind in ("fan", "hum", "babble", "field")},
    **{
        f"room-{decay_s}s": dataclasses.replace(
            CLEAN, room_share=1.0, decay_s=(decay_s, decay_s), distance_m=(0.5, 2.0)
        )
        for decay_s in (0.2, 0.4, 0.7)
    },
    "unequal": dataclasses.replace(CLEAN, level_db=(15.0, 15.0)),
    "one-talker": dataclasses.replace(CLEAN, alone_share=1.0),
    "turns": dataclasses.replace(CLEAN, turns_share=1.0, turn_s=(1.0, 4.0), gap_s=(-2.5, 0.8)),
}

THREE = "three-talkers"  # a scene of its own, see `draw_three`
LEAST_FOR_THREE = 4  # people


def draw_batch(
    talkers: Corpus,
    config: SceneConfig,
    batch: int,
    crop_s: float,
    generator: torch.Generator,
    recorded: Corpus | None = None,
    rooms: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Make mixtures of two talkers, on the device where `talkers` is.

    Args:
        talkers: speech.
        config: what they are like.
        batch: mixtures.
        crop_s: length in seconds.
        generator: on the CPU, the source of all randomness.
        recorded: noises.
        rooms: impulse responses (rooms, 2, taps) to choose from; by default they are drawn, too.

    Returns:
        Mixtures (B, samples) and their voices (B, 2, samples), float32.

    Raises:
        ValueError: if recorded noises are asked for and there are none.
    """
    draw = Draw(generator, talkers.samples.device)
    samples = round(crop_s * talkers.sample_rate)
    voices = draw_voices(draw, talkers, config, batch, samples)
    voices = voices * draw_activity(draw, config, batch, crop_s, samples)
    in_room = draw.rows(batch, config.room_share)
    if len(in_room):
        if rooms is None:
            responses = draw_responses(draw, config, len(in_room), talkers.sample_rate)
        else:
            responses = rooms[draw.whole(len(rooms), len(in_room))]
        voices = voices.index_copy(0, in_room, convolved(voices[in_room], responses))
    dry = voices.sum(1)
    mix = dry + draw_noise(draw, config, dry, talkers, recorded)
    mix = distorted(draw, config, mix)
    if config.microphone_db or config.lowpass_share + config.narrowband_share + config.telephone_share:
        response = draw_channel(draw, config, batch, samples, talkers.sample_rate)
        mix, voices = filtered(mix, response), filtered(voices, response[:, None])
    if config.muted_share:
        muted = draw.rows(batch, config.muted_share)
        start = draw.uniform(len(muted), 1, span=config.muted_s) * talkers.sample_rate
        is_heard = torch.arange(samples, device=start.device) >= start
        mix = mix.index_copy(0, muted, mix[muted] * is_heard)
        voices = voices.index_copy(0, muted, voices[muted] * is_heard[:, None])
    return mix, voices


def draw_three(
    talkers: Corpus, config: SceneConfig, batch: int, crop_s: float, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Make mixtures of three different people, without noise; arguments as for `draw_batch`.

    The third comes from a third of the people, who are in none of the pairs.

    Returns:
        Mixtures (B, samples) and their voices (B, 3, samples), float32.

    Raises:
        ValueError: if there are fewer than `LEAST_FOR_THREE` people.
    """
    people = len(talkers.lengths)
    if people < LEAST_FOR_THREE:
        raise ValueError(f"{THREE}: takes {LEAST_FOR_THREE} people, not {people}")
    thirds = max(2, people // 3)
    pair = draw_batch(talkers.speakers(thirds, people), config, batch, crop_s, generator)[1]
    third = draw_batch(talkers.speakers(0, thirds), config, batch, crop_s, generator)[1][:, :1]
    voices = torch.cat([pair, third], 1)
    return voices.sum(1), voices
