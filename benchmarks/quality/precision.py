"""What reduced precision costs in quality: the shipped bundles on the test of `quality.py`, beside floats.

python -m benchmarks.quality.precision                         # print all tables
python -m benchmarks.quality.precision --only int8 --update    # one, and write it to QUALITY.md

Bfloat16 needs a processor that has it.
"""

from __future__ import annotations

import argparse
import itertools
import sys

import numpy as np

from benchmarks.pages import update
from benchmarks.quality.quality import BEYOND, PAGE, SECTIONS, improvement_db, mixtures, speech_folder
from tisdiss_rt import bundle as bundles
from tisdiss_rt.engine import open_engine

PARTS = {  # section, provider, precision, bundles with which share of the mixtures: a stream takes longer
    "bf16": ("Bfloat16", "openvino", "bf16", {"edge-16k": 1, "live-16k": 4}),
    "int8": ("8-bit integers", "cpu", "int8", {"edge-16k": 4}),
}


def losses(
    bundle: bundles.Bundle, provider: str, precision: str, every: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return, by mixture and depth, the dB lost against 32-bit floats, and the outputs' SNR in dB."""
    engines = [open_engine(bundle, "cpu", precision="fp32"), open_engine(bundle, provider, None, precision)]
    deepest = bundle.manifest.depth.trained + BEYOND
    lost, snr_db = [], []
    chosen = itertools.islice(mixtures(speech_folder(), bundle.manifest.sample_rate), 0, None, every)
    for number, (mix, references) in enumerate(chosen):
        print(f"\r{bundle.manifest.name}: mixture {number + 1}", end="", file=sys.stderr, flush=True)
        exact, rounded = (engine.every_depth(mix, deepest) for engine in engines)
        pairs = list(zip(exact, rounded, strict=True))
        gained = np.array([[improvement_db(est, references, mix) for est in pair] for pair in pairs])
        lost.append(gained[:, 0] - gained[:, 1])
        noise = [np.square(e - r).sum() + 1e-20 for e, r in pairs]
        snr_db.append([10 * np.log10(np.square(e).sum() / n) for e, n in zip(exact, noise, strict=True)])
    print(file=sys.stderr)
    return np.array(lost), np.array(snr_db)


def table(name: str) -> str:
    """Return one section."""
    _, provider, precision, shares = PARTS[name]
    graphs = "Stem and block" if precision == "int8" else "The block"
    lines = [
        f"{graphs} in {precision} (`--provider {provider} --precision {precision}`) against 32-bit floats, "
        "by mixture.",
        "Lost: dB of SI-SDR improvement, mean and worst mixture. SNR: of the outputs, median and worst.",
        "",
        "| bundle | depth | mixtures | lost, mean | worst | SNR, median | worst |",
        "|---|---|---|---|---|---|---|",
    ]
    for bundle, every in shares.items():
        lost, snr_db = losses(bundles.load(bundle), provider, precision, every)
        for depth in range(lost.shape[1]):
            loss, snr = lost[:, depth], snr_db[:, depth]
            lines.append(
                f"| {bundle} | {depth} | {len(lost)} | {loss.mean():.4f} dB | {loss.max():.3f} dB "
                f"| {np.median(snr):.0f} dB | {snr.min():.0f} dB |"
            )
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", choices=PARTS, help="one precision instead of all")
    parser.add_argument("--update", action="store_true", help=f"write to {PAGE.name}")
    options = parser.parse_args()
    for name in [options.only] if options.only else PARTS:
        text = table(name)
        print(text)
        if options.update:
            update(PAGE, SECTIONS, PARTS[name][0], text)


if __name__ == "__main__":
    main()
