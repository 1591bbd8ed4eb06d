"""The planner and the controller on a clock that the fake engine moves: nothing here depends on real time."""

import dataclasses

import numpy as np
import pytest

from tisdiss_rt import bundle as bundles
from tisdiss_rt.planning.benchmark import measure_steps
from tisdiss_rt.planning.controller import run_step
from tisdiss_rt.planning.forecast import HISTORY, LateSteps, Timings
from tisdiss_rt.planning.plan import Plan, fixed_plan
from tisdiss_rt.planning.planner import budget_plan

RATE = 16000


class FakeEngine:
    """Costs a fixed time for each graph per second of input; ``slow`` multiplies single repetitions."""

    def __init__(self, stem_ms=10.0, repetition_ms=4.0, decoder_ms=2.0):
        self.now_s = 0.0
        self.costs_ms = {"stem": stem_ms, "repetition": repetition_ms, "decoder": decoder_ms}
        self.slow = 1.0
        self.calls = []

    def clock(self):
        return self.now_s

    def _spend(self, graph, seconds):
        self.calls.append((graph, seconds))
        self.now_s += self.costs_ms[graph] * self.slow * seconds / 1e3

    def open(self, max_depth):
        return self

    def start(self, mix):
        self._spend("stem", len(mix) / RATE)
        return {"mix": mix, "depth": 0}

    def repeat(self, state):
        state["depth"] += 1
        self._spend("repetition", len(state["mix"]) / RATE)

    def decode(self, state):
        self._spend("decoder", len(state["mix"]) / RATE)
        return np.full((2, len(state["mix"])), state["depth"], np.float32)


@pytest.fixture
def manifest(gain_toy):
    loaded = bundles.load(gain_toy).manifest
    return dataclasses.replace(loaded, windows_s=(0.5, 1.0, 2.0, 4.0))


def measured(manifest, table):
    """A manifest with measured quality: {(window_s, depth): dB}."""
    windows = tuple(bundles.WindowQuality(w, d, db) for (w, d), db in table.items())
    return dataclasses.replace(manifest, quality=bundles.Quality("toy", "dB", 1, (), windows))


def plan_for(engine, manifest, budget_ms, min_depth=1, windows_s=None):
    def measure(samples):
        return measure_steps(engine, manifest, samples, engine.clock)

    return budget_plan(manifest, windows_s or manifest.lengths_s(), budget_ms, min_depth, measure)


def second_plan(budget_ms, min_depth=1, max_depth=12):
    return Plan(1.0, RATE, 1.0, min_depth, min_depth, max_depth, budget_ms, None, None)


def run(engine, plan, timings):
    return run_step(engine, np.ones(RATE, np.float32), plan, timings, engine.clock)


def known(engine):
    """Timings as if the engine had been measured."""
    costs = engine.costs_ms
    timings = Timings()
    for name in costs:
        getattr(timings, name).append(costs[name])
    return timings


# ---- controller ----


@pytest.mark.parametrize(
    ("budget_ms", "depth"),
    # Mandatory: 10 + 4 + 2 = 16 ms; each further repetition takes 4. The margin makes 60 of 62.5 ms.
    [(1, 1), (16, 1), (20.8, 1), (20.9, 2), (24.9, 2), (25.1, 3), (62.4, 11), (62.6, 12), (1000, 12)],
)
def test_depth_fills_the_budget_and_no_more(budget_ms, depth):
    engine = FakeEngine()
    result = run(engine, second_plan(budget_ms), known(engine))
    assert result.depth == depth
    assert (result.estimate == depth).all()
    assert result.elapsed_ms == pytest.approx(12 + 4 * depth)
    assert result.elapsed_ms <= budget_ms or depth == 1
    assert result.missed == (budget_ms < 16)


@pytest.mark.parametrize("min_depth", [0, 1, 5])
def test_the_minimum_always_runs(min_depth):
    engine = FakeEngine()
    assert run(engine, second_plan(0.001, min_depth), known(engine)).depth == min_depth


def test_without_a_budget_the_depth_is_fixed():
    engine = FakeEngine()
    plan = dataclasses.replace(second_plan(None, 7), max_depth=7)
    assert run(engine, plan, Timings()).depth == 7


def test_prediction_uses_a_high_quantile():
    engine = FakeEngine()
    timings = known(engine)
    timings.overrun.extend([1.0] * 18 + [6.0] * 2)  # one in ten is slow
    assert run(engine, second_plan(41), timings).depth == 1  # 10 + 4 + 6 * 4 + 2 does not fit
    assert run(engine, second_plan(42), timings).depth == 2


def test_measured_repetitions_say_how_much_longer_one_may_take():
    """Before there was any overrun."""
    engine = FakeEngine()
    timings = known(engine)
    timings.repetition.extend([4.0] * 17 + [24.0] * 2)
    assert run(engine, second_plan(41), timings).depth == 1
    assert len(timings.overrun) == 1


def test_a_step_that_begins_slowly_is_expected_to_go_on_so():
    engine = FakeEngine()
    timings = known(engine)
    for history in (timings.stem, timings.repetition, timings.decoder):
        history.extend([history[0]] * 20)
    engine.slow = 2.0
    result = run(engine, second_plan(62.4), timings)  # one more: 64
    assert (result.depth, result.elapsed_ms) == (4, pytest.approx(56))
    engine.slow = 0.5  # may be over in a moment: not more than usually
    assert run(engine, second_plan(20.9), timings).depth == 5  # after 15 ms; 4 and 2 more would be late


def test_a_step_that_becomes_slow_is_expected_to_go_on_so():
    class Slowing(FakeEngine):
        def repeat(self, state):
            self.slow = 2.0 if state["depth"] == 2 else self.slow
            super().repeat(state)

    # Ready after 10 + 4 + 4 + 4 * 8 + 4; one more would be, too, at the pace of the step as a whole.
    result = run(Slowing(), second_plan(61.9), known(FakeEngine()))
    assert (result.depth, result.elapsed_ms) == (6, pytest.approx(54))


def test_one_slow_moment_among_many_does_not_matter():
    engine = FakeEngine()
    timings = known(engine)
    timings.repetition.extend([4.0] * 40 + [30.0])
    assert run(engine, second_plan(46), timings).depth == 8


def test_contention_costs_depth_and_recovers():
    engine = FakeEngine()
    timings = known(engine)
    plan = second_plan(41.7)
    depths = [run(engine, plan, timings).depth for _ in range(20)]
    assert depths == [7] * 20
    engine.slow = 2.0
    slowed = [run(engine, plan, timings) for _ in range(30)]
    assert slowed[-1].depth == 2  # 20 + 2 * 8 + 4 = 40
    # Late only while the slowdown is news: the controller cannot foresee it.
    assert all(result.elapsed_ms <= 41.7 for result in slowed[4:])
    engine.slow = 1.0
    assert [run(engine, plan, timings).depth for _ in range(80)][-1] == 7


def early_after(late_steps, *late_ms):
    """How early to be ready after steps of 8 ms that were late by so much."""
    for one_ms in late_ms:
        late_steps.add(one_ms, 0.008)
    return late_steps.early_ms()


def test_rare_pauses_cost_nothing():
    assert early_after(LateSteps(), *[9.0, *[0] * 750] * 20) == 0  # four in 3000


def test_all_but_the_worst_four_count():
    late_steps = LateSteps()
    assert early_after(late_steps, *[1.0, 7.0, 3.0, 2.0, 8.0, 0.5], *[0] * 19) == 1.0
    assert early_after(late_steps, 9.0) == 2.0


def test_pauses_are_over_after_a_calm_second():
    late_steps = LateSteps()
    early_after(late_steps, *[2.5, 0, 3.0, 0, 0] * 5)
    assert early_after(late_steps, *[0] * 109) == 3.0
    assert early_after(late_steps, 0) == 0


def test_rarer_pauses_are_over_later():
    late_steps = LateSteps()
    assert early_after(late_steps, *[3.0, *[0] * 99] * 10) == 3.0
    assert early_after(late_steps, *[0] * 200) == 3.0  # three gaps of a hundred steps, less one
    assert early_after(late_steps, 0) == 0


def test_pauses_are_forgotten():
    late_steps = LateSteps()
    assert early_after(late_steps, *[3.0, *[0] * 599] * 5) == 3.0
    assert early_after(late_steps, 0) == 0


def test_smaller_pauses_that_go_on_do_not_keep_the_larger_ones():
    late_steps = LateSteps()
    early_after(late_steps, *[0.1, 3.0, 0] * 10)
    assert early_after(late_steps, *[0.1, 0, 0] * 50) == 0.1


def test_after_a_calm_second_a_few_pauses_are_tolerated_again():
    late_steps = LateSteps()
    assert early_after(late_steps, *[3.0, 0] * 10, *[0] * 120) == 0
    assert early_after(late_steps, *[3.0, 0] * 4) == 0
    assert early_after(late_steps, 3.0) == 3.0


@pytest.mark.parametrize(("advance_s", "calm_steps"), [(0.1, 9), (0.05, 18), (1.0, 3)])
def test_pauses_cost_depth_as_long_as_they_are_remembered(advance_s, calm_steps):
    """Windows that overlap advance by less than their length: a calm second has more of them."""
    engine = FakeEngine()
    plan = dataclasses.replace(second_plan(41.7), advance_s=advance_s)
    timings = known(engine)
    timings.decoder.extend([2.0] * 100)
    engine.costs_ms["decoder"] += 8
    assert sum(run(engine, plan, timings).elapsed_ms > 41.7 for _ in range(8)) == 5
    engine.costs_ms["decoder"] -= 8
    depths = [run(engine, plan, timings).depth for _ in range(calm_steps + 3)]
    assert depths == [5] * calm_steps + [7] * 3


@pytest.mark.parametrize(
    ("late_ms", "counted_ms"),
    # Half of the margin is 1 ms; the least takes 16 of 50.
    [(0.9, 0), (1.1, 1.1), (33.9, 33.9), (34.1, 0)],
)
def test_lateness_that_the_margin_or_nothing_helps_against_does_not_count(late_ms, counted_ms):
    engine = FakeEngine()
    timings = known(engine)
    engine.costs_ms["decoder"] += late_ms
    for _ in range(10):
        run(engine, second_plan(50, max_depth=1), timings)
        timings.decoder.clear()
        timings.decoder.append(2.0)
    assert timings.late_steps.early_ms() == pytest.approx(counted_ms)


def test_where_no_repetition_fits_one_is_tried_now_and_then():
    engine = FakeEngine()
    timings = known(engine)
    plan = second_plan(13.0, min_depth=0)
    depths = [run(engine, plan, timings).depth for _ in range(1000)]
    assert [n for n, depth in enumerate(depths) if depth] == list(range(128, 1000, 129))
    engine.slow = 0.5
    depths = [run(engine, plan, timings).depth for _ in range(130)]
    assert depths[-1] == 3  # 5 + 3 * 2 + 1 = 12


def test_a_slow_moment_does_not_rule_out_repetitions_for_ever():
    engine = FakeEngine()
    timings = known(engine)
    timings.repetition.extend([500.0] * 5)
    timings.overrun.extend([9.0] * 5)
    plan = second_plan(41.7, min_depth=0)
    depths = [run(engine, plan, timings).depth for _ in range(131)]
    assert depths[:128] == [0] * 128
    assert depths[-1] == 7


def test_a_slow_machine_is_not_taken_for_a_fast_one_again_and_again():
    """Where no repetition must run, each of those that do not fit would be a miss."""
    engine = FakeEngine(1.2, 0.75, 0.37)
    timings = known(engine)
    plan = dataclasses.replace(second_plan(6.0, min_depth=0), window_s=0.008)
    for _ in range(100):
        run(engine, plan, timings)
    engine.slow = 3.0
    missed = sum(run(engine, plan, timings).missed for _ in range(5000))
    assert missed < 50


def test_steps_add_to_the_measurements():
    engine = FakeEngine()
    timings = Timings()
    run(engine, second_plan(None, 3, 3), timings)
    assert list(timings.stem) == pytest.approx([10])
    assert list(timings.repetition) == pytest.approx([4])
    assert list(timings.decoder) == pytest.approx([2])
    assert timings.step_ms(5) == pytest.approx(32)


def test_old_measurements_are_forgotten():
    engine = FakeEngine()
    timings = Timings()
    for _ in range(100):
        run(engine, second_plan(None, 3, 3), timings)
    assert len(timings.repetition) == len(timings.stem) == HISTORY


# ---- planner ----
# The fake engine takes (12 + 4 * depth) ms for a second of window.

TABLE = {
    (window_s, depth): quality
    for window_s, base in ((0.5, 1.0), (1.0, 3.0), (2.0, 5.0), (4.0, 6.0))
    for depth, quality in enumerate(base + 2.0 * (1 - 0.5**d) for d in range(9))
}


def best_in_table(budget_ms, min_depth=1):
    """Best in 96 % of the budget, as the controller leaves the rest free; the least depth may take all."""
    pairs = {(w, d): q for (w, d), q in TABLE.items() if d >= min_depth}
    fitting = {k: q for k, q in pairs.items() if k[0] * (12 + 4 * k[1]) <= 0.96 * budget_ms}
    return max(fitting or {(0.5, min_depth): pairs[0.5, min_depth]}, key=pairs.get)


@pytest.mark.parametrize("budget_ms", [8.5, 11, 17, 20.1, 26, 33, 51, 65, 90, 1000])
@pytest.mark.parametrize("min_depth", [0, 1])
def test_plan_is_the_best_measured_pair_that_fits(manifest, budget_ms, min_depth):
    plan = plan_for(FakeEngine(), measured(manifest, TABLE), budget_ms, min_depth)
    assert (plan.window_s, plan.depth) == best_in_table(budget_ms, min_depth)
    assert plan.quality_db == TABLE[plan.window_s, plan.depth]
    assert plan.predicted_ms == pytest.approx(plan.window_s * (12 + 4 * plan.depth))
    assert plan.fits
    assert plan.window_samples == plan.window_s * RATE
    assert plan.max_depth == 8  # best measured, above the trained 4


def test_quality_grows_with_the_budget(manifest):
    plans = [plan_for(FakeEngine(), measured(manifest, TABLE), budget_ms) for budget_ms in range(8, 150, 3)]
    qualities = [plan.quality_db for plan in plans]
    assert qualities == sorted(qualities)
    assert qualities[0] < qualities[-1]


def test_the_limit_is_the_depth_of_best_quality(manifest):
    table = {(0.5, depth): -abs(depth - 6.0) for depth in range(13)}
    plan = plan_for(FakeEngine(), measured(manifest, table), 1000, windows_s=(0.5,))
    assert (plan.depth, plan.max_depth) == (6, 6)


def test_without_measurements_depth_comes_before_window(manifest):
    # At 15 ms: 0.5 s runs 4 deep (14 ms); 1 s does not even fit once (16 ms).
    assert plan_for(FakeEngine(), manifest, 15).window_s == 0.5
    # At 27 ms: 1 s fits 3 deep (24 ms), but 0.5 s reaches the trained 4.
    plan = plan_for(FakeEngine(), manifest, 27)
    assert (plan.window_s, plan.depth, plan.max_depth, plan.quality_db) == (0.5, 4, 4, None)
    # At 60 ms: 0.5, 1 and 2 s all reach 4 (56 ms); the longest of them wins.
    plan = plan_for(FakeEngine(), manifest, 60)
    assert (plan.window_s, plan.depth) == (2.0, 4)


def test_measuring_stops_where_longer_windows_cannot_fit(manifest):
    engine = FakeEngine()
    plan_for(engine, manifest, 20)
    assert {seconds for _, seconds in engine.calls} == {0.5, 1.0, 2.0}  # 1 s fits, 2 s does not
    engine = FakeEngine()
    plan_for(engine, manifest, 1)
    assert {seconds for _, seconds in engine.calls} == {0.5}


def test_measuring_is_short_on_a_slow_machine(manifest):
    engine = FakeEngine(stem_ms=1000, repetition_ms=1000, decoder_ms=1000)
    plan_for(engine, manifest, 1)
    assert sum(graph == "stem" for graph, _ in engine.calls) == 2  # warm-up, and one that counts


def test_nothing_fits(manifest):
    plan = plan_for(FakeEngine(), measured(manifest, TABLE), 5, min_depth=2)
    assert not plan.fits
    assert (plan.window_s, plan.depth, plan.min_depth) == (0.5, 2, 2)
    assert plan.predicted_ms == pytest.approx(10)


def test_minimum_above_the_best_depth(manifest):
    plan = plan_for(FakeEngine(), measured(manifest, TABLE), 1000, min_depth=10, windows_s=(0.5,))
    assert (plan.depth, plan.min_depth, plan.max_depth) == (10, 10, 10)


def test_windows_are_even(manifest):
    odd = dataclasses.replace(manifest, sample_rate=11025)
    assert [odd.length_samples(w) for w in (0.00001, 0.5, 1.0)] == [2, 5512, 11024]


def test_every_plan_says_how_far_it_advances(manifest, stream_toy):
    engine = FakeEngine()
    assert fixed_plan(manifest, 2.0, 3).advance_s == 1.0
    plan = plan_for(engine, manifest, 1000)
    assert plan.advance_s == plan.window_s / 2
    streaming = bundles.load(stream_toy).manifest
    assert fixed_plan(streaming, 0.008, 3).advance_s == 0.008
    assert plan_for(engine, streaming, 1000).advance_s == 0.008
