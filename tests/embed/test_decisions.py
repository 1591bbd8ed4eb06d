"""The budget's decisions in C++ and JavaScript are Python's: same depths from the same times."""

from __future__ import annotations

import dataclasses
import subprocess
from pathlib import Path

import node_package
import numpy as np
import pytest
from toys import make_stream_toy, make_toy

from tisdiss_rt import bundle as bundles
from tisdiss_rt.planning.controller import run_step
from tisdiss_rt.planning.forecast import Timings
from tisdiss_rt.planning.plan import Plan
from tisdiss_rt.planning.planner import budget_plan


class Replay:
    """An engine whose graphs take given times: of stem, decoder and repetitions, in ms."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.times_ms: list[float] = []

    def clock(self) -> float:
        return self.now_s

    def start(self, mix: np.ndarray) -> dict[str, int]:
        self.now_s += self.times_ms[0] / 1e3
        return {"next": 2}

    def repeat(self, state: dict[str, int]) -> None:
        self.now_s += self.times_ms[state["next"]] / 1e3
        state["next"] += 1

    def decode(self, state: dict[str, int]) -> np.ndarray:
        self.now_s += self.times_ms[1] / 1e3
        return np.zeros((2, 1), np.float32)


@pytest.fixture(scope="session", params=["cpp", "node"])
def program(request: pytest.FixtureRequest) -> list[str | Path]:
    """The program that decides in each language."""
    if request.param == "node":
        return ["node", node_package.built() / "decisions.mjs"]
    return [request.getfixturevalue("release").programs / "decisions_cpp"]


def ask(program: list[str | Path], *arguments: str | Path, text: str) -> list[list[float]]:
    command = [str(word) for word in (*program, *arguments)]
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=True)
    return [[float(word) for word in line.split()] for line in done.stdout.splitlines()]


@pytest.mark.parametrize("seed", range(12))
def test_steps(program: list[str | Path], seed: int) -> None:
    rng = np.random.default_rng(seed)
    least, most = int(rng.integers(0, 3)), int(rng.integers(3, 9))
    usual_ms = rng.uniform(0.3, 1.5, 2 + most)
    budget_ms = float(usual_ms[: 2 + least + 1].sum() + rng.uniform(2, 5))
    if seed == 2:  # no repetition fits; one is tried now and then
        least, budget_ms = 0, float(1.3 * usual_ms[:2].sum())
    window_s = float(rng.choice([0.008, 0.05, 0.5, 2.0]))
    count = 8000 if seed < 2 else 400  # more than are remembered
    rows_ms = usual_ms * rng.uniform(0.9, 1.3, (count, 2 + most))
    rows_ms[rng.uniform(size=rows_ms.shape) < 0.01] *= rng.uniform(2, 8)  # pauses
    rows_ms[rng.uniform(size=count) < 0.02] *= 3  # slow steps
    lines = [" ".join(repr(float(ms)) for ms in row) for row in rows_ms]
    advance_s = window_s / 2 if window_s > 0.1 else window_s
    text = f"{budget_ms!r} {least} {most} {advance_s!r}\n" + "\n".join(lines) + "\n"
    theirs = ask(program, "steps", text=text)

    engine, timings = Replay(), Timings()
    for history in (timings.stem, timings.repetition, timings.decoder):
        history.append(1.0)
    plan = Plan(window_s, 1, advance_s, least, least, most, budget_ms, None, None)
    ours = []
    for row in rows_ms:
        engine.times_ms = row.tolist()
        result = run_step(engine, np.zeros(1, np.float32), plan, timings, engine.clock)
        ours.append([result.depth, result.elapsed_ms, result.missed])
    np.testing.assert_allclose(theirs, ours, rtol=0, atol=1e-9)
    assert len({depth for depth, _, _ in ours}) > 1  # or nothing was decided


def quality(rng: np.random.Generator, windows_s: tuple[float, ...]) -> bundles.Quality:
    depths = tuple(bundles.DepthQuality(d, round(float(rng.uniform(5, 9)), 1), 0.0, 9.0) for d in range(7))
    windows = tuple(
        bundles.WindowQuality(w, d, round(float(rng.uniform(5, 9)), 1)) for w in windows_s for d in range(6)
    )
    return bundles.Quality("toy", "dB", 1, depths, windows)


@pytest.mark.parametrize("kind", ["offline", "unmeasured", "streaming"])
@pytest.mark.parametrize("seed", range(6))
def test_plans(program: list[str | Path], tmp_path: Path, kind: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    make = make_stream_toy if kind == "streaming" else make_toy
    folder = make(tmp_path / "bundle")
    manifest = bundles.load(folder).manifest
    if kind != "unmeasured":
        manifest = dataclasses.replace(manifest, quality=quality(rng, manifest.windows_s))
        bundles.write_manifest(folder, manifest)
    lengths = [manifest.length_samples(length_s) for length_s in manifest.lengths_s()]
    times_ms = np.cumsum(rng.uniform(0.5, 3, (len(lengths), 3)), axis=0)  # stem, repetition, decoder
    table = "".join(
        f"{n} {stem!r} {repetition!r} {decoder!r}\n"
        for n, (stem, repetition, decoder) in zip(lengths, times_ms.tolist(), strict=True)
    )

    def measure(samples: int) -> Timings:
        timings = Timings()
        stem_ms, repetition_ms, decoder_ms = times_ms[lengths.index(samples)].tolist()
        timings.stem.append(stem_ms)
        timings.repetition.append(repetition_ms)
        timings.decoder.append(decoder_ms)
        return timings

    asked = [
        (budget_ms, least) for budget_ms in (0.5, 4.0, 8.0, 12.0, 20.0, 40.0, 1000.0) for least in (0, 1, 4)
    ]
    questions = "".join(f"{budget_ms} {least}\n" for budget_ms, least in asked)
    theirs = ask(program, "plan", folder, text=f"{len(lengths)}\n{table}{questions}")
    for (budget_ms, least), first, later in zip(asked, theirs[::2], theirs[1::2], strict=True):
        assert first == later  # plans are kept, so that one slow moment does not change them for ever
        window_s, depth, most, predicted_ms = first
        plan = budget_plan(manifest, manifest.lengths_s(), budget_ms, least, measure)
        assert (window_s, depth, most) == (plan.window_s, plan.depth, plan.max_depth)
        assert predicted_ms == pytest.approx(plan.predicted_ms, abs=1e-5)
    assert len({depth for _, depth, _, _ in theirs}) > 2
