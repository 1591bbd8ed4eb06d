"""The command ``bench``: what each depth costs on this machine, and what to make of it."""

from __future__ import annotations

import dataclasses
import io
import json
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tisdiss_rt.cli.options import JSON, duration, engine_options, running
from tisdiss_rt.errors import OptionError, OutputError, SeparationWarning

if TYPE_CHECKING:
    from tisdiss_rt.bundle import Manifest
    from tisdiss_rt.engine.base import Engine
    from tisdiss_rt.planning.benchmark import DepthCost


@click.command()
@engine_options("edge-16k")
@click.option("--seconds", type=float, default=5.0, show_default=True, help="Time to measure each window.")
@JSON
@click.option("--plot", type=click.Path(), help="Draw quality against time to this file; needs matplotlib.")
def bench(engine: dict[str, Any], seconds: float, as_json: bool, plot: str | None) -> None:
    """Measure what each depth costs here.

    A step is one window of an offline bundle, or one step of a streaming one. The measurements are kept, and
    later budgets plan with them.
    """
    from tisdiss_rt.bundle import load
    from tisdiss_rt.planning import benchmark, timing_cache  # take the time that --help should not
    from tisdiss_rt.planning.autoselect import open_fastest

    if not 0 < seconds < float("inf"):
        raise OptionError(f"--seconds must be above 0, not {seconds:g}")
    loaded = load(engine.pop("bundle"))
    if plot is not None:
        _check_plot(loaded.manifest, Path(plot))
    opened = open_fastest(loaded, **engine)
    costs, timings = benchmark.measure_bundle(opened, seconds)
    advice = benchmark.recommend(loaded.manifest, costs, timings, opened.threads)
    if as_json:
        document = {
            **_where(opened),
            "recommendation": advice,
            "costs": [dataclasses.asdict(cost) for cost in costs],
        }
        click.echo(json.dumps(document, indent=1))
    else:
        click.echo(", ".join(f"{name} {value}" for name, value in _where(opened).items()))
        for line in _table(costs, loaded.manifest.unit):
            click.echo(line)
        click.echo(advice)
    try:
        kept = timing_cache.write(opened, timings)
    except OSError as error:
        warnings.warn(
            f"the measurements cannot be kept for budgets: {error}", SeparationWarning, stacklevel=1
        )
    else:
        if not as_json:
            click.echo(f"later budgets plan with these measurements: {kept}", err=True)
    if plot is not None:
        _draw(opened, costs, Path(plot))


def _where(engine: Engine) -> dict[str, object]:
    from tisdiss_rt.planning.timing_cache import processor

    return {**running(engine), "processor": processor()}


def _table(costs: list[DepthCost], unit: str) -> list[str]:
    """Format a line for each depth, in columns."""
    rows = [[unit, "depth", "p50", "p95", "p99 ms", "x real time", "MB", "dB"]]
    for cost in costs:
        length = duration(cost.window_s)
        times = [f"{ms:.1f}" for ms in (cost.p50_ms, cost.p95_ms, cost.p99_ms)]
        memory = "" if cost.memory_mb is None else f"{cost.memory_mb:.0f}"
        quality = "" if cost.quality_db is None else f"{cost.quality_db:.1f}"
        rows.append([length, str(cost.depth), *times, f"{cost.real_time_factor:.3f}", memory, quality])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.rjust(w) for cell, w in zip(row, widths, strict=True)) for row in rows]


def _check_plot(manifest: Manifest, path: Path) -> None:
    """Raise OptionError or OutputError for a picture that cannot be drawn, before anything is measured."""
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        raise OptionError("--plot needs matplotlib: pip install matplotlib") from error
    if not any(manifest.quality_db(length_s) for length_s in manifest.lengths_s()):
        raise OptionError(f"--plot needs quality, which was not measured for {manifest.name}")
    if path.exists():
        raise OptionError(f"{path} exists; choose another name for --plot")
    if not path.parent.is_dir():
        raise OptionError(f"{path} cannot be written: {path.parent} is not a folder")
    kinds = Figure().canvas.get_supported_filetypes()
    if path.suffix and path.suffix[1:].lower() not in kinds:
        raise OptionError(f"{path} cannot be written: pictures are {', '.join(sorted(kinds))}")


def _draw(engine: Engine, costs: list[DepthCost], path: Path) -> None:
    """Draw a curve of quality against time for each window."""
    from matplotlib.figure import Figure

    known = [(c.window_s, c.depth, c.p50_ms, c.quality_db) for c in costs if c.quality_db is not None]
    figure = Figure(figsize=(7, 4), layout="constrained")
    axis = figure.subplots()
    for window_s in sorted({row[0] for row in known}):
        _, depths, p50_ms, quality_db = zip(*(row for row in known if row[0] == window_s), strict=True)
        axis.plot(p50_ms, quality_db, "o-", label=f"{window_s:g} s")
        for depth, x, y in zip(depths, p50_ms, quality_db, strict=True):
            axis.annotate(str(depth), (x, y), fontsize=7)
    axis.set(xscale="log", xlabel="milliseconds per step (median)", ylabel="SI-SDR improvement, dB")
    where = _where(engine)
    axis.set_title(f"{where['bundle']} on {where['processor']}, {where['threads']} threads", fontsize=9)
    axis.legend(title=engine.manifest.unit)
    picture = io.BytesIO()
    try:
        figure.savefig(picture, dpi=120, format=path.suffix.removeprefix(".") or "png")
        path.write_bytes(picture.getvalue())
    except (OSError, ValueError) as error:
        raise OutputError(f"the picture cannot be written: {error}") from error
