"""Part of `speed.py`: other separators in their published sizes beside ours, as a table and a picture."""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import onnxruntime as ort
import torch
from cost import millions
from peers import PEERS, Peer
from speed_tools import (
    FEW_ROUNDS,
    STATES,
    THREADS,
    WINDOW_S,
    Call,
    noise,
    published_bundle,
    session,
    take_turns,
    torch_threads,
    whole,
)

from tisdiss_models import Network, load_checkpoint
from tisdiss_rt import bundle as bundles
from tisdiss_rt.stream_engine import open_engine
from tisdiss_rt.timing_cache import processor

PICTURE = Path(__file__).parents[1] / "docs" / "speed.png"
# Published dB of the paper's network by depth (the authors' RESULTS.md, WSJ0-2mix).
PUBLISHED_DB = {1: 21.51, 2: 23.48, 3: 24.39, 4: 24.82, 5: 25.03, 6: 25.13, 7: 25.19, 8: 25.20}

Curves = dict[str, list[tuple[float, float]]]  # real-time factor and dB, by name


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
    curves: Curves = {}
    for peer in PEERS:
        try:
            lines.append(peer_row(peer, curves))
        except Exception as error:
            lines.append(f"| {peer.name} | {peer.package} | | {peer.published_db} | {told(error)} | | |")
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


def peer_row(peer: Peer, curves: Curves) -> str:
    """Times in PyTorch and, if it exports, in ONNX Runtime; the faster one is for the picture."""
    network = peer.make().eval()
    mix = torch.randn(1, int(WINDOW_S * 8000)) * 0.1
    in_onnx = ""
    with torch_threads(THREADS):
        calls: dict[str, Call] = {"torch": lambda: network(mix)}
        expected = network(mix).numpy()
        try:
            running = exported(network, mix)
            feed = {running.get_inputs()[0].name: mix.numpy()}
            difference = np.abs(running.run(None, feed)[0] - expected).max() / np.abs(expected).max()
            if difference > 1e-3:
                raise ValueError(f"its output differs by {difference:.0e}")
            calls["onnx"] = lambda: running.run(None, feed)
        except Exception as error:
            in_onnx = told(error)
        seconds = [statistics.median(each) for each in take_turns(calls).values()]
    factor = min(seconds) / WINDOW_S
    curves[peer.name] = [(factor, peer.published_db)]
    in_onnx = in_onnx or f"{1e3 * seconds[1]:.0f} ms"
    return (
        f"| {peer.name} | {peer.version} | {millions(network):.1f} M | {peer.published_db} "
        f"| {1e3 * seconds[0]:.0f} ms | {in_onnx} | {factor:.2f} |"
    )


def exported(network: torch.nn.Module, mix: torch.Tensor) -> ort.InferenceSession:
    """The network in ONNX Runtime."""
    with tempfile.TemporaryDirectory() as folder, torch.inference_mode(False), torch.no_grad():
        path = Path(folder) / "peer.onnx"
        program = torch.onnx.export(network, (mix.clone(),), dynamo=True, verbose=False)
        assert program is not None
        program.save(path)
        return session(path.read_bytes(), THREADS)


def told(error: Exception) -> str:
    """An error in a cell of a table."""
    first = (str(error).strip().splitlines() or [""])[0]
    return f"{type(error).__name__}: {first[:120]}".replace("|", "/")


def our_rows(
    name: str, bundle: bundles.Bundle, network: Network, quality_db: dict[int, float], curves: Curves
) -> Iterator[str]:
    engine = open_engine(bundle, "cpu", THREADS)
    mix = noise(bundle)
    curves[name] = []
    whole(engine, mix, 2)  # to be warm
    for depth in (d for d in quality_db if d in (0, 1, 2, 4, 6, 8)):
        calls: dict[str, Call] = {"engine": partial(whole, engine, mix, depth)}
        seconds = statistics.median(take_turns(calls, FEW_ROUNDS)["engine"])
        factor = seconds / WINDOW_S
        curves[name].append((factor, quality_db[depth]))
        yield (
            f"| {name}, depth {depth} | this project | {millions(network):.1f} M | {quality_db[depth]:.1f} | "
            f"| {1e3 * seconds:.0f} ms | {factor:.2f} |"
        )


def draw(curves: Curves) -> None:
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
