"""Part of STREAMING.md: what 8-bit integers would gain in streams, and what they would cost.

    python -m benchmarks.live.integers             # print the table
    python -m benchmarks.live.integers --update    # and write it to STREAMING.md

Matrix products with weights in stem and block, all of them or the largest, get weights of 7 bits and inputs
of 8; their results stay floats. The range of an input is the one that it has in scenes of validation people,
or found anew in every step. Needs what `benchmarks.quality.scenes` needs.
"""

from __future__ import annotations

import argparse
import functools
import math
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_dynamic, quantize_static

from benchmarks.live.streaming import HEADINGS, INTEGERS, PAGE
from benchmarks.pages import update
from benchmarks.quality.quality import improvement_db
from benchmarks.quality.scenes import IMPROVED, mixtures
from benchmarks.speed.tools import ratio, session, take_turns
from tisdiss_export.graphs import quiet
from tisdiss_export.quantising import INT8, QUANTISED, carry, fold_constants
from tisdiss_rt import bundle as bundles
from tisdiss_rt.audio import Array
from tisdiss_rt.engine import open_engine
from tisdiss_rt.engine.streaming import Fifo, StreamingEngine

DEPTHS = (1, 4)
CALIBRATION_MIXTURES = 2  # of each scene
MIXTURES = 8  # of each scene, to measure with
EVERY = 40  # steps: one of so many sets the ranges
ROUNDS, STEPS = 40, 10
WEIGHTS = 1000  # numbers that a product has at least
LARGE = 12288
WAYS = {  # numbers of weights at least, ranges that are found in advance
    "all products, ranges of scenes": (WEIGHTS, True),
    "all products, ranges of each step": (WEIGHTS, False),
    "the largest products, ranges of scenes": (LARGE, True),
    "the largest products, ranges of each step": (LARGE, False),
}

Inputs = dict[str, Array]
Scenes = dict[str, list[tuple[Array, Array]]]


class Recording(StreamingEngine):
    """Keeps what some of the steps give to each graph."""

    kept: dict[str, list[Inputs]]
    is_kept = False

    def run(
        self, graph: str, tensors: dict[str, Array], memory: list[Fifo]
    ) -> tuple[dict[str, Array], list[Array]]:
        """See `StreamingEngine`."""
        if self.is_kept:
            call = self._calls[graph]
            inputs = {name: tensors[name] for name in call.inputs}
            windows = {name: fifo.window.copy() for name, fifo in zip(call.buffers, memory, strict=True)}
            self.kept.setdefault(graph, []).append({**inputs, **windows})
        return super().run(graph, tensors, memory)


class Reader(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime has no types
    """Gives inputs of a graph one after the other."""

    def __init__(self, inputs: list[Inputs]) -> None:
        self._inputs = iter(inputs)

    def get_next(self) -> Inputs | None:
        return next(self._inputs, None)


def scenes(people: str, count: int, rate: int) -> Scenes:
    """Make mixtures (samples,) and voices (talkers, samples) of every scene of two talkers."""
    found = {}
    for name in IMPROVED:
        mix, voices = mixtures(name, people, count, rate)
        if voices.shape[1] == 2:
            found[name] = list(zip(mix.numpy(), voices.numpy(), strict=True))
    return found


def recorded(bundle: bundles.Bundle, deepest: int) -> dict[str, list[Inputs]]:
    """Return inputs of each graph from scenes of validation people, those of the block at every depth."""
    engine = Recording(bundle, "cpu", precision="fp32")
    engine.kept = {}
    for pairs in scenes("validation", CALIBRATION_MIXTURES, engine.manifest.sample_rate).values():
        for mix, _ in pairs:
            steps = engine.open(deepest)
            for number, part in enumerate(engine.cut(mix)):
                engine.is_kept = number % EVERY == EVERY - 1
                step = steps.start(part)
                for _ in range(deepest):
                    steps.repeat(step)
                steps.decode(step)
    return engine.kept


def quantise(floats: Path, path: Path, least: int, inputs: list[Inputs] | None) -> None:
    """Write the graph with its products of so many weights in int8; without inputs, ranges of each step."""
    graph = onnx.load(floats).graph
    sizes = {constant.name: math.prod(constant.dims) for constant in graph.initializer}
    nodes = [
        node.name
        for node in graph.node
        if node.op_type in ("MatMul", "Gemm") and any(sizes.get(name, 0) >= least for name in node.input)
    ]
    common = {"nodes_to_quantize": nodes, "weight_type": QuantType.QInt8, "reduce_range": True}
    with quiet():  # of advice to prepare the graph, as `fold_constants` does
        if inputs is None:
            quantize_dynamic(str(floats), str(path), **common)
        else:
            floating = {"OpTypesToExcludeOutputQuantization": ["MatMul", "Gemm"]}
            ranges = {"activation_type": QuantType.QUInt8, "extra_options": floating}
            quantize_static(str(floats), str(path), Reader(inputs), **ranges, **common)


def in_integers(
    bundle: bundles.Bundle, folder: Path, least: int, inputs: dict[str, list[Inputs]] | None
) -> bundles.Bundle:
    """Write the bundle with stem and block in int8 to a folder."""
    shutil.copytree(bundle.folder, folder)
    made = bundles.load(folder)
    for name in QUANTISED:
        floats, path = folder / "floats.onnx", folder / f"{name}.{INT8}.onnx"
        fold_constants(bundle.read_graph(name, "fp32"), floats)
        quantise(floats, path, least, inputs[name] if inputs else None)
        made = carry(made, name, path)
    return made


def steps_of(
    bundle: bundles.Bundle, precision: str, inputs: dict[str, list[Inputs]]
) -> list[Callable[[], None]]:
    """Return calls that run steps at each of `DEPTHS` on one thread, without what is around the graphs."""
    sessions = {name: session(bundle.read_graph(name, precision), 1) for name in inputs}
    feeds = {name: kept[len(kept) // 2] for name, kept in inputs.items()}

    def run(depth: int) -> None:
        for _ in range(STEPS):
            for name in ("stem", *["block"] * depth, "decoder"):
                sessions[name].run(None, feeds[name])

    calls: list[Callable[[], None]] = [functools.partial(run, depth) for depth in DEPTHS]
    for call in calls:
        call()
    return calls


def improvements(bundle: bundles.Bundle, precision: str, test: Scenes) -> np.ndarray:
    """Return the mean improvement in dB over scenes at each of `DEPTHS`."""
    engine = open_engine(bundle, "cpu", 1, precision)
    means = []
    for name, pairs in test.items():
        print(f"{precision}: {name}", file=sys.stderr, flush=True)
        estimates = [(engine.every_depth(mix, max(DEPTHS)), voices, mix) for mix, voices in pairs]
        means.append([np.mean([improvement_db(e[depth], v, x) for e, v, x in estimates]) for depth in DEPTHS])
    found: np.ndarray = np.mean(means, 0)
    return found


def table(bundle: bundles.Bundle) -> str:
    """Measure the bundle in 32-bit floats and in every way."""
    test = scenes("test", MIXTURES, bundle.manifest.sample_rate)
    inputs = recorded(bundle, bundle.manifest.depth.trained)
    lines = [
        "| stem and block | "
        + " | ".join(f"step at depth {depth} | SI-SDR improvement" for depth in DEPTHS)
        + " |",
        "|---" * (1 + 2 * len(DEPTHS)) + "|",
    ]
    with tempfile.TemporaryDirectory() as work:
        ways = {"32-bit floats": (bundle, "fp32")}
        for number, (way, (least, in_advance)) in enumerate(WAYS.items()):
            folder = Path(work) / str(number)
            ways[way] = in_integers(bundle, folder, least, inputs if in_advance else None), INT8
        calls = {way: steps_of(each, precision, inputs) for way, (each, precision) in ways.items()}
        taken = [take_turns({way: of[i] for way, of in calls.items()}, ROUNDS) for i in range(len(DEPTHS))]
        exact_db = improvements(bundle, "fp32", test)
        for way, (each, precision) in ways.items():
            is_exact = precision == "fp32"
            found_db = exact_db if is_exact else improvements(each, precision, test) - exact_db
            cells = []
            for by_way, decibels in zip(taken, found_db, strict=True):
                exact = by_way["32-bit floats"]
                took = (
                    f"{1e3 * np.median(exact) / STEPS:.2f} ms"
                    if is_exact
                    else f"{ratio(exact, by_way[way])} times"
                )
                cells += [took, f"{decibels:.2f} dB" if is_exact else f"{decibels:+.2f} dB"]
            lines.append(f"| {way} | " + " | ".join(cells) + " |")
    lines += [
        "",
        f"Time of the graphs alone, one thread, in turn, with quartiles. Mean over {len(test)} scenes of "
        f"test people, {MIXTURES} mixtures of each. Ranges of scenes are those of validation people, "
        f"{CALIBRATION_MIXTURES} mixtures of each.",
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--bundle", default="live-16k", help="name or folder of a streaming bundle")
    parser.add_argument("--update", action="store_true", help=f"write to {PAGE.name}")
    options = parser.parse_args()
    text = table(bundles.load(options.bundle))
    print(text)
    if options.update:
        update(PAGE, HEADINGS, INTEGERS, text)


if __name__ == "__main__":
    main()
