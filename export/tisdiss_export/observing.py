"""What a bundle does on scenes whose voices are known: what the part ``estimate`` is fitted to.

The mixtures are of the people and noises of ``validation/`` and of every scene; in some of them one person
talks alone. A bundle for whole signals runs a window of each, half of them of the longest length; one for
streams runs step by step, and is looked at once a second.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tisdiss_models.acoustics import LEAST_FOR_THREE, SCENES, THREE, draw_batch, draw_three
from tisdiss_models.data import Corpus, check_mixable, load_corpus
from tisdiss_rt.audio import Array
from tisdiss_rt.engine.base import Engine
from tisdiss_rt.estimate.features import Numbers
from tisdiss_rt.estimate.statistics import Statistics, statistics_of
from tisdiss_rt.streaming.trailing import EVERY_S, WINDOW_S

CROP_S = 5.0  # of a mixture
SEED = 4242
ALONE_SHARE = 0.2
ROUND = 4  # mixtures of a scene that are drawn at once: fewer mixtures are the first of more
BEYOND = 1  # repetitions more than the trained ones
SILENCE = 1e-4  # of the mixture's power: a talker who is quieter says nothing


@dataclass(frozen=True)
class Observation:
    """A window at one depth.

    Attributes:
        scene: name of the scene.
        mixture: its number in the scene.
        window_s: length of the window.
        start_s: its place in the mixture.
        depth: repetitions.
        changes: (depth, sources), how much each repetition changed the voices' maps.
        statistics: of the sound.
        true_db: (sources,), SI-SDR of each voice; NaN for one whose talker is silent.
        alone_db: SI-SDR of the mixture as the voice of the talker who is loudest; NaN for streams.
    """

    scene: str
    mixture: int
    window_s: float
    start_s: float
    depth: int
    changes: Array
    statistics: Statistics
    true_db: Numbers
    alone_db: float = np.nan


def observe(
    engine: Engine,
    speech: Path,
    mixtures: int,
    people: str = "validation",
    seed: int = SEED,
    windows_s: Sequence[float] | None = None,
    alone_share: float = ALONE_SHARE,
) -> Iterator[Observation]:
    """Run a bundle that tells changes on so many mixtures of each scene.

    Args:
        engine: runs the bundle.
        speech: folder with a folder of ``people``, and with ``noise/validation``.
        mixtures: of each scene.
        people: name of their folder.
        seed: of the random numbers.
        windows_s: lengths of windows, of which the last is taken for half of the mixtures; by default those
            of the bundle. Not for streams.
        alone_share: of the mixtures, in which one person talks alone, whatever the scene.
    """
    rate = engine.manifest.sample_rate
    talkers = load_corpus(speech / people, rate, CROP_S)
    check_mixable(talkers, speech / people)
    noises = load_corpus(speech / "noise" / "validation", rate, CROP_S, by_file=True)
    scenes = [*SCENES, THREE] if len(talkers.names) >= LEAST_FOR_THREE else [*SCENES]
    for first in range(0, mixtures, ROUND):
        for scene in scenes:
            count = min(ROUND, mixtures - first)
            drawn = _drawn(scene, talkers, noises, count, seed + first, alone_share)
            for number, (mix, voices) in enumerate(drawn, first):
                for found in _watched(engine, number, mix, voices, windows_s):
                    yield Observation(scene, number, **found)


def _watched(
    engine: Engine, number: int, mix: Array, voices: Array, windows_s: Sequence[float] | None
) -> Iterator[dict[str, Any]]:
    """Return what is seen of a mixture (n,), all but its scene and number."""
    lengths_s = windows_s or engine.manifest.windows_s
    if not lengths_s:
        return _in_steps(engine, mix, voices)
    size = engine.manifest.length_samples(lengths_s[-1 if number % 2 else number // 2 % len(lengths_s)])
    return in_windows(engine, mix, voices, size, [(len(mix) - size) // 2])


def _drawn(
    scene: str, talkers: Corpus, noises: Corpus, count: int, seed: int, alone_share: float
) -> Iterator[tuple[Array, Array]]:
    """Yield mixtures (n,) and their voices (talkers, n)."""
    config = SCENES["clean" if scene == THREE else scene]
    if scene not in ("one-talker", "turns"):
        config = dataclasses.replace(config, alone_share=alone_share)
    generator = torch.Generator().manual_seed(seed + sum(scene.encode()))
    if scene == THREE:
        mix, voices = draw_three(talkers, config, count, CROP_S, generator)
    else:
        mix, voices = draw_batch(talkers, config, count, CROP_S, generator, noises)
    yield from zip(mix.numpy(), voices.numpy(), strict=True)


def in_windows(
    engine: Engine, mix: Array, voices: Array, size: int, starts: Iterable[int]
) -> Iterator[dict[str, Any]]:
    """Yield what windows of one size are like, all but the scene and mixture of an `Observation`.

    Args:
        engine: runs the bundle.
        mix: (n,) at its sample rate.
        voices: (talkers, n).
        size: of the windows in samples.
        starts: where they begin.
    """
    manifest = engine.manifest
    deepest = min(manifest.depth.trained + BEYOND, manifest.depth.max)
    for start in starts:
        part, references = mix[start : start + size], voices[:, start : start + size]
        if not part.any():
            continue
        changes: list[Array] = []
        alone_db = max(_si_sdr_db(part, reference) for reference in references)
        for depth, estimate in enumerate(engine.every_depth(part, deepest, changes)):
            yield {
                "window_s": size / manifest.sample_rate,
                "start_s": start / manifest.sample_rate,
                "depth": depth,
                "changes": changes[0][:depth],
                "statistics": statistics_of(part, estimate, manifest.sample_rate),
                "true_db": true_db(estimate, references, part),
                "alone_db": alone_db,
            }


def _in_steps(engine: Engine, mix: Array, voices: Array) -> Iterator[dict[str, Any]]:
    """Yield what the last seconds of a stream are like at each depth, once a second."""
    manifest = engine.manifest
    rate = manifest.sample_rate
    deepest = min(manifest.depth.trained + BEYOND, manifest.depth.max)
    of_steps: list[Array] = []
    whole = engine.every_depth(mix, deepest, of_steps)
    squares = np.square(of_steps)  # (steps, depth, sources)
    size, step = round(WINDOW_S * rate), manifest.length_samples(0.0)
    for start in range(round(EVERY_S * rate), len(mix) - size + 1, round(EVERY_S * rate)):
        part, references = mix[start : start + size], voices[:, start : start + size]
        if not part.any():
            continue
        changes = np.sqrt(squares[start // step : (start + size) // step].mean(0))
        for depth, estimate in enumerate(whole):
            found = estimate[:, start : start + size]
            yield {
                "window_s": WINDOW_S,
                "start_s": start / rate,
                "depth": depth,
                "changes": changes[:depth],
                "statistics": statistics_of(part, found, rate),
                "true_db": true_db(found, references, part),
            }


def true_db(estimate: Array, references: Array, mix: Array) -> Numbers:
    """Compute the SI-SDR (sources,) of estimates with the talkers that they fit best; NaN for silent ones."""
    power = np.square(references).mean(1)
    heard = power > SILENCE * float(np.square(mix).mean())
    levels = np.array([[_si_sdr_db(one, other) for other in references] for one in estimate])
    levels[:, ~heard] = np.nan
    sources = range(len(estimate))
    orders = [list(order) for order in itertools.permutations(range(len(references)), len(estimate))]

    def fit(order: list[int]) -> tuple[int, float]:
        chosen = levels[sources, order]
        return int(np.isfinite(chosen).sum()), float(np.nansum(chosen))

    found: Numbers = levels[sources, max(orders, key=fit)]
    return found


def _si_sdr_db(estimate: Array, reference: Array) -> float:
    one, other = (voice.astype(np.float64) - voice.mean() for voice in (estimate, reference))
    target = other * (one @ other) / (other @ other + 1e-20)
    rest = one - target
    return float(10 * np.log10((target @ target + 1e-30) / (rest @ rest + 1e-20)))  # -100 of silence
