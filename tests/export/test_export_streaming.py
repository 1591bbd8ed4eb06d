"""Streaming bundles: the exported steps, in a plain loop and as a stream, against PyTorch on the whole."""

import functools
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from exported_networks import RECURRENT, STREAMING, random_network

import tisdiss_rt
from tisdiss_export import export_bundle
from tisdiss_models import StreamingNetwork, save_checkpoint
from tisdiss_models.cli import CONFIGS
from tisdiss_models.options import read_yaml
from tisdiss_rt.bundle import Bundle
from tisdiss_rt.engine.conformance import differences
from tisdiss_rt.engine.streaming import StreamingEngine

HOP = STREAMING.hop


@pytest.fixture(scope="module", params=[STREAMING, RECURRENT], ids=["lookback", "recurrent"])
def exported(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[StreamingNetwork, Bundle]:
    network = random_network(request.param)
    assert isinstance(network, StreamingNetwork)
    folder = tmp_path_factory.mktemp("streaming")
    save_checkpoint(folder / "network.pt", network, {"steps": 7})
    return network, export_bundle(folder / "network.pt", folder / "bundle", data="noise")


def noise(samples: int, seed: int = 0) -> np.ndarray:
    return (0.1 * np.random.default_rng(seed).standard_normal(samples)).astype(np.float32)


def whole(network: StreamingNetwork, mix: np.ndarray, depth: int, depths: Any = None) -> np.ndarray:
    """PyTorch on the whole recording: (S, n)."""
    with torch.no_grad():
        *_, estimate = network.every_depth(torch.from_numpy(mix)[None], depth, depths)
    return estimate[0].numpy()


def plain_loop(folder: Path, mix: np.ndarray, depths: list[int]) -> np.ndarray:
    """What docs/other-languages.md tells others to write, from the manifest alone."""
    manifest = json.loads((folder / "manifest.json").read_text())
    graphs = manifest["graphs"]
    session = {
        name: onnxruntime.InferenceSession(folder / graph["files"]["fp32"]["path"])
        for name, graph in graphs.items()
    }

    def blank(graph: str) -> dict[str, np.ndarray]:
        shapes = {t["name"]: t["shape"] for t in graphs[graph]["inputs"]}
        buffers = [b["input"] for b in manifest["state"] if b["graph"] == graph]
        return {name: np.zeros(shapes[name], np.float32) for name in buffers}

    def append(graph: str, buffers: dict[str, np.ndarray], outputs: dict[str, np.ndarray]) -> None:
        for b in manifest["state"]:
            if b["graph"] == graph:
                old, new, axis = buffers[b["input"]], outputs[b["newest"]], b["axis"]
                kept = range(new.shape[axis], old.shape[axis])
                buffers[b["input"]] = np.concatenate([old.take(kept, axis), new], axis)

    def run(graph: str, tensors: dict[str, np.ndarray], buffers: dict[str, np.ndarray]) -> dict:
        given = {**tensors, **buffers}
        inputs = {t["name"]: given[t["name"]] for t in graphs[graph]["inputs"]}
        names = [t["name"] for t in graphs[graph]["outputs"]]
        return dict(zip(names, session[graph].run(names, inputs), strict=True))

    stem, decoder = blank("stem"), blank("decoder")
    repetitions = [blank("block") for _ in range(max(depths))]
    results = []
    padded = np.pad(mix, (0, len(depths) * HOP - len(mix)))
    for hop, depth in zip(padded.reshape(-1, HOP), depths, strict=True):
        tensors = {"mix": hop[None]}
        tensors |= run("stem", tensors, stem)
        append("stem", stem, tensors)
        for number, buffers in enumerate(repetitions):
            if number < depth:
                deepest = run("block", tensors, buffers)
                tensors["z"] = deepest["z_next"]
            append("block", buffers, deepest)
        outputs = run("decoder", tensors, decoder)
        append("decoder", decoder, outputs)
        results.append(outputs["est"])
    late = manifest["stream"]["latency_samples"] - manifest["stream"]["step_samples"]
    return np.concatenate(results, 1)[:, late : late + len(mix)]


def test_manifest_says_how_to_stream(exported: tuple[StreamingNetwork, Bundle]) -> None:
    config, manifest = exported[0].config, exported[1].manifest
    assert manifest.kind == "streaming"
    assert manifest.stream is not None
    assert (manifest.stream.step_samples, manifest.stream.latency_samples) == (HOP, 2 * HOP)
    assert {buffer.graph for buffer in manifest.state} == {"stem", "block", "decoder"}
    sizes = {(b.graph, b.input): next(
        t.shape for t in getattr(manifest.graphs, b.graph).inputs if t.name == b.input
    ) for b in manifest.state}  # fmt: skip
    if config.recurrent_dim:
        assert {name: size for (graph, name), size in sizes.items() if graph == "block"} == {
            "layer0": (2, 1, 6, config.recurrent_dim),
            "layer0_before": (2, config.ffn_kernel - 1, 6, config.dim),
        }
    else:
        heads, size = config.heads, config.attention_dim // config.heads
        assert sizes["block", "layer0_attention_key"] == (2, 6, heads, config.lookback - 1, size)
    assert sizes["decoder", "tail"] == (1, 2, HOP)


@pytest.mark.parametrize("depth", [1, 3, 5])
def test_a_plain_loop_gives_what_pytorch_gives(exported: tuple[StreamingNetwork, Bundle], depth: int) -> None:
    network, bundle = exported
    mix = noise(5000)
    found = plain_loop(bundle.folder, mix, [depth] * (-(-5000 // HOP) + 1))
    np.testing.assert_allclose(found, whole(network, mix, depth), rtol=0, atol=1e-5)


def test_a_plain_loop_may_change_its_depth_at_every_step(exported: tuple[StreamingNetwork, Bundle]) -> None:
    network, bundle = exported
    mix = noise(5000)
    depths = np.random.default_rng(3).integers(1, 6, -(-5000 // HOP) + 1)
    found = plain_loop(bundle.folder, mix, depths.tolist())
    np.testing.assert_allclose(
        found, whole(network, mix, 5, torch.from_numpy(depths)[:, None]), rtol=0, atol=1e-5
    )


def test_the_light_network_may_change_its_depth_at_every_step(tmp_path: Path) -> None:
    network = random_network(read_yaml(CONFIGS / "live-16k.yaml")[0])
    assert isinstance(network, StreamingNetwork)
    save_checkpoint(tmp_path / "network.pt", network, {})
    bundle = export_bundle(tmp_path / "network.pt", tmp_path / "bundle", data="noise")
    mix = noise(5000)
    depths = np.random.default_rng(3).integers(1, 6, -(-5000 // HOP) + 1)
    found = plain_loop(bundle.folder, mix, depths.tolist())
    np.testing.assert_allclose(
        found, whole(network, mix, 5, torch.from_numpy(depths)[:, None]), rtol=0, atol=1e-5
    )


@pytest.fixture(scope="module")
def opened(exported: tuple[StreamingNetwork, Bundle]) -> tisdiss_rt.Separator:
    return tisdiss_rt.Separator(exported[1].folder)


@functools.cache
def whole_noise(network: StreamingNetwork, samples: int) -> np.ndarray:
    return whole(network, noise(samples), 2)


@pytest.mark.parametrize("samples", [0, 1, 100, 16000, 160001])
@pytest.mark.parametrize("chunk", [1, 17, 128, 160, 4410, 16000])
def test_a_stream_gives_what_pytorch_gives_for_the_whole(
    exported: tuple[StreamingNetwork, Bundle], opened: tisdiss_rt.Separator, chunk: int, samples: int
) -> None:
    network, mix = exported[0], noise(samples)
    stream = opened.stream(STREAMING.sample_rate, depth=2)
    pieces = [stream.process(mix[at : at + chunk]) for at in range(0, samples, chunk)]
    found = np.concatenate([*pieces, stream.flush()], 1)
    assert found.shape == (2, samples)
    if samples:
        np.testing.assert_allclose(found, whole_noise(network, samples), rtol=0, atol=1e-5)


def test_the_example_in_the_bundle_covers_switching_and_a_full_memory(
    exported: tuple[StreamingNetwork, Bundle],
) -> None:
    bundle = exported[1]
    found = differences(bundle, StreamingEngine(bundle))
    assert set(found) == {0, 1, 4, 8, "switching", "change"}
    assert max(found.values()) < 1e-4
    with np.load(bundle.folder / "conformance.npz") as arrays:
        assert len(arrays["mix"]) / HOP > STREAMING.lookback
        assert len(set(arrays["depths"].tolist())) > 4
        assert np.abs(arrays["est_switching"] - arrays["est_8"]).max() > 1e-3
