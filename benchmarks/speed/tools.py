"""What the parts of `speed.py` share: calls in turn, the networks they run, the machine's own rate."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import torch
from onnx import helper

import tisdiss_rt
from tisdiss_export import export_bundle
from tisdiss_models import Network, NetworkConfig, save_checkpoint
from tisdiss_rt import bundle as bundles
from tisdiss_rt.planning import benchmark

EXAMPLE = Path(tisdiss_rt.__file__).parent / "example" / "two_voices.wav"
THREADS = 2
WINDOW_S = 4.0
ROUNDS, FEW_ROUNDS = 7, 3  # the latter for the published size, whose rounds take minutes
# Published dB of the paper's network by depth (the authors' RESULTS.md, WSJ0-2mix).
PUBLISHED_DB = {1: 21.51, 2: 23.48, 3: 24.39, 4: 24.82, 5: 25.03, 6: 25.13, 7: 25.19, 8: 25.20}

Call = Callable[[], object]


def take_turns(calls: Mapping[str, Call], rounds: int = ROUNDS) -> dict[str, list[float]]:
    """Measure the seconds of each call in each round. Each must have run before, to be warm."""
    taken: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            begin_s = time.perf_counter()
            call()
            taken[name].append(time.perf_counter() - begin_s)
    return taken


@dataclass(frozen=True)
class Chain:
    """A separator in its three parts: a state from the mixture, one more repetition on it, the estimate."""

    start: Callable[[], Any]
    repeat: Callable[[Any], object]
    decode: Callable[[Any], Any]


def engine_chain(engine: Any, mix: np.ndarray) -> Chain:
    return Chain(lambda: engine.start(mix), engine.repeat, engine.decode)


def pass_through(chain: Chain, depths: Sequence[int]) -> dict[int, tuple[float, Any]]:
    """Run one pass, decoded at each depth; return the seconds that each takes alone, and its estimate."""
    begin_s = time.perf_counter()
    state = chain.start()
    so_far_s = time.perf_counter() - begin_s
    found = {}
    for depth in range(depths[-1] + 1):
        if depth > 0:
            begin_s = time.perf_counter()
            chain.repeat(state)
            so_far_s += time.perf_counter() - begin_s
        if depth in depths:
            begin_s = time.perf_counter()
            estimate = chain.decode(state)
            found[depth] = so_far_s + time.perf_counter() - begin_s, estimate
    return found


def ratio(ours: list[float], theirs: list[float]) -> str:
    """Return how many times as long theirs took: median of the rounds, and quartiles."""
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
    """Make the paper's network with random weights, and its bundle."""
    torch.manual_seed(0)
    network = Network(NetworkConfig(separator_residual=True)).eval()
    save_checkpoint(folder / "published.pt", network, {})
    return network, export_bundle(folder / "published.pt", folder / "published")


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


def noise(bundle: bundles.Bundle) -> np.ndarray:
    """Make `WINDOW_S` of noise: (samples,)."""
    return benchmark.noise(int(WINDOW_S * bundle.manifest.sample_rate))


def matrix_product(threads: int, size: int = 2048) -> tuple[Call, float]:
    """Return a product of square matrices in ONNX Runtime, and its billions of operations."""
    shape = [size, size]
    values = [helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, shape) for n in "abc"]
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["a", "b"], ["c"])], "product", values[:2], values[2:]
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    running = session(model.SerializeToString(), threads)
    feed = {n: np.random.default_rng(0).standard_normal(shape).astype(np.float32) for n in "ab"}
    return lambda: running.run(None, feed), 2 * size**3 / 1e9
