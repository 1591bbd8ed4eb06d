"""Conversations of any length for measuring who is on which output: people who take turns, overlap and pause.

People are of `validation/` or `test/`; their sentences come again where a conversation is longer than what
there is of them. The same seed gives the same conversation.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import soxr
import torch
from scipy.signal import oaconvolve

from benchmarks.quality.quality import speech_folder
from tisdiss_models.acoustics.drawing import Draw
from tisdiss_models.acoustics.noises import draw_noise
from tisdiss_models.acoustics.rooms import draw_responses
from tisdiss_models.config import SceneConfig
from tisdiss_models.data import Corpus, load_corpus

RMS = 0.05
TURN_S = (1.0, 9.0)
GAP_S = (-2.5, 1.0)  # from the end of a turn to the next; negative: both talk
PAUSE_SHARE, PAUSE_S = 0.03, (5.0, 40.0)
LONG_PAUSE_S = 90.0  # once in every ten minutes
LEVEL_DB = 3.0  # of a person, either way
FADE_S = 0.01
FRAME_S = 0.01
ACTIVE_DB = -30.0  # below a voice's level: silence
SHORT_PAUSE_S = 0.3  # within a turn: still talking
SCENES = {
    "clean": SceneConfig(),
    "room, noise": SceneConfig(
        decay_s=(0.4, 0.4), distance_m=(0.5, 2.0), noise_db=(15.0, 15.0), swell_share=0.0
    ),
}


@dataclass(frozen=True)
class Conversation:
    """The mixture (n,), its voices (people, n), and when each person talks (people, frames of 10 ms)."""

    mix: np.ndarray
    voices: np.ndarray
    talks: np.ndarray
    sample_rate: int


def make(
    people: str, count: int, minutes: float, scene: str, seed: int, sample_rate: int = 16000
) -> Conversation:
    """Make a conversation of so many people of a folder, drawn by the seed."""
    rng = np.random.default_rng((seed, count, sum(people.encode()), sum(scene.encode())))
    corpus = load_corpus(speech_folder() / people, 16000, 20.0)
    chosen = rng.permutation(len(corpus.names))[:count]
    samples = round(60 * minutes * 16000)
    voices = np.zeros((count, samples), np.float32)
    read = [int(rng.integers(corpus.lengths[who])) for who in chosen]
    gain = 10 ** (rng.uniform(-LEVEL_DB, LEVEL_DB, count) / 20)
    for person, start, length in turns(rng, count, samples / 16000):
        first, size = round(start * 16000), round(length * 16000)
        size = min(size, samples - first)
        if size <= 0:
            continue
        voices[person, first : first + size] += gain[person] * _speech(
            corpus, chosen[person], read[person], size
        )
        read[person] += size
    talks = _active(voices)
    if scene != "clean":
        voices = _in_room(voices, SCENES[scene], seed)
    mix = voices.sum(0)
    if scene != "clean":
        mix = mix + _noise(mix, corpus, SCENES[scene], seed)
    if sample_rate != 16000:
        mix, voices = soxr.resample(mix, 16000, sample_rate), soxr.resample(voices.T, 16000, sample_rate).T
    return Conversation(mix, voices, talks, sample_rate)


def turns(rng: np.random.Generator, count: int, length_s: float) -> list[tuple[int, float, float]]:
    """Draw turns: person, start and length in seconds; nobody follows themselves."""
    made: list[tuple[int, float, float]] = []
    person, time_s, since_pause_s = int(rng.integers(count)), 0.5, 0.0
    free_s = np.zeros(count)  # when each person's last turn ends
    while time_s < length_s:
        turn_s = float(rng.uniform(*TURN_S))
        start_s = max(time_s, float(free_s[person]) + 0.2, 0.0)
        made.append((person, start_s, turn_s))
        free_s[person] = start_s + turn_s
        gap_s = float(rng.uniform(*GAP_S))
        since_pause_s += turn_s
        if rng.random() < PAUSE_SHARE:
            gap_s = float(rng.uniform(*PAUSE_S))
        if since_pause_s > 300.0:
            gap_s, since_pause_s = LONG_PAUSE_S, 0.0
        time_s = start_s + turn_s + max(gap_s, -0.75 * turn_s)
        others = [other for other in range(count) if other != person]
        person = int(rng.choice(others)) if others else person
    return made


def _speech(corpus: Corpus, who: int, start: int, size: int) -> np.ndarray:
    """Read so many samples of a person's speech at its level, from the beginning again where it ends."""
    first, length = int(corpus.starts[who]), int(corpus.lengths[who])
    everything = corpus.samples[first : first + length].numpy().astype(np.float32) / 32768
    level = np.sqrt(np.mean(np.square(everything)))
    part = everything[(start + np.arange(size)) % length] * (RMS / level)
    fade = np.minimum(1, np.arange(size) / (FADE_S * 16000))
    return part * fade * fade[::-1]


def _active(voices: np.ndarray) -> np.ndarray:
    """Return when each voice is heard: (people, frames), pauses of less than `SHORT_PAUSE_S` filled."""
    size = round(FRAME_S * 16000)
    frames = voices.shape[1] // size
    power = np.square(voices[:, : frames * size].reshape(len(voices), frames, size)).mean(2)
    level = np.array([p[p > 0].mean() if (p > 0).any() else 1.0 for p in power])
    active = power > 10 ** (ACTIVE_DB / 10) * level[:, None]
    for row in active:
        edges = np.flatnonzero(np.diff(np.concatenate([[1], row.astype(np.int8), [1]])))
        for begin, end in zip(edges[::2], edges[1::2], strict=True):
            if begin > 0 and end < frames and end - begin < SHORT_PAUSE_S / FRAME_S:
                row[begin:end] = True
    return active


def _in_room(voices: np.ndarray, scene: SceneConfig, seed: int) -> np.ndarray:
    """Put everybody at a place of their own in one room."""
    draw = Draw(torch.Generator().manual_seed(seed), torch.device("cpu"))
    places = draw_responses(draw, scene, (len(voices) + 1) // 2, 16000).flatten(0, 1).numpy()
    heard = [oaconvolve(v, p)[: len(v)] for v, p in zip(voices, places, strict=False)]
    return np.stack(heard).astype(np.float32)


def _noise(mix: np.ndarray, corpus: Corpus, scene: SceneConfig, seed: int) -> np.ndarray:
    """Draw a fan, which does not change over the conversation but for what random numbers do."""
    draw = Draw(torch.Generator().manual_seed(seed + 1), torch.device("cpu"))
    fan = SceneConfig(fan_share=1.0, noise_db=scene.noise_db, swell_share=0.0)
    block = 30 * 16000
    one = draw_noise(draw, fan, torch.ones(1, block), corpus, None)[0].numpy()
    level = np.sqrt(np.mean(np.square(mix[np.abs(mix) > 0.02 * np.abs(mix).max()])))
    whole = np.resize(np.concatenate([one, one[::-1]]), len(mix))
    return (whole * (level / 3)).astype(np.float32)
