"""What ``auto`` opens: what is faster and as good, found out once for each machine."""

import dataclasses
import shutil
import sys
import types

import pytest

import tisdiss_rt
from tisdiss_rt import bundle as bundles
from tisdiss_rt.engine import open_engine
from tisdiss_rt.engine.backends import BACKENDS
from tisdiss_rt.errors import BundleError, ProviderError
from tisdiss_rt.planning import autoselect
from tisdiss_rt.planning.autoselect import open_fastest


@pytest.fixture(autouse=True)
def installed(monkeypatch, tmp_path):
    pytest.importorskip("openvino")
    monkeypatch.setenv("TISDISS_CACHE", str(tmp_path / "cache"))
    with_it = dataclasses.replace(BACKENDS["openvino"], version=lambda: "1")
    monkeypatch.setitem(BACKENDS, "openvino", with_it)


def opened(bundle, provider="auto", precision="auto"):
    return open_fastest(bundles.load(bundle), provider, 1, precision).provider


@pytest.fixture
def toy_of_two_precisions(toy_maker):
    folder = toy_maker()
    shutil.copy(folder / "block.onnx", folder / "block.int8.onnx")
    manifest = bundles.load(folder).manifest
    block = manifest.graphs.block
    files = {**block.files, "int8": dataclasses.replace(block.files["fp32"], path="block.int8.onnx")}
    graphs = dataclasses.replace(manifest.graphs, block=dataclasses.replace(block, files=files))
    bundles.write_manifest(folder, dataclasses.replace(manifest, graphs=graphs))
    return folder


def refuse(*_):
    raise AssertionError("measured again")


@pytest.mark.parametrize("better", [True, False])
def test_what_is_better_is_opened_and_remembered(toy, monkeypatch, better):
    monkeypatch.setattr(autoselect, "_is_better", lambda *_: better)
    expected = "openvino" if better else "cpu"
    assert opened(toy) == expected
    monkeypatch.setattr(autoselect, "_is_better", refuse)
    assert opened(toy) == expected
    assert tisdiss_rt.Separator(toy, threads=1).engine.provider == expected


@pytest.mark.parametrize("best", [("cpu", "fp32"), ("cpu", "int8"), ("openvino", "auto")])
def test_the_best_of_several_is_opened_and_remembered(toy_of_two_precisions, monkeypatch, best):
    ways = []

    def is_better(_, ours, reference):
        ways.append((ours.provider, ours.precision))
        assert (reference.provider, reference.precision) == (("cpu", "fp32") if len(ways) == 1 else kept)
        return ours.provider == best[0] and best[1] in ("auto", ours.precision)

    kept = best if best[0] == "cpu" else ("cpu", "fp32")
    monkeypatch.setattr(autoselect, "_is_better", is_better)
    first = open_fastest(bundles.load(toy_of_two_precisions), "auto", 1, "auto")
    assert first.provider == best[0] and best[1] in ("auto", first.precision)
    assert [way[0] for way in ways] == ["cpu", "openvino"] and ways[0][1] == "int8"
    monkeypatch.setattr(autoselect, "_is_better", refuse)
    again = open_fastest(bundles.load(toy_of_two_precisions), "auto", 1, "auto")
    assert (again.provider, again.precision) == (first.provider, first.precision)


def test_without_openvino_there_may_still_be_integers(toy_of_two_precisions, toy, monkeypatch):
    monkeypatch.setitem(BACKENDS, "openvino", dataclasses.replace(BACKENDS["openvino"], version=lambda: None))
    monkeypatch.setattr(autoselect, "_is_better", lambda *_: True)
    assert open_fastest(bundles.load(toy_of_two_precisions), "auto", 1, "auto").precision == "int8"
    monkeypatch.setattr(autoselect, "_is_better", refuse)
    assert opened(toy) == "cpu"


def test_what_does_not_load_is_not_chosen(toy, monkeypatch):
    """OpenVINO is there, but one of its libraries is not; before the choice, and after it was made."""
    monkeypatch.setattr(autoselect, "_is_better", lambda *_: True)
    assert opened(toy) == "openvino"
    broken = types.ModuleType("openvino")
    monkeypatch.setitem(sys.modules, "openvino", broken)
    assert opened(toy) == "cpu"
    with pytest.raises(ProviderError, match="installed but does not load"):
        opened(toy, "openvino")


def test_another_bundle_is_measured_anew(toy, gain_toy, monkeypatch):
    monkeypatch.setattr(autoselect, "_is_better", lambda *_: True)
    opened(toy)
    monkeypatch.setattr(autoselect, "_is_better", lambda *_: False)
    assert opened(gain_toy) == "cpu"


def test_what_is_asked_for_is_not_measured(toy, monkeypatch):
    monkeypatch.setattr(autoselect, "_is_better", refuse)
    assert opened(toy, "cpu") == "cpu"
    assert opened(toy, "openvino") == "openvino"
    assert opened(toy, "auto", "fp32") == "cpu"


def test_a_kept_choice_that_is_damaged_is_measured_anew(toy, monkeypatch, tmp_path):
    monkeypatch.setattr(autoselect, "_is_better", lambda *_: True)
    opened(toy)
    (kept,) = (tmp_path / "cache").iterdir()
    kept.write_text("{")
    monkeypatch.setattr(autoselect, "_is_better", lambda *_: False)
    assert opened(toy) == "cpu"


def test_a_cache_that_cannot_be_written_is_no_error(toy, monkeypatch, tmp_path):
    (tmp_path / "cache").write_text("a file where a folder should be")
    monkeypatch.setattr(autoselect, "_is_better", lambda *_: True)
    assert opened(toy) == "openvino"


@pytest.mark.parametrize("name", ["edge-16k", "live-16k"])
def test_better_is_faster_and_as_good(name, monkeypatch):
    bundle = bundles.load(name)
    reference, ours = (open_engine(bundle, provider, 1) for provider in ("cpu", "openvino"))
    monkeypatch.setattr(autoselect, "ROUNDS", 1)
    monkeypatch.setattr(autoselect, "MIN_SPEEDUP", 0.0)
    assert autoselect._is_better(bundle, ours, reference)
    monkeypatch.setattr(autoselect, "ACCEPTED_SNR_DB", 150.0)
    assert not autoselect._is_better(bundle, ours, reference)
    monkeypatch.setattr(autoselect, "ACCEPTED_SNR_DB", 30.0)
    monkeypatch.setattr(autoselect, "MIN_SPEEDUP", 1e9)
    assert not autoselect._is_better(bundle, ours, reference)


def test_a_broken_bundle_is_an_error(toy_maker):
    folder = toy_maker()
    (folder / "block.onnx").write_bytes(b"")
    with pytest.raises(BundleError):
        opened(folder)
