"""Part of `speed.py`: this engine against PyTorch and one unrolled graph; graphs against the GEMM rate."""

from __future__ import annotations

import statistics
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import torch
from onnx import helper

from benchmarks.cost import cost
from benchmarks.shipped import shipped_network
from benchmarks.speed.tools import (
    FEW_ROUNDS,
    ROUNDS,
    THREADS,
    WINDOW_S,
    Call,
    Chain,
    engine_chain,
    matrix_product,
    noise,
    pass_through,
    published_bundle,
    ratio,
    session,
    take_turns,
    torch_threads,
)
from tisdiss_models import Network
from tisdiss_rt import bundle as bundles
from tisdiss_rt.engine import open_engine
from tisdiss_rt.engine.backends import BACKENDS
from tisdiss_rt.engine.offline import OfflineEngine
from tisdiss_rt.engine.openvino import installed_version


def same_weights() -> str:
    """Compare this engine with one unrolled graph and with PyTorch, and each graph with the GEMM rate."""
    lines = [
        f"{WINDOW_S:g} s of audio, {THREADS} threads; how many times as long the others take (quartiles).",
        "",
        "| network | depth | this engine | one unrolled graph | PyTorch eager | torch.compile | difference |",
        "|---|---|---|---|---|---|---|",
    ]
    reduced = [
        "In 8-bit integers by ONNX Runtime where the bundle has them (random weights lose too much), and the "
        f"block in bfloat16 by OpenVINO {installed_version()} where the processor has it; beside it, how "
        "many times as long 32-bit floats take (quartiles).",
        "",
        "| network | depth | precision | time | real-time factor | this engine | PyTorch eager "
        "| output SNR |",
        "|---|---|---|---|---|---|---|---|",
    ]
    rates = [
        "Billions of operations per second in ONNX Runtime, beside a product of 2048 x 2048 matrices of "
        "32-bit floats in it; and the real-time factor at the trained depth that follows.",
        "",
        "| network | precision | threads | matrix product | stem | block | decoder | block's share | depth "
        "| real-time factor |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    with tempfile.TemporaryDirectory() as folder:
        network, published = published_bundle(Path(folder))
        shipped = shipped_network("edge-16k")
        assert isinstance(shipped, Network)
        cases = (
            ("edge-16k", shipped, bundles.load("edge-16k"), (1, 4), ROUNDS, (1, THREADS)),
            ("published size", network, published, (1, 3, 6), FEW_ROUNDS, (THREADS,)),
        )
        for name, module, bundle, depths, rounds, threads_of_rates in cases:
            for precision in bundle.manifest.graphs.block.files:
                for threads in threads_of_rates:
                    rates.append(graph_rates(name, module, bundle, precision, threads, rounds))
            floats_rows, reduced_rows = against_torch(name, module, bundle, depths, rounds)
            lines += floats_rows
            reduced += reduced_rows
    return "\n".join([*lines, "", *reduced, "", *rates]) + "\n"


def torch_chain(x: torch.Tensor, stem: Any, block: Any, decoder: Any) -> Chain:
    """Make the chain on a mixture (1, samples); its state is a list of z, z0, spectrum and scale."""

    def repeat(state: list[torch.Tensor]) -> None:
        state[0] = block(*state[:2])

    return Chain(lambda: list(stem(x)), repeat, lambda state: decoder(state[0], *state[2:], x).numpy())


def unrolled_chain(graphs: dict[int, ort.InferenceSession], mix: np.ndarray) -> Chain:
    """Make the chain of one graph for each depth; all of its time counts as decoding."""
    return Chain(
        lambda: [0],
        lambda state: state.append(0),
        lambda state: graphs[len(state) - 1].run(None, {"mix": mix[None]})[0],
    )


def against_torch(
    name: str, network: Network, bundle: bundles.Bundle, depths: tuple[int, ...], rounds: int
) -> tuple[list[str], list[str]]:
    """Return rows of this engine and of each reduced precision: times of the others over it, and errors."""
    engine = open_engine(bundle, "cpu", THREADS, "fp32")
    reduced = {}
    if "int8" in bundle.manifest.graphs.block.files:
        reduced["int8"] = open_engine(bundle, "cpu", THREADS, "int8")
    if BACKENDS["openvino"].precisions(bundle)[0] == "bf16":
        reduced["bf16"] = open_engine(bundle, "openvino", THREADS, "bf16")
    mix = noise(bundle)
    x, parts = torch.from_numpy(mix)[None], (network.stem, network.block, network.decoder)
    graphs = {depth: session(unrolled(bundle, depth), THREADS) for depth in depths}
    chains = {
        "engine": engine_chain(engine, mix),
        "unrolled": unrolled_chain(graphs, mix),
        "eager": torch_chain(x, *parts),
        "compile": torch_chain(x, *(torch.compile(part) for part in parts)),
        **{precision: engine_chain(other, mix) for precision, other in reduced.items()},
    }
    with torch_threads(THREADS):
        for chain in chains.values():  # to be warm
            pass_through(chain, depths[:1])
        passes = [{n: pass_through(chain, depths) for n, chain in chains.items()} for _ in range(rounds)]
    rows, reduced_rows = [], []
    for depth in depths:
        taken = {n: [each[n][depth][0] for each in passes] for n in chains}
        results = {n: np.asarray(passes[0][n][depth][1]).reshape(2, -1) for n in chains}
        exact = results["engine"]
        others = [results[n] for n in ("unrolled", "eager", "compile")]
        worst = max(np.abs(result - exact).max() for result in others) / np.abs(exact).max()
        ratios = " | ".join(ratio(taken["engine"], taken[n]) for n in ("unrolled", "eager", "compile"))
        ours_ms = 1e3 * statistics.median(taken["engine"])
        rows.append(f"| {name} | {depth} | {ours_ms:.0f} ms | {ratios} | {worst:.0e} |")
        for precision in reduced:
            error = np.square(results[precision] - exact).sum()
            snr_db = 10 * np.log10(np.square(exact).sum() / error)
            over = " | ".join(ratio(taken[precision], taken[n]) for n in ("engine", "eager"))
            reduced_s = statistics.median(taken[precision])
            reduced_rows.append(
                f"| {name} | {depth} | {precision} | {1e3 * reduced_s:.0f} ms | {reduced_s / WINDOW_S:.2f} "
                f"| {over} | {snr_db:.0f} dB |"
            )
    return rows, reduced_rows


def graph_rates(
    name: str, network: Network, bundle: bundles.Bundle, precision: str, threads: int, rounds: int
) -> str:
    """Return one row: operations per second of each graph, and of a matrix product in the same rounds."""
    giga_operations = [2 * macs * WINDOW_S for macs in cost(network)]  # stem, block, decoder
    engine = OfflineEngine(bundle, "cpu", threads, precision)
    mix = noise(bundle)
    state = engine.start(mix)
    product, giga_product = matrix_product(threads)
    calls: dict[str, Call] = {
        "product": product,
        "stem": lambda: engine.start(mix),
        "block": lambda: engine.repeat(state),
        "decoder": lambda: engine.decode(state),
    }
    for call in calls.values():
        call()
    taken = take_turns(calls, rounds)
    seconds = [statistics.median(taken[part]) for part in calls]
    rates = [giga / s for giga, s in zip([giga_product, *giga_operations], seconds, strict=True)]
    depth = bundle.manifest.depth.trained
    factor = (seconds[1] + depth * seconds[2] + seconds[3]) / WINDOW_S
    told = " | ".join(f"{rate:.0f}" for rate in rates)
    share = f"{100 * rates[2] / rates[0]:.0f} %"
    return f"| {name} | {precision} | {threads} | {told} | {share} | {depth} | {factor:.3f} |"


def unrolled(bundle: bundles.Bundle, depth: int) -> bytes:
    """Join stem, `depth` repetitions and decoder in one ONNX graph; repetitions share their weights."""
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
