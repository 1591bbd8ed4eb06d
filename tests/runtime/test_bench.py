"""`bench` on a clock that a fake engine moves, and on toys; what it keeps is what budgets plan with."""

import dataclasses
import itertools
import json

import numpy as np
import pytest
from commands import invoke
from test_budget import FakeEngine

import tisdiss_rt
from tisdiss_rt import bundle as bundles
from tisdiss_rt.errors import OptionError, SeparationWarning
from tisdiss_rt.planning import benchmark, timing_cache
from tisdiss_rt.planning.benchmark import DepthCost, measure_depths, recommend
from tisdiss_rt.planning.controller import run_step
from tisdiss_rt.planning.forecast import Timings
from tisdiss_rt.planning.planner import budget_plan

QUALITY = bundles.Quality(
    test_set="toy",
    metric="SI-SDR improvement in dB",
    mixtures=3,
    depths=tuple(bundles.DepthQuality(d, 5.0 + d, 4.0, 9.0) for d in range(4)),
    windows=tuple(bundles.WindowQuality(w, d, w + d) for w in (0.05, 0.1, 0.2) for d in range(3)),
)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    folder = tmp_path / "cache"
    monkeypatch.setenv("TISDISS_CACHE", str(folder))
    return folder


@pytest.fixture
def measured_toy(toy_maker):
    return toy_maker(quality=QUALITY)


def bench(*arguments):
    return invoke("bench", "--seconds", "0.01", *arguments)


def test_depths_take_turns():
    engine = FakeEngine(stem_ms=10, repetition_ms=4, decoder_ms=2)
    took_ms, timings = measure_depths(engine, 16000, 3, 1.0, engine.clock)
    # After a step that does not count, bursts go on until 50 ms are over: 5 steps of 12 ms, 4 of 16, 3 of 20,
    # 3 of 24. A round takes 328 ms, and the fourth one ends after a second.
    assert [len(steps) for steps in took_ms] == [20, 16, 12, 12]
    for depth, steps_ms in enumerate(took_ms):
        np.testing.assert_allclose(steps_ms, 12 + 4 * depth)
    assert [len(timings.stem), len(timings.repetition), len(timings.decoder)] == [12, 12, 12]
    assert timings.step_ms(3) == pytest.approx(24)


def test_slow_steps_are_measured_five_times():
    engine = FakeEngine(stem_ms=1000)
    took_ms, _ = measure_depths(engine, 16000, 1, 0.5, engine.clock)
    assert [len(steps) for steps in took_ms] == [5, 5]
    stems = [graph for graph, _ in engine.calls].count("stem")
    assert stems == 10  # what is longer than a burst counts at once


def test_costs_of_an_offline_bundle(measured_toy):
    engine = tisdiss_rt.Separator(measured_toy, provider="cpu").engine
    costs, timings = benchmark.measure_bundle(engine, 0.01)
    assert [(c.window_s, c.depth) for c in costs] == list(itertools.product((0.05, 0.1, 0.2), range(3)))
    assert [c.quality_db for c in costs] == [c.window_s + c.depth for c in costs]
    assert set(timings) == {800, 1600, 3200}
    for cost in costs:
        assert 0 < cost.p50_ms <= cost.p95_ms <= cost.p99_ms
        assert 10 < cost.memory_mb < 100_000


def test_costs_of_a_streaming_bundle(stream_toy):
    """Nothing was measured: up to the trained depth."""
    engine = tisdiss_rt.Separator(stream_toy, provider="cpu").engine
    costs, timings = benchmark.measure_bundle(engine, 0.01)
    assert [(c.window_s, c.depth, c.quality_db) for c in costs] == [(0.008, d, None) for d in range(4)]
    assert set(timings) == {128}


def cost(depth, p99_ms, quality_db=None, window_s=0.008):
    return DepthCost(window_s, depth, p99_ms, p99_ms, p99_ms, p99_ms / 1e3 / window_s, None, quality_db)


def test_recommendation_for_live(stream_toy):
    manifest = bundles.load(stream_toy).manifest  # trained depth 3
    rows = [cost(0, 1), cost(1, 2.0, 5.0), cost(2, 4.0, 8.0), cost(3, 7.0, 9.0)]
    assert recommend(manifest, rows, {}, 1) == "live: depth 2 (8.0 dB) with 8 ms steps, 50 % of one core"
    unmeasured = [dataclasses.replace(row, quality_db=None) for row in rows]
    assert recommend(manifest, unmeasured, {}, 2) == "live: depth 2 with 8 ms steps, 50 % of 2 cores"
    slow = [cost(depth, 9.0) for depth in range(3)]
    assert recommend(manifest, slow, {}, 1) == "too slow for live: depth 1 takes 9.0 ms of each 8 ms"


def test_recommendation_for_files(toy):
    manifest = bundles.load(toy).manifest
    rows = [
        cost(1, 40.2, 9.0, window_s=1.0),
        cost(2, 60.2, 9.5, window_s=1.0),
        cost(2, 90, 9.4, window_s=2.0),
    ]
    advice = (
        "files: windows of 1 s at depth 2 (9.5 dB), a minute of audio in 3.6 s on 2 cores; "
        "--budget-ms {} allows it"
    )
    assert recommend(manifest, rows, {16000: kept(15.0)}, 2) == advice.format(63)  # 60.2 are 96 % of it
    assert recommend(manifest, rows, {16000: kept(17.0)}, 2) == advice.format(71)  # planned: 4 graphs


@pytest.mark.parametrize("seed", range(5))
def test_the_recommended_budget_gives_the_recommended_depth(measured_toy, seed):
    """Planner and controller both do what `bench` promised, on a machine whose speed varies a little."""
    manifest = bundles.load(measured_toy).manifest
    random = np.random.default_rng(seed)
    engine = FakeEngine(100, 40, 20)

    def clock():
        engine.slow = random.uniform(1.0, 1.02)
        return engine.now_s

    costs, timings = [], {}
    for window_s in manifest.windows_s:
        samples = manifest.length_samples(window_s)
        took_ms, timings[samples] = measure_depths(engine, samples, 2, 1.0, clock)
        costs += benchmark._summarise(manifest, samples, took_ms, manifest.quality_db(window_s))
    budget_ms = float(recommend(manifest, costs, timings, 1).split("--budget-ms ")[1].split()[0])
    plan = budget_plan(manifest, manifest.windows_s, budget_ms, 1, timings.__getitem__)
    assert (plan.window_s, plan.depth) == (0.2, 2)
    mix = np.zeros(plan.window_samples, np.float32)
    depths = [run_step(engine, mix, plan, timings[plan.window_samples], clock).depth for _ in range(100)]
    assert depths == [2] * 100


def test_table(measured_toy):
    result = bench("--bundle", measured_toy, "--provider", "cpu", "--threads", 1)
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0].startswith("bundle toy, provider cpu, threads 1, precision fp32, processor ")
    assert " ".join(lines[1].split()) == "window depth p50 p95 p99 ms x real time MB dB"
    assert len(lines) == 2 + 9 + 1
    assert lines[-2].split()[:2] == ["0.2", "s"] and lines[-2].split()[-1] == "2.2"
    assert lines[-1].startswith("files: windows of 0.2 s at depth 2 (2.2 dB)")
    assert "budgets plan with these measurements" in result.stderr


def test_json(measured_toy):
    result = bench("--bundle", measured_toy, "--provider", "cpu", "--json")
    document = json.loads(result.stdout)
    assert document["bundle"] == "toy"
    assert document["recommendation"].startswith("files: ")
    assert len(document["costs"]) == 9
    assert set(document["costs"][0]) == {field.name for field in dataclasses.fields(DepthCost)}


def test_plot(measured_toy, stream_toy, tmp_path):
    path = tmp_path / "cost.png"
    arguments = ("--bundle", measured_toy, "--plot", path)
    assert bench(*arguments).exit_code == 0
    assert path.read_bytes().startswith(b"\x89PNG")
    refused = bench(*arguments)
    assert isinstance(refused.exception, OptionError)
    assert "exists; choose another name for --plot" in str(refused.exception)
    for bundle, name, message in (
        (stream_toy, "other.png", "not measured for stream-toy"),
        (measured_toy, "other.xyz", "cannot be written"),
        (measured_toy, "gone/other.png", "cannot be written"),
    ):
        refused = bench("--bundle", bundle, "--plot", tmp_path / name)
        assert message in str(refused.exception)
        assert not (tmp_path / name).exists()


def test_what_was_measured_is_shown_also_where_it_cannot_be_kept(measured_toy, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("TISDISS_CACHE", str(tmp_path / "file"))
    with pytest.warns(SeparationWarning, match="the measurements cannot be kept"):
        result = bench("--bundle", measured_toy, "--json")
    assert len(json.loads(result.stdout)["costs"]) == 9


def test_pictures_are_refused_before_measuring(measured_toy, tmp_path, monkeypatch):
    monkeypatch.setattr(benchmark, "measure_bundle", None)
    assert "cannot be written" in str(bench("--bundle", measured_toy, "--plot", tmp_path / "a.xyz").exception)


@pytest.mark.parametrize("seconds", ["0", "-1", "nan", "inf"])
def test_seconds(measured_toy, seconds):
    result = invoke("bench", "--bundle", measured_toy, "--seconds", seconds)
    assert "must be above 0" in str(result.exception)


def kept(milliseconds):
    timings = Timings()
    for history in (timings.stem, timings.repetition, timings.decoder):
        history.extend([milliseconds] * 3)
    return timings


def test_budgets_plan_with_what_was_kept(measured_toy, cache):
    separator = tisdiss_rt.Separator(measured_toy, provider="cpu")
    path = timing_cache.write(separator.engine, {n: kept(n / 800.0) for n in (800, 1600, 3200)})
    assert path.parent == cache
    plan = separator.plan(budget_ms=9)  # 0.1 s at depth 2 takes 8 ms, 0.2 s at depth 1 takes 12
    assert (plan.window_s, plan.depth, plan.predicted_ms) == (0.1, 2, 8.0)
    other = tisdiss_rt.Separator(measured_toy, provider="cpu", threads=separator.engine.threads + 1)
    assert other.plan(budget_ms=9).predicted_ms != 8.0  # another way to run was not measured


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"timings_ms": {"800": {}}}', '{"timings_ms": {"800": null}}']
)
def test_a_file_that_cannot_be_used_is_none(measured_toy, content):
    engine = tisdiss_rt.Separator(measured_toy, provider="cpu").engine
    path = timing_cache.write(engine, {800: kept(1.0)})
    assert timing_cache.read(engine, 800).step_ms(1) == 3.0
    assert timing_cache.read(engine, 1600) is None
    path.write_text(content)
    assert timing_cache.read(engine, 800) is None


def test_another_network_is_another_file(toy_maker):
    paths = set()
    for name, split in (("one", "sign"), ("two", "gain")):
        engine = tisdiss_rt.Separator(toy_maker(name, split=split), provider="cpu").engine
        paths.add(timing_cache.write(engine, {800: kept(1.0)}))
    assert len(paths) == 2
