"""How well a bundle separates clean studio mixtures, by depth and by window.

The test: 200 two-speaker mixtures of LibriSpeech test-other speakers (``test_2mix.csv`` of the speech
folder). SI-SDR improvement, best of the permutations, mean over sources and mixtures, with a 95 % bootstrap
interval. Whole mixtures give the table by depth; overlapping windows, put together as the runtime does it,
give what the planner chooses from, where `scenes.py` has not measured that. A streaming bundle runs as a
stream, at each depth from beginning to end.

    python -m benchmarks.quality.quality                             # print the table of edge-16k
    python -m benchmarks.quality.quality --bundle live-16k --update  # to QUALITY.md, too
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import itertools
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soundfile
import soxr

from benchmarks.pages import update
from tisdiss_rt import bundle as bundles
from tisdiss_rt.audio.overlap_add import separate_windows
from tisdiss_rt.engine import open_engine
from tisdiss_rt.engine.base import Engine
from tisdiss_rt.talkers.order import match_order

REPOSITORY = Path(__file__).parents[2]
TEST_SET = "test_2mix: 200 mixtures of 6 LibriSpeech test-other speakers"
METRIC = "SI-SDR improvement in dB"
RMS = 0.05
BEYOND = 4  # depths measured beyond the trained one
WINDOWED_EVERY = 4  # windows take most of the time and need less precision: every fourth mixture
PAGE = Path(__file__).parent / "QUALITY.md"
SECTIONS = (*bundles.shipped(), "Bfloat16", "8-bit integers")  # the last two by `precision.py`


def speech_folder() -> Path:
    folder = Path(os.environ.get("TISDISS_SPEECH", REPOSITORY / ".." / "shared" / "speech"))
    if not (folder / "test_2mix.csv").is_file():
        sys.exit(f"no test_2mix.csv in {folder}; name the speech folder with TISDISS_SPEECH")
    return folder


def mixtures(folder: Path, sample_rate: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Return mixture (n,) and references (2, n) of every row of the test."""
    with (folder / "test_2mix.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            sources = []
            for number, sign in ((1, 1), (2, -1)):
                path = folder / "test" / row[f"ref{number}"]
                rate = soundfile.info(path).samplerate
                start, count = (int(float(row[key]) * rate) for key in (f"start{number}_s", "length_s"))
                audio, _ = soundfile.read(path, frames=count, start=start, dtype="float64")
                audio *= RMS / np.sqrt(np.mean(audio**2)) * 10 ** (sign * float(row["level_db"]) / 40)
                sources.append(soxr.resample(audio, rate, sample_rate) if rate != sample_rate else audio)
            references = np.stack(sources).astype(np.float32)
            yield references.sum(0), references


def si_sdr_db(estimate: np.ndarray, reference: np.ndarray) -> float:
    estimate = estimate.astype(np.float64) - estimate.mean()
    reference = reference.astype(np.float64) - reference.mean()
    target = reference * (estimate @ reference) / (reference @ reference)
    noise = estimate - target
    return float(10 * np.log10((target @ target + 1e-20) / (noise @ noise + 1e-20)))


def improvement_db(estimates: np.ndarray, references: np.ndarray, mix: np.ndarray) -> float:
    """Compute the mean SI-SDR over the sources of the best permutation, less that of the mixture itself."""
    count = len(references)
    scores = np.array([[si_sdr_db(e, r) for r in references] for e in estimates])
    best = max(np.mean([scores[i, j] for j, i in enumerate(p)]) for p in itertools.permutations(range(count)))
    return float(best - np.mean([si_sdr_db(mix, r) for r in references]))


def in_windows(engine: Engine, mix: np.ndarray, deepest: int, samples: int) -> list[np.ndarray]:
    """Separate in overlapping windows at every depth; each window runs once for all of them."""
    cache: dict[int, list[np.ndarray]] = {}
    results = []
    for depth in range(deepest + 1):

        def separate(part: np.ndarray, start: int, depth: int = depth) -> np.ndarray:
            if start not in cache:
                cache[start] = list(engine.every_depth(part, deepest))
            return cache[start][depth]

        results.append(np.concatenate(list(separate_windows(iter([mix]), samples, separate, match_order)), 1))
    return results


def resampled_means(values: np.ndarray) -> np.ndarray:
    """Return the means of 4000 bootstrap samples of the values."""
    rng = np.random.default_rng(0)
    return values[rng.integers(0, len(values), (4000, len(values)))].mean(1)


def interval_db(values: np.ndarray) -> tuple[float, float]:
    """Compute the 95 % bootstrap interval of the mean."""
    low, high = np.percentile(resampled_means(values), [2.5, 97.5])
    return float(low), float(high)


def measure(bundle: bundles.Bundle, every: int) -> bundles.Quality:
    manifest = bundle.manifest
    engine = open_engine(bundle)
    deepest = min(manifest.depth.trained + BEYOND, manifest.depth.max)
    whole, windowed = [], []
    chosen = itertools.islice(mixtures(speech_folder(), manifest.sample_rate), 0, None, every)
    for number, (mix, references) in enumerate(chosen):
        print(f"\rmixture {number + 1}", end="", file=sys.stderr, flush=True)
        whole.append([improvement_db(e, references, mix) for e in engine.every_depth(mix, deepest)])
        if number % WINDOWED_EVERY or manifest.step_s is not None:
            continue
        windowed.append(
            [
                [improvement_db(e, references, mix) for e in in_windows(engine, mix, deepest, samples)]
                for samples in (manifest.length_samples(w) for w in manifest.windows_s)
            ]
        )
    print(file=sys.stderr)
    by_depth, by_window = np.array(whole), np.array(windowed).mean(0) if windowed else np.zeros((0, 0))
    depths = range(deepest + 1)
    return bundles.Quality(
        TEST_SET,
        METRIC,
        len(by_depth),
        tuple(
            bundles.DepthQuality(
                d, *(round(v, 2) for v in (by_depth[:, d].mean(), *interval_db(by_depth[:, d])))
            )
            for d in depths
        ),
        tuple(
            bundles.WindowQuality(w, d, round(float(by_window[i, d]), 2))
            for i, w in enumerate(manifest.windows_s)
            for d in depths
        ),
    )


def table(manifest: bundles.Manifest) -> str:
    quality = manifest.quality
    assert quality is not None
    windows = manifest.windows_s
    lines = [
        f"`{manifest.name}`, trained depth {manifest.depth.trained}: {METRIC} with its 95 % interval,",
        f"{quality.test_set}." + (" Columns of windows: every fourth mixture." if windows else ""),
        "",
        " | ".join(
            ["| depth", "whole mixture" if windows else "stream", *(f"{w:g} s windows" for w in windows)]
        )
        + " |",
        "|---|---|" + "---|" * len(windows),
    ]
    cells = {(w.window_s, w.depth): w.si_sdri_db for w in quality.windows}
    for q in quality.depths:
        values = [f"{cells[w, q.depth]:.1f} dB" for w in windows]
        interval = f"{q.si_sdri_db:.1f} dB ({q.low_db:.1f} to {q.high_db:.1f})"
        lines.append(" | ".join([f"| {q.depth}", interval, *values]) + " |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--bundle", default="edge-16k", help="name or folder")
    parser.add_argument("--every", type=int, default=1, help="only every n-th mixture, for a quick look")
    parser.add_argument(
        "--update",
        action="store_true",
        help="write to the manifest where it has no scenes, and of a shipped bundle to QUALITY.md",
    )
    options = parser.parse_args()
    if options.update and options.every != 1:
        parser.error("--update needs all mixtures")
    bundle = bundles.load(options.bundle)
    manifest = dataclasses.replace(bundle.manifest, quality=measure(bundle, options.every))
    print(table(manifest))
    if options.update:
        if bundle.manifest.quality is None or not bundle.manifest.quality.scenes:
            bundles.write_manifest(bundle.folder, manifest)
        if manifest.name in bundles.shipped():
            update(PAGE, SECTIONS, manifest.name, table(manifest))


if __name__ == "__main__":
    main()
