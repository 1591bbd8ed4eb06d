"""Graphs against PyTorch, against the published implementation, and what an export leaves behind."""

import hashlib
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import soundfile
import torch
from click.testing import CliRunner
from exported_networks import BAND_SPLIT, EVERYTHING, random_network

import tisdiss_rt
from tisdiss_export import ExportError, add_precision, export_bundle, exporter
from tisdiss_export.cli import export_command
from tisdiss_models import Network, config, save_checkpoint
from tisdiss_rt.bundle import GRAPHS, Bundle, Graphs, Training, load
from tisdiss_rt.cli.main import cli
from tisdiss_rt.engine.conformance import differences
from tisdiss_rt.engine.offline import OfflineEngine
from tisdiss_rt.manifest.limits import DEEPEST, MOST_INTEGER

Golden = tuple[Path, dict[str, np.ndarray]]
DEPTHS = (0, 1, 2, 3, 6, 8)


def relative(found: np.ndarray, expected: np.ndarray) -> float:
    return float(np.abs(found - expected).max() / np.abs(expected).max())


@pytest.mark.parametrize("depth", DEPTHS)
def test_graphs_give_the_published_outputs(golden: Golden, golden_bundle: Bundle, depth: int) -> None:
    _, arrays = golden
    engine = OfflineEngine(golden_bundle, provider="cpu")
    state = engine.start(arrays["mix"].astype(np.float32))
    for _ in range(depth):
        engine.repeat(state)
    expected = arrays["aux_split"] if depth == 0 else arrays[f"est_n{depth}"]
    assert relative(engine.decode(state), expected) < 1e-4


def test_separate_command_writes_the_published_outputs(
    golden: Golden, golden_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, arrays = golden
    monkeypatch.chdir(tmp_path)
    soundfile.write("mix.wav", arrays["mix"], 8000, "FLOAT")
    for depth in DEPTHS:
        arguments = ["--bundle", str(golden_bundle.folder), "--depth", str(depth), "-o", f"d{depth}"]
        assert CliRunner().invoke(cli, ["separate", "mix.wav", *arguments]).exit_code == 0
        found = np.stack([soundfile.read(f"d{depth}/mix_spk{i}.wav")[0] for i in (1, 2)])
        expected = arrays["aux_split"] if depth == 0 else arrays[f"est_n{depth}"]
        assert relative(found, expected) < 1e-4


def test_graphs_agree_with_pytorch_at_odd_lengths(exported: tuple[Network, Bundle]) -> None:
    network, bundle = exported
    engine = OfflineEngine(bundle, provider="cpu")
    for samples in (bundle.manifest.min_samples, 1001, 4096):
        mix = torch.randn(1, samples, generator=torch.Generator().manual_seed(samples))
        state = engine.start(mix[0].numpy())
        for depth in range(5):
            if depth:
                engine.repeat(state)
            with torch.no_grad():
                expected = network(mix, depth)[0].numpy()
            assert relative(engine.decode(state), expected) < 1e-4


def test_bundle_carries_what_the_manifest_says(exported: tuple[Network, Bundle]) -> None:
    network, bundle = exported
    manifest = bundle.manifest
    assert (manifest.sample_rate, manifest.sources) == (network.config.sample_rate, network.config.sources)
    assert manifest.depth.trained == network.config.trained_depth
    assert manifest.training is not None
    assert (manifest.training.data, manifest.training.steps, manifest.licence) == ("noise", 7, "CC0-1.0")
    for file in bundle.manifest.files():
        assert hashlib.sha256((bundle.folder / file.path).read_bytes()).hexdigest() == file.sha256
    for name in GRAPHS:
        graph = getattr(manifest.graphs, name)
        session = onnxruntime.InferenceSession(str(bundle.folder / graph.files["fp32"].path))
        for nodes, specs in ((session.get_inputs(), graph.inputs), (session.get_outputs(), graph.outputs)):
            assert [(n.name, list(n.shape)) for n in nodes] == [(s.name, list(s.shape)) for s in specs]


def test_conformance_example_agrees_on_this_machine(exported: tuple[Network, Bundle]) -> None:
    _, bundle = exported
    found = differences(bundle, OfflineEngine(bundle, provider="cpu"))
    assert set(found) == {*exporter.CONFORMANCE_DEPTHS, "change"}
    assert max(found.values()) < 1e-4


def test_any_network_can_be_quantised(
    exported: tuple[Network, Bundle], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those here have random weights, and so also activations that the range does not fit as well."""
    monkeypatch.setattr(exporter, "ACCEPTED_SNR_DB", 10.0)
    _, bundle = exported
    shutil.copytree(bundle.folder, tmp_path / "b")
    made = add_precision(load(tmp_path / "b"), "int8")
    mix = exporter.speechlike(made.manifest.sample_rate, made.manifest.sample_rate)
    engine = OfflineEngine(made, "cpu", precision="int8")
    assert engine.precision == "int8"
    for exact, rounded in zip(
        OfflineEngine(made, "cpu").every_depth(mix, 4), engine.every_depth(mix, 4), strict=True
    ):
        assert np.square(rounded - exact).sum() < 0.1 * np.square(exact).sum()


def test_graphs_hold_every_weight_once(exported: tuple[Network, Bundle]) -> None:
    network, bundle = exported
    modules = {"stem": network.stem, "block": network.block, "decoder": network.decoder}
    for name, module in modules.items():
        model = onnx.load(bundle.folder / f"{name}.onnx")
        contents = [onnx.numpy_helper.to_array(t).tobytes() for t in model.graph.initializer]
        large = [c for c in contents if len(c) > 4096]
        assert len(set(large)) == len(large), f"{name} has a constant twice"
        weights = 4 * sum(p.numel() for p in module.parameters())
        written_out = 4 * network.config.bins * network.config.n_fft  # half of the Fourier basis
        structure = 1000 * len(model.graph.node)
        size = (bundle.folder / f"{name}.onnx").stat().st_size
        assert size < 1.3 * weights + written_out + structure, name
        assert not model.graph.value_info and not any(node.metadata_props for node in model.graph.node)


def copied(bundle: Bundle) -> Callable[[Network, Path], Graphs]:
    """Return what writes the graphs of a bundle, whatever the network."""

    def write_graphs(network: Network, folder: Path) -> Graphs:
        for name in GRAPHS:
            shutil.copy(bundle.folder / f"{name}.onnx", folder)
        return bundle.manifest.graphs

    return write_graphs


def test_graphs_that_differ_leave_no_bundle(
    exported: tuple[Network, Bundle], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network, bundle = exported
    monkeypatch.setattr(exporter, "write_graphs", copied(bundle))
    save_checkpoint(tmp_path / "n.pt", random_network(network.config, seed=9), {})
    with pytest.raises(ExportError, match="depth 0"):
        export_bundle(tmp_path / "n.pt", tmp_path / "b")
    assert [p.name for p in tmp_path.iterdir()] == ["n.pt"]


def test_what_can_be_trained_can_be_a_bundle() -> None:
    assert (config.DEEPEST, config.MOST_SIZE) == (DEEPEST, MOST_INTEGER)


def test_existing_folders_are_kept(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "n.pt", random_network(BAND_SPLIT), {})
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "thesis.txt").write_text("precious")
    for force in (False, True):
        with pytest.raises(FileExistsError, match="choose another name"):
            export_bundle(tmp_path / "n.pt", tmp_path / "b", force=force)
    assert (tmp_path / "b" / "thesis.txt").read_text() == "precious"


def test_replacing_a_bundle_loses_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "b"
    save_checkpoint(tmp_path / "n.pt", random_network(BAND_SPLIT), {})
    export_bundle(tmp_path / "n.pt", folder)
    first = (folder / "stem.onnx").read_bytes()
    save_checkpoint(folder / "n.pt", random_network(EVERYTHING), {})
    with pytest.raises(FileExistsError, match=r"holds n\.pt, which is not part of the bundle"):
        export_bundle(folder / "n.pt", folder, force=True)
    (folder / "n.pt").rename(tmp_path / "n.pt")
    with monkeypatch.context() as patched:
        patched.setattr(Path, "is_mount", lambda path: path.name == "b")
        with pytest.raises(FileExistsError, match="b is a mount point"):
            export_bundle(tmp_path / "n.pt", folder, force=True)
    (tmp_path / "link").symlink_to(folder)
    monkeypatch.chdir(tmp_path)
    made = export_bundle("n.pt", "link", force=True, data_licence="CC0-1.0")
    assert made.folder == folder
    assert made.manifest.training == Training("unknown", 0, "CC0-1.0")
    assert (folder / "stem.onnx").read_bytes() != first
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b", "link", "n.pt"]


@pytest.mark.parametrize("force", [False, True])
def test_what_comes_while_it_exports_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, exported: tuple[Network, Bundle], force: bool
) -> None:
    if force:
        shutil.copytree(exported[1].folder, tmp_path / "b")

    def meanwhile(network: Network, exported: Bundle) -> float:
        (tmp_path / "b").mkdir(exist_ok=True)
        (tmp_path / "b" / "thesis.txt").write_text("precious")
        return 0.0

    monkeypatch.setattr(exporter, "check_parity", meanwhile)
    monkeypatch.setattr(exporter, "write_graphs", copied(exported[1]))
    save_checkpoint(tmp_path / "n.pt", exported[0], {})
    with pytest.raises(FileExistsError, match=r"thesis\.txt" if force else "choose another name"):
        export_bundle(tmp_path / "n.pt", tmp_path / "b", force=force)
    assert (tmp_path / "b" / "thesis.txt").read_text() == "precious"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b", "n.pt"]


def test_a_bundle_whose_place_cannot_be_taken_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, exported: tuple[Network, Bundle]
) -> None:
    shutil.copytree(exported[1].folder, tmp_path / "b")
    before, rename = load(tmp_path / "b").manifest, Path.rename

    def interrupted(path: Path, target: Path) -> Path:
        if path.parent.name.startswith(".b-") and path.name == "b":
            raise KeyboardInterrupt
        return rename(path, target)

    monkeypatch.setattr(exporter, "write_graphs", copied(exported[1]))
    monkeypatch.setattr(Path, "rename", interrupted)
    save_checkpoint(tmp_path / "n.pt", exported[0], {"steps": 7})
    with pytest.raises(KeyboardInterrupt):
        export_bundle(tmp_path / "n.pt", tmp_path / "b", force=True)
    assert load(tmp_path / "b").manifest == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b", "n.pt"]


def test_a_name_of_a_shipped_bundle_is_a_folder_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    save_checkpoint(tmp_path / "n.pt", random_network(BAND_SPLIT), {})
    assert export_bundle("n.pt", "edge-16k").folder == tmp_path / "edge-16k"
    with pytest.raises(ExportError, match="--calibrate is for two sources, not 3"):
        save_checkpoint(tmp_path / "n.pt", random_network(replace(BAND_SPLIT, sources=3)), {})
        export_bundle("n.pt", "b", speech=tmp_path)


def test_export_command_reports_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "x.pt").write_bytes(b"no checkpoint")
    for checkpoint in ("missing.pt", "x.pt"):
        result = CliRunner().invoke(export_command, [str(tmp_path / checkpoint), "-o", str(tmp_path / "b")])
        assert result.exit_code == 1
        assert result.output.startswith("Error: ") and result.output.count("\n") == 1
        assert checkpoint in result.output
    assert not (tmp_path / "b").exists()


def test_shipped_bundle_conforms_and_separates_the_example() -> None:
    bundle = load("edge-16k")
    assert max(differences(bundle, OfflineEngine(bundle, provider="cpu")).values()) < 1e-4
    assert sum(p.stat().st_size for p in bundle.folder.iterdir()) < 9e6
    example = Path(tisdiss_rt.__file__).parent / "example"
    mix, rate = soundfile.read(example / "two_voices.wav", dtype="float32")
    references = np.stack([soundfile.read(example / f"two_voices_ref{i}.wav")[0] for i in (1, 2)])
    out = tisdiss_rt.Separator(provider="cpu").separate(mix, rate)

    def ratio_db(estimate: np.ndarray, reference: np.ndarray) -> float:
        target = reference * (estimate @ reference) / (reference @ reference)
        return float(10 * np.log10(np.sum(target**2) / np.sum((estimate - target) ** 2)))

    orders = ((0, 1), (1, 0))
    best = max(np.mean([ratio_db(out.sources[i], references[j]) for j, i in enumerate(o)]) for o in orders)
    before = np.mean([ratio_db(mix, r) for r in references])
    assert best - before > 10.0
