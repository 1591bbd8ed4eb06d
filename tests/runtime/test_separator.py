import copy
import pickle
import re
import warnings

import numpy as np
import pytest
import soundfile
import soxr
from toys import toy_estimate

import tisdiss_rt
from tisdiss_rt import AudioError, OptionError, SeparationWarning, Separator, TisdissError
from tisdiss_rt import bundle as bundles

RATE = 16000


@pytest.fixture
def sep(toy):
    return Separator(toy, provider="cpu", threads=1)


@pytest.fixture
def gain(gain_toy):
    return Separator(gain_toy, provider="cpu", threads=1)


def in_first_order(split, mix, depth):
    """The toy swaps its sources where a window starts with a positive sample."""
    return (1 - 0.5 ** (depth + 1)) * split(mix)[:: -1 if mix[0] > 0 else 1]


@pytest.mark.parametrize("depth", [0, 1, 4, 12])
def test_arrays(sep, noise, split, depth):
    mix = noise(RATE * 2 + 17)
    out = sep.separate(mix, RATE, depth=depth)
    assert out.sources.dtype == np.float32
    assert out.sample_rate == RATE
    np.testing.assert_allclose(out.sources, in_first_order(split, mix, depth), atol=1e-6)
    assert [step.depth for step in out.steps] == [depth] * len(out.steps)
    assert [step.start_s for step in out.steps[:-1]] == pytest.approx([0.1 * i for i in range(19)])
    assert out.steps[-1].start_s == pytest.approx(1.8 + 17 / RATE)
    assert {step.window_s for step in out.steps} == {0.2}
    assert all(step.elapsed_ms > 0 and not step.missed for step in out.steps)


def test_the_trained_depth_is_the_default(sep, noise):
    assert {step.depth for step in sep.separate(noise(RATE), RATE).steps} == {4}


def test_a_signal_shorter_than_a_window_is_one_step(sep, noise):
    steps = sep.separate(noise(3000), RATE).steps
    assert [(step.start_s, step.window_s) for step in steps] == [(0, 3000 / RATE)]


@pytest.mark.parametrize("window_s", [0.05, 0.13, 0.8])
def test_windows_of_any_length(sep, noise, split, window_s):
    mix = noise(RATE + 1)
    out = sep.separate(mix, RATE, window_s=window_s)
    assert out.steps[0].window_s == pytest.approx(window_s, abs=1e-4)
    np.testing.assert_allclose(out.sources, in_first_order(split, mix, 4), atol=1e-6)


@pytest.mark.parametrize("rate", [8000, 11025, 16000, 22050, 44100, 48000, 192000])
@pytest.mark.parametrize("length", [1, 2, 3, 100, 4409, 20011])
def test_any_rate_and_length(gain, noise, rate, length):
    out = gain.separate(noise(length), rate)
    assert out.sources.shape == (2, length)
    assert out.sample_rate == rate
    assert np.isfinite(out.sources).all()


def test_the_model_gets_the_resampled_mixture(gain):
    rate = 44100
    mix = np.sin(2 * np.pi * 500 * np.arange(2 * rate) / rate).astype(np.float32)
    out = gain.separate(mix, rate, depth=0)
    there_and_back = soxr.resample(soxr.resample(mix, rate, RATE), RATE, rate)
    inner = slice(1000, -1000)
    np.testing.assert_allclose(out.sources[0][inner], 0.35 * there_and_back[: 2 * rate][inner], atol=1e-4)
    np.testing.assert_allclose(out.sources[1][1000:-1000], 0.15 * mix[1000:-1000], atol=1e-3)


def test_channels_are_averaged(gain, noise):
    mix = noise(5000, 8)
    expected = gain.separate(mix.mean(axis=1), RATE).sources
    np.testing.assert_allclose(gain.separate(mix, RATE).sources, expected, atol=1e-6)
    one_sample = gain.separate(mix[:1], RATE).sources
    np.testing.assert_allclose(one_sample[:, 0], mix[0].mean() * np.array([0.7, 0.3]) * 31 / 32, atol=1e-6)


def test_level_is_kept(gain, noise):
    mix = noise(5000)
    for level in (1e-6, 1e-3, 30.0):
        expected = level * gain.separate(mix, RATE).sources
        np.testing.assert_allclose(gain.separate(level * mix, RATE).sources, expected, rtol=1e-3)


def test_silence_is_silence(sep, noise):
    out = sep.separate(np.zeros(RATE, np.float32), RATE)
    assert not out.sources.any()
    assert {step.depth for step in out.steps} == {0}
    half = noise(RATE)
    half[: RATE // 2] = 0
    out = sep.separate(half, RATE, depth=4)
    assert np.isfinite(out.sources).all()
    assert not out.sources[:, : RATE // 2 - 10].any()
    assert {step.depth for step in out.steps} == {0, 4}
    np.testing.assert_allclose(out.sources.sum(axis=0), half * 31 / 32, atol=1e-6)


def test_input_is_left_alone(sep, noise):
    mix = noise(5000)
    before = mix.copy()
    sep.separate(mix, RATE)
    np.testing.assert_array_equal(mix, before)


def test_progress(sep, noise):
    calls = []
    sep.separate(noise(RATE * 3), RATE, progress=lambda done_s, total_s: calls.append((done_s, total_s)))
    assert len(calls) > 5
    assert [done_s for done_s, _ in calls] == sorted({done_s for done_s, _ in calls})
    assert {total_s for _, total_s in calls} == {3.0}
    assert calls[-1] == (3.0, 3.0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"budget_ms": 5, "depth": 2}, "exclude each other"),
        ({"budget_ms": -1}, "above 0 ms"),
        ({"budget_ms": 0}, "above 0 ms"),
        ({"budget_ms": float("nan")}, "above 0 ms"),
        ({"budget_ms": float("inf")}, "above 0 ms"),
        ({"depth": -1}, "from 0 to 12"),
        ({"depth": 13}, "from 0 to 12"),
        ({"budget_ms": 5, "min_depth": -1}, "minimum depth"),
        ({"budget_ms": 5, "min_depth": 13}, "minimum depth"),
        ({"depth": 2.5}, "the depth must be from 0 to 12 for this bundle, not 2.5"),
        ({"depth": 2.0}, "not 2.0"),
        ({"depth": True}, "not True"),
        ({"depth": "2"}, "not 2"),
        (
            {"budget_ms": 5, "min_depth": 1.5},
            "the minimum depth must be from 0 to 12 for this bundle, not",
        ),
        ({"min_depth": True}, "not True"),
        ({"talkers": True}, "talkers are auto, or a number from 1 to 8; not True"),
        ({"talkers": 2.0}, "not 2.0"),
        ({"channels": True}, "not True"),
        ({"channels": 1.0}, "not 1.0"),
        ({"window_s": 0}, "from 0.002 to 0.8 s"),
        ({"window_s": 0.81}, "memory"),
        ({"window_s": float("nan")}, "window must be"),
        ({"window_s": float("inf")}, "window must be"),
    ],
)
def test_bad_options(sep, noise, options, message, tmp_path):
    sep.plan(depth=2)  # which is equal to 2.0
    with pytest.raises(OptionError, match=re.escape(message)):
        sep.separate(noise(100), RATE, **options)
    soundfile.write(tmp_path / "in.wav", noise(100), RATE)
    with pytest.raises(OptionError, match=re.escape(message)):
        sep.separate_file(tmp_path / "in.wav", [tmp_path / "1.wav", tmp_path / "2.wav"], **options)
    assert [p.name for p in tmp_path.iterdir()] == ["in.wav"]


def test_integers_of_numpy(toy, noise):
    sep = Separator(toy, "cpu", threads=np.int64(1))
    options = {"depth": 2, "min_depth": 1, "channels": 1, "talkers": 2}
    expected = sep.separate(noise(100, 2), RATE, **options)
    found = Separator(toy, "cpu", 1).separate(
        noise(100, 2), RATE, **{name: np.int64(number) for name, number in options.items()}
    )
    np.testing.assert_array_equal(found.sources, expected.sources)
    assert type(found.steps[0].depth) is type(sep.engine.threads) is int


def test_one_source(toy_maker, mix):
    """Of a bundle that enhances one voice, that is all there is: with windows, and in a stream."""
    bundle = toy_maker(split="none", parts=(toy_estimate(),), tells_change=True)
    sep = Separator(bundle, "cpu")
    for options in ({}, {"talkers": "auto"}, {"talkers": 1}):
        found = sep.separate(mix, RATE, depth=1, **options)
        assert found.one_talker
        np.testing.assert_allclose(found.sources, 0.75 * mix[None], atol=1e-5)
    stream = sep.stream(RATE, depth=1)
    streamed = np.concatenate([stream.process(mix), stream.flush()], 1)
    np.testing.assert_allclose(streamed, 0.75 * mix[None], atol=1e-5)


def test_bad_arrays(sep):
    for bad in (np.zeros(0, np.float32), np.zeros((0, 2)), np.zeros((2, 2, 2)), np.float32(1)):
        with pytest.raises(AudioError, match="not empty"):
            sep.separate(bad, RATE)
    with pytest.raises(AudioError, match="int16"):
        sep.separate(np.ones(100, np.int16), RATE)
    with pytest.raises(AudioError, match="NaN"):
        sep.separate(np.array([0.0, np.nan]), RATE)
    for rate in (0, float("nan"), float("inf")):
        with pytest.raises(OptionError, match="sample_rate"):
            sep.separate(np.ones(100), rate)


@pytest.mark.parametrize("channels", [1, 2, 8])
def test_channels_first_are_refused_with_the_way_to_turn_them(sep, noise, channels):
    mix = noise(channels, RATE)
    for separate in (lambda x: sep.separate(x, RATE), sep.stream(RATE).process):
        with pytest.raises(AudioError, match=rf"is \({channels}, 16000\), which is 16000 channels.*\.T"):
            separate(mix)
        separate(mix.T)
    assert sep.separate(noise(100, 32), RATE).sources.shape == (2, 100)


@pytest.mark.parametrize("copied", [lambda x: pickle.loads(pickle.dumps(x)), copy.copy, copy.deepcopy])
def test_a_copy_opens_the_same(toy, noise, copied, monkeypatch, tmp_path):
    monkeypatch.chdir(toy.parent)
    sep = Separator(toy.name, provider="cpu", threads=2, precision="fp32")
    monkeypatch.chdir(tmp_path)
    other = copied(sep)
    assert other.engine is not sep.engine
    for name in ("provider", "threads", "precision"):
        assert getattr(other.engine, name) == getattr(sep.engine, name)
    expected = sep.separate(noise(RATE), RATE).sources
    np.testing.assert_array_equal(other.separate(noise(RATE), RATE).sources, expected)


def test_errors_are_builtins_too():
    assert issubclass(tisdiss_rt.AudioError, ValueError)
    assert issubclass(tisdiss_rt.BundleError, ValueError)
    assert issubclass(tisdiss_rt.DeviceError, OSError)
    assert issubclass(tisdiss_rt.OptionError, ValueError)
    assert issubclass(tisdiss_rt.OutputError, OSError)
    assert issubclass(tisdiss_rt.ProviderError, RuntimeError)
    family = [getattr(tisdiss_rt, name) for name in tisdiss_rt.__all__ if name.endswith("Error")]
    assert len(family) == 7
    assert all(issubclass(error, TisdissError) for error in family)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        tisdiss_rt.nothing  # noqa: B018


def test_a_large_budget_reaches_the_best_measured_depth(toy_maker, noise, split):
    windows = tuple(bundles.WindowQuality(0.1, depth, float(depth)) for depth in range(7))
    quality = bundles.Quality("toy", "dB", 1, (), windows)
    sep = Separator(toy_maker(quality=quality, swap=True), provider="cpu", threads=1)
    mix = noise(RATE)
    out = sep.separate(mix, RATE, budget_ms=60_000)
    assert {step.depth for step in out.steps} == {6}
    assert (out.plan.window_s, out.plan.depth, out.plan.quality_db) == (0.1, 6, 6.0)
    np.testing.assert_allclose(out.sources, in_first_order(split, mix, 6), atol=1e-6)


def test_a_hopeless_budget_is_told_once_and_counted(sep, noise):
    with pytest.warns(SeparationWarning, match=r"windows of 0.05 s at depth 2 need about \d+ ms") as told:
        first = sep.separate(noise(RATE), RATE, budget_ms=1e-6, min_depth=2)
    assert len(told) == 1
    assert all(step.missed and step.depth == 2 for step in first.steps)
    assert {step.window_s for step in first.steps} == {0.05}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        sep.separate(noise(RATE), RATE, budget_ms=1e-6, min_depth=2)


def test_files_and_arrays_take_the_same_path(sep, noise, tmp_path):
    mix, rate = noise(100_003, 2), 44100
    soundfile.write(tmp_path / "in.wav", mix, rate, subtype="FLOAT")
    targets = [tmp_path / "one.wav", tmp_path / "two.wav"]
    result = sep.separate_file(tmp_path / "in.wav", targets, depth=2)
    expected = sep.separate(mix, rate, depth=2).sources
    for target, source in zip(targets, expected, strict=True):
        np.testing.assert_array_equal(soundfile.read(target, dtype="float32")[0], source)
    assert (result.paths, result.frames, result.sample_rate) == (targets, 100_003, rate)
    assert {step.depth for step in result.steps} == {2}


def test_each_source_needs_a_file(sep, noise, tmp_path):
    soundfile.write(tmp_path / "in.wav", noise(100), RATE)
    with pytest.raises(OptionError, match="1 output files for 2 sources"):
        sep.separate_file(tmp_path / "in.wav", [tmp_path / "1.wav"])


def test_clipped_output_is_told(sep, tmp_path):
    """Resampling back overshoots at the steps of a full-scale square wave."""
    square = np.sign(np.sin(np.arange(20000) * 0.02)).astype(np.float32)
    soundfile.write(tmp_path / "in.wav", square, 8000, subtype="PCM_16")
    with pytest.warns(SeparationWarning, match=r"in\.wav: \d+ samples of the sources clipped"):
        result = sep.separate_file(tmp_path / "in.wav", [tmp_path / "1.wav", tmp_path / "2.wav"], depth=12)
    assert result.clipped > 0


def test_short_signals_predict_nothing_for_full_windows(sep, noise):
    out = sep.separate(noise(RATE), RATE, budget_ms=60_000, window_s=0.2)
    measured = len(sep._planner.timings[out.plan.window_samples].stem)
    assert len(sep.separate(noise(1000), RATE, budget_ms=60_000, window_s=0.2).steps) == 1
    assert len(sep._planner.timings[out.plan.window_samples].stem) == measured
    sep.separate(noise(RATE), RATE, budget_ms=60_000, window_s=0.2)
    assert len(sep._planner.timings[out.plan.window_samples].stem) == measured + 9
