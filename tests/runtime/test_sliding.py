"""Sliding windows: the stream equals the whole signal, nothing clicks, and talkers keep their outputs."""

import tracemalloc

import numpy as np
import pytest
import scipy.signal

from tisdiss_rt import Separator
from tisdiss_rt import bundle as bundles
from tisdiss_rt.engine.offline import OfflineEngine
from tisdiss_rt.planning.benchmark import measure_steps
from tisdiss_rt.planning.forecast import Timings
from tisdiss_rt.planning.plan import Plan, fixed_plan
from tisdiss_rt.streaming.sliding_core import Slide, SlidingCore, windows_s
from tisdiss_rt.streaming.stream import Stream
from tisdiss_rt.talkers.causal import CausalOrder
from tisdiss_rt.talkers.sample import voice_of
from tisdiss_rt.talkers.voiceprints import SignatureVoiceprints

RATE = 16000
GRID = [Slide(800, 100, 200), Slide(160, 0, 160), Slide(333, 64, 10), Slide(800, 800, 800), Slide(400, 0, 0)]


def core_of(folder, slide=None, depth=4, window=0.2):
    bundle = bundles.load(folder)
    plan = fixed_plan(bundle.manifest, window, depth)
    return SlidingCore(OfflineEngine(bundle, "cpu", 1), bundle.manifest, plan, Timings(), slide)


def push_all(core, mix):
    """Everything that comes out of whole steps of ``mix``, one after the other: (2, n), not aligned."""
    whole = mix[: len(mix) // core.step_samples * core.step_samples]
    return np.concatenate([core.push(part).estimate for part in whole.reshape(-1, core.step_samples)], axis=1)


def aligned(core, mix):
    """The estimate (2, n) of the mixture (n,)."""
    late = core.latency_samples - core.step_samples
    padded = np.concatenate([mix, np.zeros(core.latency_samples, np.float32)])
    return push_all(core, padded)[:, late : late + len(mix)]


class FakeEngine:
    """Gives for each window what ``separate`` makes of it."""

    def __init__(self, separate):
        self.separate = separate

    def start(self, mix):
        return mix

    def repeat(self, state):
        pass

    def decode(self, mix):
        return self.separate(mix)

    def reset(self):
        pass


# ---- the signal ----


@pytest.mark.parametrize("slide", [None, *GRID])
@pytest.mark.parametrize("samples", [1, 799, 800, 3199, 3200, 3201, 12345])
def test_a_stream_equals_the_whole_signal(gain_toy, split, noise, slide, samples):
    mix = noise(samples)
    estimate = aligned(core_of(gain_toy, slide), mix)
    np.testing.assert_allclose(estimate, (1 - 0.5**5) * split(mix, "gain"), atol=1e-6)


@pytest.mark.parametrize("chunk", [1, 700, 5000])
def test_it_runs_in_a_stream(gain_toy, split, noise, chunk):
    mix = noise(6001)
    stream = Stream(core_of(gain_toy), 2, RATE, RATE)
    pieces = [stream.process(mix[i : i + chunk]) for i in range(0, len(mix), chunk)]
    estimate = np.concatenate([*pieces, stream.flush()], axis=1)
    np.testing.assert_allclose(estimate, (1 - 0.5**5) * split(mix, "gain"), atol=1e-6)
    assert stream.latency_ms.algorithmic == pytest.approx(50 + 12.5 + 12.5)  # of a window of 200 ms


@pytest.mark.parametrize("slide", [None, *GRID])
def test_quiet_parts_are_not_lost(gain_toy, split, noise, slide):
    mix = noise(30000)
    mix[8000:20000] *= 1e-3
    estimate = aligned(core_of(gain_toy, slide), mix)
    np.testing.assert_allclose(estimate, (1 - 0.5**5) * split(mix, "gain"), atol=1e-6)


def test_the_window_grows_at_the_beginning_and_after_a_silence(gain_toy, noise):
    manifest = bundles.load(gain_toy).manifest
    lengths = []

    def separate(mix):
        lengths.append(len(mix))
        return np.stack([mix, mix])

    slide = Slide(800, 100, 300)
    core = SlidingCore(FakeEngine(separate), manifest, fixed_plan(manifest, 0.2, 1), Timings(), slide)
    mix = noise(800 * 16)
    mix[800 * 6 : 800 * 11] *= 1e-3
    push_all(core, mix)
    full, quiet = 3200, 800 + 400
    assert lengths[:10] == [800, 1600, 2400, *[full] * 7]  # a window of quiet is complete after step 9
    assert lengths[10:] == [quiet, quiet, quiet + 800, quiet + 1600, full, full]


def test_quiet_talk_after_something_loud_gets_whole_windows(gain_toy, noise):
    """30 dB below, which is no silence: somebody far away talks after a door was slammed."""
    manifest = bundles.load(gain_toy).manifest
    lengths = []

    def separate(mix):
        lengths.append(len(mix))
        return np.stack([mix, mix])

    core = SlidingCore(
        FakeEngine(separate), manifest, fixed_plan(manifest, 0.2, 1), Timings(), Slide(800, 0, 0)
    )
    mix = noise(800 * 20)
    mix[800:] *= 10 ** (-30 / 20)
    mix[800:4000] = 0
    push_all(core, mix)
    assert lengths[-6:] == [3200] * 6


@pytest.mark.parametrize("slide", GRID)
def test_the_latency_is_what_is_said_and_no_less(gain_toy, slide):
    core = core_of(gain_toy, slide)
    assert core.step_samples == slide.hop
    assert core.latency_samples == slide.hop + slide.lookahead + slide.fade
    mix = np.zeros(10 * slide.hop, np.float32)
    mix[0] = 0.5
    out = push_all(core, mix)
    assert np.flatnonzero(np.abs(out[0]) > 1e-3).tolist() == [core.latency_samples - core.step_samples]


def test_swaps_are_undone(toy, split, noise):
    mix = noise(20000)
    estimate = aligned(core_of(toy), mix)
    expected = (1 - 0.5**5) * split(mix)
    if mix[0] > 0:  # the first window's order stays
        expected = expected[::-1]
    np.testing.assert_allclose(estimate, expected, atol=1e-6)


def test_joins_do_not_click(gain_toy):
    manifest = bundles.load(gain_toy).manifest
    gains = np.random.default_rng(0)
    engine = FakeEngine(lambda mix: np.stack([mix, -0.5 * mix]) * np.float32(gains.uniform(0.4, 1)))
    slide = Slide(800, 100, 400)
    core = SlidingCore(engine, manifest, fixed_plan(manifest, 0.2, 1), Timings(), slide)
    out = push_all(core, np.ones(40000, np.float32))[:, 4000:]
    assert np.ptp(out[0]) > 0.3  # the windows do differ
    steepest = 0.6 * np.pi / 2 / slide.fade  # of a raised cosine between the extremes
    assert np.abs(np.diff(out)).max() <= 1.01 * steepest


def test_digital_silence_runs_nothing(gain_toy):
    core = core_of(gain_toy)
    for _ in range(10):
        result = core.push(np.zeros(core.step_samples, np.float32))
        assert not result.estimate.any()
        assert (result.depth, result.elapsed_ms, result.missed) == (0, 0.0, False)


def test_reset_begins_anew(toy, noise):
    core = core_of(toy)
    mix = noise(20000)
    first = push_all(core, mix)
    assert not np.array_equal(push_all(core, mix), first)  # goes on
    core.reset()
    np.testing.assert_array_equal(push_all(core, mix), first)


# ---- depth, time, memory ----


@pytest.mark.parametrize("depth", [0, 1, 7])
def test_a_fixed_depth_runs(gain_toy, noise, depth):
    core = core_of(gain_toy, depth=depth)
    result = core.push(noise(core.step_samples))
    assert result.depth == depth
    assert result.elapsed_ms > 0
    assert not result.missed


@pytest.mark.parametrize(("budget_ms", "depth"), [(1e-6, 2), (1e6, 9)])
def test_a_budget_is_passed_on(gain_toy, noise, budget_ms, depth):
    bundle = bundles.load(gain_toy)
    plan = Plan(0.2, 3200, 0.1, 4, 2, 9, budget_ms, None, None)
    engine = OfflineEngine(bundle, "cpu", 1)
    core = SlidingCore(engine, bundle.manifest, plan, measure_steps(engine, bundle.manifest, 3200))
    assert [core.push(noise(core.step_samples)).depth for _ in range(6)] == [depth] * 6


def test_only_full_windows_are_measured(gain_toy, noise):
    bundle = bundles.load(gain_toy)
    timings = Timings()
    plan = fixed_plan(bundle.manifest, 0.2, 1)
    core = SlidingCore(OfflineEngine(bundle, "cpu", 1), bundle.manifest, plan, timings, Slide(800, 0, 100))
    for expected in (0, 0, 0, 1, 2):
        core.push(noise(800))
        assert len(timings.stem) == expected


def test_memory_stays_constant(gain_toy, noise):
    manifest = bundles.load(gain_toy).manifest
    engine = FakeEngine(lambda mix: np.stack([mix, mix]))
    core = SlidingCore(engine, manifest, fixed_plan(manifest, 0.2, 1), Timings())
    mix = noise(core.step_samples * 100)
    push_all(core, mix)
    tracemalloc.start()
    try:
        push_all(core, mix)
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(3):
            push_all(core, mix)
        after = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert after - before < 4 * core.step_samples  # less than a single step kept of 300


@pytest.mark.parametrize("seconds", [0.05, 0.5, 1, 2, 4])
def test_the_default_slide_fits_the_window(gain_toy, seconds):
    plan = fixed_plan(bundles.load(gain_toy).manifest, seconds, 1)
    slide = Slide.of(plan, RATE)
    assert slide.hop + slide.lookahead + slide.fade <= plan.window_samples / 2
    assert slide.hop <= 0.25 * RATE
    assert 0 < slide.fade <= slide.hop


@pytest.mark.parametrize(
    ("windows", "chosen"),
    [((0.5, 1.0, 2.0, 4.0), (0.5, 1.0, 2.0)), ((0.5, 1.5), (0.5, 1.5)), ((3.0, 4.0), (3.0,))],
)
def test_windows_that_may_slide(toy_maker, windows, chosen):
    assert windows_s(bundles.load(toy_maker(windows_s=windows)).manifest) == chosen


# ---- as a user gets it ----


@pytest.mark.parametrize(("rate", "chunk"), [(RATE, 100), (RATE, 16000), (48000, 480), (44100, 1000)])
def test_a_separator_streams_an_offline_bundle(gain_toy, noise, rate, chunk):
    stream = Separator(gain_toy, provider="cpu").stream(rate, depth=4)
    mix = scipy.signal.sosfilt(scipy.signal.butter(8, 3000, fs=rate, output="sos"), noise(rate))
    mix = mix.astype(np.float32)
    pieces = [stream.process(mix[at : at + chunk]) for at in range(0, len(mix), chunk)]
    found = np.concatenate([*pieces, stream.flush()], axis=1)
    assert found.shape == (2, rate)
    expected = (1 - 0.5**5) * np.stack([0.7 * mix, 0.3 * mix])
    within = slice(500, -500)  # the abrupt ends are not what a resampler can keep
    np.testing.assert_allclose(found[:, within], expected[:, within], atol=1e-3)
    # The longest window is 0.2 s: a hop of a quarter, fade and lookahead of a sixteenth each.
    assert stream.latency_ms.algorithmic == pytest.approx(200 * (1 / 4 + 2 / 16))


@pytest.mark.filterwarnings("ignore::tisdiss_rt.SeparationWarning")
def test_a_budget_chooses_among_the_windows_that_may_slide(toy_maker, noise):
    separator = Separator(toy_maker(windows_s=(0.05, 0.1, 4.0)), provider="cpu")
    stream = separator.stream(RATE, budget_ms=1000)
    stream.process(noise(RATE))
    assert {step.window_s for step in stream.steps} == {0.1 / 4}
    assert stream.depth == 4


# ---- who is who ----


def voice(seconds, pitch_hz, formants_hz, seed):
    """A made-up talker (n,): a melody of pulses through resonances, in syllables of random loudness."""
    rng = np.random.default_rng(seed)
    n = int(seconds * RATE)
    knots = np.arange(0, n + RATE, RATE // 4)
    melody = pitch_hz * np.exp(np.interp(np.arange(n), knots, rng.normal(0, 0.06, len(knots))))
    phase = np.cumsum(melody / RATE)
    pulses = (np.diff(np.floor(phase), prepend=0) > 0) + 0.02 * rng.standard_normal(n)
    hz = np.fft.rfftfreq(n, 1 / RATE)
    response = sum(1 / (1 + ((hz - f) / 90) ** 2) for f in formants_hz)
    sound = np.fft.irfft(np.fft.rfft(pulses) * response, n)
    sound *= np.interp(np.arange(n), knots, rng.uniform(0.1, 1, len(knots)))
    return (0.05 * sound / np.sqrt(np.mean(sound**2))).astype(np.float32)


def talk(seconds, seed):
    """Two talkers: (2, n)."""
    low = voice(seconds, 105, (500, 1400, 2400), seed)
    return np.stack([low, voice(seconds, 190, (650, 1900, 3100), seed + 100)])


def oracle_stream(manifest, sources, seed):
    """Stream of (2, n) through an engine that separates perfectly, but in an order that means nothing."""
    rng = np.random.default_rng(seed)
    padded = np.pad(sources, ((0, 0), (0, RATE)))
    ends = []

    def separate(mix):
        ends.append(len(ends))
        end = len(ends) * core.step_samples
        return padded[:, end - len(mix) : end][rng.permutation(2)]

    plan = fixed_plan(manifest, 1.0, 1)
    talkers = CausalOrder(SignatureVoiceprints(RATE), 2, RATE)
    core = SlidingCore(FakeEngine(separate), manifest, plan, Timings(), talkers=talkers)
    return aligned(core, sources.sum(0))


def order_of(estimate, sources, begin_s, end_s):
    """Whether the outputs carry the sources in their own order, between two moments."""
    part = slice(begin_s * RATE, end_s * RATE)
    likeness = estimate[:, part] @ sources[:, part].T  # (outputs, sources)
    return np.trace(likeness) > np.trace(likeness[::-1])


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize(
    ("before", "after"), [((1, 1), (1, 1)), ((1, 1), (1, 0)), ((0, 1), (1, 1)), ((1, 0), (0, 1))]
)
def test_talkers_keep_their_outputs_through_silence(toy, before, after, seed):
    room = np.random.default_rng(seed).standard_normal(8 * RATE).astype(np.float32) * 1e-4
    sources = np.stack([room, room])  # the same in both, so that it tells nothing
    sources[:, : 3 * RATE] += np.array(before)[:, None] * talk(3, seed)
    sources[:, 5 * RATE : 8 * RATE] += np.array(after)[:, None] * talk(3, seed + 50)
    estimate = oracle_stream(bundles.load(toy).manifest, sources, seed)
    assert order_of(estimate, sources, 1, 3) == order_of(estimate, sources, 6, 8)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("piece", [128, 4000])
def test_people_who_talk_in_turn_come_out_of_their_outputs(piece, seed):
    """Whoever talks alone, the network always puts on the same output."""
    low, high = talk(24, seed)
    turns = [(0, 0.0, 4.0), (1, 4.3, 7.5), (0, 8.0, 11.0), (1, 11.0, 15.0), (0, 20.0, 24.0)]
    separated = np.zeros((2, 24 * RATE), np.float32)
    for who, begin_s, end_s in turns:
        part = slice(round(begin_s * RATE), round(end_s * RATE))
        separated[0, part] = (low, high)[who][part]
    order = CausalOrder(SignatureVoiceprints(RATE), 2, RATE)
    pieces = range(0, separated.shape[1], piece)
    found = np.concatenate([order.in_order(separated[:, at : at + piece]) for at in pieces], 1)
    np.testing.assert_allclose(found.sum(0), separated.sum(0), atol=1e-6)
    for who, begin_s, end_s in turns:
        part = found[:, round((begin_s + 1) * RATE) : round(end_s * RATE)]
        assert np.square(part).sum(1).argmax() == who


def test_the_order_of_talkers_changes_in_a_fade_and_is_forgotten():
    low, high = talk(4, 1)
    first = np.stack([low, high])
    order = CausalOrder(SignatureVoiceprints(RATE), 2, RATE)
    there = order.in_order(first)
    np.testing.assert_array_equal(there, first)
    low, high = talk(4, 2)
    back = order.in_order(np.stack([high, low]))  # one piece: the order at its end holds for all of it
    np.testing.assert_array_equal(back[:, RATE // 100 :], np.stack([low, high])[:, RATE // 100 :])
    np.testing.assert_allclose(back[:, 0], [high[0], low[0]], atol=1e-4)
    order.reset()
    np.testing.assert_array_equal(order.in_order(np.stack([high, low])), np.stack([high, low]))


@pytest.mark.parametrize("wanted", [0, 1])
def test_the_wanted_voice_is_on_the_first_output(wanted):
    """Also where somebody else begins; a stranger is not found."""
    voiceprints = SignatureVoiceprints(RATE)
    sample, stranger = talk(3, 7)[wanted], voice(3, 150, (300, 2400, 3600), 9)
    low, high = talk(12, 3)
    separated = np.zeros((2, 12 * RATE), np.float32)
    separated[0, : 4 * RATE], separated[0, 4 * RATE : 8 * RATE] = low[: 4 * RATE], high[4 * RATE : 8 * RATE]
    separated[0, 8 * RATE :] = low[8 * RATE :]
    for who, is_found in ((sample, True), (stranger, False)):
        order = CausalOrder(voiceprints, 2, RATE, voice_of((who, RATE), voiceprints, RATE))
        assert order.voice_found is False
        found = order.in_order(separated[:, : 4 * RATE]), order.in_order(separated[:, 4 * RATE : 8 * RATE])
        assert order.voice_found is is_found
        if is_found:
            assert np.square(found[wanted][0, RATE:]).sum() > 100 * np.square(found[wanted][1, RATE:]).sum()
    assert CausalOrder(voiceprints, 2, RATE).voice_found is None


def test_the_plan_advances_by_the_hop(gain_toy):
    assert core_of(gain_toy, slide=Slide(800, 0, 100)).plan.advance_s == 0.05
