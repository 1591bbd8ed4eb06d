"""What depth costs here, against everything else: PyTorch, one unrolled graph, other separators, the machine.

    python benchmarks/speed.py                          # all of it, printed
    python benchmarks/speed.py --only peers --update    # one part, and it goes into benchmarks/SPEED.md

What is compared runs in turn, round by round, on the same number of threads; times are medians, ratios are
medians of the rounds' ratios. Peers need packages of their own, see `peers.py`.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import onnx
import onnxruntime as ort
import soundfile
import torch
from cost import cost, millions
from onnx import helper
from pages import update
from peers import PEERS

import tisdiss_rt
from tisdiss_export import export_bundle
from tisdiss_models import Network, NetworkConfig, load_checkpoint, save_checkpoint
from tisdiss_rt import bundle as bundles
from tisdiss_rt import measuring
from tisdiss_rt.budget import run_step
from tisdiss_rt.priority import raised_priority
from tisdiss_rt.stream_engine import StreamEngine, open_engine
from tisdiss_rt.timing_cache import processor

HERE = Path(__file__).parent
PAGE = HERE / "SPEED.md"
PICTURE = HERE.parent / "docs" / "speed.png"
STATES = HERE / "states"
EXAMPLE = Path(tisdiss_rt.__file__).parent / "example" / "two_voices.wav"
THREADS = 2
WINDOW_S = 4.0
ROUNDS, FEW_ROUNDS = 7, 3  # the latter for the published size, whose rounds take a minute
# Published dB of the paper's network by depth (the authors' RESULTS.md, WSJ0-2mix).
PUBLISHED_DB = {1: 21.51, 2: 23.48, 3: 24.39, 4: 24.82, 5: 25.03, 6: 25.13, 7: 25.19, 8: 25.20}

Call = Callable[[], object]


def take_turns(calls: dict[str, Call], rounds: int = ROUNDS) -> dict[str, list[float]]:
    """Seconds of each call in each round, after one for warming up."""
    for call in calls.values():
        call()
    taken: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            begin_s = time.perf_counter()
            call()
            taken[name].append(time.perf_counter() - begin_s)
    return taken


def ratio(ours: list[float], theirs: list[float]) -> str:
    """How many times as long theirs took: median of the rounds, and quartiles."""
    each = [b / a for a, b in zip(ours, theirs, strict=True)]
    low, middle, high = np.quantile(each, (0.25, 0.5, 0.75))
    return f"{middle:.2f} ({low:.2f} to {high:.2f})"


@contextmanager
def torch_threads(threads: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    with torch.inference_mode():
        yield
    torch.set_num_threads(before)


def published_bundle(folder: Path) -> tuple[Network, bundles.Bundle]:
    """The paper's network with random weights, and its bundle; made once."""
    torch.manual_seed(0)
    network = Network(NetworkConfig(separator_residual=True)).eval()
    path = folder / "published"
    if not path.exists():
        save_checkpoint(folder / "published.pt", network, {})
        export_bundle(folder / "published.pt", path)
    return network, bundles.load(path)


def unrolled(bundle: bundles.Bundle, depth: int) -> bytes:
    """Stem, so many repetitions and decoder in one ONNX graph; repetitions share their weights."""
    tensors = {"mix": "mix"}
    nodes: list[onnx.NodeProto] = []
    constants: dict[str, onnx.TensorProto] = {}
    for number, name in enumerate(["stem", *["block"] * depth, "decoder"]):
        model = onnx.load_from_string(bundle.read_graph(name, "fp32"))
        names = {value.name: tensors[value.name] for value in model.graph.input} | {"": ""}
        for constant in model.graph.initializer:
            names[constant.name] = f"{name}/{constant.name}"
            constant.name = names[constant.name]
            constants[constant.name] = constant
        for node in model.graph.node:
            node.name = f"{number}/{node.name}"
            node.input[:] = [names.setdefault(tensor, f"{number}/{tensor}") for tensor in node.input]
            node.output[:] = [names.setdefault(tensor, f"{number}/{tensor}") for tensor in node.output]
            nodes.append(node)
        for place, value in enumerate(model.graph.output):
            tensors["z" if name == "block" and place == 0 else value.name] = names[value.name]
    sound = helper.make_tensor_value_info("mix", onnx.TensorProto.FLOAT, [1, None])
    estimate = helper.make_tensor_value_info(tensors["est"], onnx.TensorProto.FLOAT, None)
    graph = helper.make_graph(nodes, "unrolled", [sound], [estimate], list(constants.values()))
    opsets, version = model.opset_import, model.ir_version
    return helper.make_model(graph, opset_imports=opsets, ir_version=version).SerializeToString()


def session(content: bytes, threads: int) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    return ort.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def whole(engine: Any, mix: np.ndarray, depth: int) -> np.ndarray:
    state = engine.start(mix)
    for _ in range(depth):
        engine.repeat(state)
    return engine.decode(state)


# ---- the same weights ----


def same_weights() -> str:
    """This engine against one unrolled graph and against PyTorch, and each graph against the GEMM rate."""
    lines = [
        f"{WINDOW_S:g} s of audio, {THREADS} threads; how many times as long the others take (quartiles).",
        "",
        "| network | depth | this engine | one unrolled graph | PyTorch eager | torch.compile | difference |",
        "|---|---|---|---|---|---|---|",
    ]
    rates = [
        "Billions of float operations per second, beside a product of 2048 x 2048 matrices in ONNX Runtime.",
        "",
        "| network | threads | matrix product | stem | block | decoder | block's share |",
        "|---|---|---|---|---|---|---|",
    ]
    with tempfile.TemporaryDirectory() as folder:
        network, published = published_bundle(Path(folder))
        shipped, _ = load_checkpoint(STATES / "edge-16k" / "state.pt")
        cases = (
            ("edge-16k", shipped.eval(), bundles.load("edge-16k"), (1, 4), ROUNDS),
            ("published size", network, published, (1, 6), FEW_ROUNDS),
        )
        for name, module, bundle, depths, rounds in cases:
            for threads in (1, THREADS):
                rates.append(graph_rates(name, module, bundle, threads, rounds))
            for depth in depths:
                lines.append(against_torch(name, module, bundle, depth, rounds))
    return "\n".join([*lines, "", *rates]) + "\n"


def against_torch(name: str, network: Network, bundle: bundles.Bundle, depth: int, rounds: int) -> str:
    """One row: times of the others over ours, and how much the results differ at most."""
    engine = open_engine(bundle, "cpu", THREADS)
    mix = np.random.default_rng(0).standard_normal(int(WINDOW_S * bundle.manifest.sample_rate)) * 0.1
    mix = mix.astype(np.float32)
    graph = session(unrolled(bundle, depth), THREADS)
    x = torch.from_numpy(mix)[None]

    def eager(module: Network = network) -> torch.Tensor:
        z, z0, spec, scale = module.stem(x)
        for _ in range(depth):
            z = module.block(z, z0)
        return module.decoder(z, spec, scale, x)

    with torch_threads(THREADS):
        compiled = torch.compile(eager)
        calls: dict[str, Call] = {
            "engine": lambda: whole(engine, mix, depth),
            "unrolled": lambda: graph.run(None, {"mix": mix[None]})[0],
            "eager": eager,
            "compile": compiled,
        }
        results = [np.asarray(call()) for call in calls.values()]
        taken = take_turns(calls, rounds)
    worst = max(np.abs(r.reshape(results[0].shape) - results[0]).max() for r in results[1:])
    worst /= np.abs(results[0]).max()
    ratios = " | ".join(ratio(taken["engine"], taken[other]) for other in list(calls)[1:])
    ours_ms = 1e3 * statistics.median(taken["engine"])
    return f"| {name} | {depth} | {ours_ms:.0f} ms | {ratios} | {worst:.0e} |"


def graph_rates(name: str, network: Network, bundle: bundles.Bundle, threads: int, rounds: int) -> str:
    """One row: operations per second of each graph, and of a matrix product in the same rounds."""
    samples = int(WINDOW_S * bundle.manifest.sample_rate)
    giga_operations = [2 * macs * WINDOW_S for macs in cost(network)]  # stem, block, decoder
    engine = open_engine(bundle, "cpu", threads)
    mix = np.random.default_rng(0).standard_normal(samples).astype(np.float32) * np.float32(0.1)
    state = engine.start(mix)
    product, giga_product = matrix_product(threads)
    calls: dict[str, Call] = {
        "product": product,
        "stem": lambda: engine.start(mix),
        "block": lambda: engine.repeat(state),
        "decoder": lambda: engine.decode(state),
    }
    taken = take_turns(calls, rounds)
    seconds = [statistics.median(taken[part]) for part in calls]
    giga_each = [g / s for g, s in zip([giga_product, *giga_operations], seconds, strict=True)]
    cells = " | ".join(f"{each:.0f}" for each in giga_each)
    return f"| {name} | {threads} | {cells} | {100 * giga_each[2] / giga_each[0]:.0f} % |"


def matrix_product(threads: int, size: int = 2048) -> tuple[Call, float]:
    """A product of square matrices in ONNX Runtime, and its billions of operations."""
    shape = [size, size]
    values = [helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, shape) for n in "abc"]
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["a", "b"], ["c"])], "product", values[:2], values[2:]
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    running = session(model.SerializeToString(), threads)
    feed = {n: np.random.default_rng(0).standard_normal(shape).astype(np.float32) for n in "ab"}
    return lambda: running.run(None, feed), 2 * size**3 / 1e9


# ---- peers ----


def peers() -> str:
    """Other separators in their published sizes, random weights, beside ours; draws the picture."""
    lines = [
        f"{WINDOW_S:g} s of audio, {THREADS} threads. The dB of the peers and of the published size are",
        "their authors' (WSJ0-2mix, trained on 30 hours or more); those of edge-16k are ours (test_2mix,",
        "trained on two hours): other mixtures and less data, not to be compared with the rest.",
        "",
        "| separator | from | parameters | dB | PyTorch | ONNX Runtime | real-time factor |",
        "|---|---|---|---|---|---|---|",
    ]
    curves: dict[str, list[tuple[float, float]]] = {}
    for peer in PEERS:
        try:
            network = peer.make().eval()
            lines.append(peer_row(peer.name, peer.version, peer.published_db, network, curves))
        except Exception as error:  # told in the table
            told = f"{type(error).__name__}: {(str(error).splitlines() or [''])[0][:120]}"
            lines.append(f"| {peer.name} | {peer.package} | | {peer.published_db} | {told} | | |")
    with tempfile.TemporaryDirectory() as folder:
        network, published = published_bundle(Path(folder))
        lines += our_rows("TISDiSS, published size", published, network, PUBLISHED_DB, curves)
        edge = bundles.load("edge-16k")
        assert edge.manifest.quality is not None
        quality_db = {entry.depth: entry.si_sdri_db for entry in edge.manifest.quality.depths}
        shipped, _ = load_checkpoint(STATES / "edge-16k" / "state.pt")
        lines += our_rows("edge-16k", edge, shipped, quality_db, curves)
    draw(curves)
    return "\n".join(lines) + "\n"


def peer_row(
    name: str, source: str, published_db: float, network: torch.nn.Module, curves: dict[str, Any]
) -> str:
    mix = torch.randn(1, int(WINDOW_S * 8000)) * 0.1
    with torch_threads(THREADS):
        calls: dict[str, Call] = {"torch": lambda: network(mix)}
        try:
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "peer.onnx"
                program = torch.onnx.export(network, (mix,), dynamo=True, verbose=False)
                assert program is not None
                program.save(path)
                running = session(path.read_bytes(), THREADS)
            feed = {running.get_inputs()[0].name: mix.numpy()}
            calls["onnx"] = lambda: running.run(None, feed)
            exported = ""
        except Exception as error:  # told in the table
            exported = f"no export: {type(error).__name__}"
        taken = take_turns(calls)
    seconds = [statistics.median(each) for each in taken.values()]
    factor = min(seconds) / WINDOW_S
    curves[name] = [(factor, published_db)]
    in_onnx = exported or f"{1e3 * seconds[1]:.0f} ms"
    return (
        f"| {name} | {source} | {millions(network):.1f} M | {published_db} | {1e3 * seconds[0]:.0f} ms "
        f"| {in_onnx} | {factor:.2f} |"
    )


def our_rows(
    name: str, bundle: bundles.Bundle, network: Network, quality_db: dict[int, float], curves: dict[str, Any]
) -> Iterator[str]:
    engine = open_engine(bundle, "cpu", THREADS)
    mix = np.random.default_rng(0).standard_normal(int(WINDOW_S * bundle.manifest.sample_rate)) * 0.1
    mix = mix.astype(np.float32)
    curves[name] = []
    for depth in (d for d in quality_db if d in (0, 1, 2, 4, 6, 8)):
        taken = take_turns({"engine": lambda depth=depth: whole(engine, mix, depth)}, 5)["engine"]  # type: ignore[misc]
        factor = statistics.median(taken) / WINDOW_S
        curves[name].append((factor, quality_db[depth]))
        yield (
            f"| {name}, depth {depth} | this project | {millions(network):.1f} M | {quality_db[depth]:.1f} | "
            f"| {1e3 * statistics.median(taken):.0f} ms | {factor:.2f} |"
        )


def draw(curves: dict[str, list[tuple[float, float]]]) -> None:
    """Quality against time: curves where depth is free, points elsewhere."""
    figure, axis = plt.subplots(figsize=(8, 4.2), layout="constrained")
    for name, points in curves.items():
        factors, decibels = zip(*points, strict=True)
        ours = len(points) > 1
        test_set = "our test_2mix" if name == "edge-16k" else "published, WSJ0-2mix"
        axis.plot(factors, decibels, "o-" if ours else "s", label=f"{name} ({test_set})")
    axis.axvline(1.0, color="gray", linewidth=0.8, linestyle="--")
    axis.text(1.03, axis.get_ylim()[0] + 0.3, "slower than real time", fontsize=8, color="gray")
    axis.set(xscale="log", xlabel=f"seconds of computing per second of audio, {THREADS} threads", ylabel="dB")
    axis.legend(fontsize=8)
    axis.set_title(processor(), fontsize=9)
    figure.savefig(PICTURE, dpi=90)


# ---- how it grows ----


def growth() -> str:
    """Time and peak memory by length, depth, threads and sources, each in a process of its own."""
    lines = [
        "| bundle | audio | depth | threads | sources | time | peak memory |",
        "|---|---|---|---|---|---|---|",
    ]
    with tempfile.TemporaryDirectory() as name:
        three = Path(name) / "three"
        config = load_checkpoint(STATES / "edge-16k" / "state.pt")[0].config
        torch.manual_seed(0)
        network = Network(dataclasses.replace(config, sources=3)).eval()
        save_checkpoint(Path(name) / "three.pt", network, {})
        export_bundle(Path(name) / "three.pt", three)
        probes = [("edge-16k", seconds, 4, THREADS) for seconds in (1, 4, 16, 60, 240, 600)]
        probes += [("edge-16k", 60, depth, THREADS) for depth in (0, 1, 2, 8, 12)]
        probes += [("edge-16k", 60, 4, 1), (str(three), 60, 4, THREADS)]
        probes += [("live-16k", seconds, 4, 1) for seconds in (1, 60, 600)]
        for bundle, seconds, depth, threads in probes:
            command = [sys.executable, __file__, "--probe", bundle, str(seconds), str(depth), str(threads)]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            taken_s, memory_mb = json.loads(done.stdout)
            sources = 3 if "three" in bundle else 2
            label = "edge-16k, other weights" if sources == 3 else bundle
            cells = (
                label,
                f"{seconds} s",
                depth,
                threads,
                sources,
                f"{taken_s:.2f} s",
                f"{memory_mb:.0f} MB",
            )
            lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines) + "\n"


def probe(bundle: str, seconds: str, depth: str, threads: str) -> None:
    """Separate a file once, and print seconds and megabytes."""
    mix, rate = soundfile.read(EXAMPLE, dtype="float32")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "mix.wav"
        soundfile.write(path, np.resize(mix, int(seconds) * rate), rate)
        del mix
        separator = tisdiss_rt.Separator(bundle, provider="cpu", threads=int(threads))
        targets = [Path(folder) / f"{n}.wav" for n in range(separator.bundle.manifest.sources)]
        begin_s = time.perf_counter()
        separator.separate_file(path, targets, depth=int(depth))
        taken_s = time.perf_counter() - begin_s
    print(json.dumps([taken_s, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3]))


# ---- the budget ----

STEPS = 10_000
PAUSE_SHARE = 0.15  # between steps: systems stop real-time programs that never rest
BUDGETS_MS = {"live-16k": (2.0, 3.0, 4.0, 6.0), "edge-16k": (20.0, 40.0)}


def budgets() -> str:
    """Ten thousand steps at each budget, idle and beside busy programs."""
    cores = len(os.sched_getaffinity(0))
    lines = [
        f"{STEPS} steps each, at real-time priority where that is allowed; load is 2 busy processes a core.",
        "",
        "| bundle | budget | load | over budget | share of the budget used | depth, mean | most |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, values in BUDGETS_MS.items():
        for budget_ms in values:
            for load in ("idle", "load"):
                busy = []
                if load == "load":
                    command = [sys.executable, "-c", "while True: pass"]
                    busy = [subprocess.Popen(command) for _ in range(2 * cores)]
                try:
                    with raised_priority():
                        lines.append(budget_row(name, budget_ms, load))
                finally:
                    for process in busy:
                        process.kill()
                        process.wait()
    return "\n".join(lines) + "\n"


def budget_row(name: str, budget_ms: float, load: str) -> str:
    separator = tisdiss_rt.Separator(name, provider="cpu", threads=1)
    plan = separator.plan(budget_ms=budget_ms)
    timings = separator._planner.measure(plan.window_samples)
    engine = separator.engine
    runner = engine.open(plan.max_depth) if isinstance(engine, StreamEngine) else engine
    mix = np.resize(soundfile.read(EXAMPLE, dtype="float32")[0], plan.window_samples * 50)
    windows = mix.reshape(50, plan.window_samples)
    took_ms, depths = [], []
    for number in range(STEPS):
        _, depth, elapsed_ms = run_step(runner, windows[number % 50], plan, timings)
        took_ms.append(elapsed_ms)
        depths.append(depth)
        time.sleep(PAUSE_SHARE * elapsed_ms / 1e3)
    missed = sum(ms > budget_ms for ms in took_ms)
    shallower = [ms for ms, depth in zip(took_ms, depths, strict=True) if depth < plan.max_depth]
    used = f"{100 * np.mean(shallower) / budget_ms:.0f} %" if shallower else "all depth reached"
    window = f", {plan.window_s:g} s windows" if separator.bundle.manifest.stream is None else ""
    return (
        f"| {name}{window} | {budget_ms:g} ms | {load} | {missed} ({100 * missed / STEPS:.2f} %) "
        f"| {used} | {np.mean(depths):.2f} | {plan.max_depth} |"
    )


# ---- predicted against real ----


def predicted() -> str:
    """What `bench` promises for a file, against what `separate` then takes."""
    seconds = 60
    lines = [
        "| bundle | threads | window | depth | predicted | taken | ratio |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, threads in (("edge-16k", 1), ("edge-16k", 2), ("live-16k", 1)):
        separator = tisdiss_rt.Separator(name, provider="cpu", threads=threads)
        costs, _ = measuring.measure_bundle(separator.engine, 5.0)
        last = [c for c in costs if c.window_s == costs[-1].window_s]
        for row in (last[1], last[4], last[-1]):
            promised_s = seconds * row.real_time_factor
            command = [sys.executable, __file__, "--probe", name, str(seconds), str(row.depth), str(threads)]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            taken_s, _ = json.loads(done.stdout)
            times = f"{promised_s:.2f} s | {taken_s:.2f} s | {taken_s / promised_s:.2f}"
            lines.append(f"| {name} | {threads} | {row.window_s:g} s | {row.depth} | {times} |")
    return "\n".join(lines) + "\n"


PARTS: dict[str, tuple[str, Callable[[], str]]] = {
    "weights": ("The same weights", same_weights),
    "peers": ("Other separators", peers),
    "growth": ("How it grows", growth),
    "budget": ("The budget kept", budgets),
    "predicted": ("Predicted by `bench`, and taken", predicted),
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", choices=PARTS, help="one part instead of all")
    parser.add_argument("--update", action="store_true", help=f"write to {PAGE.name}")
    parser.add_argument("--probe", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.probe:
        probe(*options.probe)
        return
    versions = (
        f"PyTorch {torch.__version__}, ONNX Runtime {ort.__version__}, Python {platform.python_version()}"
    )
    where = f"{processor()}, {len(os.sched_getaffinity(0))} cores; {versions}."
    for name, (title, part) in PARTS.items():
        if options.only in (None, name):
            begin_s = time.perf_counter()
            minutes = f"Took {{:.1f}} minutes on {where}"
            text = part()
            text += "\n" + minutes.format((time.perf_counter() - begin_s) / 60) + "\n"
            print(f"## {title}\n\n{text}", flush=True)
            if options.update:
                update(PAGE, [heading for heading, _ in PARTS.values()], title, text)


if __name__ == "__main__":
    main()
