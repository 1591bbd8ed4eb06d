import dataclasses
import json
import os
import subprocess
import sys

import numpy as np
import pytest
from quotas import QUOTAS, write_quotas

from tisdiss_rt import bundle as bundles
from tisdiss_rt.engine import conformance, cores, onnx_runtime
from tisdiss_rt.engine.offline import OfflineEngine
from tisdiss_rt.errors import BundleError, OptionError, ProviderError


@pytest.fixture
def running(gain_toy):
    return OfflineEngine(bundles.load(gain_toy), provider="cpu", threads=1)


@pytest.mark.parametrize("samples", [1, 31, 32, 33, 5000])
@pytest.mark.parametrize("depth", [0, 1, 2, 3, 7])
def test_every_depth_and_length(running, noise, split, samples, depth):
    mix = noise(samples)
    state = running.start(mix)
    for _ in range(depth):
        running.repeat(state)
    estimate = running.decode(state)
    assert estimate.shape == (2, samples)
    assert estimate.dtype == np.float32
    np.testing.assert_allclose(estimate, (1 - 0.5 ** (depth + 1)) * split(mix, "gain"), atol=1e-6)


def test_a_repetition_tells_how_much_it_changed(toy_maker, noise):
    running = OfflineEngine(bundles.load(toy_maker(split="gain", tells_change=True)), provider="cpu")
    state = running.start(noise(700))
    for depth in range(1, 5):
        running.repeat(state)
        np.testing.assert_allclose(running.change(state), [1 / (2 ** (depth + 1) - 1)] * 2, rtol=1e-5)


def test_the_example_tells_where_changes_are_others(toy_maker):
    folder = toy_maker(tells_change=True)
    bundle = bundles.load(folder)
    assert conformance.differences(bundle, OfflineEngine(bundle, provider="cpu"))["change"] < 1e-5
    arrays = dict(np.load(folder / "conformance.npz"))
    arrays["change"][0, 2, 1] *= 1.5
    np.savez(folder / "conformance.npz", **arrays)
    digest = bundles.sha256_of(folder / "conformance.npz")
    example = bundles.FileRef("conformance.npz", digest)
    bundles.write_manifest(folder, dataclasses.replace(bundle.manifest, conformance=example))
    changed = bundles.load(folder)
    assert conformance.differences(changed, OfflineEngine(changed, provider="cpu"))["change"] > 0.1
    del arrays["change"]
    np.savez(folder / "conformance.npz", **arrays)
    example = bundles.FileRef("conformance.npz", bundles.sha256_of(folder / "conformance.npz"))
    bundles.write_manifest(folder, dataclasses.replace(bundle.manifest, conformance=example))
    with pytest.raises(BundleError, match="change must be"):
        conformance.read_example(bundles.load(folder))


def test_short_input_is_padded_to_what_the_bundle_needs(running, noise):
    assert running.start(noise(5)).tensors["mix"].shape() == [1, 32]
    assert running.start(noise(33)).tensors["mix"].shape() == [1, 33]


def test_one_state_can_be_decoded_at_several_depths(running, noise, split):
    mix = noise(100)
    state = running.start(mix)
    for depth in range(6):
        estimate = running.decode(state)
        np.testing.assert_allclose(estimate, (1 - 0.5 ** (depth + 1)) * split(mix, "gain"), atol=1e-6)
        running.repeat(state)


def test_steps_do_not_disturb_each_other(running, noise, split):
    first, second = noise(2, 200)
    one, two = running.start(first), running.start(second)
    for state in (one, two, one, two):
        running.repeat(state)
    np.testing.assert_allclose(running.decode(one), 0.875 * split(first, "gain"), atol=1e-6)
    np.testing.assert_allclose(running.decode(two), 0.875 * split(second, "gain"), atol=1e-6)


def test_two_feature_buffers_take_turns(running, noise):
    state = running.start(noise(1000))
    addresses = [state.tensors["z"].data_ptr()]
    for _ in range(6):
        running.repeat(state)
        addresses.append(state.tensors["z"].data_ptr())
    assert addresses[0] != addresses[1]
    assert addresses == [addresses[0], addresses[1]] * 3 + [addresses[0]]


def test_reports_what_runs(gain_toy):
    running = OfflineEngine(bundles.load(gain_toy), provider="auto", threads=2)
    assert running.threads == 2
    assert running.precision == "fp32"
    assert running.provider in ("cpu", "cuda")
    assert OfflineEngine(bundles.load(gain_toy), provider="cpu").threads == cores.physical_cores() >= 1


def test_cuda_must_not_be_replaced_by_the_cpu(gain_toy, monkeypatch):
    monkeypatch.setattr(onnx_runtime.ort, "get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(ProviderError, match=r"CPUExecutionProvider.*tisdiss-rt\[gpu\]"):
        OfflineEngine(bundles.load(gain_toy), provider="cuda")


@pytest.mark.skipif(
    "CUDAExecutionProvider" in onnx_runtime.available_providers(), reason="CUDA does start here"
)
def test_cuda_that_does_not_start(gain_toy, monkeypatch):
    there = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(onnx_runtime.ort, "get_available_providers", lambda: there)
    loaded = bundles.load(gain_toy)
    with pytest.warns(UserWarning, match="CUDAExecutionProvider"):
        with pytest.raises(ProviderError, match="does not start"):
            OfflineEngine(loaded, provider="cuda")
        assert OfflineEngine(loaded, provider="auto").provider == "cpu"


def test_bad_options(gain_toy):
    loaded = bundles.load(gain_toy)
    with pytest.raises(OptionError, match="auto, cpu, cuda"):
        OfflineEngine(loaded, provider="tpu")
    for threads in (0, 257, 1.5, 1.0, True):
        with pytest.raises(OptionError, match=f"from 1 to 256, not {threads}"):
            OfflineEngine(loaded, threads=threads)


def test_streaming_bundles_are_not_run_as_offline_ones(stream_toy):
    with pytest.raises(BundleError, match="stream-toy is streaming"):
        OfflineEngine(bundles.load(stream_toy))


def test_graphs_must_match_the_manifest(toy_maker):
    folder = toy_maker()
    data = json.loads((folder / "manifest.json").read_text())
    data["graphs"]["block"]["outputs"][0]["name"] = "other"
    (folder / "manifest.json").write_text(json.dumps(data))
    with pytest.raises(BundleError, match=r"block graph has .*z_next.* where the manifest lists .*other"):
        OfflineEngine(bundles.load(folder), provider="cpu")


def test_a_file_that_is_no_graph(toy_maker):
    folder = toy_maker()
    (folder / "stem.onnx").write_bytes(b"not a graph")
    data = json.loads((folder / "manifest.json").read_text())
    data["graphs"]["stem"]["files"]["fp32"]["sha256"] = bundles.sha256_of(folder / "stem.onnx")
    (folder / "manifest.json").write_text(json.dumps(data))
    with pytest.raises(BundleError, match=r"stem\.onnx is not an ONNX file"):
        OfflineEngine(bundles.load(folder), provider="cpu")


def test_nan_is_never_returned(running):
    state = running.start(np.zeros(100, np.float32))  # the toy divides by the peak
    with pytest.raises(BundleError, match="NaN"):
        running.decode(state)


def test_conformance(toy_maker, gain_toy):
    loaded = bundles.load(gain_toy)
    found = conformance.differences(loaded, OfflineEngine(loaded, provider="cpu"))
    assert sorted(found) == [0, 1, 2, 3, 4]
    assert max(found.values()) < 1e-6
    other = bundles.load(toy_maker(split="sign"))
    assert min(conformance.differences(other, OfflineEngine(loaded, provider="cpu")).values()) > 0.1


def test_nothing_heavy_is_imported(gain_toy):
    code = (
        "import sys, tisdiss_rt\n"
        "heavy = {'torch', 'onnx', 'tisdiss_models', 'tisdiss_export'}\n"
        "assert not {*heavy, 'onnxruntime', 'soundfile', 'numpy'} & set(sys.modules), 'import tisdiss_rt'\n"
        "import numpy as np, tisdiss_rt.cli.main, tisdiss_rt.engine.conformance\n"
        f"sep = tisdiss_rt.Separator({str(gain_toy)!r}, provider='cpu')\n"
        "sep.separate(np.ones(1000, np.float32), 8000)\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
        "assert 'onnxruntime' in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# ---- standard output ----


def test_standard_output_is_left_alone(gain_toy, monkeypatch):
    """Whoever redirects it for a moment redirects it for all threads, and two of them do not take turns."""
    seen = []
    real = onnx_runtime.ort.InferenceSession

    def session(*arguments, **options):
        seen.append(sys.stdout)
        return real(*arguments, **options)

    monkeypatch.setattr(onnx_runtime.ort, "InferenceSession", session)
    OfflineEngine(bundles.load(gain_toy), provider="cpu", threads=1)
    assert len(seen) == 3
    assert all(stream is sys.stdout for stream in seen)


def test_a_provider_that_does_not_start_is_told_on_standard_error(gain_toy, monkeypatch, capsys):
    real = onnx_runtime.ort.InferenceSession

    def session(content, options, providers, enable_fallback):
        assert not enable_fallback
        if providers != ["CPUExecutionProvider"]:
            raise RuntimeError("the driver is too old")
        return real(content, options, providers=providers)

    monkeypatch.setattr(onnx_runtime.ort, "InferenceSession", session)
    graph = bundles.load(gain_toy).read_graph("stem", "fp32")
    opened = onnx_runtime.open_ort(graph, ["Other", "CPUExecutionProvider"], 1, "stem graph")
    assert opened.inputs == ["mix"]
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "the driver is too old" in captured.err


# ---- the machine around ----


def test_nothing_is_reported_home(gain_toy, tmp_path):
    """ONNX Runtime keeps what it reports, and a number of the machine, in the home folder."""
    program = f"from tisdiss_rt import Separator; Separator({str(gain_toy)!r}, 'cpu', 1, 'fp32')"
    environment = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    environment |= {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path)}
    subprocess.run([sys.executable, "-c", program], env=environment, check=True)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("membership", "files", "expected"), QUOTAS)
def test_quotas_of_containers(tmp_path, monkeypatch, membership, files, expected):
    groups, own = write_quotas(tmp_path, membership, files)
    monkeypatch.setattr(cores, "CGROUPS", groups)
    monkeypatch.setattr(cores, "OWN_CGROUP", own)
    assert cores.quota_cores() == expected
    if sys.platform == "linux":
        assert cores.physical_cores() <= (expected or 10**6)
