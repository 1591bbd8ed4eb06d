"""Designs of networks for streams, compared: ``DESIGNS.md``.

    python -m benchmarks.designs.designs                    # print the page's sections
    python -m benchmarks.designs.designs --update           # and write them to DESIGNS.md
    python -m benchmarks.designs.designs --only time        # one of them: time or quality

"quality" is made of ``measured.json``, which `train` writes; nothing else needs training.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import torch

from benchmarks.cost import millions, step_cost
from benchmarks.designs.networks import DESIGNS
from benchmarks.designs.train import DEEPEST, MEASURED, TRAINING
from benchmarks.pages import update
from benchmarks.quality.quality import METRIC, interval_db
from tisdiss_export.graphs import write_graphs
from tisdiss_models import StreamingNetwork
from tisdiss_models.streaming import memory_buffers

PAGE = Path(__file__).parent / "DESIGNS.md"
ROUNDS = 400
DEPTHS = (1, 4)
BASE = "attention"
WHAT = {
    "voices": "`voices`: three talkers whose ends were kept for measuring, clean, both talking all the time.",
    "scenes": "`scenes`: those of live-16k, all talkers; measured in 10 scenes of other people and noises.",
}


class Steps:
    """The three graphs of a folder, run on noise one step after the other, on one thread."""

    def __init__(self, folder: Path) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        rng = np.random.default_rng(0)
        self.calls = {}
        for graph in ("stem", "block", "decoder"):
            path = str(folder / f"{graph}.onnx")
            session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
            copies = max(DEPTHS) if graph == "block" else 1  # each repetition has a memory of its own
            inputs = [
                {i.name: 0.1 * rng.standard_normal(i.shape).astype(np.float32) for i in session.get_inputs()}
                for _ in range(copies)
            ]
            self.calls[graph] = (session, inputs)

    def step_ms(self, depth: int) -> float:
        """Run one step and return its time in ms."""
        begin = time.perf_counter()
        self._run("stem", 0)
        for repetition in range(depth):
            self._run("block", repetition)
        self._run("decoder", 0)
        return 1e3 * (time.perf_counter() - begin)

    def _run(self, graph: str, copy: int) -> None:
        session, inputs = self.calls[graph]
        session.run(None, inputs[copy])


def state_kb(network: StreamingNetwork) -> float:
    buffers = memory_buffers(network.config)["block"]
    return sum(4e-3 * np.prod(buffer.shape) for buffer in buffers.values())


def times() -> str:
    """Measure operations, state and time of a step of every design, in turns."""
    networks = {name: design.network(design.config).eval() for name, design in DESIGNS.items()}
    taken: dict[int, dict[str, list[float]]] = {depth: {name: [] for name in networks} for depth in DEPTHS}
    with tempfile.TemporaryDirectory() as work:
        steps = {}
        for name, network in networks.items():
            folder = Path(work) / name
            folder.mkdir()
            write_graphs(network, folder)
            steps[name] = Steps(folder)
        for _ in range(ROUNDS):
            for depth in DEPTHS:
                for name in steps:
                    taken[depth][name].append(steps[name].step_ms(depth))
    lines = ["| design | parameters | GMAC/s at depth 1 | 4 | state per repetition | step at depth 1 | 4 |"]
    lines.append("|---|---|---|---|---|---|---|")
    for name in steps:
        cells = [_cost_cells(networks[name])]
        cells += [_time_cell(taken[depth][name], taken[depth][BASE]) for depth in DEPTHS]
        lines.append(f"| `{name}` | " + " | ".join(cells) + " |")
    lines += [
        "",
        f"The least time of {ROUNDS} steps on one thread, each design in turn; in brackets its ratio to that "
        f"of `{BASE}`, and the median of the ratios within each round, on a machine with other work.",
    ]
    return "\n".join(lines) + "\n"


def _cost_cells(network: StreamingNetwork) -> str:
    stem, block, decoder = step_cost(network)
    shallow, deep = (stem + depth * block + decoder for depth in DEPTHS)
    return f"{millions(network):.2f} M | {shallow:.2f} | {deep:.2f} | {state_kb(network):.0f} kB"


def _time_cell(taken_ms: list[float], base_ms: list[float]) -> str:
    ratios = np.array(taken_ms) / np.array(base_ms)
    least = min(taken_ms) / min(base_ms)
    return f"{min(taken_ms):.2f} ms ({least:.2f}, {np.median(ratios):.2f})"


def quality() -> str:
    """Report the quality of the small designs by depth: a table for each task, with paired differences."""
    measured = json.loads(MEASURED.read_text(encoding="utf-8"))
    texts = []
    for task, config in TRAINING.items():
        gains = {  # (depths, mixtures of all sets)
            name: np.concatenate([np.array(values) for values in measured[task][name].values()], 1)
            for name in DESIGNS
            if name in measured[task]
        }
        head = [
            "design",
            *(f"depth {n}" for n in range(DEEPEST + 1)),
            *(f"{n} less `{BASE}`" for n in DEPTHS),
        ]
        lines = [f"{WHAT[task]} {config.steps} steps of {config.batch} mixtures of {config.crop_s:g} s.", ""]
        lines += ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
        for name, values in gains.items():
            cells = [f"{value:.2f}" for value in values.mean(1)]
            cells += [_difference(values[depth] - gains[BASE][depth]) for depth in DEPTHS]
            lines.append(f"| `{name}` | " + " | ".join(cells) + " |")
        lines += ["", f"{METRIC}, mean over {gains[BASE].shape[1]} mixtures of 4 s."]
        taken_s = measured.get(f"{task}_training_s", {})
        if BASE in taken_s:
            shares = [f"`{name}` {taken_s[name] / taken_s[BASE]:.2f}" for name in gains if name != BASE]
            lines[-1] += f" Training took of `{BASE}`'s processor time: {', '.join(shares)}."
        texts.append("\n".join(lines))
    texts.append(
        "In brackets the 95 % interval with other mixtures. Another seed changes networks of this size by "
        "0.12 dB (standard deviation, from CLAIMS.md): that alone is 0.33 dB to both sides of a difference."
    )
    return "\n\n".join(texts) + "\n"


def _difference(values: np.ndarray) -> str:
    if not values.any():
        return ""
    low, high = interval_db(values)
    return f"{values.mean():+.2f} dB ({low:+.2f} to {high:+.2f})"


def what() -> str:
    """Describe the designs and their small size."""
    lines = ["| design | what |", "|---|---|"]
    lines += [f"| `{name}` | {design.title} |" for name, design in DESIGNS.items()]
    small = DESIGNS[BASE].small
    lines += [
        "",
        "Time, operations and state are those of the size that would be shipped. Quality is that of a small "
        f"size: {len(small.bands)} bands, width {small.dim}, steps of {1e3 * small.hop / 16000:g} ms, half "
        f"as many layers before the split, trained at depth {small.trained_depth}, one seed.",
    ]
    return "\n".join(lines) + "\n"


PARTS: dict[str, tuple[str, Callable[[], str]]] = {
    "what": ("Designs", what),
    "time": ("Operations, state and time of a step", times),
    "quality": ("Quality", quality),
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", choices=PARTS, help="one part instead of all")
    parser.add_argument("--update", action="store_true", help=f"write to {PAGE.name}")
    options = parser.parse_args()
    torch.set_num_threads(1)
    for name, (title, part) in PARTS.items():
        if options.only in (None, name):
            text = part()
            print(f"## {title}\n\n{text}")
            if options.update:
                update(PAGE, [heading for heading, _ in PARTS.values()], title, text)


if __name__ == "__main__":
    main()
