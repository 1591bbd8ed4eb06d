"""Playing at another speed, against scipy's resampling, and the delay between two clocks that differ."""

import numpy as np
import pytest
from scipy import signal

from tisdiss_rt.live.clock_drift import MAX_SPEED_CHANGE, REACH, DelayControl, VariableSpeed
from tisdiss_rt.live.queues import OutputQueue

RATE, BLOCK = 16000, 128


@pytest.fixture
def sound():
    """Noise below 6 of 8 kHz."""
    white = np.random.default_rng(3).standard_normal(20000)
    return signal.sosfiltfilt(signal.cheby2(12, 80, 0.75, output="sos"), white).astype(np.float32) * 0.3


@pytest.mark.parametrize(("up", "down"), [(1000, 1001), (1001, 1000), (999, 1000), (500, 501)])
def test_speed_against_scipy(sound, up, down):
    ours = VariableSpeed().process(sound, down / up)
    theirs = signal.resample_poly(sound, up, down, window=("kaiser", 10.0))
    inside = slice(100, len(ours) - 100)
    assert abs(len(ours) - (len(sound) - REACH) * up / down) <= 2
    np.testing.assert_allclose(ours[inside], theirs[: len(ours)][inside], atol=2e-3)


def test_equal_clocks_change_no_sample(sound):
    player = VariableSpeed()
    played = np.concatenate([player.process(chunk, 1.0) for chunk in np.split(sound, [1, 7, 8, 1000, 1001])])
    np.testing.assert_array_equal(played, sound[: len(played)])
    assert len(played) == len(sound) - REACH


def test_chunks_make_no_difference(sound):
    player, cuts = VariableSpeed(), np.sort(np.random.default_rng(4).integers(0, len(sound), 300))
    pieces = [player.process(chunk, 1.0013) for chunk in np.split(sound, cuts)]
    np.testing.assert_allclose(np.concatenate(pieces), VariableSpeed().process(sound, 1.0013), atol=1e-5)


def test_speed_changes_without_a_jump():
    tone = np.sin(2 * np.pi * 400 / RATE * np.arange(RATE)).astype(np.float32)
    player, rng = VariableSpeed(), np.random.default_rng(5)
    speeds = 1 + rng.uniform(-MAX_SPEED_CHANGE, MAX_SPEED_CHANGE, 125)
    chunks = zip(tone.reshape(-1, BLOCK), speeds, strict=True)
    played = np.concatenate([player.process(chunk, speed) for chunk, speed in chunks])[100:]
    steepest = 2 * np.pi * 400 / RATE * (1 + MAX_SPEED_CHANGE)
    assert np.abs(np.diff(played)).max() < steepest * 1.001
    assert np.abs(np.diff(played, 2)).max() < steepest**2 * 1.1


def simulate(ppm, minutes, seed=6):
    """Two clocks ``ppm`` apart and callbacks up to 3 ms late: the delay in ms, and the queue."""
    rng, queue, player = np.random.default_rng(seed), OutputQueue(RATE, 0.03), VariableSpeed()
    came, delays, in_s = 0, [], 0.0
    block = np.zeros(BLOCK, np.float32)
    for k in range(int(minutes * 60 * RATE / BLOCK)):
        out_s = k * BLOCK / RATE * (1 + ppm * 1e-6) + rng.uniform(0, 0.003)
        while in_s <= out_s:
            came += BLOCK
            queue.put(player.process(block, queue.speed), BLOCK)
            in_s = came / RATE + rng.uniform(0, 0.003)
        queue.take(BLOCK, min(out_s * RATE, came) + BLOCK)
        delays.append(1e3 * queue.delay_s)
    return np.array(delays), queue


@pytest.mark.parametrize("ppm", [-300, -50, 0, 100, 300])
def test_clocks_that_differ(ppm):
    """Uncorrected, 300 ppm over 4 minutes are 72 ms: a queue runs dry or overflows."""
    delays, queue = simulate(ppm, 4)
    assert queue.underflows == queue.overflows == 0
    assert np.abs(delays[1000:] - delays[1000]).max() < 8
    if ppm == 0:
        assert queue.speed == 1.0
    else:  # a slow output has to play more of the input at a time
        assert queue.speed == pytest.approx(1 + ppm * 1e-6, abs=40e-6)


def test_what_comes_late_at_the_beginning_is_no_latency_for_ever():
    """A device that gives 24 ms too much at once, after the first sound was played: later they are gone."""
    queue, player, block = OutputQueue(RATE, 0.03), VariableSpeed(), np.zeros(BLOCK, np.float32)
    came = 0
    for k in range(7500):
        for _ in range(4 if k in (0, 100) else 1):
            came += BLOCK
            queue.put(player.process(block, queue.speed), BLOCK)
        queue.take(BLOCK, came)
        if k == 300:
            at_first_ms = 1e3 * queue.delay_s
    assert at_first_ms > 45
    assert 1e3 * queue.delay_s < 38
    assert queue.underflows == queue.overflows == 0


def late_at(blocks, minutes):
    """A queue whose sound is 10 ms late at those blocks; the delay in ms by block."""
    queue, player, block = OutputQueue(RATE, 0.012), VariableSpeed(), np.zeros(BLOCK, np.float32)
    came, waiting, delays = 0, 0, []
    for k in range(int(minutes * 60 * RATE / BLOCK)):
        came += BLOCK
        waiting += 1
        while waiting and k not in blocks:
            queue.put(player.process(block, queue.speed), BLOCK)
            waiting -= 1
        queue.take(BLOCK, came)
        delays.append(1e3 * queue.delay_s)
    return np.array(delays), queue


def test_a_delay_that_grew_becomes_shorter_again():
    """Three late blocks in the first minute cost delay, five calm minutes later there is none of it left."""
    delays, queue = late_at({2000, 3000, 3001, 4000, 4001}, 8)
    assert queue.underflows >= 2
    assert delays[7000] > delays[1500] + 3
    assert delays[-1] == pytest.approx(delays[1500], abs=3.5)  # the tolerance of the control


def test_tries_to_be_shorter_become_rare_where_they_fail():
    """A block late by 10 ms every second all day: hardly an underflow once the delay covers it."""
    _, queue = late_at(set(range(100, 10**6, 125)), 10)
    assert 1 <= queue.underflows <= 8


def test_clocks_that_differ_are_a_problem_without_correction(monkeypatch):
    monkeypatch.setattr(DelayControl, "speed", 1.0)
    for ppm in (-300, 300):
        _, queue = simulate(ppm, 4)
        assert queue.underflows + queue.overflows > 0
