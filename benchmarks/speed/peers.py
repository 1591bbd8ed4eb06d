"""Part of `speed.py`: other separators in their published sizes beside ours, as a table and a picture."""

from __future__ import annotations

import io
import re
import statistics
import tempfile
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import onnxruntime as ort
import torch

from benchmarks.cost import millions
from benchmarks.shipped import shipped_network
from benchmarks.speed.peer_networks import PEERS, Peer
from benchmarks.speed.tools import (
    PUBLISHED_DB,
    THREADS,
    WINDOW_S,
    Call,
    engine_chain,
    noise,
    pass_through,
    published_bundle,
    session,
    take_turns,
    torch_threads,
)
from tisdiss_models import Network
from tisdiss_rt import bundle as bundles
from tisdiss_rt.engine import open_engine
from tisdiss_rt.planning.timing_cache import processor

PEER_ROUNDS = 3
PICTURE = Path(__file__).parents[2] / "docs" / "speed.png"


@dataclass(frozen=True)
class Row:
    """A separator, at one depth if it is ours."""

    name: str
    source: str
    db: float
    parameters: str = ""
    in_torch: str = ""
    in_onnx: str = ""
    factor: float | None = None  # of the faster of the two, to real time
    problem: str = ""

    @property
    def told_factor(self) -> str:
        return "" if self.factor is None else f"{self.factor:.2f}"


NOTES = f"""{WINDOW_S:g} s of audio, {THREADS} threads. The dB of the peers and of the published size are
their authors' (WSJ0-2mix, trained on 30 hours or more). Those of edge-16k are ours (the clean scene of
SCENES.md): other mixtures and less data, not to be compared with the rest.
"""


@dataclass(frozen=True)
class Ready:
    """A separator that is warm: ``run`` returns seconds by column or depth, ``rows`` shows medians."""

    run: Callable[[], dict[Any, float]]
    rows: Callable[[dict[Any, float]], list[Row]]


def peers() -> str:
    """Compare other separators in their published sizes, with random weights, with ours; draw the picture."""
    ready: list[Ready] = []
    failed: list[Row] = []
    for peer in PEERS:
        try:
            ready.append(ready_peer(peer))
        except Exception as error:
            failed.append(Row(peer.name, peer.package, peer.published_db, problem=told(error)))
    with tempfile.TemporaryDirectory() as folder:
        network, published = published_bundle(Path(folder))
        ready.append(ready_bundle("TISDiSS, published size", published, network, PUBLISHED_DB))
    edge = bundles.load("edge-16k")
    assert edge.manifest.quality is not None
    (clean,) = (scene for scene in edge.manifest.quality.scenes if scene.scene == "clean")
    quality_db = {entry.depth: entry.si_sdri_db for entry in clean.depths}
    shipped = shipped_network("edge-16k")
    assert isinstance(shipped, Network)
    ready.append(ready_bundle("edge-16k", edge, shipped, quality_db))
    with torch_threads(THREADS):
        taken = [[each.run() for each in ready] for _ in range(PEER_ROUNDS)]
    rows = failed
    for each, rounds in zip(ready, zip(*taken, strict=True), strict=True):
        rows += each.rows({key: statistics.median(one[key] for one in rounds) for key in rounds[0]})
    draw(rows)
    lines = [
        NOTES,
        "| separator | from | parameters | dB | PyTorch | ONNX Runtime | real-time factor |",
        "|---|---|---|---|---|---|---|",
    ]
    for r in rows:
        cells = (r.name, r.source, r.parameters, f"{r.db:.1f}", r.in_torch, r.in_onnx, r.told_factor)
        lines.append("| " + " | ".join(cells) + " |")
    lines += [f"\n{row.name} in ONNX Runtime: {row.problem}" for row in rows if row.problem]
    return "\n".join(lines) + "\n"


def ready_peer(peer: Peer) -> Ready:
    """Prepare a peer in PyTorch and, if it exports, in ONNX Runtime."""
    network = peer.make().eval()
    mix = torch.randn(1, int(WINDOW_S * 8000)) * 0.1
    failed = ""
    calls: dict[str, Call] = {"torch": lambda: network(mix)}
    with torch_threads(THREADS):
        expected = network(mix).numpy()
        try:
            running = exported(network, mix)
            feed = {running.get_inputs()[0].name: mix.numpy()}
            difference = np.abs(running.run(None, feed)[0] - expected).max() / np.abs(expected).max()
            if difference > 1e-3:
                raise ValueError(f"its output differs by {difference:.0e}")
            calls["onnx"] = lambda: running.run(None, feed)
        except Exception as error:
            failed = told(error)

    def rows(seconds: dict[str, float]) -> list[Row]:
        in_torch, in_onnx = [f"{1e3 * each:.0f} ms" for each in seconds.values()] + ["fails"] * bool(failed)
        factor = min(seconds.values()) / WINDOW_S
        about = (peer.name, peer.version, peer.published_db, parameters(network))
        return [Row(*about, in_torch, in_onnx, factor, failed)]

    return Ready(lambda: {name: each[0] for name, each in take_turns(calls, 1).items()}, rows)


def parameters(network: torch.nn.Module) -> str:
    return f"{millions(network):.1f} M"


def exported(network: torch.nn.Module, mix: torch.Tensor) -> ort.InferenceSession:
    """Open the network in ONNX Runtime, exported by PyTorch's exporter or else by its older, verbose one."""
    with tempfile.TemporaryDirectory() as folder, torch.inference_mode(False), torch.no_grad():
        path, mix = Path(folder) / "peer.onnx", mix.clone()
        with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            try:
                torch.onnx.export(network, (mix,), path, dynamo=True, external_data=False, verbose=False)
            except Exception as first:
                try:
                    torch.onnx.export(network, (mix,), path, dynamo=False, opset_version=18)
                except Exception:
                    raise first from None
        return session(path.read_bytes(), THREADS)


def told(error: Exception) -> str:
    """Return the kind of an error and the first sentence of its message."""
    plain = re.sub(r"\x1b\[\d*m", "", str(error)).strip()  # without colours
    sentence = re.split(r"(?<=[.:!?])\s|\n", plain, maxsplit=1)[0]
    return f"{type(error).__name__}: {sentence}".replace("|", "/")


def ready_bundle(name: str, bundle: bundles.Bundle, network: Network, quality_db: dict[int, float]) -> Ready:
    chain = engine_chain(open_engine(bundle, "cpu", THREADS, "fp32"), noise(bundle))
    depths = [d for d in quality_db if d in (0, 1, 2, 4, 6, 8)]
    pass_through(chain, [1])  # to be warm

    def rows(seconds: dict[int, float]) -> list[Row]:
        size = parameters(network)
        return [
            Row(
                f"{name}, depth {d}",
                "this project",
                quality_db[d],
                size,
                "",
                f"{1e3 * s:.0f} ms",
                s / WINDOW_S,
            )
            for d, s in seconds.items()
        ]

    return Ready(lambda: {d: s for d, (s, _) in pass_through(chain, depths).items()}, rows)


def draw(rows: list[Row]) -> None:
    """Draw quality against time: curves where depth is free, points elsewhere."""
    figure, axis = plt.subplots(figsize=(8, 4.2), layout="constrained")
    curves: dict[str, list[tuple[float, float]]] = {}
    for row in rows:
        if row.factor is not None:
            curves.setdefault(row.name.split(", depth")[0], []).append((row.factor, row.db))
    for name, points in curves.items():
        factors, decibels = zip(*points, strict=True)
        test_set = "our clean scene" if name == "edge-16k" else "published, WSJ0-2mix"
        axis.plot(factors, decibels, "o-" if len(points) > 1 else "s", label=f"{name} ({test_set})")
    axis.axvline(1.0, color="gray", linewidth=0.8, linestyle="--")
    axis.text(1.03, axis.get_ylim()[0] + 0.3, "slower than real time", fontsize=8, color="gray")
    axis.set(xscale="log", xlabel=f"seconds of computing per second of audio, {THREADS} threads", ylabel="dB")
    axis.legend(fontsize=8)
    axis.set_title(processor(), fontsize=9)
    figure.savefig(PICTURE, dpi=90)
