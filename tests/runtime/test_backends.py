"""Providers: an entry in the table is all that a new one needs; others are passed through to ONNX Runtime."""

import json

import numpy as np
import pytest
from commands import invoke
from onnx.reference import ReferenceEvaluator

import tisdiss_rt
from tisdiss_rt import bundle as bundles
from tisdiss_rt.engine import open_engine
from tisdiss_rt.engine.backends import BACKENDS, Backend, find
from tisdiss_rt.engine.conformance import differences
from tisdiss_rt.engine.onnx_runtime import available_providers, short_name
from tisdiss_rt.errors import OptionError, ProviderError
from tisdiss_rt.planning import timing_cache
from tisdiss_rt.planning.forecast import Timings

OTHERS = [full for full in available_providers() if short_name(full) not in BACKENDS]


# ---- a whole provider in one file: the graphs in the reference evaluator of ONNX ----


class EvaluatedGraph:
    """A graph, as `backends.OpenGraph`; its tensors are arrays."""

    def __init__(self, content, threads, options):
        import onnx

        self._evaluator = ReferenceEvaluator(onnx.load_from_string(content))
        self.threads, self.options = threads, dict(options)
        self.inputs, self.outputs = self._evaluator.input_names, self._evaluator.output_names
        self.shapes = dict.fromkeys((*self.inputs, *self.outputs))  # not known

    def tensor(self, array):
        return array

    def array(self, tensor):
        return tensor

    def run(self, tensors, into=None):
        return dict(zip(self.outputs, self.run_arrays(tensors), strict=True))

    def handles(self):
        return []

    def run_arrays(self, arrays):
        return self._evaluator.run(None, {name: arrays[name] for name in self.inputs})


def open_evaluated(bundle, threads, precision, options):
    graphs = bundles.GRAPHS
    return {n: EvaluatedGraph(bundle.read_graph(n, precision), threads, options) for n in graphs}


EVALUATOR = Backend("evaluator", lambda: "1", lambda bundle: ("fp32",), open_evaluated, tolerance=1e-3)


@pytest.fixture
def evaluator(monkeypatch):
    monkeypatch.setitem(BACKENDS, EVALUATOR.name, EVALUATOR)


@pytest.mark.parametrize("kind", ["offline", "streaming"])
def test_an_entry_in_the_table_is_a_provider(evaluator, gain_toy, stream_toy, noise, kind):
    folder = gain_toy if kind == "offline" else stream_toy
    mix = noise(4000)
    expected = tisdiss_rt.Separator(folder, provider="cpu").separate(mix, 16000, depth=3).sources
    options = {"mode": "slow"}
    separator = tisdiss_rt.Separator(folder, provider="evaluator", threads=2, provider_options=options)
    np.testing.assert_allclose(separator.separate(mix, 16000, depth=3).sources, expected, atol=1e-5)
    engine = separator.engine
    assert (engine.provider, engine.precision, engine.threads) == ("evaluator", "fp32", 2)
    assert engine._graphs["block"].options == options
    assert max(differences(bundles.load(folder), engine).values()) < engine.backend.tolerance


def test_commands_take_it_and_say_that_it_runs(evaluator, gain_toy, noise, tmp_path, monkeypatch):
    import soundfile

    monkeypatch.chdir(tmp_path)
    soundfile.write("a.wav", noise(2000), 16000)
    common = ["--bundle", gain_toy, "--provider", "evaluator", "--json"]
    result = invoke("separate", "a.wav", "--depth", 1, *common)
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["provider"] == "evaluator"
    play = ["--input", "a.wav", "--no-realtime", "--provider-option", "k=v", "--precision", "fp32"]
    result = invoke("live", *play, *common)
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert (report["provider"], report["precision"]) == ("evaluator", "fp32")


def test_what_was_measured_is_kept_for_each_provider_and_its_options(
    evaluator, gain_toy, tmp_path, monkeypatch
):
    monkeypatch.setenv("TISDISS_CACHE", str(tmp_path))
    bundle = bundles.load(gain_toy)
    ways = [("cpu", None), ("evaluator", None), ("evaluator", {"a": "1"}), ("evaluator", {"a": "2"})]
    engines = [open_engine(bundle, provider, 1, "auto", options) for provider, options in ways]
    for number, engine in enumerate(engines):
        timings = Timings()
        for name in timing_cache.GRAPHS:
            getattr(timings, name).append(float(number))
        timing_cache.write(engine, {3200: timings})
    for number, engine in enumerate(engines):
        assert timing_cache.read(engine, 3200).stem[0] == number


def test_its_precisions_are_its_own(evaluator, gain_toy):
    with pytest.raises(OptionError, match="no precision 'int8', only fp32, with the provider evaluator"):
        open_engine(bundles.load(gain_toy), "evaluator", precision="int8")


# ---- passed through ----


@pytest.mark.skipif(not OTHERS, reason="this ONNX Runtime has no provider beyond the table")
@pytest.mark.parametrize("full", OTHERS)
@pytest.mark.parametrize("is_short", [True, False])
def test_what_onnx_runtime_has_is_passed_through(gain_toy, noise, full, is_short):
    mix = noise(4000)
    expected = tisdiss_rt.Separator(gain_toy, provider="cpu").separate(mix, 16000, depth=3).sources
    separator = tisdiss_rt.Separator(gain_toy, provider=short_name(full) if is_short else full)
    assert separator.engine.provider == short_name(full)
    np.testing.assert_allclose(separator.separate(mix, 16000, depth=3).sources, expected, atol=1e-3)


@pytest.mark.parametrize(
    ("full", "short"),
    [
        ("CoreMLExecutionProvider", "coreml"),
        ("DmlExecutionProvider", "directml"),
        ("TensorrtExecutionProvider", "tensorrt"),
        ("XnnpackExecutionProvider", "xnnpack"),
        ("QNNExecutionProvider", "qnn"),
    ],
)
def test_short_names(monkeypatch, full, short):
    from tisdiss_rt.engine import onnx_runtime

    with pytest.raises(OptionError, match=f"unknown provider '{short}'; there are auto, cpu, cuda, openvino"):
        find(short)
    there = [full, "OpenVINOExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(onnx_runtime.ort, "get_available_providers", lambda: there)
    assert find(short).name == find(full).name == short
    assert find("openvino") is BACKENDS["openvino"]  # the table goes first; ONNX Runtime's by its full name
    assert find("OpenVINOExecutionProvider") is not BACKENDS["openvino"]


def test_options_reach_onnx_runtime(gain_toy, monkeypatch):
    from tisdiss_rt.engine import onnx_runtime

    asked = []

    def session(content, options, providers, **_):
        asked.append(providers)
        raise RuntimeError("no such machine")

    monkeypatch.setattr(onnx_runtime.ort, "get_available_providers", lambda: ["QNNExecutionProvider"])
    monkeypatch.setattr(onnx_runtime.ort, "InferenceSession", session)
    with pytest.raises(tisdiss_rt.BundleError, match="no such machine"):
        open_engine(bundles.load(gain_toy), "qnn", provider_options={"backend_path": "x.so"})
    assert asked[0] == [("QNNExecutionProvider", {"backend_path": "x.so"}), "CPUExecutionProvider"]


def test_options_need_a_provider_that_has_some(gain_toy):
    bundle = bundles.load(gain_toy)
    with pytest.raises(OptionError, match="need the provider"):
        open_engine(bundle, "auto", provider_options={"a": "b"})
    with pytest.raises(OptionError, match="the provider cpu has no options"):
        open_engine(bundle, "cpu", provider_options={"a": "b"})
    result = invoke("bench", "--provider-option", "nothing")
    assert isinstance(result.exception, OptionError) and "KEY=VALUE" in str(result.exception)


def test_openvino_has_options(gain_toy):
    pytest.importorskip("openvino")
    bundle = bundles.load(gain_toy)
    open_engine(bundle, "openvino", provider_options={"PERFORMANCE_HINT": "LATENCY"})
    with pytest.raises(tisdiss_rt.BundleError, match="OpenVINO cannot load"):
        open_engine(bundle, "openvino", provider_options={"NONSENSE": "1"})


def test_auto_takes_a_preferred_one_that_starts(gain_toy, monkeypatch):
    def refuse(*_):
        raise ProviderError("does not start")

    bundle = bundles.load(gain_toy)
    preferred = Backend("fast", lambda: "1", lambda _: ("fp32",), open_evaluated, is_preferred=True)
    monkeypatch.setitem(BACKENDS, "fast", preferred)
    assert open_engine(bundle).provider == "fast"
    broken = Backend("fast", lambda: "1", lambda _: ("fp32",), refuse, is_preferred=True)
    monkeypatch.setitem(BACKENDS, "fast", broken)
    assert open_engine(bundle).provider in ("cpu", "cuda")
