"""Sound that feeds itself, in loops made of numbers: what is heard is limited, and muted when it grows."""

import numpy as np
import pytest
from example import mixture

from tisdiss_rt.live.clock_drift import REACH
from tisdiss_rt.live.feedback import MUTED_S, FeedbackWatch
from tisdiss_rt.live.limiter import KNEE, limit
from tisdiss_rt.live.playback import Playback
from tisdiss_rt.live.queues import OutputQueue

RATE, BLOCK = 16000, 128


def speech(seconds, level=1.0):
    return level * np.resize(mixture(), round(seconds * RATE))


def loop(source, gain=0.0, delay_s=0.1, room=None):
    """Play what comes in, which comes in again after ``delay_s``: the watch, and input and output (n,)."""
    watch, count, delay = FeedbackWatch(RATE), len(source) // BLOCK * BLOCK, round(delay_s * RATE)
    response = gain * (np.ones(1) if room is None else room)
    heard, played = np.zeros(count, np.float32), np.zeros(count, np.float32)
    back = np.zeros(count + delay + len(response) + BLOCK)
    for k in range(0, count, BLOCK):
        heard[k : k + BLOCK] = source[k : k + BLOCK] + back[k : k + BLOCK]
        sound = watch.mute(heard[k : k + BLOCK])
        played[k : k + BLOCK] = limit(sound)
        watch.update(heard[k : k + BLOCK], played[k : k + BLOCK], bool((np.abs(sound) > KNEE).any()))
        echo = np.convolve(played[k : k + BLOCK], response)
        back[k + delay : k + delay + len(echo)] += echo
    return watch, heard, played


def longest_loud_s(played):
    """The longest time within which it was near full scale."""
    loud = np.flatnonzero(np.abs(played) > 0.8)
    runs = np.split(loud, np.flatnonzero(np.diff(loud) > RATE // 4) + 1)
    return max((run[-1] - run[0] for run in runs if len(run)), default=0) / RATE


@pytest.mark.parametrize("level", [0.005, 0.1, 1.0])
@pytest.mark.parametrize("delay_s", [0.06, 0.15, 0.4])
@pytest.mark.parametrize("gain", [1.05, 1.5, 4.0, -1.5])
def test_a_loop_that_grows_is_muted(gain, delay_s, level):
    watch, heard, played = loop(speech(12, level), gain, delay_s)
    assert watch.mutings >= 1
    assert np.abs(played).max() <= 1
    assert longest_loud_s(played) < 3
    assert np.isfinite(heard).all()


@pytest.mark.parametrize("gain", [1.5, 4.0])
def test_a_loop_through_a_room_is_muted(gain):
    taps = np.random.default_rng(0).standard_normal(RATE // 2) * 10 ** np.linspace(0, -3, RATE // 2)
    room = taps / np.abs(np.fft.rfft(taps)).max()
    watch, _, played = loop(speech(12), gain, room=room)
    assert watch.mutings >= 1
    assert longest_loud_s(played) < 3


def test_it_comes_back_after_a_while_and_is_muted_again():
    watch, _, played = loop(speech(MUTED_S + 8), 1.5)
    assert watch.mutings == 2
    silent = np.flatnonzero(played.reshape(-1, BLOCK).any(axis=1) == 0)
    assert abs(len(silent) * BLOCK / RATE - 2 * MUTED_S) < 8


def tone(frequency_hz, seconds=20):
    return np.sin(2 * np.pi * frequency_hz * np.arange(seconds * RATE) / RATE)


@pytest.mark.parametrize(
    "source",
    [
        speech(30),
        speech(30, 3.0),
        0.3 * tone(440),
        np.random.default_rng(0).standard_normal(20 * RATE) * 0.2,
        0.2 * tone(100) + speech(20),
    ],
    ids=["speech", "loud speech", "tone", "noise", "hum"],
)
@pytest.mark.parametrize("gain", [0.0, 0.5])
def test_sound_that_feeds_nothing_is_not_touched(source, gain):
    watch, heard, played = loop(source.astype(np.float32), gain)
    assert watch.mutings == 0
    np.testing.assert_array_equal(played, limit(heard))


def test_a_tone_that_swells_is_doubted_but_not_muted():
    """It looks like feedback, so the output is off for a moment, ever more rarely."""
    seconds = 30
    swelling = (0.3 * tone(440, seconds) * (1 + 0.9 * tone(0.3, seconds))).astype(np.float32)
    watch, _, played = loop(swelling)
    assert watch.mutings == 0
    assert np.mean(played == 0) < 0.15


# ---- the limiter ----


def test_what_is_not_loud_passes_to_the_bit():
    sound = np.linspace(-KNEE, KNEE, 10001, dtype=np.float32)
    np.testing.assert_array_equal(limit(sound), sound)


def test_what_is_loud_bends_without_a_step_or_a_fold():
    sound = np.linspace(-3, 3, 60001, dtype=np.float32)
    limited = limit(sound)
    slopes = np.diff(limited) / np.diff(sound)
    assert np.abs(limited).max() <= 1
    assert slopes.min() > -1e-3
    assert slopes.max() < 1.01
    assert np.abs(np.diff(slopes)).max() < 0.01  # it bends, and nowhere breaks


def test_whatever_comes_is_within_full_scale():
    wild = np.array([np.nan, np.inf, -np.inf, 1e30, -1e30, 1.5e6], np.float32)
    assert limit(wild).tolist() == [0, 1, -1, 1, -1, 1]


def test_what_is_queued_is_limited_at_any_speed():
    """Between samples of full scale the interpolation goes beyond it."""
    output = OutputQueue(RATE, 0.0)
    playback = Playback(output, RATE, listen=0)
    square = np.sign(tone(1000, 1)).astype(np.float32)
    for speed in (1.0, 1.0003):
        output._control = type("Control", (), {"speed": speed})()
        playback.play(np.stack([square, square]), 0)
        assert np.abs(output._sound).max() <= 1
    assert len(output._sound) > 2 * len(square) - 100 - REACH
