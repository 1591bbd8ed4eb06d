"""How good voices are, without a reference, and depth by need: toys whose changes and estimates are known."""

import json

import numpy as np
import pytest
import soundfile
from commands import invoke
from toys import toy_estimate

import tisdiss_rt
from tisdiss_rt import bundle as bundles
from tisdiss_rt.errors import BundleError, OptionError
from tisdiss_rt.estimate.polynomial import Polynomial, count_terms
from tisdiss_rt.estimate.statistics import statistics_of

RATE = 16000


@pytest.fixture
def telling(toy_maker):
    """A toy that splits by gain and tells how good its voices are."""
    return toy_maker(split="gain", tells_change=True, parts=(toy_estimate(),))


def test_a_polynomial_has_squares_and_products():
    rng = np.random.default_rng(0)
    low, high = np.array([-1.0, 0.0, 2.0]), np.array([1.0, 10.0, 4.0])
    weights = rng.standard_normal(count_terms(3))
    point = np.array([[0.5, 20.0, 2.5]])  # the second is beyond the range
    a, b, c = 0.5, 1.0, -0.5
    terms = [1, a, b, c, a * a, a * b, a * c, b * b, b * c, c * c]
    polynomial = Polynomial(low, high, weights)
    assert polynomial(point)[0] == pytest.approx(float(weights @ terms))
    assert polynomial.at(point[0].tolist()) == pytest.approx(float(weights @ terms))


def test_statistics_are_of_mixture_rest_and_voices(noise):
    *voices, rest = noise(3, 5000)
    voices, rest = np.stack([voices[0], 0.5 * voices[1]]), 0.1 * rest
    found = statistics_of(voices.sum(0) + rest, voices, RATE)
    rows = np.stack([voices.sum(0) + rest, rest, *voices])
    assert found.frames.shape == (4, 9)
    np.testing.assert_allclose(found.frames[:, 3], np.square(rows[:, 1536:2048]).mean(1), rtol=1e-4)
    np.testing.assert_allclose(found.steps, np.square(np.diff(rows)).mean(1), rtol=1e-4)
    np.testing.assert_allclose(found.products, voices @ voices.T / 5000, rtol=1e-3, atol=1e-6)


def test_steps_tell_how_good_their_voices_are(telling, noise):
    out = tisdiss_rt.Separator(telling, provider="cpu").separate(noise(8000), RATE, depth=2, window_s=0.1)
    levels = 20 * np.log10(0.875 * np.array([0.7, 0.3]))  # of the voices, which are as long as that
    for step in out.steps:
        for voice, level in zip(step.voices, levels, strict=True):
            assert voice.si_sdr_db == pytest.approx(10 + 0.5 * level, abs=0.01)
            assert (voice.low_db, voice.high_db) == pytest.approx(
                (voice.si_sdr_db - 3, voice.si_sdr_db + 6), abs=0.01
            )
    assert out.estimate.si_sdr_db == pytest.approx(10 + 0.5 * levels.mean(), abs=0.01)


def test_estimates_are_in_the_order_of_the_sources(toy_maker, noise):
    """The sources change places from window to window; what is told of them follows."""
    folder = toy_maker(swap=True, tells_change=True, parts=(toy_estimate(),))
    mix = noise(8000)
    mix[mix < 0] *= 0.1
    out = tisdiss_rt.Separator(folder, provider="cpu").separate(mix, RATE, depth=1, window_s=0.1)
    louder = int(np.square(out.sources).sum(1).argmax())
    heads = [mix[round(step.start_s * RATE)] > 0 for step in out.steps]
    assert len(set(heads)) == 2
    for step in out.steps:
        assert step.voices[louder].si_sdr_db > step.voices[1 - louder].si_sdr_db + 5


@pytest.mark.parametrize("samples", [1, 2, 511, 513])
def test_short_sounds_are_judged(telling, noise, samples):
    out = tisdiss_rt.Separator(telling, provider="cpu").separate(noise(samples), RATE, depth=1)
    assert out.estimate.si_sdr_db == pytest.approx(10 + 0.5 * 20 * np.log10(0.75 * 0.21**0.5), abs=0.1)


def test_a_silent_voice_is_not_judged(toy_maker, noise):
    folder = toy_maker(tells_change=True, parts=(toy_estimate(),))
    out = tisdiss_rt.Separator(folder, provider="cpu").separate(np.abs(noise(3000)), RATE, depth=1)
    assert [voice is None for voice in out.steps[0].voices] == [False, True]
    silent = tisdiss_rt.Separator(folder, provider="cpu").separate(np.zeros(3000, np.float32), RATE)
    assert (silent.steps[0].voices, silent.estimate) == (None, None)


@pytest.mark.parametrize(("least_db", "depth"), [(0.6, 1), (0.3, 2), (0.1, 3), (0.0, 3), (None, 4)])
def test_depth_follows_the_need(telling, noise, split, least_db, depth):
    """Changes are 1/3, 1/7, 1/15 ... and the next gain 1 dB and 0.05 for each dB of the last one."""
    gains = [1 + 0.05 * 20 * np.log10(1 / (2 ** (n + 1) - 1)) for n in (1, 2, 3, 4)]
    assert gains[0] > 0.5 and 0.1 < gains[1] < 0.3 and gains[2] < 0
    mix = noise(4000)
    separator = tisdiss_rt.Separator(telling, provider="cpu")
    out = separator.separate(mix, RATE, min_gain_db=least_db, window_s=0.1)
    assert {step.depth for step in out.steps} == {depth}
    whole = separator.separate(mix, RATE, depth=depth, window_s=0.1)
    np.testing.assert_array_equal(out.sources, whole.sources)
    assert separator.separate(mix, RATE, min_gain_db=0.0, depth=2).steps[0].depth == 2


def test_budget_and_need_must_both_allow(telling, noise):
    separator = tisdiss_rt.Separator(telling, provider="cpu")
    out = separator.separate(noise(4000), RATE, budget_ms=1e9, min_gain_db=0.3, window_s=0.1)
    assert {step.depth for step in out.steps} == {2}
    out = separator.separate(noise(4000), RATE, budget_ms=1e9, window_s=0.1)
    assert {step.depth for step in out.steps} == {4}
    out = separator.separate(noise(4000), RATE, budget_ms=1e9, min_depth=3, min_gain_db=0.3, window_s=0.1)
    assert {step.depth for step in out.steps} == {3}, "the least depth runs whatever it adds"


@pytest.mark.parametrize(
    ("alone", "depth"), [((7.0, 10.0), 1), ((8.0, 10.0), 3), ((7.0, 13.0), 3), (None, 3)]
)
def test_a_voice_that_is_alone_is_passed_on(toy_maker, noise, alone, depth):
    """It needs no more repetitions; the other output is silent.

    At depth 1, the second voice is 7.4 dB below the first, and what no voice has 12 dB below the mixture.
    """
    part = toy_estimate() if alone is None else toy_estimate(alone=alone)
    folder = toy_maker(split="gain", tells_change=True, parts=(part,))
    separator = tisdiss_rt.Separator(folder, provider="cpu")
    mix = noise(8000)
    out = separator.separate(mix, RATE, depth=3, min_gain_db=0.0, window_s=0.1)
    assert {step.depth for step in out.steps} == {depth}
    is_silent = not out.sources[1].any()
    assert is_silent == (depth == 1)
    if is_silent:
        np.testing.assert_allclose(out.sources[0], mix, atol=1e-6)
        assert all([voice is None for voice in step.voices] == [False, True] for step in out.steps)
    told = separator.separate(mix, RATE, depth=1, min_gain_db=0.0, window_s=0.1)
    assert told.sources[1].any() != is_silent, "at the only depth that was asked for, too"
    for options in ({"depth": 3}, {"budget_ms": 1e9, "min_gain_db": 0.0}):
        usual = separator.separate(mix, RATE, window_s=0.1, **options)
        assert {step.depth for step in usual.steps} == {3}
        assert usual.sources[1].any()


def test_sliding_streams_follow_the_need_and_tell(telling, noise):
    separator = tisdiss_rt.Separator(telling, provider="cpu")
    stream = separator.stream(RATE, depth=4, min_gain_db=0.3)
    stream.process(0.1 * noise(4 * RATE))
    assert set(stream.depth_counts) == {2}
    assert stream.voices[0].si_sdr_db > stream.voices[1].si_sdr_db


def test_sliding_streams_pass_on_a_voice_that_is_alone(toy_maker, noise):
    folder = toy_maker(split="gain", tells_change=True, parts=(toy_estimate(alone=(7.0, 10.0)),))
    stream = tisdiss_rt.Separator(folder, provider="cpu").stream(RATE, depth=3, min_gain_db=0.0)
    mix = 0.1 * noise(4 * RATE)
    out = np.concatenate([stream.process(mix), stream.flush()], axis=1)
    assert set(stream.depth_counts) == {1}
    np.testing.assert_allclose(out, [mix, np.zeros_like(mix)], atol=1e-6)


def test_streams_tell_every_second(stream_toy_maker, noise):
    folder = stream_toy_maker(tells_change=True, parts=(toy_estimate(),))
    separator = tisdiss_rt.Separator(folder, provider="cpu")
    stream = separator.stream(RATE, depth=3)
    assert stream.voices is None
    stream.process(noise(5 * RATE))
    told = [number for number, step in enumerate(stream.steps) if step.voices is not None]
    assert told == [number for number in range(625) if number >= 250 and (number + 1) % 125 == 0]
    assert stream.voices == stream.steps[told[-1]].voices
    stream.reset()
    assert stream.voices is None
    with pytest.raises(BundleError, match="no numbers in alone for streams"):
        stream_toy_maker(name="alone", tells_change=True, parts=(toy_estimate(alone=(20.0, 20.0)),))
    deep = separator.stream(RATE, depth=3, min_gain_db=0.01)  # the change is 0.1, the gain 0 dB
    deep.process(noise(RATE))
    assert set(deep.depth_counts) == {1}


def test_bundles_that_do_not_tell_are_as_before(gain_toy, noise):
    separator = tisdiss_rt.Separator(gain_toy, provider="cpu")
    out = separator.separate(noise(3000), RATE)
    assert (out.steps[0].voices, out.estimate) == (None, None)
    with pytest.raises(OptionError, match="export it with --calibrate"):
        separator.separate(noise(3000), RATE, min_gain_db=0.1)
    with pytest.raises(OptionError, match="export it with --calibrate"):
        separator.stream(RATE, min_gain_db=0.1)


@pytest.mark.parametrize("least_db", [-0.1, float("nan"), float("inf")])
def test_impossible_gains(telling, noise, least_db):
    with pytest.raises(OptionError, match="least gain"):
        tisdiss_rt.Separator(telling, provider="cpu").separate(noise(3000), RATE, min_gain_db=least_db)


def test_incomplete_estimates_are_refused(toy_maker):
    part = toy_estimate()
    for key in part.values:
        values = {**part.values, key: part.values[key][1:]}
        broken = bundles.Part(part.name, False, None, values)
        with pytest.raises(BundleError, match=f"numbers in {key}"):
            toy_maker(name=key, tells_change=True, parts=(broken,))
    with pytest.raises(BundleError, match="needs the block's output change"):
        toy_maker(name="silent", parts=(part,))
    with pytest.raises(BundleError, match="2 numbers in alone"):
        toy_maker(name="alone", tells_change=True, parts=(toy_estimate(alone=(20.0,)),))
    values = {**part.values, "gain.low": (60.0,) * 5}
    with pytest.raises(BundleError, match=r"gain\.low below"):
        toy_maker(name="flat", tells_change=True, parts=(bundles.Part(part.name, False, None, values),))


def test_the_command_reports_quality(telling, noise, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    soundfile.write("talk.wav", 0.2 * noise(3 * RATE), RATE, "FLOAT")
    options = ("--min-gain-db", 0.3, "--json", "--report", "pages/talk.html")
    result = invoke("separate", "talk.wav", "--bundle", telling, *options)
    assert result.exit_code == 0, result.output
    (file,) = json.loads(result.stdout)["files"]
    assert file["estimate"]["low_db"] < file["estimate"]["si_sdr_db"] < file["estimate"]["high_db"]
    assert sum(file["talk_s"]) == pytest.approx(3.0)
    assert {step["depth"] for step in file["steps"]} == {2}
    assert file["steps"][0]["voices"][0]["si_sdr_db"] == pytest.approx(7.871, abs=0.01)
    assert "expected quality" in result.stderr
    page = (tmp_path / "pages" / "talk.html").read_text()
    assert page.count("data:image/png;base64,") == 3
    assert page.count("<svg") == 2
    assert "http" not in page
    refused = invoke("separate", "talk.wav", "--bundle", telling, *options)
    assert refused.exit_code == 1
    assert "talk.html exists; --force overwrites" in str(refused.exception)
    assert (tmp_path / "pages" / "talk.html").read_text() == page
