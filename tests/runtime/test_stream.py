"""Streams against the numpy reference of the streaming toy, which knows neither buffers nor chunks."""

import dataclasses
import time
import warnings

import numpy as np
import pytest
import scipy.signal
from example import mixture

from tisdiss_rt import AudioError, BundleError, OptionError, SeparationWarning, Separator
from tisdiss_rt import bundle as bundles
from tisdiss_rt.engine import conformance, open_engine
from tisdiss_rt.engine.streaming import Fifo, StreamingEngine
from tisdiss_rt.planning.forecast import Timings
from tisdiss_rt.planning.plan import Plan
from tisdiss_rt.streaming.native_core import NativeCore
from tisdiss_rt.streaming.opening import open_stream
from tisdiss_rt.streaming.stream import Stream

RATE, STEP = 16000, 128


@pytest.fixture(scope="module")
def sep(stream_toy):
    return Separator(stream_toy, provider="cpu")


@pytest.fixture(scope="module")
def engine(stream_toy):
    return open_engine(bundles.load(stream_toy), provider="cpu")


def run(stream, mix, chunk):
    pieces = [stream.process(mix[begin : begin + chunk]) for begin in range(0, len(mix), chunk)]
    return np.concatenate([*pieces, stream.flush()], axis=1)


# ---- buffers ----


@pytest.mark.parametrize(("length", "count"), [(1, 1), (3, 1), (3, 2), (5, 3), (8, 8), (200, 1), (200, 150)])
@pytest.mark.parametrize(("shape", "axis"), [((-1, 2), 0), ((3, -1), 1), ((2, 3, -1, 4), 2), ((-1,), 0)])
def test_fifo_is_the_end_of_everything_pushed(shape, axis, length, count):
    def sized(n):
        return [n if size == -1 else size for size in shape]

    fifo = Fifo(tuple(sized(length)), axis, count, begin=5)
    rng = np.random.default_rng(length)
    everything = np.zeros(sized(length), np.float32)
    for _ in range(300):
        newest = rng.uniform(size=sized(count)).astype(np.float32)
        fifo.push(newest)
        everything = np.concatenate([everything, newest], axis).take(range(-length, 0), axis)
        np.testing.assert_array_equal(fifo.window, everything)
        assert fifo.window.flags.c_contiguous
        assert np.shares_memory(fifo.window, fifo._numbers)
    fifo.clear()
    assert not fifo.window.any()


# ---- what comes out ----


@pytest.mark.parametrize("chunk", [1, 17, 128, 160, 4410, 16000])
@pytest.mark.parametrize("length", [0, 1, 100, 16000])
def test_stream_is_the_whole_signal(sep, streamed, noise, chunk, length):
    mix = noise(length)
    out = run(sep.stream(RATE, depth=2), mix, chunk)
    assert out.dtype == np.float32
    assert out.shape == (2, length)
    np.testing.assert_allclose(out, streamed(mix, 2), atol=1e-6)


@pytest.mark.parametrize("depth", [0, 1, 3, 6])
def test_every_depth(sep, streamed, noise, depth):
    mix = noise(5000)
    np.testing.assert_allclose(run(sep.stream(RATE, depth=depth), mix, 500), streamed(mix, depth), atol=1e-6)


def test_the_output_is_as_late_as_the_bundle_says(sep, noise):
    stream, given = sep.stream(RATE, depth=1), 0
    for taken in range(1, 1000):
        given += stream.process(noise(1)).shape[1]
        assert given == max(0, taken // STEP - 1) * STEP


def test_streams_on_one_engine_do_not_disturb_each_other(sep, streamed, noise):
    mixes = noise(2, 6000)
    streams = [sep.stream(RATE, depth=1), sep.stream(RATE, depth=4)]
    out = [[], []]
    for begin in range(0, 6000, 200):
        for i in (0, 1):
            out[i].append(streams[i].process(mixes[i, begin : begin + 200]))
    for i, depth in enumerate((1, 4)):
        whole = np.concatenate([*out[i], streams[i].flush()], axis=1)
        np.testing.assert_allclose(whole, streamed(mixes[i], depth), atol=1e-6)


def test_reset_makes_it_as_new(sep, streamed, noise):
    mix = noise(3001)
    stream = sep.stream(RATE, depth=2)
    for ending in (lambda: None, stream.flush):
        stream.process(noise(1234))
        ending()
        stream.reset()
        assert (len(stream.steps), stream.depth, stream.misses) == (0, 0, 0)
        np.testing.assert_allclose(run(stream, mix, 100), streamed(mix, 2), atol=1e-6)
        stream.reset()


@pytest.mark.parametrize("rate", [8000, 11025, 44100, 48000, 96000])
@pytest.mark.parametrize("length", [0, 1, 2, 100, 4409, 20011])
def test_any_rate_gives_exactly_the_length(sep, noise, rate, length):
    stream = sep.stream(rate, depth=1)
    given = 0
    for begin in range(0, length, 441):
        given += stream.process(noise(length)[begin : begin + 441]).shape[1]
        assert given <= length
    out = stream.flush()
    assert given + out.shape[1] == length
    assert np.isfinite(out).all()


def test_another_rate_stays_in_place(sep, streamed):
    """The toy adds a step and more of its own; what counts is that 48 kHz shows the same as 16 kHz."""

    def tone(rate):
        return (0.3 * np.sin(2 * np.pi * 440 * np.arange(rate) / rate)).astype(np.float32)

    out = run(sep.stream(48000, depth=0), tone(48000), 384)
    np.testing.assert_allclose(out[:, ::3][:, 1000:-1000], streamed(tone(RATE), 0)[:, 1000:-1000], atol=2e-3)


def test_channels_are_averaged(sep, noise):
    mix = noise(3000, 2)
    out = run(sep.stream(RATE, depth=1), mix, 300)
    np.testing.assert_array_equal(out, run(sep.stream(RATE, depth=1), mix.mean(axis=1), 300))


def test_silence_stays_finite(sep):
    out = run(sep.stream(48000), np.zeros(48000), 384)
    np.testing.assert_array_equal(out, 0)


def test_separate_gives_the_same(sep, streamed, noise):
    mix = noise(40000)
    out = sep.separate(mix, RATE, depth=3)
    np.testing.assert_allclose(out.sources, streamed(mix, 3), atol=1e-6)
    assert len(out.steps) == -(-(40000 + STEP) // STEP)
    assert [step.depth for step in out.steps] == [3] * len(out.steps)
    assert out.steps[2].start_s == pytest.approx(0.016)
    low = scipy.signal.butter(8, 6000, fs=44100, output="sos")  # files have sound above the network's, too
    speech = scipy.signal.sosfilt(low, mixture()[:60000]).astype(np.float32)
    whole = sep.separate(speech, 44100, depth=3).sources
    plain = open_stream(sep.engine, 44100, sep.plan(depth=3), Timings(), None, talkers=None)
    streamed_too = run(plain, speech, 777)
    error = np.square(whole - streamed_too).sum()  # a stream resamples with less delay
    assert 10 * np.log10(np.square(whole).sum() / error) > 40


# ---- depth ----


class TimedEngine:
    """The engine on a clock that its calls move; ``slow`` and ``pauses`` change what they cost."""

    def __init__(self, engine):
        self._engine, self.delay_samples, self.now_s = engine, engine.delay_samples, 0.0
        self.slow, self.pauses = 1.0, lambda ms: 0.0

    def clock(self):
        return self.now_s

    def open(self, max_depth):
        return TimedState(self, self._engine.open(max_depth))

    def spend(self, ms):
        self.now_s += (ms * self.slow + self.pauses(ms * self.slow)) / 1e3


class TimedState:
    def __init__(self, engine, state):
        self._spend, self._state, self.reset = engine.spend, state, state.reset

    def start(self, mix):
        self._spend(1.0)
        return self._state.start(mix)

    def repeat(self, step):
        self._spend(0.5)
        self._state.repeat(step)

    def decode(self, step):
        self._spend(0.5)
        return self._state.decode(step)


@pytest.fixture
def timed(engine):
    """A core with a budget of 6 ms, and its engine. At depth N a step takes 1.5 + N / 2 ms."""

    def make(min_depth=1, talkers=None):
        on_a_clock = TimedEngine(engine)
        timings = Timings()
        for history, ms in ((timings.stem, 1.0), (timings.repetition, 0.5), (timings.decoder, 0.5)):
            history.append(ms)
        plan = Plan(STEP / RATE, STEP, STEP / RATE, 6, min_depth, 6, 6.0, None, None)
        core = NativeCore(on_a_clock, plan, timings, on_a_clock.clock, talkers and talkers(on_a_clock))
        return core, on_a_clock

    return make


def test_depth_may_change_in_every_step(timed, streamed, noise):
    core, machine = timed()
    stream = Stream(core, 2, RATE, RATE)
    mix, out = noise(STEP * 200 + 50), []
    for begin in range(0, len(mix), STEP):
        machine.slow = (1.0, 1.9, 4.0, 1.3)[begin // STEP // 3 % 4]
        out.append(stream.process(mix[begin : begin + STEP]))
    out = np.concatenate([*out, stream.flush()], axis=1)
    depths = [step.depth for step in stream.steps]
    assert len(set(depths)) > 3
    np.testing.assert_allclose(out, streamed(mix, depths, 6), atol=1e-6)


def test_any_schedule_of_depths(engine, streamed, noise):
    """Depth 0 too, which leaves zeros in the histories."""
    depths = np.random.default_rng(3).integers(0, 5, 60).tolist()
    mix, state, out = noise(60 * STEP), engine.open(max_depth=5), []
    for hop, depth in zip(mix.reshape(60, STEP), depths, strict=True):
        step = state.start(hop)
        for _ in range(depth):
            state.repeat(step)
        out.append(state.decode(step))
    expected = streamed(mix, [*depths, 0], 5)
    np.testing.assert_allclose(np.concatenate(out, axis=1)[:, STEP:], expected[:, :-STEP], atol=1e-6)


def test_conformance_at_fixed_and_switching_depths(stream_toy, stream_toy_maker, engine):
    found = conformance.differences(bundles.load(stream_toy), engine)
    assert set(found) == {1, 2, 4, "switching"}
    assert max(found.values()) < 1e-6
    # An example that expects something else.
    folder = stream_toy_maker()
    arrays = dict(np.load(folder / "conformance.npz"))
    np.savez(
        folder / "conformance.npz", **{**arrays, "est_4": arrays["est_2"], "depths": arrays["depths"] // 2}
    )
    manifest = bundles.load(folder).manifest
    file = dataclasses.replace(manifest.conformance, sha256=bundles.sha256_of(folder / "conformance.npz"))
    bundles.write_manifest(folder, dataclasses.replace(manifest, conformance=file))
    found = conformance.differences(bundles.load(folder), engine)
    assert found[1] < 1e-6
    assert min(found[4], found["switching"]) > 1e-3


def test_every_depth_of_an_exported_bundle(stream_toy, streamed, noise):
    mix = noise(3000)
    for depth, estimate in enumerate(open_engine(bundles.load(stream_toy)).every_depth(mix, 4)):
        np.testing.assert_allclose(estimate, streamed(mix, depth), atol=1e-6)


def test_misses_are_counted(timed, noise):
    core, machine = timed()
    stream = Stream(core, 2, RATE, RATE)
    stream.process(noise(STEP * 10))
    assert (stream.misses, stream.depth) == (0, 6)
    machine.slow = 5.0  # the minimum takes 10 ms
    stream.process(noise(STEP * 3))
    assert stream.misses == 3
    assert [step.missed for step in stream.steps] == [False] * 10 + [True] * 3
    assert stream.steps[-1].elapsed_ms == pytest.approx(10)
    assert stream.depth == 1
    assert sum(stream.depth_counts.values()) == 13


def live_steps(core, machine, count, mix):
    """Steps due every 8 ms: depths, and the share that missed 6 ms."""
    depths, missed = [], 0
    for _ in range(count):
        result = core.push(mix)
        machine.now_s += max(0.0, 8.0 - result.elapsed_ms) / 1e3
        depths.append(result.depth)
        missed += result.missed
    return depths, missed / count


class TimedTalkers:
    """Takes 2 ms at the end of each block of 30 steps."""

    def __init__(self, machine):
        self._machine, self._steps = machine, 0

    def ends_block(self, samples):
        return self._steps % 30 == 29

    def in_order(self, estimate):
        self._machine.spend(2.0 if self.ends_block(0) else 0.0)
        self._steps += 1
        return estimate


def test_the_end_of_a_block_costs_depth_there_alone(timed, noise):
    core, machine = timed(talkers=TimedTalkers)
    depths, missed = live_steps(core, machine, 3000, noise(STEP))
    ends = depths[29::30]
    assert missed == 1 / 3000  # the first, as nobody knows it
    assert ends[1:] == [4] * 99
    assert sum(depths) - sum(ends) == 6 * 2900


@pytest.mark.parametrize(
    ("slow", "pauses_per_ms", "pause_ms"),
    [(1.0, 0.03, (1, 4)), (1.0, 0.1, (0.5, 2)), (1.7, 0.0, (0, 0)), (1.3, 0.02, (0.5, 3))],
)
def test_load_costs_depth_instead_of_misses_and_is_soon_forgotten(
    timed, noise, slow, pauses_per_ms, pause_ms
):
    core, machine = timed()
    mix, rng = noise(STEP), np.random.default_rng(0)
    assert live_steps(core, machine, 200, mix)[0][-1] == 6
    machine.slow = slow
    machine.pauses = lambda ms: rng.uniform(*pause_ms, rng.poisson(pauses_per_ms * ms)).sum()
    depths, missed = live_steps(core, machine, 6000, mix)
    assert missed < 0.01
    assert 1 <= np.mean(depths) < 5.5
    machine.slow, machine.pauses = 1.0, lambda ms: 0.0
    assert live_steps(core, machine, 126, mix)[0][-1] == 6  # a second


def test_a_pause_that_no_depth_could_absorb_costs_no_depth(timed, noise):
    core, machine = timed()
    mix = noise(STEP)
    live_steps(core, machine, 200, mix)
    machine.pauses = lambda ms: 40.0
    assert live_steps(core, machine, 1, mix)[1] == 1
    machine.pauses = lambda ms: 0.0
    assert live_steps(core, machine, 10, mix)[0][-1] == 6


def test_the_greatest_depth_is_the_best_measured_one(stream_toy_maker):
    depths = tuple(bundles.DepthQuality(n, 10 - abs(n - 5), 9, 11) for n in range(7))
    quality = bundles.Quality("toy", "dB", 1, depths, ())
    measured = Separator(stream_toy_maker(quality=quality), provider="cpu")
    plan = measured.plan(budget_ms=1000)
    assert (plan.depth, plan.min_depth, plan.max_depth, plan.quality_db) == (5, 1, 5, 10)
    assert measured.plan(budget_ms=1000, min_depth=6).max_depth == 6
    assert measured.plan().quality_db == 8
    unmeasured = Separator(stream_toy_maker("other"), provider="cpu")
    assert unmeasured.plan(budget_ms=1000).max_depth == 3
    assert unmeasured.plan().depth == 3


def test_a_budget_that_nothing_fits_is_told(stream_toy):
    impatient = Separator(stream_toy, provider="cpu")
    with pytest.warns(SeparationWarning, match="too small"):
        impatient.stream(RATE, budget_ms=1e-6)


# ---- what it says about itself ----


def test_a_budget_longer_than_a_step_is_told(stream_toy):
    with pytest.warns(SeparationWarning, match=r"budget of 40 ms is longer than a step of 8 ms"):
        Separator(stream_toy, provider="cpu").stream(RATE, budget_ms=40)


def test_latency_has_named_parts(sep, noise):
    latency = sep.stream(48000, budget_ms=5).latency_ms
    assert latency.algorithmic == 16
    assert latency.resampling_in == pytest.approx(2)
    assert latency.resampling_out == pytest.approx(2)
    assert latency.compute == 5
    assert latency.total == pytest.approx(25)
    plain = sep.stream(RATE, depth=1)
    assert dataclasses.astuple(plain.latency_ms) == (16, 0, 0, 0)
    plain.process(noise(STEP * 50))
    slowest = max(step.elapsed_ms for step in plain.steps)
    assert 0 < plain.latency_ms.compute <= slowest


def test_channels_that_cancel_each_other_are_told_once(sep, noise):
    stream, mono = sep.stream(RATE, depth=1), noise(STEP)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        stream.process(np.stack([mono, -0.5 * mono], axis=1))
        stream.process(np.zeros((STEP, 2), np.float32))
    with pytest.warns(SeparationWarning, match="cancel each other.*push one of them"):
        stream.process(np.stack([mono, -mono], axis=1))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        stream.process(np.stack([mono, -mono], axis=1))


def test_nothing_grows_in_a_long_stream(sep, streamed, noise):
    """Four minutes: the last output is what it would be, and nothing has become longer."""
    stream = sep.stream(RATE, depth=1)
    minute = noise(RATE * 60)
    for _ in range(4):
        out = stream.process(minute)
    assert len(stream.steps) == 1000
    assert stream.depth_counts == {1: 4 * 7500}
    assert stream.steps[-1].start_s == pytest.approx(240 - 0.008)
    assert len(stream._waiting) == 0
    assert stream._owed == stream._owed_to_model == STEP
    # What lies longer than its buffers back makes no difference to the toy; of depth 1, here, 5 steps.
    expected = streamed(minute[-20 * STEP :], 1)
    np.testing.assert_allclose(out[:, -10 * STEP :], expected[:, -11 * STEP : -STEP], atol=1e-6)


@pytest.mark.realtime
def test_small_steps_have_small_overhead(sep, noise):
    stream, chunk = sep.stream(RATE, depth=1), noise(STEP)
    fastest_s = 1.0
    for _ in range(300):
        begin = time.perf_counter()
        stream.process(chunk)
        fastest_s = min(fastest_s, time.perf_counter() - begin)
    assert fastest_s < 0.5e-3


# ---- refused ----


@pytest.mark.parametrize(
    ("chunk", "message"),
    [
        (np.array([0, np.nan]), "NaN"),
        (np.array([0, 1e20]), "scale it down"),
        (np.array([[0, np.inf]]), "infinite"),
        (np.zeros(10, np.int16), "floating point"),
        (np.zeros((2, 3, 4)), r"\(n, channels\)"),
        (np.zeros((5, 0)), r"\(n, channels\)"),
        (np.float32(0), r"\(n, channels\)"),
    ],
)
def test_bad_chunks_do_no_harm(sep, streamed, noise, chunk, message):
    stream, mix = sep.stream(RATE, depth=1), noise(1000)
    first = stream.process(mix[:500])
    with pytest.raises(AudioError, match=message):
        stream.process(chunk)
    out = np.concatenate([first, stream.process(mix[500:]), stream.flush()], axis=1)
    np.testing.assert_allclose(out, streamed(mix, 1), atol=1e-6)


def test_an_ended_stream_takes_nothing(sep, noise):
    stream = sep.stream(RATE)
    stream.flush()
    for call in (lambda: stream.process(noise(1)), stream.flush):
        with pytest.raises(AudioError, match=r"reset\(\)"):
            call()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"budget_ms": 5, "depth": 1}, "exclude"),
        ({"budget_ms": 0}, "above 0 ms"),
        ({"depth": 7}, "from 0 to 6"),
        ({"depth": -1}, "from 0 to 6"),
        ({"min_depth": 7, "budget_ms": 5}, "from 0 to 6"),
        ({"sample_rate": 0}, "above 0"),
        ({"sample_rate": float("nan")}, "above 0"),
        ({"sample_rate": 2**31 - 1}, "no filter"),
    ],
)
def test_impossible_options(sep, options, message):
    with pytest.raises(OptionError, match=message):
        sep.stream(**{"sample_rate": RATE, **options})


def test_a_window_makes_no_sense(sep, noise):
    with pytest.raises(OptionError, match="fixed length"):
        sep.separate(noise(100), RATE, window_s=1.0)


def test_offline_bundles_are_not_run_as_streaming_ones(toy):
    with pytest.raises(BundleError, match="toy is offline"):
        StreamingEngine(bundles.load(toy), provider="cpu")


def test_a_stream_whose_network_failed_is_refused_until_it_is_reset(sep, noise, monkeypatch):
    mix = noise(10 * STEP)
    whole = run(sep.stream(RATE), mix, len(mix))
    stream = sep.stream(RATE)
    push, pushed = stream._core.push, []

    def failing(part):
        pushed.append(part)
        if len(pushed) == 2:
            raise BundleError("the block failed")
        return push(part)

    monkeypatch.setattr(stream._core, "push", failing)
    with pytest.raises(BundleError, match="the block failed"):
        stream.process(mix[: 4 * STEP])
    for go_on in (lambda: stream.process(mix[:STEP]), stream.flush):
        with pytest.raises(AudioError, match=r"has failed; reset\(\) begins a new one"):
            go_on()
    stream.reset()
    np.testing.assert_array_equal(run(stream, mix, 3 * STEP), whole)
