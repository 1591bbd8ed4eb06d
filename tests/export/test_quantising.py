"""Graphs in 8-bit integers: what the files hold, how good it is, and what an export refuses."""

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
import soundfile
from click.testing import CliRunner
from exported_networks import BAND_SPLIT, STREAMING, random_network

import tisdiss_rt
from tisdiss_export import ExportError, add_precision, export_bundle, exporter
from tisdiss_export.cli import export_command
from tisdiss_models import save_checkpoint
from tisdiss_rt.bundle import GRAPHS, Bundle, Graphs, load, write_manifest
from tisdiss_rt.engine.offline import OfflineEngine


def in_floats(folder: Path) -> Bundle:
    """The shipped bundle without its integers, in this folder."""
    shutil.copytree(load("edge-16k").folder, folder)
    manifest = load(folder).manifest
    for file in folder.glob("*.int8.onnx"):
        file.unlink()
    floats = {
        name: dataclasses.replace(graph, files={"fp32": graph.files["fp32"]})
        for name in GRAPHS
        for graph in [getattr(manifest.graphs, name)]
    }
    write_manifest(folder, dataclasses.replace(manifest, graphs=Graphs(**floats)))
    return load(folder)


@pytest.fixture(scope="module")
def quantised(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The shipped bundle, quantised anew."""
    return add_precision(in_floats(tmp_path_factory.mktemp("quantised") / "edge"), "int8")


def snr_db(expected: np.ndarray, found: np.ndarray) -> float:
    return float(10 * np.log10(np.square(expected).sum() / (np.square(found - expected).sum() + 1e-20)))


def test_real_voices_are_separated_as_well_at_every_depth(quantised: Bundle) -> None:
    example = Path(tisdiss_rt.__file__).parent / "example" / "two_voices.wav"
    mix, _ = soundfile.read(example, dtype="float32")
    exact, rounded = (
        OfflineEngine(quantised, "cpu", precision=precision).every_depth(mix, 8)
        for precision in ("fp32", "int8")
    )
    assert min(snr_db(e, r) for e, r in zip(exact, rounded, strict=True)) > 30


@pytest.mark.parametrize("graph", ["stem", "block"])
def test_convolutions_are_integers_and_all_else_floats(quantised: Bundle, graph: str) -> None:
    models = [onnx.load(quantised.folder / f"{graph}{precision}.onnx") for precision in ("", ".int8")]
    floats, integers = ([n for n in model.graph.node if n.op_type == "Conv"] for model in models)
    assert len(floats) == len(integers) > 0
    if graph == "stem":  # the first one makes the spectrum
        assert integers.pop(0).input[1] in {constant.name for constant in models[1].graph.initializer}
    made_by = {name: node for node in models[1].graph.node for name in node.output}
    weights = {t.name: onnx.numpy_helper.to_array(t) for t in models[1].graph.initializer}
    for convolution in integers:
        activation, weight = (made_by[name] for name in convolution.input[:2])
        assert activation.op_type == weight.op_type == "DequantizeLinear"
        assert weights[weight.input[0]].dtype == np.int8
        assert np.abs(weights[weight.input[0]].astype(int)).max() <= 64
        assert weights[weight.input[1]].shape == (len(weights[weight.input[0]]),)
    used = {made_by[convolution.input[1]].input[0] for convolution in integers}
    assert {name for name, weight in weights.items() if weight.dtype == np.int8 and weight.ndim > 1} == used


def test_the_block_is_half_as_large(quantised: Bundle) -> None:
    sizes = [(quantised.folder / name).stat().st_size for name in ("block.onnx", "block.int8.onnx")]
    assert sizes[1] < 0.5 * sizes[0]


def test_a_graph_that_is_not_as_good_stays_in_floats(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a bar between the errors of the block alone, 41.9 dB, and of stem and block, 39.5 dB."""
    monkeypatch.setattr(exporter, "ACCEPTED_SNR_DB", 40.7)
    made = add_precision(in_floats(tmp_path / "b"), "int8")
    assert [p.name for p in sorted(made.folder.glob("*.int8.onnx"))] == ["block.int8.onnx"]
    assert set(made.manifest.graphs.stem.files) == {"fp32"}
    assert OfflineEngine(made, "cpu", precision="int8").precision == "int8"


def test_the_command_adds_it(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "n.pt", random_network(BAND_SPLIT), {})
    arguments = [str(tmp_path / "n.pt"), "-o", str(tmp_path / "b"), "--precision", "int8"]
    result = CliRunner().invoke(export_command, arguments)
    assert result.exit_code == 0 and "6 files" in result.output, result.output
    assert load(tmp_path / "b").precisions() == ("fp32", "int8")


def test_what_is_not_as_good_leaves_no_bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exporter, "ACCEPTED_SNR_DB", 99.0)
    save_checkpoint(tmp_path / "n.pt", random_network(BAND_SPLIT), {})
    with pytest.raises(ExportError, match="99 dB are needed"):
        export_bundle(tmp_path / "n.pt", tmp_path / "b", precisions=["int8"])
    assert [p.name for p in tmp_path.iterdir()] == ["n.pt"]


def test_streams_and_unknown_precisions_are_refused(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "n.pt", random_network(STREAMING), {})
    with pytest.raises(ExportError, match="offline"):
        export_bundle(tmp_path / "n.pt", tmp_path / "b", precisions=["int8"])
    with pytest.raises(ExportError, match="'int4'"):
        add_precision(load("edge-16k"), "int4")
    with pytest.raises(ExportError, match="already"):
        add_precision(load("edge-16k"), "int8")
    assert [p.name for p in tmp_path.iterdir()] == ["n.pt"]
