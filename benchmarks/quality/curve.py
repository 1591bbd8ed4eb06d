"""Quality and cost by depth in one table and one picture: dB, STOI, PESQ, operations, time on this CPU.

    python -m benchmarks.quality.curve              # print the tables, draw docs/quality.png
    python -m benchmarks.quality.curve --update     # and write the tables to README and docs/benchmarks.md

The dB are those of the manifests (`quality.py`). STOI (pystoi) and PESQ (pesq, wide band) are of every eighth
mixture of the same test, mean over the sources in the better order; ``pip install pystoi pesq``. Times are
the real-time factor of one core, for 4 s at once or for a stream.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from pesq import NoUtterancesError, pesq
from pystoi import stoi

from benchmarks.cost import cost, step_cost
from benchmarks.pages import OVERVIEW, README, fill
from benchmarks.quality.quality import mixtures, si_sdr_db, speech_folder
from benchmarks.shipped import shipped_network
from tisdiss_models import StreamingNetwork
from tisdiss_rt import bundle as bundles
from tisdiss_rt.engine import open_engine
from tisdiss_rt.planning.benchmark import measure_depths

PICTURE = Path(__file__).parents[2] / "docs" / "quality.png"
BUNDLES = ("edge-16k", "live-16k")
DEPTHS = (0, 1, 2, 3, 4, 6, 8)
EVERY = 8
WINDOW_S = 4.0
TICKS = (0.02, 0.05, 0.1, 0.2, 0.5, 1.0)


def perceived(estimates: np.ndarray, references: np.ndarray, rate: int) -> tuple[float, float]:
    """Compute mean STOI and PESQ of estimates (sources, n) in the order of the best SI-SDR."""
    order = max(
        itertools.permutations(range(len(references))),
        key=lambda p: sum(si_sdr_db(estimates[i], references[j]) for j, i in enumerate(p)),
    )
    pairs = [(references[j], estimates[i]) for j, i in enumerate(order)]
    intelligible = [float(stoi(reference, estimate, rate)) for reference, estimate in pairs]
    return statistics.mean(intelligible), statistics.mean(mos(r, e, rate) for r, e in pairs)


def mos(reference: np.ndarray, estimate: np.ndarray, rate: int) -> float:
    try:
        return float(pesq(rate, reference, estimate, "wb"))
    except NoUtterancesError:  # nothing of speech in the estimate: the scale's lower end
        return 1.0


def measured(bundle: bundles.Bundle) -> dict[int | str, tuple[float, float]]:
    """Compute mean STOI and PESQ by depth, and of the mixture itself."""
    engine, rate = open_engine(bundle), bundle.manifest.sample_rate
    found: dict[int | str, list[tuple[float, float]]] = {}
    chosen = itertools.islice(mixtures(speech_folder(), rate), 0, None, EVERY)
    for number, (mix, references) in enumerate(chosen):
        print(f"\r{bundle.manifest.name}: mixture {number + 1}", end="", file=sys.stderr, flush=True)
        estimates = engine.every_depth(mix, max(DEPTHS))
        found.setdefault("mixture", []).append(perceived(np.stack([mix, mix]), references, rate))
        for depth in DEPTHS:
            found.setdefault(depth, []).append(perceived(estimates[depth], references, rate))
    print(file=sys.stderr)
    return {name: tuple(np.mean(pairs, axis=0).tolist()) for name, pairs in found.items()}


def factors(bundle: bundles.Bundle) -> list[float]:
    """Measure the real-time factor by depth, on one core."""
    manifest = bundle.manifest
    samples = manifest.stream.step_samples if manifest.stream else int(WINDOW_S * manifest.sample_rate)
    took_ms, _ = measure_depths(open_engine(bundle, "cpu", 1), samples, max(DEPTHS), 10.0)
    return [float(np.median(steps_ms)) / 1e3 / (samples / manifest.sample_rate) for steps_ms in took_ms]


def operations(name: str) -> list[float]:
    """Return the GMAC per second of audio by depth."""
    network = shipped_network(name)
    stem, block, decoder = step_cost(network) if isinstance(network, StreamingNetwork) else cost(network)
    return [stem + depth * block + decoder for depth in range(max(DEPTHS) + 1)]


@dataclass(frozen=True)
class Row:
    """What one depth of a bundle costs and how well it separates; without a quality, the mixture itself."""

    quality: bundles.DepthQuality | None
    stoi: float
    pesq: float
    giga_macs: float = 0.0  # per second of audio
    factor: float = 0.0

    @property
    def told_quality(self) -> str:
        """Return the decibels with their interval."""
        if self.quality is None:
            return "0.0 dB"
        e = self.quality
        return f"{e.si_sdri_db:.1f} dB ({e.low_db:.1f} to {e.high_db:.1f})"


def measure(name: str) -> list[Row]:
    """Measure a bundle: the mixture, then every depth of the table."""
    bundle = bundles.load(name)
    quality = bundle.manifest.quality
    assert quality is not None
    seen, factor, giga_macs = measured(bundle), factors(bundle), operations(name)
    entries = [entry for entry in quality.depths if entry.depth in DEPTHS]
    rows = [Row(e, *seen[e.depth], giga_macs[e.depth], factor[e.depth]) for e in entries]
    return [Row(None, *seen["mixture"]), *rows]


def table(name: str, rows: list[Row]) -> str:
    """Return the table of everything about a bundle."""
    kind = "as a stream" if bundles.load(name).manifest.stream else f"{WINDOW_S:g} s at once"
    lines = [
        f"`{name}`, {kind}:",
        "",
        "| depth | SI-SDR improvement | STOI | PESQ | GMAC per second | real-time factor, one core |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        depth, cost = "mixture", "| | |"
        if row.quality is not None:
            depth, cost = str(row.quality.depth), f"| {row.giga_macs:.1f} | {row.factor:.3f} |"
        lines.append(f"| {depth} | {row.told_quality} | {row.stoi:.3f} | {row.pesq:.2f} {cost}")
    return "\n".join(lines) + "\n"


def short_table(by_bundle: dict[str, list[Row]]) -> str:
    """Return the table of quality and time of all bundles, a line for each depth."""
    heads = [f"`{name}` | real-time factor" for name in by_bundle]
    lines = [f"| depth | {' | '.join(heads)} |", "|---" * (1 + 2 * len(heads)) + "|"]
    for rows in zip(*by_bundle.values(), strict=True):
        if rows[0].quality is not None:
            cells = [f"{row.told_quality} | {row.factor:.2f}" for row in rows]
            lines.append(f"| {rows[0].quality.depth} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def draw(by_bundle: dict[str, list[Row]]) -> None:
    """Draw quality by depth, and by time."""
    figure, axes = plt.subplots(1, 2, figsize=(10, 3.2), sharey=True, layout="constrained")
    for name, rows in by_bundle.items():
        entries = [(row.quality, row.factor) for row in rows if row.quality is not None]
        decibels = [e.si_sdri_db for e, _ in entries]
        errors = np.array([[e.si_sdri_db - e.low_db, e.high_db - e.si_sdri_db] for e, _ in entries]).T
        axes[0].errorbar([e.depth for e, _ in entries], decibels, errors, fmt="o-", capsize=2, label=name)
        axes[1].plot([factor for _, factor in entries], decibels, "o-", label=name)
        for e, factor in entries:
            place = (factor, e.si_sdri_db)
            axes[1].annotate(str(e.depth), place, fontsize=7, xytext=(0, 5), textcoords="offset points")
    axes[0].set(xlabel="depth", ylabel="SI-SDR improvement, dB")
    axes[1].set(xlabel="real-time factor on one core", xscale="log")
    axes[1].set_xticks(TICKS, [f"{tick:g}" for tick in TICKS])
    axes[1].minorticks_off()
    axes[0].legend()
    figure.savefig(PICTURE, dpi=90)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--update", action="store_true", help="write to README and docs/benchmarks.md")
    options = parser.parse_args()
    begin_s = time.perf_counter()
    by_bundle = {name: measure(name) for name in BUNDLES}
    draw(by_bundle)
    text = "\n".join(table(name, rows) for name, rows in by_bundle.items())
    print(text, f"took {(time.perf_counter() - begin_s) / 60:.1f} minutes")
    if options.update:
        fill(OVERVIEW, "cost and quality", text)
        fill(README, "quality by depth", short_table(by_bundle))


if __name__ == "__main__":
    main()
