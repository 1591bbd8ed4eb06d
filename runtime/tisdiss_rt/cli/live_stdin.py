"""``live --input -``: standard input is separated while it comes, at its own pace, and nothing is lost."""

from __future__ import annotations

import json
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import click

from tisdiss_rt.cli.live_file import describe, exit_for, results, steps_of
from tisdiss_rt.cli.options import running
from tisdiss_rt.cli.stopping import signals_noted
from tisdiss_rt.separator import Separator


def play_stdin(
    separator: Separator,
    raw: str | None,
    output_dir: str,
    options: dict[str, Any],
    chunk_ms: float,
    as_json: bool,
    force: bool,
    quiet: bool,
) -> None:
    """Separate standard input to its end, or to a signal, and say how it went."""
    from tisdiss_rt.audio.pipes import PipeReader
    from tisdiss_rt.live.intake import Intake
    from tisdiss_rt.live.recorder import Recorder, check_free
    from tisdiss_rt.priority import raised_priority

    targets = results(separator, "-", Path(output_dir), force)
    check_free(targets, force)
    reader = PipeReader(raw)
    rate = reader.sample_rate
    counts = {"chunk_ms": chunk_ms, "chunks": 0, "late": 0}
    with signals_noted() as stop:
        stream = separator.stream(rate, **options)
        intake, frames = Intake(rate), max(1, round(chunk_ms / 1e3 * rate))
        samples, begin_s = 0, time.perf_counter()
        with closing(Recorder(targets, rate)) as recorder, raised_priority() as priority:
            for block in reader.blocks(frames, lambda: not stop.number):
                came_s = time.perf_counter()
                recorder.put(stream.process(intake.process(block)))
                counts["chunks"] += 1
                counts["late"] += time.perf_counter() - came_s > max(chunk_ms / 1e3, stream.step_s)
                samples += len(block)
            recorder.put(stream.flush())
        report = {
            **running(separator.engine),
            **options,
            **counts,
            "duration_s": samples / rate,
            "took_s": time.perf_counter() - begin_s,
            "invalid": intake.invalid,
            "priority": priority,
            **steps_of(stream),
            **({} if (problem := reader.problem(samples)) is None else {"error": problem}),
        }
        _print(report, [str(path) for path in recorder.paths], as_json, quiet)
        if recorder.problem:
            raise recorder.problem
        stop.exit()
        exit_for(report)


def _print(report: dict[str, Any], outputs: list[str], as_json: bool, quiet: bool) -> None:
    report = {"input": "-", "outputs": outputs, "realtime": True, "clipped": 0, **report}
    if as_json:
        click.echo(json.dumps(report, indent=1))
    elif not quiet:
        click.echo("\n".join(outputs))
        click.echo(describe(report), err=True)
