"""``live --input FILE``: a stream against the clock, with a file in the place of the microphone.

Chunk i is there once it would have been recorded, and what it yields should be ready before chunk i + 1 is,
or a step later where steps are longer::

    time      0        8 ms      16 ms     24 ms
    chunk     |   0    |    1    |    2    |
    work               |# 0 |    |# 1 |    |##### 2 ###|      2 is late
"""

from __future__ import annotations

import dataclasses
import json
import statistics
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tisdiss_rt.cli.options import running
from tisdiss_rt.cli.reports import voice_told
from tisdiss_rt.errors import OptionError

if TYPE_CHECKING:
    from tisdiss_rt.audio import Array
    from tisdiss_rt.separator import Separator
    from tisdiss_rt.streaming.stream import Stream


def play_file(
    separator: Separator,
    source: str,
    output_dir: str,
    options: dict[str, Any],
    chunk_ms: float,
    no_realtime: bool,
    as_json: bool,
    force: bool,
    quiet: bool,
) -> None:
    """Separate a file as if it arrived live, and report how that went."""
    from tisdiss_rt.audio.results import origin_in, remove_rest, turns_path, voice_paths
    from tisdiss_rt.priority import raised_priority
    from tisdiss_rt.talkers.meeting import MOST_TALKERS

    folder = Path(output_dir)
    targets = results(separator, source, folder, force)
    replaced = [origin_in(target) for target in targets]
    with nullcontext("normal") if no_realtime else raised_priority() as priority:
        report = _play(separator, source, targets, options, chunk_ms, realtime=not no_realtime)
    more = voice_paths(folder, source, MOST_TALKERS)[len(targets) :]
    remove_rest(replaced, more, turns_path(folder, source))
    report["priority"] = priority
    if as_json:
        click.echo(json.dumps(report, indent=1))
    elif not quiet:
        for target in targets:
            click.echo(target)
        click.echo(describe(report), err=True)
    exit_for(report)


def exit_for(report: dict[str, Any]) -> None:
    """Exit with status 1 where something of the input is missing, and say so."""
    if "error" in report:
        click.echo(f"tisdiss-rt: {report['error']}; what is there is separated", err=True)
        sys.exit(1)


def results(separator: Separator, source: str, folder: Path, force: bool) -> list[Path]:
    """Return the files for the voices; raise OptionError if one of them exists."""
    from tisdiss_rt.audio.results import voice_paths

    targets = voice_paths(folder, source, separator.bundle.manifest.sources)
    existing = [target for target in targets if target.exists()]
    if existing and not force:
        raise OptionError(f"{existing[0]} exists; --force overwrites")
    return targets


def _play(
    separator: Separator,
    source: str,
    targets: list[Path],
    options: dict[str, Any],
    chunk_ms: float,
    realtime: bool,
) -> dict[str, Any]:
    """Feed the file to a stream, write the output, and return a report."""
    from tisdiss_rt.audio.files import AudioReader
    from tisdiss_rt.audio.results import WavWriters, digest_of

    late = chunks = 0
    with AudioReader(source) as reader:
        rate, mixture = reader.sample_rate, reader.mixture()
        (choice,) = mixture.choose("mix")
        stream = separator.stream(rate, **options)
        with WavWriters(targets, rate, reader.subtype, reader.frames, digest_of(source)) as writers:
            begin_s = time.perf_counter()
            for chunks, chunk in enumerate(_chunks(mixture.mono(choice.taken), rate * chunk_ms / 1e3), 1):
                if realtime:
                    time.sleep(max(0.0, begin_s + chunks * chunk_ms / 1e3 - time.perf_counter()))
                output = stream.process(chunk)
                if realtime:  # steps may be longer than chunks
                    due_s = begin_s + chunks * chunk_ms / 1e3 + max(chunk_ms / 1e3, stream.step_s)
                    late += time.perf_counter() > due_s
                writers.write(output.T)
            took_s = time.perf_counter() - begin_s
            writers.write(stream.flush().T)
            writers.fault = reader.fault
    return {
        "input": source,
        "outputs": [str(target) for target in targets],
        **running(separator.engine),
        **options,
        "realtime": realtime,
        "chunk_ms": chunk_ms,
        "chunks": chunks,
        "late": late,
        "duration_s": reader.done / rate,
        **({} if reader.problem is None else {"error": reader.problem, "missing_s": reader.missing_s}),
        "took_s": took_s,
        "clipped": writers.clipped,
        **steps_of(stream),
    }


def _chunks(blocks: Iterable[Array], chunk_samples: float) -> Iterator[Array]:
    """Cut blocks (m,) into chunks whose ends are at the multiples of ``chunk_samples``, rounded."""
    import numpy as np

    kept = np.zeros(0, np.float32)
    ends = begin = 0
    for block in blocks:
        kept = np.concatenate([kept, block])
        done = 0
        while (end := round((ends + 1) * chunk_samples)) - begin <= len(kept) - done:
            yield kept[done : done + end - begin]
            done += end - begin
            begin = end
            ends += 1
        kept = kept[done:]
    if len(kept):
        yield kept


def steps_of(stream: Stream) -> dict[str, Any]:
    """Return a summary of the steps of a stream."""
    latency = stream.latency_ms
    return {
        "steps": stream.depth_counts.total(),
        "missed": stream.misses,
        **({} if stream.voice_found is None else {"voice_found": stream.voice_found}),
        "depth_run": depth_spread(stream),
        "latency_ms": {**dataclasses.asdict(latency), "total": latency.total},
    }


def depth_spread(stream: Stream) -> dict[str, int] | None:
    """Return the least, median and greatest depth of the steps; None if there was no step."""
    depths = sorted(stream.depth_counts.elements())
    if not depths:
        return None
    return {"min": depths[0], "median": statistics.median_low(depths), "max": depths[-1]}


def describe(report: dict[str, Any]) -> str:
    """Report the separation in a few lines."""
    steps, depth, latency = report["steps"], report["depth_run"], report["latency_ms"]
    parts = ", ".join(f"{name.replace('_', ' ')} {value:.1f}" for name, value in latency.items())
    lines = [f"{report['input']}: {report['duration_s']:.1f} s in {report['took_s']:.1f} s, {steps} steps"]
    if depth is not None:
        lines.append(f"depth: {depth['min']} to {depth['max']}, median {depth['median']}")
    if report["budget_ms"] is not None:
        lines.append(f"over the budget of {report['budget_ms']:g} ms: {report['missed']} of {steps} steps")
    if report["realtime"]:
        lines.append(f"late: {report['late']} of {report['chunks']} chunks, at {report['priority']} priority")
    if report["late"] and report["priority"] == "normal":
        lines.append("priority could not be raised; allow it with rtprio in /etc/security/limits.conf")
    if "voice_found" in report:
        lines.append(voice_told(report["voice_found"]))
    if report.get("invalid"):
        lines.append(f"{report['invalid']} samples were no numbers, and are silence")
    if report["clipped"]:
        lines.append(f"{report['clipped']} samples of the sources clipped at full scale")
    lines.append(f"latency in ms, without devices: {parts}")
    return "\n".join(lines)
