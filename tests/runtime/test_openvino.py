"""OpenVINO runs the same files: in 32-bit floats as ONNX Runtime does, in bfloat16 nearly."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import tisdiss_rt
from tisdiss_rt import bundle as bundles
from tisdiss_rt.engine import open_engine
from tisdiss_rt.errors import OptionError, ProviderError


@pytest.fixture(scope="module", autouse=True)
def openvino():
    return pytest.importorskip("openvino")


def signal_to_noise_db(reference, found):
    return 10 * np.log10(np.square(reference).sum() / np.square(reference - found).sum())


@pytest.mark.parametrize("name", ["edge-16k", "live-16k"])
def test_floats_give_what_onnx_runtime_gives(name):
    bundle = bundles.load(name)
    mix = np.load(bundle.folder / "conformance.npz")["mix"]
    expected = open_engine(bundle, "cpu").every_depth(mix, 4)
    running = open_engine(bundle, "openvino", precision="fp32")
    assert (running.provider, running.precision) == ("openvino", "fp32")
    for ours, theirs in zip(running.every_depth(mix, 4), expected, strict=True):
        assert np.abs(ours - theirs).max() < 1e-4 * np.abs(theirs).max()


@pytest.mark.parametrize("name", ["edge-16k", "live-16k"])
def test_bfloat16_is_nearly_the_same(name, openvino):
    if "BF16" not in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        pytest.skip("this processor has no bfloat16")
    bundle = bundles.load(name)
    mix = np.load(bundle.folder / "conformance.npz")["mix"]
    expected = open_engine(bundle, "cpu").every_depth(mix, 4)
    running = open_engine(bundle, "openvino")
    assert running.precision == "bf16"
    for ours, theirs in zip(running.every_depth(mix, 4)[1:], expected[1:], strict=True):
        assert 30 < signal_to_noise_db(theirs, ours) < 80  # or it would not be bfloat16


def test_a_separator_with_a_budget(stream_toy, toy_maker):
    mix = np.random.default_rng(0).uniform(-0.5, 0.5, 5000).astype(np.float32)
    for bundle in (stream_toy, toy_maker()):
        expected = tisdiss_rt.Separator(bundle, provider="cpu").separate(mix, 16000, depth=3).sources
        separator = tisdiss_rt.Separator(bundle, provider="openvino", precision="fp32")
        result = separator.separate(mix, 16000, budget_ms=1000)
        assert result.plan.predicted_ms > 0
        np.testing.assert_allclose(separator.separate(mix, 16000, depth=3).sources, expected, atol=1e-5)


def test_what_is_missing_says_what_to_do(gain_toy, monkeypatch):
    with pytest.raises(OptionError, match=r"no precision 'int8', only (bf16, )?fp32"):
        open_engine(bundles.load(gain_toy), "openvino", precision="int8")
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(ProviderError, match=r"pip install 'tisdiss-rt\[openvino\]'"):
        open_engine(bundles.load(gain_toy), "openvino")


def test_streams_on_several_threads(stream_toy, noise):
    separator = tisdiss_rt.Separator(stream_toy, provider="openvino", precision="fp32")
    mixes = [noise(4000), -noise(4000), 0.5 * noise(4000)]

    def run(mix):
        stream = separator.stream(16000)
        return np.concatenate([stream.process(mix), stream.flush()], 1)

    expected = [run(mix) for mix in mixes]
    with ThreadPoolExecutor(len(mixes)) as pool:
        for _ in range(5):
            for found, alone in zip(pool.map(run, mixes), expected, strict=True):
                np.testing.assert_array_equal(found, alone)


def test_nothing_is_reported_home(tmp_path):
    """The telemetry of OpenVINO starts a process and writes to the home folder on being imported."""
    program = """
import multiprocessing, sys
from tisdiss_rt import Separator
Separator(provider="openvino", threads=1)
assert not multiprocessing.active_children()
assert not [name for name in sys.modules if name.startswith("openvino_telemetry")]
"""
    environment = {**os.environ, "HOME": str(tmp_path)}
    subprocess.run([sys.executable, "-c", program], env=environment, check=True)
    assert not (tmp_path / "intel").exists()
