"""The same numbers on a GPU as on the CPU, and budgets there. Runs where ONNX Runtime starts CUDA."""

import numpy as np
import pytest

import tisdiss_rt
from tisdiss_rt import bundle as bundles
from tisdiss_rt.engine import open_engine
from tisdiss_rt.errors import ProviderError

TOLERANCE = 2e-3  # of the peak: convolutions there round to 10 bits of mantissa


@pytest.fixture(scope="module", autouse=True)
def gpu():
    try:
        open_engine(bundles.load("edge-16k"), "cuda")
    except ProviderError as error:
        pytest.skip(f"no CUDA: {error}")


@pytest.mark.parametrize("name", ["edge-16k", "live-16k"])
def test_every_depth_is_what_the_exporter_expected(name):
    bundle = bundles.load(name)
    running = open_engine(bundle, "cuda")
    assert running.provider == "cuda"
    arrays = np.load(bundle.folder / "conformance.npz")
    depths = [int(n[4:]) for n in arrays.files if n.startswith("est_") and n[4:].isdigit()]
    estimates = running.every_depth(arrays["mix"], max(depths))
    for depth in depths:
        expected = arrays[f"est_{depth}"]
        assert np.abs(estimates[depth] - expected).max() < TOLERANCE * np.abs(expected).max()


def test_the_feature_map_stays_on_the_device(noise):
    running = open_engine(bundles.load("edge-16k"), "cuda")
    state = running.start(noise(16000))
    for _ in range(3):
        running.repeat(state)
        assert state.tensors["z"].device_name() == "cuda"


def test_a_budget(noise):
    separator = tisdiss_rt.Separator("edge-16k", provider="cuda")
    result = separator.separate(noise(10 * 16000), 16000, budget_ms=200)
    assert result.plan.depth >= 1
    assert sum(step.missed for step in result.steps) <= 1
