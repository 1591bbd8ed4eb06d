"""How well a bundle separates what people record: the scenes, by depth.

Mixtures of 4 s by `tisdiss_models.acoustics`, of people, noises, rooms and random numbers that training has
not had. SI-SDR improvement against the voices as they are in the mixture (reverberant, band-limited), best
of the permutations, mean over voices and mixtures, with a 95 % bootstrap interval. Where somebody talks
alone: how far the other output lies below. Where two talk in turn: how often they are on two outputs.
What a bundle promises is the mean over the scenes with an improvement, for whole mixtures, and for windows
put together as the runtime does it, which the planner chooses from.

    pip install pyroomacoustics
    python -m benchmarks.quality.scenes                        # edge-16k, 40 mixtures a scene
    python -m benchmarks.quality.scenes --people validation    # what decisions are made by
    python -m benchmarks.quality.scenes --mixtures 200 --update    # to SCENES.md and the manifest, too
    python -m benchmarks.quality.scenes --json values.json         # where stopped, goes on when called again
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import json
import multiprocessing
import os
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmarks.pages import README, fill, update
from benchmarks.quality.quality import (
    METRIC,
    improvement_db,
    in_windows,
    interval_db,
    resampled_means,
    speech_folder,
)
from benchmarks.quality.rooms import rooms
from tisdiss_models.acoustics import SCENES, THREE, draw_batch, draw_three
from tisdiss_models.data import Corpus, load_corpus
from tisdiss_rt import bundle as bundles
from tisdiss_rt.engine import open_engine

CROP_S = 4.0
DEPTHS = range(9)
SHOWN = (0, 1, 2, 4, 8)
SEEDS = {"test": 7001, "validation": 9001}
PAGE = Path(__file__).parent / "SCENES.md"
IMPROVED = tuple(name for name in (*SCENES, THREE) if name not in ("one-talker", "turns"))
WINDOWED_EVERY = 4  # windows take most of the time and need less precision: every fourth mixture


def corpora(people: str, sample_rate: int) -> tuple[Corpus, Corpus]:
    """Read the talkers and, of the recordings kept for validation, the noises."""
    folder = speech_folder()
    noises = load_corpus(folder / "noise" / "validation", sample_rate, CROP_S, by_file=True)
    return load_corpus(folder / people, sample_rate, CROP_S), noises


def mixtures(name: str, people: str, count: int, sample_rate: int) -> tuple[Tensor, Tensor]:
    """Make the mixtures (N, samples) of a scene and their voices (N, talkers, samples), always the same."""
    talkers, noises = corpora(people, sample_rate)
    generator = torch.Generator().manual_seed(SEEDS[people] + sum(name.encode()))
    if name == THREE:
        return draw_three(talkers, SCENES["clean"], count, CROP_S, generator)
    scene = SCENES[name]
    bank = rooms(scene.decay_s[0], sample_rate) if scene.room_share else None
    drawn = 4 * count if name == "turns" else count  # those in which one hardly talks are left out
    mix, voices = draw_batch(talkers, scene, drawn, CROP_S, generator, noises, bank)
    if name == "turns":
        kept = both_talk_alone(voices).nonzero()[:count, 0]
        mix, voices = mix[kept], voices[kept]
    return mix, voices


def score(name: str, estimates: np.ndarray, voices: np.ndarray, mix: np.ndarray) -> float:
    """Judge estimates (2, samples): improvement or distance in dB, or 1 where two are on two outputs."""
    if name == "one-talker":
        power = np.square(estimates.astype(np.float64)).mean(1)
        return float(10 * np.log10(power.max() / max(power.min(), 1e-20)))
    if name == "turns":
        return float(on_two_outputs(estimates, voices))
    if len(voices) > len(estimates):
        pairs = itertools.combinations(voices, len(estimates))
        return max(improvement_db(estimates, np.stack(pair), mix) for pair in pairs)
    return improvement_db(estimates, voices, mix)


def on_two_outputs(estimates: np.ndarray, voices: np.ndarray) -> bool:
    """Return whether each talker, when talking alone, is mostly on an output of their own."""
    loud = np.abs(voices) > 0
    outputs = []
    for talker in range(2):
        alone = loud[talker] & ~loud[1 - talker]
        outputs.append(int(np.square(estimates[:, alone]).sum(1).argmax()))
    return outputs[0] != outputs[1]


def both_talk_alone(voices: Tensor) -> Tensor:
    """Return for each mixture whether each talker has half a second without the other: (N,)."""
    loud = voices.abs() > 0
    alone = loud & ~loud.flip(1)
    return (alone.sum(-1) > 0.5 * voices.shape[-1] / CROP_S).all(1)


@dataclass(frozen=True)
class Measured:
    """What one scene gave: whole mixtures (N, depths), and windows (N / 4, windows, depths)."""

    whole: np.ndarray
    windows: np.ndarray


class Values:
    """What has been measured, also in a file, so that a run that was stopped goes on.

    Args:
        path: the file; None for none.
        run: what the values are of; in JSON.

    Raises:
        ValueError: if the file is of another run.
    """

    def __init__(self, path: Path | None, run: dict[str, object]) -> None:
        self.found: dict[str, Measured] = {}
        self._path, self._run = path, run
        if path is not None and path.exists():
            content = json.loads(path.read_text(encoding="utf-8"))
            if {name: content.get(name) for name in run} != run:
                raise ValueError(f"{path}: of another bundle or other options; name another file")
            for name, of_scene in content["scenes"].items():
                self.found[name] = Measured(np.array(of_scene["whole"]), np.array(of_scene["windows"]))

    def add(self, name: str, measured: Measured) -> None:
        """Keep what a scene gave, and write all values."""
        self.found[name] = measured
        if self._path is not None:
            scenes = {
                name: {"whole": each.whole.tolist(), "windows": each.windows.tolist()}
                for name, each in self.found.items()
            }
            unfinished = self._path.with_suffix(".unfinished")
            unfinished.write_text(json.dumps({**self._run, "scenes": scenes}), encoding="utf-8")
            unfinished.replace(self._path)


def measure_scene(task: tuple[str, str, str, int, bool]) -> tuple[str, Measured]:
    """Run all mixtures of one scene at every depth, on one thread."""
    folder, name, people, count, in_parts = task
    torch.set_num_threads(1)
    bundle = bundles.load(folder)
    manifest = bundle.manifest
    engine = open_engine(bundle, provider="cpu", threads=1, precision="fp32")
    mix, voices = mixtures(name, people, count, manifest.sample_rate)
    whole, windowed = [], []
    for number, (x, v) in enumerate(zip(mix.numpy(), voices.numpy(), strict=True)):
        estimates = engine.every_depth(x, max(DEPTHS))
        whole.append([score(name, estimates[depth], v, x) for depth in DEPTHS])
        if in_parts and number % WINDOWED_EVERY == 0:
            parts = [
                in_windows(engine, x, max(DEPTHS), manifest.length_samples(w)) for w in manifest.windows_s
            ]
            windowed.append([[score(name, part[depth], v, x) for depth in DEPTHS] for part in parts])
    return name, Measured(np.array(whole), np.array(windowed))


def measure(
    folder: str, people: str, count: int, names: list[str], windows: bool, values: Values
) -> dict[str, Measured]:
    """Measure scenes side by side, those that `values` does not have yet."""
    left = [name for name in names if name not in values.found]
    tasks = [(folder, name, people, count, windows and name in IMPROVED) for name in left]
    with multiprocessing.get_context("spawn").Pool(os.cpu_count()) as pool:
        for name, measured in pool.imap_unordered(measure_scene, tasks):
            values.add(name, measured)
            print(
                f"{name}: {np.round(measured.whole.mean(0)[list(SHOWN)], 2).tolist()}",
                file=sys.stderr,
                flush=True,
            )
    return {name: values.found[name] for name in names}


def by_depth(whole: list[np.ndarray]) -> tuple[bundles.DepthQuality, ...]:
    """Summarise whole mixtures of one scene, or the mean over scenes, each (N, depths)."""
    entries = []
    for i, depth in enumerate(DEPTHS):
        draws = np.mean([resampled_means(values[:, i]) for values in whole], 0)
        low, high = np.percentile(draws, [2.5, 97.5])
        mean = np.mean([values[:, i].mean() for values in whole])
        entries.append(bundles.DepthQuality(depth, *(round(float(v), 2) for v in (mean, low, high))))
    return tuple(entries)


def quality(manifest: bundles.Manifest, people: str, found: dict[str, Measured]) -> bundles.Quality:
    """Summarise scenes for the manifest; those measured otherwise than by their improvement are left out."""
    improved = {name: measured for name, measured in found.items() if name in IMPROVED}
    windows = np.array([measured.windows.mean(0) for measured in improved.values()]).mean(0)
    return bundles.Quality(
        f"the mean over {len(improved)} scenes of {people} people",
        METRIC,
        sum(len(measured.whole) for measured in improved.values()),
        by_depth([measured.whole for measured in improved.values()]),
        tuple(
            bundles.WindowQuality(window_s, depth, round(float(windows[w, d]), 2))
            for w, window_s in enumerate(manifest.windows_s)
            for d, depth in enumerate(DEPTHS)
        ),
        tuple(bundles.SceneQuality(name, by_depth([m.whole])) for name, m in improved.items()),
    )


def cell(name: str, values: np.ndarray, interval: bool) -> str:
    if name == "one-talker":
        return f"{np.median(values):.0f} dB, nine of ten {np.percentile(values, 10):.0f} dB"
    if name == "turns":
        return f"{100 * values.mean():.0f} %"
    low, high = interval_db(values)
    return f"{values.mean():.1f}" + (f" ({low:.1f} to {high:.1f})" if interval else "")


def table(bundle: str, people: str, found: dict[str, Measured]) -> str:
    """Make the table of one bundle; the last row is the mean over scenes that have an improvement."""
    lines = [
        f"`{bundle}`, {people} people: SI-SDR improvement in dB by depth, with its 95 % interval at depth 4.",
        "For `one-talker` how far the other output lies lower (median, and what nine of ten reach); for",
        "`turns` how often two people who talk in turn are on two outputs.",
        "",
        "| scene | mixtures |" + "".join(f" depth {depth} |" for depth in SHOWN),
        "|---|---|" + "---|" * len(SHOWN),
    ]
    for name, measured in found.items():
        cells = [cell(name, measured.whole[:, depth], depth == 4) for depth in SHOWN]
        lines.append(f"| {name} | {len(measured.whole)} | " + " | ".join(cells) + " |")
    improved = [measured.whole.mean(0) for name, measured in found.items() if name in IMPROVED]
    if len(improved) > 1:
        means = np.mean(improved, 0)
        lines.append(
            f"| mean of {len(improved)} | | " + " | ".join(f"{means[depth]:.2f}" for depth in SHOWN) + " |"
        )
    return "\n".join(lines) + "\n"


def overview() -> str:
    """Make README's table: the scenes of all shipped bundles at their trained depth, from the manifests."""
    scenes = {}
    for name in bundles.shipped():
        manifest = bundles.load(name).manifest
        if manifest.quality is None or not manifest.quality.scenes:
            continue  # not measured yet
        entries = [(scene.scene, scene.depths) for scene in manifest.quality.scenes]
        entries.append((f"mean of {len(entries)}", manifest.quality.depths))
        scenes[name] = {each: depths[manifest.depth.trained] for each, depths in entries}
    heads = " | ".join(f"`{name}`" for name in scenes)
    lines = [f"| scene | {heads} |", "|---" * (1 + len(scenes)) + "|"]
    for scene in next(iter(scenes.values())):
        found = [by_scene[scene] for by_scene in scenes.values()]
        cells = [f"{e.si_sdri_db:.1f} dB ({e.low_db:.1f} to {e.high_db:.1f})" for e in found]
        lines.append(f"| {scene} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--bundle", default="edge-16k", help="name or folder")
    parser.add_argument("--people", choices=sorted(SEEDS), default="test")
    parser.add_argument("--mixtures", type=int, default=40, help="of each scene")
    parser.add_argument("--scene", action="append", help="only this one; may be given several times")
    parser.add_argument("--json", type=Path, help="write all values there, and go on with what it has")
    parser.add_argument(
        "--update", action="store_true", help="write SCENES.md; of test people, the manifest and README too"
    )
    options = parser.parse_args()
    names = options.scene or [*SCENES, THREE]
    bundle = bundles.load(options.bundle)
    if options.update and options.scene:
        parser.error("--update needs all scenes")
    manifest = bundle.manifest
    publish = options.update and options.people == "test"
    run: dict[str, object] = {
        "bundle": bundles.sha256_of(bundle.folder / manifest.conformance.path),  # what the network answers
        "people": options.people,
        "mixtures": options.mixtures,
        "windows": publish,
        "depths": list(DEPTHS),
    }
    try:
        values = Values(options.json, run)
    except ValueError as error:
        parser.error(str(error))
    found = measure(str(bundle.folder), options.people, options.mixtures, names, publish, values)
    text = table(manifest.name, options.people, found)
    print(text)
    if options.update:
        titles = [f"{name}, {people}" for name in bundles.shipped() for people in ("test", "validation")]
        if publish:
            measured = quality(manifest, options.people, found)
            bundles.write_manifest(
                bundle.folder, dataclasses.replace(manifest, format=bundles.FORMAT, quality=measured)
            )
        update(PAGE, titles, f"{manifest.name}, {options.people}", text)
        if publish:
            fill(README, "quality by scene", overview())


if __name__ == "__main__":
    main()
