"""Part of `tuning.py`: what each choice of the engine gains, for files and for live sound."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnxruntime as ort

from benchmarks.speed.tools import THREADS, Call, noise, take_turns, whole
from tisdiss_rt import bundle as bundles
from tisdiss_rt.bundle import GRAPHS
from tisdiss_rt.engine import open_engine
from tisdiss_rt.engine.onnx_runtime import OrtGraph
from tisdiss_rt.engine.streaming import StreamingEngine

FILE_DEPTH, LIVE_DEPTH = 4, 3
ROUNDS = 9
STEPS = 100  # of live sound, in a row
REST_S = 0.3  # of a step's length, until the next one


class PlainGraph(OrtGraph):
    """A graph called with arrays, so that every map is copied out of the runtime and into it again."""

    def tensor(self, array: np.ndarray) -> Any:
        return array

    def array(self, tensor: Any) -> np.ndarray:
        return tensor

    def run(self, tensors: dict[str, Any], into: Any | None = None) -> dict[str, Any]:
        return dict(zip(self.outputs, self.run_arrays({n: tensors[n] for n in self.inputs}), strict=True))


class BoundGraph(OrtGraph):
    """An engine that binds the tensors of live steps, too."""

    def run_arrays(self, arrays: dict[str, np.ndarray]) -> list[np.ndarray]:
        outputs = self.run({name: self.tensor(arrays[name]) for name in self.inputs})
        return [self.array(outputs[name]) for name in self.outputs]


@dataclass(frozen=True)
class Choice:
    """Settings of a session that differ from the engine's, and how its graphs are called."""

    title: str
    settings: tuple[tuple[str, str], ...] = ()
    memory_pattern: bool = False
    threads: int | None = None
    graph: Callable[[Any], OrtGraph] = OrtGraph
    kinds: tuple[str, ...] = ("file", "live")


OURS = (
    ("session.use_env_allocators", "1"),
    ("session.set_denormal_as_zero", "1"),
    ("session.force_spinning_stop", "1"),
)
CHOICES = (
    Choice("threads go on spinning when a graph is done", (("session.force_spinning_stop", "0"),)),
    Choice("threads never spin", (("session.intra_op.allow_spinning", "0"),)),
    Choice("one thread", threads=1, kinds=("file",)),
    Choice("two threads", threads=2, kinds=("live",)),
    Choice("an arena for each graph", (("session.use_env_allocators", "0"),)),
    Choice("memory planned for each length", memory_pattern=True),
    Choice("maps copied into and out of the runtime", graph=PlainGraph, kinds=("file",)),
    Choice("tensors bound in live steps", graph=BoundGraph, kinds=("live",)),
)


def opened(bundle: bundles.Bundle, threads: int, choice: Choice) -> Any:
    """Open the engine with another choice."""
    engine = open_engine(bundle, "cpu", threads, "fp32")
    for name in GRAPHS:
        options = ort.SessionOptions()
        options.intra_op_num_threads = choice.threads or threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        options.enable_mem_pattern = choice.memory_pattern
        for key, value in {**dict(OURS), **dict(choice.settings)}.items():
            options.add_session_config_entry(key, value)
        content = bundle.read_graph(name, "fp32")
        session = ort.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        engine._graphs[name] = choice.graph(session)
    return engine


def file_call(engine: Any, mix: np.ndarray) -> Call:
    return lambda: whole(engine, mix, FILE_DEPTH)


def live_call(engine: StreamingEngine, mix: np.ndarray) -> Call:
    """Return a call that runs steps with pauses between them, as in live sound."""
    stream = engine.open(LIVE_DEPTH)
    samples = engine.manifest.timing()["step"][0]
    rest_s = REST_S * samples / engine.manifest.sample_rate

    def call() -> None:
        for number in range(STEPS):
            step = stream.start(mix[number * samples : (number + 1) * samples])
            for _ in range(LIVE_DEPTH):
                stream.repeat(step)
            stream.decode(step)
            time.sleep(rest_s)

    return call


def engine_choices() -> str:
    """Report the time of each other choice over that of the engine, taking turns with it."""
    cells = {choice.title: ["", ""] for choice in CHOICES}
    ours_ms = []
    for column, (kind, name, threads) in enumerate((("file", "edge-16k", THREADS), ("live", "live-16k", 1))):
        bundle = bundles.load(name)
        mix = noise(bundle)
        make = file_call if kind == "file" else live_call
        ours = make(opened(bundle, threads, Choice("")), mix)
        each_s: list[float] = []
        for choice in CHOICES:
            if kind in choice.kinds:
                theirs = make(opened(bundle, threads, choice), mix)
                ours()
                theirs()
                taken = take_turns({"ours": ours, "theirs": theirs}, ROUNDS)
                rest_s = 0.0 if kind == "file" else STEPS * REST_S * 0.008
                pairs = zip(taken["ours"], taken["theirs"], strict=True)
                ratios = [(b - rest_s) / (a - rest_s) for a, b in pairs]
                low, middle, high = np.quantile(ratios, (0.25, 0.5, 0.75))
                cells[choice.title][column] = f"{middle:.2f} ({low:.2f} to {high:.2f})"
                each_s += [s - rest_s for s in taken["ours"]]
        ours_ms.append(1e3 * np.median(each_s) / (1 if kind == "file" else STEPS))
    lines = [
        "How many times as long it takes with another choice (quartiles).",
        f"Files: 4 s at depth {FILE_DEPTH} on {THREADS} threads, {ours_ms[0]:.0f} ms as it is.",
        f"Live: steps of 8 ms at depth {LIVE_DEPTH} on one thread, with pauses, {ours_ms[1]:.2f} ms.",
        "",
        "| instead | files, edge-16k | live, live-16k |",
        "|---|---|---|",
        *(f"| {title} | {' | '.join(column)} |" for title, column in cells.items()),
    ]
    return "\n".join(lines) + "\n"
