"""The part ``estimate``: what is fitted to observations, and an export that makes them."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
from toys import make_stream_toy, make_toy

import tisdiss_rt
from tisdiss_export import observing
from tisdiss_export.calibrating import calibrate, fit
from tisdiss_export.observing import Observation, true_db
from tisdiss_models.acoustics import SCENES
from tisdiss_rt.bundle import ESTIMATE, load
from tisdiss_rt.engine.conformance import read_example
from tisdiss_rt.estimate.estimator import Estimator
from tisdiss_rt.estimate.statistics import statistics_of

RATE = 16000


@pytest.fixture(scope="module")
def speech(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sines that come and go take the place of people."""
    folder = tmp_path_factory.mktemp("speech")
    (folder / "validation").mkdir()
    (folder / "noise" / "validation").mkdir(parents=True)
    rng = np.random.default_rng(0)
    time_s = np.arange(7 * RATE) / RATE
    for speaker in range(4):
        tone = np.sin(2 * np.pi * (200 + 150 * speaker) * time_s) * (
            1.1 + np.sin(2 * np.pi * (1 + speaker) * time_s)
        )
        soundfile.write(folder / "validation" / f"{speaker}-1.flac", 0.2 * tone, RATE)
    noise = np.clip(0.1 * rng.standard_normal(7 * RATE), -1, 1)
    soundfile.write(folder / "noise" / "validation" / "fan-1.flac", noise, RATE)
    return folder


def observations(count: int, seed: int) -> list[Observation]:
    """Voices that are the better the louder they are, give or take 2 dB; repetitions add what they change."""
    rng = np.random.default_rng(seed)
    found = []
    for mixture in range(count):
        gains = 10 ** rng.uniform(-0.5, 0, (2, 1))
        voices = (gains * rng.standard_normal((2, 2000))).astype(np.float32)
        mix = voices.sum(0)
        power = np.square(voices).mean(1)
        level_db = 12 + 10 * np.log10(power / np.square(mix).mean()) + rng.normal(0, 2, 2)
        changes = rng.uniform(0.05, 0.5, (3, 2)).astype(np.float32)
        for depth in range(4):
            gained = sum(float(change.mean()) for change in changes[: max(0, depth - 1)])
            known = (changes[:depth], statistics_of(mix, voices, RATE), level_db + gained)
            found.append(Observation("toy", mixture, 1.0, 0.0, depth, *known))
    return found


def test_what_is_fitted_tells_of_others() -> None:
    estimator = Estimator(fit(observations(400, 0)), RATE)
    errors, inside = [], []
    for seen in observations(300, 1):
        told = estimator.judge(seen.statistics, list(seen.changes), seen.window_s)
        for quality_db, voice in zip(seen.true_db, told, strict=True):
            assert voice is not None
            errors.append(abs(voice.si_sdr_db - quality_db))
            inside.append(voice.low_db <= quality_db <= voice.high_db)
    assert 1.4 < np.mean(errors) < 1.8  # 1.6 is the mean of an error of 2 dB
    assert 0.72 < np.mean(inside) < 0.88


def test_windows_of_one_voice_are_told_from_others() -> None:
    """Where the other voice is 20 dB lower or more, one talks alone; half of the windows have noise."""
    rng = np.random.default_rng(5)
    found = []
    for mixture in range(200):
        is_one, noisy = mixture % 2 == 1, mixture % 4 > 1
        for depth in range(3):
            others_db = rng.uniform(20, 40) if is_one else rng.uniform(0, 15)
            gains = 10 ** (-np.array([[0.0], [others_db], [10.0 if noisy else 40.0]]) / 20)
            one, two, noise = (gains * rng.standard_normal((3, 2000))).astype(np.float32)
            alone_db = 3.0 if not is_one else 10.0 if noisy else 30.0
            true_db = np.array([20.0, np.nan if is_one else 15.0])
            statistics = statistics_of(one + two + noise, np.stack([one, two]), RATE)
            changes = np.full((depth, 2), 0.1, np.float32)
            seen = Observation("toy", mixture, 1.0, 0.0, depth, changes, statistics, true_db, alone_db)
            found.append(seen)
    estimator = Estimator(fit(found), RATE)
    assert [depth for depth in range(3) if estimator.tells_alone(depth)] == [1]
    for seen in found[1::3]:
        assert estimator.is_alone(seen.statistics) == (seen.mixture % 4 == 1)


def test_gains_follow_the_changes() -> None:
    """A repetition adds as many dB here as the one before it has changed."""
    estimator = Estimator(fit(observations(600, 2)), RATE)
    for size in (0.1, 0.3, 0.45):
        change = np.full(2, size, np.float32)
        assert estimator.gain_db([change], 1.0) == pytest.approx(size, abs=0.1)


def test_the_best_talkers_are_compared_with_and_silent_ones_are_not() -> None:
    rng = np.random.default_rng(0)
    one, two, noise = rng.standard_normal((3, 4000)).astype(np.float32)
    found = true_db(np.stack([two + 0.1 * noise, one]), np.stack([one, two]), one + two)
    assert found[0] == pytest.approx(20, abs=0.5) and found[1] > 60
    found = true_db(np.stack([0.01 * noise, one]), np.stack([one, 0 * two]), one)
    assert np.isnan(found[0]) and found[1] > 60


@pytest.mark.parametrize("kind", ["offline", "streaming"])
def test_a_bundle_is_calibrated(
    speech: Path, tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = {name: SCENES[name] for name in ("clean", "fan-5", "room-0.4s", "one-talker", "turns")}
    monkeypatch.setattr(observing, "SCENES", few)
    if kind == "offline":
        folder = make_toy(tmp_path / "toy", split="gain", tells_change=True)
    else:
        folder = make_stream_toy(tmp_path / "toy", tells_change=True)
    made = calibrate(load(folder), speech, mixtures=1)
    again = calibrate(made, speech, mixtures=1)
    assert [part.name for part in again.manifest.parts] == [ESTIMATE]
    assert again.manifest.parts == made.manifest.parts
    mix, _ = soundfile.read(speech / "validation" / "1-1.flac", dtype="float32")
    out = tisdiss_rt.Separator(folder, provider="cpu").separate(mix, RATE, min_gain_db=0.1)
    assert out.estimate is not None
    assert -10 <= out.estimate.si_sdr_db <= 40
    assert out.estimate.low_db < out.estimate.si_sdr_db < out.estimate.high_db
    arrays = read_example(again)
    assert ("alone" in again.manifest.parts[0].values) == (kind == "offline")
    told = arrays["estimate_2"][~np.isnan(arrays["estimate_2"]).any(1)]
    assert len(told) and (told[:, 1] < told[:, 0]).all() and (told[:, 0] < told[:, 2]).all()
