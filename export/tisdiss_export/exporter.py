"""From a checkpoint to a bundle that is proven to compute the same, or to no bundle at all.

Everything is written to a folder beside the target and moved there when every depth agrees with PyTorch.
"""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tisdiss_models import Network, StreamingNetwork, load_checkpoint
from tisdiss_models.parts import NEWEST
from tisdiss_rt import TisdissError, bundle
from tisdiss_rt.engine import open_engine
from tisdiss_rt.manifest.limits import DEEPEST
from tisdiss_rt.planning.autoselect import ACCEPTED_SNR_DB

from .calibrating import calibrate
from .graphs import write_graphs
from .quantising import INT8, QUANTISED, add_int8
from .voice import add_voice

WINDOWS_S = (0.5, 1.0, 2.0, 4.0)
DEPTHS_BEYOND = 8  # repetitions allowed beyond the trained depth
PITCHES_HZ, OTHER_PITCHES_HZ = (110.0, 196.0), (139.0, 247.0)  # of the voices of test signals
TOLERANCE = 1e-4  # largest absolute difference over the largest absolute output
CONFORMANCE_DEPTHS = (0, 1, 2, 3, 4, 6, 8)
CONFORMANCE_SAMPLES = 6007  # no multiple of any hop
LONG_CONFORMANCE_DEPTHS = (0, 1, 4, 8)
LONG_CONFORMANCE_SAMPLES = 20011  # of a stream: longer than what it remembers at 16 kHz


class ExportError(RuntimeError):
    """The graphs do not compute what the network computes; no bundle was written."""


def export_bundle(
    checkpoint: str | Path,
    target: str | Path,
    *,
    name: str | None = None,
    data: str | None = None,
    data_licence: str = "unknown",
    licence: str = "unknown",
    precisions: Sequence[str] = (),
    voice: Path | None = None,
    speech: Path | None = None,
    force: bool = False,
) -> bundle.Bundle:
    """Export a checkpoint and check it.

    Args:
        checkpoint: see `tisdiss_models.load_checkpoint`.
        target: folder of the new bundle.
        name: of the bundle; by default the folder's.
        data: what the network was trained on, for the manifest.
        data_licence: licence of that data.
        licence: of the weights, as an SPDX expression.
        precisions: in which graphs are carried besides 32-bit floats; there is ``int8``, for offline
            bundles.
        voice: a trained voiceprint to add, see `voice.add_voice`.
        speech: what to calibrate the estimate of quality with, see `calibrating.calibrate`; None for none.
        force: replace an existing bundle.

    Returns:
        The bundle as a runtime loads it, its quality not yet measured.

    Raises:
        FileExistsError: if `target` exists and `force` is not given, or is not a bundle, or holds more.
        ExportError: if a depth differs from PyTorch by more than `TOLERANCE`, or if a precision cannot be
            had, or not as good.
        CheckpointError, ConfigError: if the checkpoint cannot be used.
    """
    target = Path(target).resolve()
    _check_target(target, force)
    network, facts = load_checkpoint(checkpoint)
    if speech is not None and network.config.sources != 2:
        raise ExportError(f"--calibrate is for two sources, not {network.config.sources}")
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{target.name}-", dir=target.parent) as work:
        folder = Path(work) / target.name
        folder.mkdir()
        graphs = write_graphs(network, folder)
        _write_conformance(network, folder / "conformance.npz")
        manifest = _manifest(network, graphs, folder, name or target.name, licence)
        if data is not None or data_licence != "unknown" or "steps" in facts:
            training = bundle.Training(data or "unknown", int(facts.get("steps", 0)), data_licence)
            manifest = dataclasses.replace(manifest, training=training)
        bundle.write_manifest(folder, manifest)
        check_parity(network, bundle.load(folder))
        for precision in precisions:
            add_precision(bundle.load(folder), precision)
        if voice is not None:
            add_voice(bundle.load(folder), voice)
        if speech is not None:
            calibrate(bundle.load(folder), speech)
        _check_target(target, force)  # once more, as exporting takes minutes
        _put(folder, target, Path(work) / "replaced")
    return bundle.load(target)


def _check_target(target: Path, force: bool) -> None:
    """Raise FileExistsError for what must not be replaced, among it anything that is no part of a bundle."""
    if not target.exists():
        return
    if target.is_mount():
        raise FileExistsError(f"{target} is a mount point, which cannot be replaced: name a folder in it")
    if not (target / bundle.MANIFEST_NAME).is_file():
        raise FileExistsError(f"{target} exists; choose another name")
    if not force:
        raise FileExistsError(f"{target} exists; use --force to replace it")
    known = {bundle.MANIFEST_NAME}
    with suppress(TisdissError):  # a broken one
        known |= {file.path for file in bundle.load(target).manifest.files()}
    others = sorted({path.name for path in target.iterdir()} - known)
    if others:
        raise FileExistsError(f"{target} holds {others[0]}, which is not part of the bundle: move it away")


def _put(folder: Path, target: Path, replaced: Path) -> None:
    """Move a folder to its place, and what is there to `replaced`; if that ends halfway, back again."""
    there = target.exists()
    try:
        if there:
            target.rename(replaced)
        folder.rename(target)
    except BaseException:
        if there and not target.exists():
            replaced.rename(target)
        raise


def add_precision(exported: bundle.Bundle, precision: str) -> bundle.Bundle:
    """Add graphs in another precision to a bundle: those with which the error stays low enough.

    The bar is an error at the trained depth `ACCEPTED_SNR_DB` below the estimate, checked graph by graph.
    The bundle's folder is changed while that goes on: it must not be in use.

    Returns:
        The bundle as a runtime loads it.

    Raises:
        ExportError: if there is no such precision for this bundle, or it has it already, or it is not good
            enough in any graph.
    """
    manifest = exported.manifest
    if precision != INT8:
        raise ExportError(f"there is no precision {precision!r} to export, only {INT8}")
    if manifest.state:  # what sets the ranges runs on whole mixtures, which have none
        raise ExportError(f"{INT8} is for offline bundles: export this one without it")
    if any(precision in getattr(manifest.graphs, graph).files for graph in QUANTISED):
        raise ExportError(f"bundle {manifest.name} has {precision} already")
    rate, depth = manifest.sample_rate, manifest.depth.trained
    mix = speechlike(3 * rate, rate, OTHER_PITCHES_HZ)  # not what it is calibrated with
    exact = open_engine(exported, "cpu", precision="fp32").every_depth(mix, depth)[depth]
    calibration = [speechlike(samples, rate) for samples in (4 * rate, 4 * rate + 1)]
    accepted, found_db = exported, []
    for graph in QUANTISED:
        made = add_int8(accepted, graph, calibration)
        rounded = open_engine(made, "cpu", precision=precision).every_depth(mix, depth)[depth]
        found_db.append(10 * np.log10(np.square(exact).sum() / np.square(rounded - exact).sum()))
        if found_db[-1] >= ACCEPTED_SNR_DB:
            accepted = made
        else:
            bundle.write_manifest(accepted.folder, accepted.manifest)  # as it was
            (made.folder / getattr(made.manifest.graphs, graph).files[precision].path).unlink()
    if accepted is exported:
        raise ExportError(
            f"{precision} has an error only {max(found_db):.0f} dB below the estimate, where "
            f"{ACCEPTED_SNR_DB:.0f} dB are needed: export without it"
        )
    return accepted


def check_parity(network: Network | StreamingNetwork, exported: bundle.Bundle) -> float:
    """Compare the graphs with PyTorch at every depth and at several lengths.

    Returns:
        The largest difference found, relative to the largest output.

    Raises:
        ExportError: if it is above `TOLERANCE`.
    """
    rate, hop = network.config.sample_rate, network.config.hop
    deepest = network.config.trained_depth + 2
    engine = open_engine(exported, provider="cpu")
    worst = 0.0
    for samples in (exported.manifest.min_samples, rate + hop // 3, 3 * rate + 1):
        mix = speechlike(samples, rate)
        mix[: samples // 4] = 0.0  # digital silence, as many streams begin with
        estimates = zip(_every_depth(network, mix, deepest), engine.every_depth(mix, deepest), strict=True)
        for depth, (expected, found) in enumerate(estimates):
            difference = float(np.abs(found - expected).max() / np.abs(expected).max())
            worst = max(worst, difference)
            if not difference <= TOLERANCE:
                raise ExportError(
                    f"at depth {depth}, {samples} samples, the graphs differ from PyTorch by {difference:.1e}"
                )
    return worst


def speechlike(samples: int, sample_rate: int, pitches_hz: tuple[float, float] = PITCHES_HZ) -> np.ndarray:
    """Make a test signal: two harmonic voices with syllables, and a little noise. (samples,) float32."""
    time_s = np.arange(samples) / sample_rate
    rng = np.random.default_rng(samples)
    mix = 0.002 * rng.standard_normal(samples)
    for pitch_hz, syllables_hz in zip(pitches_hz, (3.1, 4.3), strict=True):
        phase = 2 * np.pi * np.cumsum(pitch_hz * (1 + 0.05 * np.sin(2 * np.pi * 1.7 * time_s))) / sample_rate
        voice = sum(np.sin(k * phase) / k for k in range(1, 20))
        mix = mix + 0.03 * voice * (0.55 + 0.45 * np.sin(2 * np.pi * syllables_hz * time_s))
    return mix.astype(np.float32)


@torch.no_grad()
def _every_depth(network: Network | StreamingNetwork, mix: np.ndarray, depth: int) -> list[np.ndarray]:
    """Return the estimates (sources, samples) of PyTorch at depths 0 to `depth`."""
    return [est[0].numpy() for est in network.every_depth(torch.from_numpy(mix)[None], depth)]


def _write_conformance(network: Network | StreamingNetwork, path: Path) -> None:
    is_long = network.timing is not None
    samples = LONG_CONFORMANCE_SAMPLES if is_long else CONFORMANCE_SAMPLES
    depths = LONG_CONFORMANCE_DEPTHS if is_long else CONFORMANCE_DEPTHS
    mix = speechlike(max(samples, _min_samples(network) + 7), network.config.sample_rate)
    estimates = _every_depth(network, mix, max(depths))
    with torch.no_grad():
        change = network.changes(torch.from_numpy(mix), max(depths)).numpy()
    arrays: dict[str, Any] = {f"est_{n}": estimates[n] for n in depths}
    switching = network.switching_example(torch.from_numpy(mix), max(depths))
    arrays |= {name: tensor.numpy() for name, tensor in switching.items()}
    np.savez_compressed(path, mix=mix, change=change, **arrays)


def _min_samples(network: Network | StreamingNetwork) -> int:
    return network.config.hop if network.timing else 2 * network.config.n_fft


def _manifest(
    network: Network | StreamingNetwork, graphs: bundle.Graphs, folder: Path, name: str, licence: str
) -> bundle.Manifest:
    config = network.config
    stream = bundle.StreamTiming(*network.timing) if network.timing else None
    state = tuple(
        bundle.StateBuffer(graph, name, name + NEWEST, axis)
        for graph, part in network.export_parts().items()
        for name, axis in part.buffers.items()
    )
    return bundle.Manifest(
        format=bundle.FORMAT,
        name=name,
        kind="streaming" if stream else "offline",
        sample_rate=config.sample_rate,
        sources=config.sources,
        min_samples=_min_samples(network),
        windows_s=() if stream else WINDOWS_S,
        depth=bundle.DepthRange(config.trained_depth, min(config.trained_depth + DEPTHS_BEYOND, DEEPEST)),
        graphs=graphs,
        stream=stream,
        state=state,
        conformance=bundle.FileRef("conformance.npz", bundle.sha256_of(folder / "conformance.npz")),
        quality=None,
        training=None,
        licence=licence,
    )
