"""Which channels are separated: the mean without what spoils it, one of them, or each by itself."""

import io
import json
import sys
import warnings

import numpy as np
import pytest
import soundfile

from tisdiss_rt import AudioError, OptionError, SeparationWarning, Separator
from tisdiss_rt.audio.channels import parse, usable

RATE = 16000


@pytest.fixture
def gain(gain_toy):
    return Separator(gain_toy, provider="cpu", threads=1)


@pytest.fixture(scope="module")
def edge():
    return Separator("edge-16k", provider="cpu", precision="fp32", threads=1)


def chosen(*channels):
    columns = np.stack(channels, axis=1).astype(np.float32)
    return usable((columns[i : i + 4096] for i in range(0, len(columns), 4096)), len(channels))


@pytest.mark.parametrize("rate", [1, 3])
def test_a_mean_that_loses_nothing_is_taken(mix, voices, rate):
    """Stereo of two microphones, panned voices, a voice on each side, and a quiet side."""
    mix, one, two = (np.repeat(signal, rate) for signal in (mix, *voices))
    for channels in ((mix, mix), (mix, 0.7 * mix), (one + 0.3 * two, 0.3 * one + two), (one, two)):
        assert chosen(*channels).taken is None
    assert chosen(mix, 0.1 * mix).taken is None
    assert chosen(mix, np.roll(mix, 40 * rate)).taken is None
    assert chosen(0 * mix, 0 * mix).taken is None
    assert chosen(mix[:1], -mix[:1]).problem is None  # an offset is no sound


def test_channels_that_cancel_each_other(mix, voices):
    rng = np.random.default_rng(0)
    noises = 0.01 * rng.standard_normal((2, len(mix)))
    turns = np.where(np.arange(len(mix)) < len(mix) / 2, mix, 0)
    for channels in (
        (mix, -mix),
        (mix, -0.5 * mix),
        (mix + noises[0], -mix + noises[1]),
        (voices[0] + voices[1], voices[0] - voices[1]),  # the second would get lost
        (mix, mix - 2 * turns),
        (mix, -mix, mix, -mix),
    ):
        choice = chosen(*channels)
        assert len(choice.taken) == 1
        assert "cancel each other" in choice.problem


def test_dead_channels_are_left_out(mix):
    rng = np.random.default_rng(0)
    for dead in (0 * mix, 0.001 * rng.standard_normal(len(mix)), np.full(len(mix), 0.3)):
        choice = chosen(dead, mix)
        assert choice.taken == (1,)
        assert choice.problem == "channel 1 is silent, so channel 2 is taken"
        assert chosen(mix, dead).taken == (0,)
    choice = chosen(mix, 0 * mix, mix, 0 * mix, 0 * mix, 0.8 * mix)
    assert choice.taken == (0, 2, 5)
    assert choice.problem == "channels 2, 4, 5 are silent, so channels 1, 3, 6 are taken"


def test_arrays(gain, mix):
    whole = gain.separate(mix, RATE)
    assert whole.channels == (1,)
    with pytest.warns(SeparationWarning, match="the mixture: the channels cancel each other"):
        out = gain.separate(np.stack([mix, -mix], axis=1), RATE)
    np.testing.assert_allclose(out.sources, whole.sources, atol=1e-6)
    assert (out.channels, out.passed_on) == ((1,), ())
    with pytest.warns(SeparationWarning, match="channel 1 is silent"):
        out = gain.separate(np.stack([0 * mix, mix], axis=1), RATE)
    np.testing.assert_allclose(out.sources, whole.sources, atol=1e-6)
    assert out.channels == (2,)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert gain.separate(np.stack([mix, 0.5 * mix], axis=1), RATE).channels == (1, 2)


@pytest.mark.parametrize(("channels", "column"), [("left", 0), ("right", 1), (1, 0), ("2", 1), (3, 2)])
def test_one_channel(gain, noise, channels, column):
    three = noise(5000, 3)
    out = gain.separate(three, RATE, channels=channels)
    np.testing.assert_allclose(out.sources, gain.separate(three[:, column], RATE).sources, atol=1e-6)
    assert out.channels == (column + 1,)


def test_each_channel_by_itself(gain, noise):
    three = noise(5000, 3)
    done = []
    out = gain.separate(three, RATE, channels="split", progress=lambda *now: done.append(now))
    expected = [gain.separate(three[:, column], RATE).sources for column in range(3)]
    np.testing.assert_allclose(out.sources, np.concatenate(expected), atol=1e-6)
    assert (out.channels, out.passed_on) == ((1, 2, 3), ())
    assert done == sorted(done)
    assert done[-1] == pytest.approx((3 * 5000 / RATE, 3 * 5000 / RATE))


def test_channels_of_one_person_each_are_passed_on(edge, voices):
    for bleed in (0.0, 0.03):
        stereo = np.stack([voices[0] + bleed * voices[1], voices[1] + bleed * voices[0]], axis=1)
        out = edge.separate(stereo, RATE, depth=2, channels="split")
        assert (out.passed_on, out.one_talker) == ((1, 2), True)
        np.testing.assert_array_equal(out.sources[::2], stereo.T)
        assert not out.sources[1::2].any()


def test_what_cannot_be_chosen(gain, noise):
    for bad in (0, -1, "0", "both", "", 1.5, True, "²"):
        with pytest.raises(OptionError, match="channels are mix, left, right, split, or a number from 1"):
            gain.separate(noise(100, 2), RATE, channels=bad)
    for channels in (3, "3"):
        with pytest.raises(AudioError, match="has no channel 3, but 2 in all"):
            gain.separate(noise(100, 2), RATE, channels=channels)
    with pytest.raises(AudioError, match="has no channel 2, but 1 in all"):
        gain.separate(noise(100), RATE, channels="right")
    assert (parse("left"), parse("right"), parse("12"), parse("split")) == (1, 2, 12, "split")


# ---- the command ----


@pytest.fixture
def separate(command, gain_toy):
    def run(*arguments, bundle=gain_toy):
        return command("separate", "--bundle", bundle, "--provider", "cpu", "--precision", "fp32", *arguments)

    return run


@pytest.mark.parametrize("form", ["wav", "flac", "mp3", "ogg"])
def test_files_are_looked_at_before_they_are_mixed(separate, mix, form):
    soundfile.write(f"a.{form}", np.stack([mix, -mix], axis=1), RATE)
    status, _, err = separate(f"a.{form}", "--depth", "0")
    assert status == 0
    assert f"warning: a.{form}: the channels cancel each other, so only channel" in err
    voice, _ = soundfile.read("separated/a_spk1.wav")
    assert len(voice) == len(mix)
    assert abs(np.dot(voice, mix)) > 0.98 * np.linalg.norm(voice) * np.linalg.norm(mix)


def test_split_files(separate, noise):
    stereo = noise(5000, 2)
    soundfile.write("a.wav", stereo, RATE, subtype="FLOAT")
    status, out, _ = separate("a.wav", "--channels", "split", "--json")
    (entry,) = json.loads(out)["files"]
    assert status == 0
    assert (entry["channels"], entry["passed_on"]) == ([1, 2], [])
    assert entry["outputs"] == [f"separated/a_ch{c}_spk{s}.wav" for c in (1, 2) for s in (1, 2)]
    assert len(entry["steps"]) % 2 == 0
    for path, channel, share in zip(entry["outputs"], (0, 0, 1, 1), (0.7, 0.3, 0.7, 0.3), strict=True):
        voice, _ = soundfile.read(path)
        np.testing.assert_allclose(voice, share * 31 / 32 * stereo[:, channel], atol=1e-5)
    status, _, err = separate("a.wav", "--channels", "split")
    assert status == 0
    assert "a.wav: skipped, separated/a_ch1_spk1.wav exists" in err


def test_split_standard_input(separate, noise, monkeypatch):
    content = io.BytesIO()
    soundfile.write(content, noise(5000, 2), RATE, format="WAV")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content.getvalue())))
    status, out, _ = separate("-", "--channels", "split", "--depth", "0")
    assert status == 0
    assert out.split() == [f"separated/stdin_ch{c}_spk{s}.wav" for c in (1, 2) for s in (1, 2)]


def test_an_interview_is_passed_on(separate, voices):
    soundfile.write("a.wav", voices.T, RATE)
    status, out, err = separate(
        "a.wav", "--channels", "split", "--depth", "2", "--threads", "1", bundle="edge-16k"
    )
    assert status == 0
    assert "each channel already is one talker and is passed on as it is" in err
    stereo = soundfile.read("a.wav")[0]
    for number, path in enumerate(out.split()):
        expected = stereo[:, number // 2] if number % 2 == 0 else 0
        np.testing.assert_allclose(soundfile.read(path)[0], expected, atol=1e-4)


def test_results_of_another_channel_are_not_taken_for_these(separate, noise):
    soundfile.write("a.wav", noise(5000, 2), RATE)
    assert separate("a.wav", "--channels", "left")[0] == 0
    assert "skipped" in separate("a.wav", "--channels", "1")[2]
    for other in ("right", "2", "mix"):
        status, _, err = separate("a.wav", "--channels", other)
        assert status == 1
        assert "exists and is not known to be of this input" in err


def test_bad_channels(separate, noise):
    soundfile.write("a.wav", noise(100, 2), RATE)
    status, _, err = separate("a.wav", "--channels", "both")
    assert status == 1
    assert "channels are mix, left, right, split" in err
    status, _, err = separate("a.wav", "--channels", "3")
    assert status == 1
    assert "a.wav: has no channel 3, but 2 in all" in err
