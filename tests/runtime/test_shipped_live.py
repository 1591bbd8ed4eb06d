"""The shipped streaming bundle on the shipped example: it separates, at any level, at changing depths."""

import numpy as np
import pytest
from example import power_db

import tisdiss_rt
from benchmarks.live.streaming import roughness
from benchmarks.quality.quality import improvement_db
from tisdiss_rt.engine.base import Engine
from tisdiss_rt.engine.conformance import run_steps

STEP = 128


@pytest.fixture(scope="module")
def separator() -> tisdiss_rt.Separator:
    return tisdiss_rt.Separator("live-16k", provider="cpu")


@pytest.fixture(scope="module")
def engine(separator: tisdiss_rt.Separator) -> Engine:
    return separator.engine


@pytest.fixture(scope="module")
def fixed(engine: Engine, mix: np.ndarray) -> list[np.ndarray]:
    return engine.every_depth(mix, 6)


def test_the_example_is_separated(fixed: list[np.ndarray], mix: np.ndarray, voices: np.ndarray) -> None:
    gains = [improvement_db(estimate, voices, mix) for estimate in fixed]
    assert gains[4] > 5
    assert gains[4] > gains[0]


def test_changing_depth_costs_little_and_does_not_click(
    engine: Engine, fixed: list[np.ndarray], mix: np.ndarray, voices: np.ndarray
) -> None:
    depths = np.random.default_rng(0).integers(1, 7, len(mix) // STEP + 1).tolist()
    changing = run_steps(engine, mix, depths)
    gains = [improvement_db(estimate, voices, mix) for estimate in fixed[1:]]
    assert improvement_db(changing, voices, mix) > np.mean(gains) - 0.3
    usual = max(roughness(estimate, STEP) for estimate in fixed[1:])
    assert roughness(changing, STEP) < 1.02 * usual
    assert np.abs(changing - fixed[4]).max() > 1e-3  # or the depth would have had no effect


def test_roughness_would_find_clicks(fixed: list[np.ndarray]) -> None:
    clicking = fixed[4].copy()
    clicking[:, ::STEP] += 0.02
    assert roughness(clicking, STEP) > 1.5 * roughness(fixed[4], STEP)


@pytest.mark.parametrize("level_db", [-30, 30])
def test_the_level_makes_no_difference(
    separator: tisdiss_rt.Separator, fixed: list[np.ndarray], mix: np.ndarray, level_db: float
) -> None:
    gain = 10 ** (level_db / 20)
    found = separator.separate(gain * mix, 16000, depth=4).sources / gain
    np.testing.assert_allclose(found, fixed[4], atol=1e-4 * np.abs(fixed[4]).max())


def test_one_voice_comes_out_of_one_output(separator: tisdiss_rt.Separator, voices: np.ndarray) -> None:
    levels = sorted(power_db(source) for source in separator.separate(voices[0], 16000, depth=4).sources)
    assert levels[1] - levels[0] > 15
    assert levels[1] == pytest.approx(power_db(voices[0]), abs=1)


def test_silence_stays_silence_also_after_speech(separator: tisdiss_rt.Separator, mix: np.ndarray) -> None:
    silent = np.zeros(32000, np.float32)
    found = separator.separate(np.concatenate([silent, mix, silent]), 16000, depth=2).sources
    assert np.abs(found[:, : 32000 - STEP]).max() < 1e-6
    assert np.abs(found[:, -31000:]).max() < 1e-6
