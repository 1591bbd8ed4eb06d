"""How well a bundle tells how good its voices are, and what depth by need saves.

Windows of scenes of `test/` people, of the longest length that a file is cut into, or of the last seconds of
a stream, at every depth; noises are those of SCENES.md. SI-SDR counts from -10 to 30 dB, as what is told.
Depth by need is what ``--min-gain-db`` does with these windows.

    python -m benchmarks.quality.estimate                        # edge-16k, 24 mixtures a scene
    python -m benchmarks.quality.estimate --update               # to ESTIMATE.md, too
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from benchmarks.pages import update
from benchmarks.quality import conversation
from benchmarks.quality.quality import speech_folder
from tisdiss_export.calibrating import by_window, passed_on_db
from tisdiss_export.observing import Observation, in_windows, observe, true_db
from tisdiss_models.acoustics import SCENES, THREE
from tisdiss_rt import bundle as bundles
from tisdiss_rt.bundle import Manifest
from tisdiss_rt.engine import open_engine
from tisdiss_rt.engine.base import Engine
from tisdiss_rt.estimate.estimator import LEAST_DB, MOST_DB, Estimator, estimator_of
from tisdiss_rt.planning.plan import Step
from tisdiss_rt.separator import Separator

PAGE = Path(__file__).parent / "ESTIMATE.md"
SEED = 777
GAINS_DB = (0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0)
CONVERSATION = "conversation"
CONVERSATIONS = 8


@dataclass(frozen=True)
class Told:
    """True and estimated quality of voices at one depth, all (n,), in dB."""

    true_db: np.ndarray
    estimate_db: np.ndarray
    low_db: np.ndarray
    high_db: np.ndarray

    def cells(self) -> list[str]:
        """Return how many there are, correlation, mean absolute error and coverage of the interval."""
        if not len(self.true_db):
            return ["0", "", "", "", ""]
        alike = np.corrcoef(self.true_db, self.estimate_db)[0, 1] if len(self.true_db) > 2 else np.nan
        error = np.abs(self.true_db - self.estimate_db).mean()
        inside = (self.low_db <= self.true_db) & (self.true_db <= self.high_db)
        width = (self.high_db - self.low_db).mean()
        return [
            f"{len(self.true_db)}",
            f"{alike:.2f}",
            f"{error:.1f} dB",
            f"{100 * inside.mean():.0f} %",
            f"{width:.1f} dB",
        ]


def told(estimator: Estimator, seen: Iterable[Observation]) -> Told:
    """Estimate the voices of windows whose talkers talk."""
    rows = []
    for each in seen:
        voices = estimator.judge(each.statistics, list(each.changes), each.window_s)
        for level_db, voice in zip(np.clip(each.true_db, LEAST_DB, MOST_DB), voices, strict=True):
            if voice is not None and np.isfinite(level_db):
                rows.append((level_db, voice.si_sdr_db, voice.low_db, voice.high_db))
    return Told(*np.array(rows).reshape(-1, 4).T)


def mean_db(chosen: Sequence[Observation]) -> float:
    """Return the mean SI-SDR of the voices whose talkers talk."""
    levels = np.concatenate([np.clip(each.true_db, LEAST_DB, MOST_DB) for each in chosen])
    return float(np.nanmean(levels))


def by_need(
    estimator: Estimator, windows: list[dict[int, Observation]], gain_db: float, most: int
) -> list[Observation]:
    """Choose the depth of each window as ``--min-gain-db`` does, up to ``most``."""

    def end(depths: dict[int, Observation]) -> Observation:
        for depth in range(most):
            seen = depths[depth]
            if estimator.tells_alone(depth) and estimator.is_alone(seen.statistics):
                return dataclasses.replace(seen, true_db=passed_on_db(seen))
            if depth > 0 and estimator.gain_db(list(seen.changes), seen.window_s) < gain_db:
                return seen
        return depths[most]

    return [end(depths) for depths in windows]


def curves(estimator: Estimator, seen: list[Observation], most: int) -> list[str]:
    """Make the rows of one scene: fixed depths, and depth by need."""
    windows = by_window(seen)
    rows = []
    fixed = {depth: mean_db([depths[depth] for depths in windows]) for depth in range(most + 1)}
    for depth, level in fixed.items():
        rows.append(f"| {seen[0].scene} | depth {depth} | {depth} | {level:.2f} dB | |")
    for gain_db in GAINS_DB:
        chosen = by_need(estimator, windows, gain_db, most)
        mean = float(np.mean([each.depth for each in chosen]))
        level = mean_db(chosen)
        line = np.interp(mean, list(fixed), list(fixed.values()))
        rows.append(
            f"| {seen[0].scene} | {gain_db:g} dB | {mean:.2f} | {level:.2f} dB | {level - line:+.2f} dB |"
        )
    return rows


def conversations(engine: Engine, made: Sequence[conversation.Conversation]) -> list[Observation]:
    """Observe windows of conversations, half a window apart."""
    manifest = engine.manifest
    size = manifest.length_samples(manifest.windows_s[-1])
    found = []
    for number, each in enumerate(made):
        starts = range(0, len(each.mix) - size + 1, size // 2)
        seen = in_windows(engine, each.mix, each.voices, size, starts)
        found += [Observation(CONVERSATION, number, **window) for window in seen]
    return found


def joined(bundle: str, manifest: Manifest, made: Sequence[conversation.Conversation]) -> list[str]:
    """Make the table of conversations as `Separator.separate` gives them, at fixed depths and by need."""
    separator = Separator(bundle, provider="cpu", threads=1, precision="fp32")
    window_s, most = manifest.windows_s[-1], manifest.depth.trained
    lines = [
        "Conversations as `separate` gives them, with windows joined: mean repetitions of windows with",
        f"sound, mean SI-SDR of parts of {window_s:g} s, and the time of computing as a share of that at",
        f"depth {most}.",
        "",
        "| depth or least gain | repetitions | SI-SDR | time |",
        "|---|---|---|---|",
    ]
    fixed = ((f"depth {depth}", depth, None) for depth in range(most, -1, -1))
    by_gain = ((f"{gain_db:g} dB", most, gain_db) for gain_db in GAINS_DB)
    whole_ms = 0.0
    for name, depth, gain_db in (*fixed, *by_gain):
        steps: list[Step] = []
        levels = []
        for each in made:
            out = separator.separate(
                each.mix, each.sample_rate, depth=depth, window_s=window_s, min_gain_db=gain_db
            )
            steps += [step for step in out.steps if step.elapsed_ms > 0]
            levels += _parts_db(each, out.sources, round(window_s * each.sample_rate))
        took_ms = sum(step.elapsed_ms for step in steps)
        whole_ms = whole_ms or took_ms
        repetitions, level = np.mean([step.depth for step in steps]), np.nanmean(np.concatenate(levels))
        lines.append(f"| {name} | {repetitions:.2f} | {level:.2f} dB | {took_ms / whole_ms:.2f} |")
    return lines


def _parts_db(made: conversation.Conversation, voices: np.ndarray, size: int) -> list[np.ndarray]:
    """Return the SI-SDR (sources,) of each part with sound of the voices (sources, n), half a part apart."""
    parts = [slice(start, start + size) for start in range(0, len(made.mix) - size + 1, size // 2)]
    return [
        np.clip(true_db(voices[:, part], made.voices[:, part], made.mix[part]), LEAST_DB, MOST_DB)
        for part in parts
        if made.mix[part].any()
    ]


def accuracy(estimator: Estimator, seen: list[Observation], depth: int) -> list[str]:
    """Make the table of what is told, by scene and in all."""
    chosen = [each for each in seen if each.depth == depth]
    lines = [
        f"At depth {depth}; the interval is to hold in 80 of 100 cases.",
        "",
        "| scene | voices | correlation | mean absolute error | interval holds | its width |",
        "|---|---|---|---|---|---|",
    ]
    for scene, group in itertools.groupby(chosen, key=lambda each: each.scene):
        lines.append(f"| {scene} | {' | '.join(told(estimator, group).cells())} |")
    lines.append(f"| all | {' | '.join(told(estimator, chosen).cells())} |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--bundle", default="edge-16k", help="name or folder")
    parser.add_argument("--mixtures", type=int, default=24, help="of each scene")
    parser.add_argument("--minutes", type=float, default=1.0, help="of each conversation")
    parser.add_argument("--update", action="store_true", help="write the tables to ESTIMATE.md")
    options = parser.parse_args()
    torch.set_num_threads(1)
    bundle = bundles.load(options.bundle)
    manifest, estimator = bundle.manifest, estimator_of(bundle)
    if estimator is None:
        sys.exit(f"bundle {manifest.name} does not tell how good its voices are: export it with --calibrate")
    engine = open_engine(bundle, provider="cpu", threads=1, precision="fp32")
    windows_s = manifest.windows_s[-1:] or None
    found = observe(engine, speech_folder(), options.mixtures, "test", SEED, windows_s, alone_share=0.0)
    scenes = [*SCENES, THREE]
    seen = sorted(found, key=lambda each: scenes.index(each.scene))
    lines = [f"`{manifest.name}`, {options.mixtures} mixtures of each scene.", ""]
    lines += accuracy(estimator, seen, manifest.depth.trained)
    if windows_s is not None:
        made = [
            conversation.make("test", 2, options.minutes, "clean", 100 + number)
            for number in range(CONVERSATIONS)
        ]
        seen += conversations(engine, made)
        lines += [
            "",
            f"Depth by need, at most {manifest.depth.trained}: mean repetitions, mean SI-SDR, and how far",
            "it lies above the line through the fixed depths.",
            "",
            "| scene | least gain | repetitions | SI-SDR | above fixed |",
            "|---|---|---|---|---|",
        ]
        for _, group in itertools.groupby(seen, key=lambda each: each.scene):
            lines += curves(estimator, list(group), manifest.depth.trained)
        lines += ["", *joined(options.bundle, manifest, made)]
    text = "\n".join(lines) + "\n"
    print(text)
    if options.update:
        update(PAGE, bundles.shipped(), manifest.name, text)


if __name__ == "__main__":
    main()
