"""``live --input -``: standard input is separated while it comes, at its own pace, and nothing is lost."""

from __future__ import annotations

import json
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tisdiss_rt.cli.live_file import describe, exit_for, results, steps_of
from tisdiss_rt.cli.options import running
from tisdiss_rt.cli.stopping import Stop, signals_noted
from tisdiss_rt.separator import Separator

if TYPE_CHECKING:
    from tisdiss_rt.audio.pipes import PipeReader
    from tisdiss_rt.live.recorder import Recorder
    from tisdiss_rt.streaming.stream import Stream


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
    from tisdiss_rt.live.recorder import Recorder, check_free
    from tisdiss_rt.priority import raised_priority

    targets = results(separator, "-", Path(output_dir), force)
    check_free(targets, force)
    reader = PipeReader(raw)
    with signals_noted() as stop:
        stream = separator.stream(reader.sample_rate, **options)
        begin_s = time.perf_counter()
        with closing(Recorder(targets, reader.sample_rate)) as recorder, raised_priority() as priority:
            taken = _record(reader, stream, recorder, chunk_ms / 1e3, stop)
        report = {
            **running(separator.engine),
            **options,
            "chunk_ms": chunk_ms,
            **taken,
            "took_s": time.perf_counter() - begin_s,
            "priority": priority,
            **steps_of(stream),
        }
        _print(report, [str(path) for path in recorder.paths], as_json, quiet)
        if recorder.problem:
            raise recorder.problem
        stop.exit()
        exit_for(report)


def _record(
    reader: PipeReader, stream: Stream, recorder: Recorder, chunk_s: float, stop: Stop
) -> dict[str, Any]:
    """Separate and record what comes, until nothing does or a signal; returns what the report has of it."""
    from tisdiss_rt.live.intake import Intake

    rate = reader.sample_rate
    intake = Intake(rate)
    chunks = late = samples = 0
    for block in reader.blocks(max(1, round(chunk_s * rate)), lambda: not stop.number):
        came_s = time.perf_counter()
        recorder.put(stream.process(intake.process(block)))
        chunks += 1
        late += time.perf_counter() - came_s > max(chunk_s, stream.step_s)
        recorder.keep_up()
        samples += len(block)
    recorder.put(stream.flush())
    problem = reader.problem(samples)
    told = {} if problem is None else {"error": problem}
    return {"chunks": chunks, "late": late, "duration_s": samples / rate, "invalid": intake.invalid, **told}


def _print(report: dict[str, Any], outputs: list[str], as_json: bool, quiet: bool) -> None:
    report = {"input": "-", "outputs": outputs, "realtime": True, "clipped": 0, **report}
    if as_json:
        click.echo(json.dumps(report, indent=1))
    elif not quiet:
        click.echo("\n".join(outputs))
        click.echo(describe(report), err=True)
