"""``live`` between two devices: from the microphone to the headphones.

What was chosen is said before the first sound, and how it went after the last one, however it ends.
"""

from __future__ import annotations

import dataclasses
import json
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tisdiss_rt.cli.live_file import depth_spread
from tisdiss_rt.cli.reports import voice_told
from tisdiss_rt.cli.standard_streams import quiet_libraries
from tisdiss_rt.cli.stopping import Stop, signals_noted
from tisdiss_rt.errors import OptionError
from tisdiss_rt.live.display import WIDTH, has_keys, keys, picture, shown
from tisdiss_rt.live.microphone import name_warning

if TYPE_CHECKING:
    from rich.console import RenderableType

    from tisdiss_rt.live.devices import Pair
    from tisdiss_rt.live.recorder import Recorder
    from tisdiss_rt.live.session import LiveSession, Status
    from tisdiss_rt.separator import Separator
    from tisdiss_rt.streaming.stream import Stream

_TICK_S = 0.1
_MOST_LATE = 0.01  # of the steps, which nobody needs advice for
_FITTING = ("headphone", "headset", "earphone", "earbud", "airpods")


@dataclass(frozen=True)
class DeviceOptions:
    """Options of ``live`` between devices, as the command line has them."""

    input_device: str | None
    output_device: str | None
    virtual_mic: str | None
    input_channel: str
    sample_rate: int | None
    listen: str
    record: str | None
    duration_s: float | None
    wait_s: float
    no_ui: bool
    as_json: bool
    force: bool
    quiet: bool


def play_devices(separator: Separator, options: dict[str, Any], given: DeviceOptions) -> None:
    """Run between two devices until a key, a signal or the end of the duration, and report."""
    from tisdiss_rt.live.devices import choose
    from tisdiss_rt.live.recorder import Recorder, targets
    from tisdiss_rt.live.session import LiveSession
    from tisdiss_rt.live.time_limit import ANSWER_S, within
    from tisdiss_rt.priority import raised_priority

    sources, model_hz = separator.bundle.manifest.sources, separator.bundle.manifest.sample_rate
    track, channel = _track(given.listen, sources), _channel(given.input_channel)
    _check_times(given.duration_s, given.wait_s)
    if given.record == "":
        raise OptionError("--record names no folder")
    paths = [] if given.record is None else targets(Path(given.record), sources, given.force)
    with quiet_libraries(), ExitStack() as stack:
        output = _output(stack, given, model_hz)
        asked = (given.input_device, output, given.sample_rate, model_hz, channel)
        pair = within(ANSWER_S, lambda: choose(*asked))
        with raised_priority():  # as it will run
            stream = separator.stream(pair.sample_rate, **options)
        with signals_noted() as stop:
            recorder = Recorder(paths, pair.sample_rate) if paths else None
            with closing(recorder) if recorder else nullcontext():
                session = LiveSession(stream, sources, pair, track, recorder, given.wait_s)
                title = _title(separator, pair)
                if not given.quiet:
                    click.echo(f"{title}\n{_note(pair, session.status(), given.virtual_mic)}", err=True)
                most = {"budget_ms": options["budget_ms"], "most_depth": stream.plan.max_depth}
                is_hidden = given.quiet or given.no_ui
                draw = None if is_hidden else partial(picture, title, **most, has_keys=has_keys())
                ticker = _ticker(session, draw, given.duration_s, stop)
                report = partial(_tell, session, stream, pair, options, recorder, given.as_json, given.quiet)
                _run(session, ticker, recorder, report)
            stack.close()
            stop.exit()


def _output(stack: ExitStack, given: DeviceOptions, model_hz: int) -> str | None:
    """Return the output device: as given, or that of a virtual microphone, which the stack removes."""
    if given.virtual_mic is None:
        return given.output_device
    if given.output_device is not None:
        raise OptionError("--virtual-mic and --output-device exclude each other")
    from tisdiss_rt.live.virtual_microphone import virtual_microphone

    return stack.enter_context(virtual_microphone(given.virtual_mic, given.sample_rate or model_hz))


def _run(
    session: LiveSession,
    ticker: AbstractContextManager[Callable[[Status], bool]],
    recorder: Recorder | None,
    report: Callable[[], None],
) -> None:
    """Run to the end and report, however it ends."""
    try:
        with ticker as tick:
            session.run(tick)
    finally:
        if recorder:
            recorder.close()
        report()
    if recorder and recorder.problem:
        raise recorder.problem


def _check_times(duration_s: float | None, wait_s: float) -> None:
    if duration_s is not None and not duration_s > 0:
        raise OptionError(f"the duration must be above 0 s, not {duration_s:g}")
    if not wait_s >= 0:
        raise OptionError(f"the time to wait must not be below 0 s: {wait_s:g}")


def _channel(text: str) -> int | None:
    """Return the number of the microphone's channel; None for the mean of all."""
    if text in ("m", "mix"):
        return None
    if text.isdecimal():
        return int(text)
    raise OptionError(f"--input-channel is a number from 1 on, or mix; not {text!r}")


def _track(listen: str, sources: int) -> int:
    """Return the number of the track to play: 0 is the mixture."""
    if listen in ("m", "mix"):
        return 0
    if listen.isdecimal() and 1 <= int(listen) <= sources:
        return int(listen)
    raise OptionError(f"--listen is a source from 1 to {sources}, or mix; not {listen!r}")


@contextmanager
def _ticker(
    session: LiveSession,
    draw: Callable[[Status], RenderableType] | None,
    duration_s: float | None,
    stop: Stop,
) -> Iterator[Callable[[Status], bool]]:
    """Yield what the session calls repeatedly: it obeys keys, shows the status, returns whether to go on."""
    with ExitStack() as display:
        view: Callable[[Status], object] = str
        press: Callable[[float], object] = time.sleep
        say: Callable[[str], object] = _warn
        if draw is not None and sys.stderr.isatty():
            view, say = display.enter_context(shown(draw))
            press = display.enter_context(keys())
        tell = _teller(say)

        def tick(status: Status) -> bool:
            tell(status)
            view(status)
            left_s = _TICK_S if duration_s is None else min(_TICK_S, duration_s - status.running_s)
            key = press(max(0.0, left_s))
            with suppress(OptionError):  # any other key
                session.listen = _track(str(key), len(status.peaks) - 1)
            return key != "q" and left_s > 0 and not stop.number

        yield tick


def _teller(say: Callable[[str], object]) -> Callable[[Status], None]:
    """Print each message once, when it appears."""
    told = 0

    def tell(status: Status) -> None:
        nonlocal told
        for message in status.messages[told:]:
            say(message)
        told = len(status.messages)

    return tell


def _warn(message: str) -> None:
    click.echo(f"tisdiss-rt: {message}", err=True)


def _title(separator: Separator, pair: Pair) -> str:
    name, engine = separator.bundle.manifest.name, separator.engine
    rates = dict.fromkeys((pair.source.sample_rate, pair.sink.sample_rate))
    devices = f"{pair.source.name} to {pair.sink.name} at {' and '.join(map(str, rates))} Hz"
    return f"{name} on {engine.provider}, {engine.precision}, {devices}"


def _note(pair: Pair, status: Status, virtual_mic: str | None) -> str:
    """Return what a listener should know before the first sound."""
    late = f"latency {status.total_ms:.0f} ms and what the devices take"
    if (monitor := name_warning(pair.source.name)) is not None:
        return f"{late}\n{monitor}"
    if virtual_mic is not None:
        return f"{late}; other programs have it as the microphone {virtual_mic}"
    if any(word in pair.sink.name.lower() for word in _FITTING):
        return late
    return f"{late}; wear headphones: what loudspeakers play goes into the microphone again"


def _tell(
    session: LiveSession,
    stream: Stream,
    pair: Pair,
    options: dict[str, Any],
    recorder: Recorder | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Report how the session went."""
    status = session.status()
    paths = recorder.paths if recorder else []
    depth_run = depth_spread(stream)
    if not quiet:
        found = [] if stream.voice_found is None else [voice_told(stream.voice_found)]
        for line in (*_summary(status, depth_run, paths), *found, *_advice(status)):
            click.echo(textwrap.fill(line, WIDTH, subsequent_indent="  ", break_on_hyphens=False), err=True)
    if as_json:
        fields = dataclasses.asdict(status)
        fields["peaks"] = fields.pop("loudest")
        report = {
            "input_device": pair.source.name,
            "output_device": pair.sink.name,
            "sample_rate": pair.sample_rate,
            **options,
            **fields,
            "latency_ms": {**status.latency_ms, "total": status.total_ms},
            "depth_run": depth_run,
            **({} if stream.voice_found is None else {"voice_found": stream.voice_found}),
            "outputs": [str(path) for path in paths],
        }
        click.echo(json.dumps(report, indent=1))


def _summary(status: Status, depth_run: dict[str, int] | None, paths: list[Path]) -> Iterator[str]:
    """Report in lines how it went."""
    spread = "depth {min} to {max}, median {median}".format(**depth_run) if depth_run else "no step"
    yield f"{status.running_s:.1f} s, {status.steps} steps at {status.priority} priority: {spread}"
    faults = {
        "late steps": status.misses,
        "underflows": status.underflows,
        "overflows": status.overflows,
        "restarts": status.restarts,
        "times muted for feedback": status.feedbacks,
        "samples that were no numbers": status.invalid,
    }
    always = ("late steps", "underflows", "overflows")
    yield ", ".join(f"{count} {name}" for name, count in faults.items() if count or name in always)
    parts = ", ".join(f"{name} {part_ms:.1f}" for name, part_ms in status.latency_ms.items())
    yield f"latency {status.total_ms:.0f} ms: {parts}"
    if status.recorded_s and paths:
        names = ", ".join(path.name for path in paths)
        yield f"recorded {status.recorded_s:.1f} s in {paths[0].parent}: {names}"


def _advice(status: Status) -> Iterator[str]:
    """Return what helps where steps were late or sound had gaps."""
    if status.misses <= _MOST_LATE * status.steps and not status.underflows + status.overflows:
        return
    if status.priority != "real-time":
        where = "/etc/security/limits.d/audio.conf (@audio - rtprio 20, and you in that group)"
        yield f"other programs took the processor: allow real-time priority with a line in {where}"
    if status.misses > _MOST_LATE * status.steps:
        yield "steps were late: `tisdiss-rt bench` recommends a --depth for this machine"
    elif status.underflows:
        yield "the device was late; the queue has become longer, which covers that from now on"
