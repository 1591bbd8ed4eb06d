"""The command ``live``: from the microphone to the headphones, or a file in the microphone's place.

What was chosen is said before the first sound, and how it went after the last one, however it ends.
"""

from __future__ import annotations

import dataclasses
import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, nullcontext, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from tisdiss_rt.cli.live_file import depth_spread, play_file
from tisdiss_rt.errors import OptionError
from tisdiss_rt.live.display import keys, picture, shown
from tisdiss_rt.live.microphone import name_warning

if TYPE_CHECKING:
    from rich.console import RenderableType

    from tisdiss_rt.live.devices import Pair
    from tisdiss_rt.live.session import LiveSession, Status
    from tisdiss_rt.separator import Separator
    from tisdiss_rt.streaming.stream import Stream

_FILE_ONLY = ("output_dir", "chunk_ms", "no_realtime")
_DEVICES_ONLY = ("input_device", "output_device", "sample_rate", "listen", "record", "duration_s", "no_ui")
_TICK_S = 0.1
_FITTING = ("headphone", "headset", "earphone", "earbud", "airpods")


@click.command()
@click.option("--input-device", metavar="D", help="Microphone: its number, or a part of its name.")
@click.option("--output-device", metavar="D", help="Headphones: their number, or a part of their name.")
@click.option(
    "--sample-rate", type=int, help="Of both devices in Hz; by default the network's, if they do it."
)
@click.option("--listen", default="1", show_default=True, help="What is heard: number of a source, or mix.")
@click.option("--record", metavar="DIR", help="Record the mixture and every source in this folder.")
@click.option("--duration-s", type=float, help="Stop after so many seconds.")
@click.option("--no-ui", is_flag=True, help="No display, no keys.")
@click.option("--bundle", default="live-16k", show_default=True, help="Name of a bundle, or a folder.")
@click.option(
    "--budget-ms",
    type=float,
    help="Time that one step may take; by default, of a streaming bundle, 75 % of it.",
)
@click.option("--depth", type=int, help="Fixed number of repetitions, instead of a budget.")
@click.option("--min-depth", type=int, default=1, show_default=True, help="Repetitions that always run.")
@click.option("--input", "source", metavar="FILE", help="Audio file to take in the place of the microphone.")
@click.option("--output-dir", default="live", show_default=True, help="With --input: folder for the results.")
@click.option(
    "--chunk-ms", type=float, default=8.0, show_default=True, help="With --input: length of chunks."
)
@click.option("--no-realtime", is_flag=True, help="With --input: as fast as it goes, no budget by default.")
@click.option("--provider", default="auto", show_default=True, help="auto, cpu, cuda or openvino.")
@click.option("--threads", type=int, help="Threads of the CPU; by default as for separate.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document on standard output.")
@click.option("--force", is_flag=True, help="Overwrite existing files.")
@click.option("--quiet", is_flag=True, help="Print errors and warnings only.")
@click.pass_context
def live(
    context: click.Context,
    /,
    source: str | None,
    bundle: str,
    budget_ms: float | None,
    depth: int | None,
    min_depth: int,
    provider: str,
    threads: int | None,
    as_json: bool,
    force: bool,
    quiet: bool,
    **others: Any,
) -> None:
    """Separate voices live, as deep as time allows: from the microphone to the headphones.

    Keys change what is heard while it runs: 1, 2, m; q stops. With --input a file is played in the place of
    the devices; the sources of talk.wav become talk_spk1.wav, talk_spk2.wav, ... in the output folder.
    """
    from tisdiss_rt.planning.plan import LIVE_SHARE  # take the time that --help should not
    from tisdiss_rt.separator import Separator

    _refuse_unused(context, source)
    separator = Separator(bundle, provider, threads)
    step_s = separator.bundle.manifest.step_s
    if budget_ms is None and depth is None and not others["no_realtime"] and step_s is not None:
        budget_ms = LIVE_SHARE * 1e3 * step_s
    options = {"budget_ms": budget_ms, "depth": depth, "min_depth": min_depth}
    common: dict[str, Any] = {"as_json": as_json, "force": force, "quiet": quiet}
    if source is None:
        own = {name: others[name] for name in _DEVICES_ONLY}
        _run_devices(separator, options, **own, **common)
    else:
        own = {name: others[name] for name in _FILE_ONLY}
        play_file(separator, source, options=options, **own, **common)


def _refuse_unused(context: click.Context, source: str | None) -> None:
    """Raise OptionError for an option that would be ignored."""
    for name in _FILE_ONLY if source is None else _DEVICES_ONLY:
        if context.get_parameter_source(name) == ParameterSource.COMMANDLINE:
            reason = "needs --input FILE" if source is None else "is for devices, not for --input"
            raise OptionError(f"--{name.replace('_', '-')} {reason}")


def _run_devices(
    separator: Separator,
    options: dict[str, Any],
    *,
    input_device: str | None,
    output_device: str | None,
    sample_rate: int | None,
    listen: str,
    record: str | None,
    duration_s: float | None,
    no_ui: bool,
    as_json: bool,
    force: bool,
    quiet: bool,
) -> None:
    """Run between two devices until a key, a signal or the end of ``duration_s``, and say how it went."""
    from tisdiss_rt.live.devices import choose, quiet_libraries
    from tisdiss_rt.live.recorder import Recorder, targets
    from tisdiss_rt.live.session import LiveSession
    from tisdiss_rt.priority import raised_priority

    manifest = separator.bundle.manifest
    track = _track(listen, manifest.sources)
    if duration_s is not None and not duration_s > 0:
        raise OptionError(f"the duration must be above 0 s, not {duration_s:g}")
    paths = targets(Path(record), manifest.sources, force) if record else []
    with quiet_libraries():
        pair = choose(input_device, output_device, sample_rate, manifest.sample_rate)
        with raised_priority():  # to measure what it will be like
            stream = separator.stream(pair.sample_rate, **options)
        recorder = Recorder(paths, pair.sample_rate) if paths else None
        with closing(recorder) if recorder else nullcontext():
            session = LiveSession(stream, manifest.sources, pair, track, recorder)
            title = f"{manifest.name} on {separator.engine.provider}, {_names(pair)}"
            if not quiet:
                click.echo(f"{title}\n{_note(pair, session.status())}", err=True)
            show = partial(picture, title, budget_ms=options["budget_ms"], most_depth=stream.plan.max_depth)
            try:
                ticker = _ticker(session, None if quiet or no_ui else show, duration_s)
                with suppress(KeyboardInterrupt), ticker as tick:  # the usual way to stop
                    session.run(tick)
            finally:
                if recorder:
                    recorder.close()
                _tell(session.status(), stream, pair, options, paths, as_json, quiet)
    if recorder and recorder.problem:
        raise recorder.problem


def _track(listen: str, sources: int) -> int:
    """Number of the track to hear: 0 is the mixture."""
    if listen in ("m", "mix"):
        return 0
    if listen.isdecimal() and 1 <= int(listen) <= sources:
        return int(listen)
    raise OptionError(f"--listen is a source from 1 to {sources}, or mix; not {listen!r}")


@contextmanager
def _ticker(
    session: LiveSession, show: Callable[[Status], RenderableType] | None, duration_s: float | None
) -> Iterator[Callable[[Status], bool]]:
    """What the session calls again and again: obeys the keys, shows, and says whether to go on."""
    with ExitStack() as display:
        view: Callable[[Status], object] = str
        press: Callable[[float], object] = time.sleep
        say: Callable[[str], object] = _warn
        if show is not None and sys.stderr.isatty():
            view, say = display.enter_context(shown(show))
            press = display.enter_context(keys())
        tell = _teller(say)

        def tick(status: Status) -> bool:
            tell(status)
            view(status)
            left_s = _TICK_S if duration_s is None else min(_TICK_S, duration_s - status.running_s)
            key = press(max(0.0, left_s))
            with suppress(OptionError):  # any other key
                session.listen = _track(str(key), len(status.peaks) - 1)
            return key != "q" and left_s > 0

        yield tick


def _teller(say: Callable[[str], object]) -> Callable[[Status], None]:
    """Tell every message when it comes, once."""
    told = 0

    def tell(status: Status) -> None:
        nonlocal told
        for message in status.messages[told:]:
            say(message)
        told = len(status.messages)

    return tell


def _warn(message: str) -> None:
    click.echo(f"tisdiss-rt: {message}", err=True)


def _names(pair: Pair) -> str:
    return f"{pair.source.name} to {pair.sink.name} at {pair.sample_rate} Hz"


def _note(pair: Pair, status: Status) -> str:
    """What a listener should know before the first sound."""
    late = f"latency {status.total_ms:.0f} ms and what the devices take"
    if (monitor := name_warning(pair.source.name)) is not None:
        return f"{late}\n{monitor}"
    if any(word in pair.sink.name.lower() for word in _FITTING):
        return late
    return f"{late}; wear headphones: what loudspeakers play goes into the microphone again"


def _tell(
    status: Status,
    stream: Stream,
    pair: Pair,
    options: dict[str, Any],
    paths: list[Path],
    as_json: bool,
    quiet: bool,
) -> None:
    """Say how it went."""
    depth_run = depth_spread(stream)
    if not quiet:
        spread = "depth {min} to {max}, median {median}".format(**depth_run) if depth_run else "no step"
        faults = f"{status.underflows} underflows, {status.overflows} overflows"
        lines = [
            f"{status.running_s:.1f} s, {status.steps} steps at {status.priority} priority: {spread}, "
            f"{status.misses} missed, {faults}"
        ]
        parts = ", ".join(f"{name} {part_ms:.1f}" for name, part_ms in status.latency_ms.items())
        lines.append(f"latency {status.total_ms:.0f} ms: {parts}")
        if status.recorded_s:
            lines.append(f"recorded {status.recorded_s:.1f} s: {', '.join(map(str, paths))}")
        click.echo("\n".join(lines), err=True)
    if as_json:
        report = {
            "input_device": pair.source.name,
            "output_device": pair.sink.name,
            "sample_rate": pair.sample_rate,
            **options,
            **dataclasses.asdict(status),
            "latency_ms": {**status.latency_ms, "total": status.total_ms},
            "depth_run": depth_run,
            "outputs": [str(path) for path in paths],
        }
        click.echo(json.dumps(report, indent=1))
