"""The command ``live``: from the microphone to the headphones, or a file in the microphone's place."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from tisdiss_rt.cli.live_devices import DeviceOptions, play_devices
from tisdiss_rt.cli.live_file import play_file
from tisdiss_rt.cli.options import (
    DEPTH,
    FORCE,
    JSON,
    MIN_DEPTH,
    MIN_GAIN,
    QUIET,
    VOICE,
    budget_option,
    engine_options,
)
from tisdiss_rt.errors import OptionError

if TYPE_CHECKING:
    from tisdiss_rt.separator import Separator

_FILE_ONLY = ("raw", "output_dir", "chunk_ms", "no_realtime")
_DEVICES_ONLY = (
    "input_device",
    "output_device",
    "virtual_mic",
    "input_channel",
    "sample_rate",
    "listen",
    "record",
    "duration_s",
    "wait_s",
    "no_ui",
)


@click.command()
@click.option(
    "--input-device", metavar="D", help="Microphone: a number, name or part of one that `devices` shows."
)
@click.option("--output-device", metavar="D", help="Headphones, in the same way.")
@click.option(
    "--virtual-mic",
    metavar="NAME",
    help="Play into a microphone of this name, which calls and recorders can choose. [PulseAudio, PipeWire]",
)
@click.option(
    "--input-channel", default="mix", show_default=True, help="Channel of the microphone: its number, or mix."
)
@click.option(
    "--sample-rate",
    type=int,
    help="Sample rate of both devices in Hz; by default the network's, or one that they support.",
)
@click.option("--listen", default="1", show_default=True, help="What to play: number of a source, or mix.")
@click.option("--record", metavar="DIR", help="Record the mixture and every source in this folder.")
@click.option("--duration-s", type=float, help="Stop after this many seconds.")
@click.option(
    "--wait-s", type=float, default=30.0, show_default=True, help="How long to wait for a lost device."
)
@click.option("--no-ui", is_flag=True, help="No display, no keys.")
@engine_options("live-16k")
@budget_option("Time that one step may take; 75 % of it by default.")
@DEPTH
@MIN_DEPTH
@MIN_GAIN
@VOICE
@click.option("--input", "source", metavar="FILE", help="Audio file to use instead of the microphone.")
@click.option("--raw", metavar="F:RATE:N", help="With --input -: samples without a header, as s16:48000:2.")
@click.option("--output-dir", default="live", show_default=True, help="With --input: folder for the results.")
@click.option(
    "--chunk-ms", type=float, default=8.0, show_default=True, help="With --input: length of chunks."
)
@click.option("--no-realtime", is_flag=True, help="With --input: as fast as it goes, no budget by default.")
@JSON
@FORCE
@QUIET
@click.pass_context
def live(
    context: click.Context,
    /,
    source: str | None,
    engine: dict[str, Any],
    budget_ms: float | None,
    depth: int | None,
    min_depth: int,
    min_gain_db: float | None,
    voice: str | None,
    as_json: bool,
    force: bool,
    quiet: bool,
    **others: Any,
) -> None:
    """Separate voices live, as deep as time allows: from the microphone to the headphones.

    Keys change what is played while it runs: 1, 2, m; q stops. With --input a file takes the place of the
    devices; the sources of talk.wav become talk_spk1.wav, talk_spk2.wav, ... in the output folder. With
    --input - it is standard input, separated as it comes, for example from arecord -f S16_LE -r 16000.
    """
    from tisdiss_rt.planning.plan import LIVE_SHARE  # take the time that --help should not
    from tisdiss_rt.separator import Separator
    from tisdiss_rt.streaming import sliding_core

    _refuse_unused(context, source)
    separator = Separator(**engine)
    manifest = separator.bundle.manifest
    if budget_ms is None and depth is None and not others["no_realtime"]:
        budget_ms = LIVE_SHARE * 1e3 * (manifest.step_s or sliding_core.longest_step_s(manifest))
    options = {
        "budget_ms": budget_ms,
        "depth": depth,
        "min_depth": min_depth,
        "min_gain_db": min_gain_db,
        "voice": voice,
    }
    common: dict[str, Any] = {"as_json": as_json, "force": force, "quiet": quiet}
    if source is None:
        own = {name: others[name] for name in _DEVICES_ONLY}
        play_devices(separator, options, DeviceOptions(**own, **common))
    else:
        own = {name: others[name] for name in _FILE_ONLY}
        _run_input(separator, source, options=options, **own, **common)


def _run_input(
    separator: Separator, source: str, raw: str | None, no_realtime: bool, chunk_ms: float, **others: Any
) -> None:
    """Take a file, or a pipe while sound comes from it, in the place of the devices."""
    from tisdiss_rt.audio.pipes import is_streamed
    from tisdiss_rt.cli.live_stdin import play_stdin

    if not 0 < chunk_ms < math.inf:
        raise OptionError(f"the chunk must be above 0 ms and finite, not {chunk_ms:g}")
    if source == "-" and not no_realtime and is_streamed(raw):
        play_stdin(separator, raw, chunk_ms=chunk_ms, **others)
    elif raw is not None:
        raise OptionError("--raw is for --input -, without --no-realtime")
    else:
        play_file(separator, source, chunk_ms=chunk_ms, no_realtime=no_realtime, **others)


def _refuse_unused(context: click.Context, source: str | None) -> None:
    """Raise OptionError for an option that would be ignored."""
    for name in _FILE_ONLY if source is None else _DEVICES_ONLY:
        if context.get_parameter_source(name) == ParameterSource.COMMANDLINE:
            reason = "needs --input FILE" if source is None else "is for devices, not for --input"
            raise OptionError(f"--{name.replace('_', '-')} {reason}")
