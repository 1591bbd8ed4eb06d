"""An hour of two people who talk: who is on which output, and what it takes, beside version 0.1.0.

Both versions run as commands, in turn, with one thread at depth 4, on the same files. Time is that of the
processor; memory is the most that the process held.

    git worktree add ../0.1.0 7bed0e9
    python -m benchmarks.quality.hours --old ../0.1.0 --minutes 10   # quickly
    python -m benchmarks.quality.hours --old ../0.1.0 --update       # to TALKERS.md and docs/hour.png
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import soundfile
from matplotlib.colors import ListedColormap

from benchmarks.quality import conversation
from benchmarks.quality.conversation import Conversation
from benchmarks.quality.conversations import ALONE_S, Measured, alone, compare, write

REPOSITORY = Path(__file__).parents[2]
PICTURE = REPOSITORY / "docs" / "hour.png"
SEED = 100
COMMAND = (
    "import sys; from tisdiss_rt.cli{} import main\n"
    "try: main()\n"
    "finally: print(open('/proc/self/status').read(), file=sys.stderr)"
)
OPTIONS = ("--provider", "cpu", "--precision", "fp32", "--threads", "1", "--depth", "4", "--quiet")
QUIET = 1e-3  # of the mean power of an output: nobody is heard
COLORS = ("#f4f4f4", "#0072b2", "#e69f00")  # nobody, and the two people


@dataclass(frozen=True)
class Run:
    """What one version made of a conversation: its outputs (2, n), what they are worth, and its memory."""

    outputs: np.ndarray
    measured: Measured
    peak_mb: float


def run(checkout: Path, made: Conversation, folder: Path) -> Run:
    """Separate a conversation with the package of a checkout."""
    path, out = folder / "conversation.wav", folder / checkout.name
    soundfile.write(path, made.mix, made.sample_rate, subtype="FLOAT")
    module = ".main" if (checkout / "runtime" / "tisdiss_rt" / "cli").is_dir() else ""
    program = [sys.executable, "-c", COMMAND.format(module)]
    arguments = [*program, "separate", str(path), "-o", str(out), *OPTIONS]
    environment = {**os.environ, "PYTHONPATH": str(checkout / "runtime")}
    before = os.times()
    told = subprocess.run(arguments, env=environment, check=True, stderr=subprocess.PIPE, text=True).stderr
    after = os.times()
    took_s = after.children_user + after.children_system - before.children_user - before.children_system
    outputs = np.stack(
        [soundfile.read(out / f"conversation_spk{number}.wav", dtype="float32")[0] for number in (1, 2)]
    )
    peak_kb = int(told.partition("VmHWM:")[2].split()[0])
    return Run(outputs, compare(outputs, made, alone(made), took_s), peak_kb / 1024)


def heard(outputs: np.ndarray, made: Conversation) -> np.ndarray:
    """Return for each part of `ALONE_S` whom an output (outputs, n) is most like, from 1; 0 for nobody."""
    size = round(ALONE_S * made.sample_rate)
    parts = len(made.mix) // size
    cut_outputs = outputs[:, : parts * size].reshape(len(outputs), 1, parts, size)
    cut_voices = made.voices[None, :, : parts * size].reshape(1, len(made.voices), parts, size)
    products = np.abs((cut_outputs * cut_voices).sum(3)) / (np.sqrt(np.square(cut_voices).sum(3)) + 1e-6)
    power = np.square(cut_outputs).mean(3)[:, 0]
    found: np.ndarray = np.where(power > QUIET * power.mean(1, keepdims=True), products.argmax(1) + 1, 0)
    return found


def draw(made: Conversation, old: Run, new: Run) -> None:
    """Draw who talks, and who is heard on the outputs of both versions."""
    size = round(ALONE_S / conversation.FRAME_S)
    parts = made.talks.shape[1] // size
    talks = made.talks[:, : parts * size].reshape(2, parts, size).mean(2) > 0.5
    rows = {
        "talks": talks * np.array([[1], [2]]),
        "0.1.0": heard(old.outputs, made),
        "now": heard(new.outputs, made),
    }
    figure, axes = plt.subplots(3, 1, figsize=(10, 2.8), sharex=True, layout="constrained")
    for axis, (name, lanes) in zip(axes, rows.items(), strict=True):
        extent = (0, parts * ALONE_S / 60, 2, 0)
        axis.imshow(
            lanes, aspect="auto", interpolation="nearest", extent=extent, cmap=ListedColormap(COLORS), vmax=2
        )
        axis.axhline(1, color="white", linewidth=3)
        labels = ("A", "B") if name == "talks" else ("output 1", "output 2")
        axis.set_yticks([0.5, 1.5], labels)
        axis.set_ylabel(name, rotation=0, ha="right", va="center", labelpad=12)
        axis.tick_params(length=0)
    axes[-1].set_xlabel("minutes")
    figure.savefig(PICTURE, dpi=90)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--old", type=Path, required=True, help="checkout of version 0.1.0")
    parser.add_argument("--minutes", type=float, nargs="+", default=[10.0, 60.0])
    parser.add_argument("--scene", choices=sorted(conversation.SCENES), default="clean")
    parser.add_argument("--update", action="store_true", help="write to TALKERS.md and docs/hour.png")
    options = parser.parse_args()
    lines = [
        f"Two people of `test/`, {options.scene}, `edge-16k` at depth 4, one thread; each version in turn.",
        "",
        "| minutes | version | alone, on the wrong output | SI-SDR improvement | real-time factor | memory |",
        "|---|---|---|---|---|---|",
    ]
    for minutes in options.minutes:
        made = conversation.make("test", 2, minutes, options.scene, SEED)
        with tempfile.TemporaryDirectory() as folder:
            old, new = (run(path.resolve(), made, Path(folder)) for path in (options.old, REPOSITORY))
        factor = new.measured.real_time_factor / old.measured.real_time_factor
        for name, each, ratio in (("0.1.0", old, ""), ("now", new, f" ({factor:.2f} times)")):
            found = each.measured
            lines.append(
                f"| {minutes:g} | {name} | {100 * found.wrong:.1f} % | {found.improvement_db:.1f} dB "
                f"| {found.real_time_factor:.2f}{ratio} | {each.peak_mb:.0f} MB |"
            )
        print("\n".join(lines[-2:]), flush=True)
    if options.update:
        draw(made, old, new)
        write("edge-16k, test, an hour", "\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
