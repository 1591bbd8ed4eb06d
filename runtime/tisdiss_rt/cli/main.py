"""The command ``tisdiss-rt``: what every command shares, the short commands, and commands of other packages.

Packages add commands through the entry-point group ``tisdiss_rt.commands``; they are imported only when one
of their commands runs, so that a command that needs torch neither slows the others down nor has to be there.
"""

from __future__ import annotations

import platform
import signal
import sys
import time
import warnings
from importlib.metadata import EntryPoint, entry_points, version
from typing import Any

import click

from tisdiss_rt import __version__
from tisdiss_rt.bundle import GRAPHS, load, shipped
from tisdiss_rt.cli import standard_streams
from tisdiss_rt.cli.bench import bench
from tisdiss_rt.cli.live import live
from tisdiss_rt.cli.options import duration
from tisdiss_rt.cli.separate import separate
from tisdiss_rt.cli.stopping import end_at_once
from tisdiss_rt.errors import SeparationWarning, TisdissError
from tisdiss_rt.live.time_limit import is_left_behind

PLUGIN_GROUP = "tisdiss_rt.commands"


class _Group(click.Group):
    """A command group with the commands of other packages."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({*super().list_commands(ctx), *entry_points(group=PLUGIN_GROUP).names})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        own = super().get_command(ctx, cmd_name)
        plugins = () if own else entry_points(group=PLUGIN_GROUP, name=cmd_name)
        return own or next((_plugin(entry) for entry in plugins), None)


def _plugin(entry: EntryPoint) -> click.Command:
    """Stand in for a command of another package: passes all arguments on, ``--help`` too."""

    def run(arguments: tuple[str, ...]) -> None:
        try:
            command = entry.load()
            status = command.main(
                args=list(arguments), prog_name=f"tisdiss-rt {entry.name}", standalone_mode=False
            )
        except ModuleNotFoundError as error:
            hint = f"pip install 'tisdiss-rt[{entry.name}]'"
            raise click.ClickException(
                f"{entry.name} needs {error.name}, which is not installed: {hint}"
            ) from error
        if type(status) is int:  # what the command gave to ctx.exit()
            sys.exit(status)

    return click.Command(
        entry.name,
        callback=run,
        params=[click.Argument(["arguments"], nargs=-1, type=click.UNPROCESSED)],
        context_settings={"ignore_unknown_options": True},
        add_help_option=False,
        short_help=f"Comes with tisdiss-rt[{entry.name}].",
    )


@click.group(cls=_Group, invoke_without_command=True)
@click.version_option(__version__, prog_name="tisdiss-rt")
@click.pass_context
def cli(ctx: click.Context) -> None:
    """Separate overlapping voices as well as the latency budget allows."""
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


cli.add_command(separate)
cli.add_command(live)
cli.add_command(bench)


@cli.command()
def bundles() -> None:
    """List the bundles that are installed."""
    for name in shipped():
        click.echo(f"{name}: {_summary(load(name).manifest)}")


@cli.command()
@click.argument("bundle")
def info(bundle: str) -> None:
    """Show what BUNDLE (a name or a folder) is, and verify its files."""
    loaded = load(bundle)
    manifest = loaded.manifest
    sizes = {file.path: len(loaded.read(file)) for file in manifest.files()}
    click.echo(f"{manifest.name}: {_summary(manifest)}")
    click.echo(f"folder: {loaded.folder}")
    for name, lengths in manifest.timing().items():
        told = (f"{duration(samples / manifest.sample_rate)} ({samples} samples)" for samples in lengths)
        click.echo(f"{name}: {', '.join(told)}")
    for name in GRAPHS:
        files = getattr(manifest.graphs, name).files
        click.echo(f"{name}: " + ", ".join(f"{key} {sizes[f.path] / 1e6:.2f} MB" for key, f in files.items()))
    quality, training = manifest.quality, manifest.training
    if quality is None:
        click.echo("quality: not measured")
    else:
        click.echo(f"quality: {quality.metric}, {quality.mixtures} mixtures of {quality.test_set}")
        for entry in quality.depths:
            limits = f"{entry.low_db:.2f} to {entry.high_db:.2f}"
            click.echo(f"  depth {entry.depth}: {entry.si_sdri_db:.2f} ({limits})")
        for window in quality.windows:
            click.echo(f"  {window.window_s:g} s, depth {window.depth}: {window.si_sdri_db:.2f}")
        for scene in quality.scenes:
            by_depth = ", ".join(f"{entry.si_sdri_db:.1f}" for entry in scene.depths)
            depths = ", ".join(str(entry.depth) for entry in scene.depths)
            click.echo(f"  {scene.scene}, depth {depths}: {by_depth}")
    if training is not None:
        click.echo(f"training: {training.steps} steps on {training.data} ({training.licence})")
    click.echo(f"licence: {manifest.licence}")


@cli.command()
def devices() -> None:
    """List the sound devices."""
    from tisdiss_rt.live.devices import listing
    from tisdiss_rt.live.time_limit import ANSWER_S, within

    with standard_streams.quiet_libraries():
        for line in within(ANSWER_S, listing):
            click.echo(line)


@cli.command()
def doctor() -> None:
    """Check the installation: libraries, providers, and whether the bundles compute what they should."""
    click.echo(f"tisdiss-rt {__version__}, Python {platform.python_version()}, {platform.platform()}")
    for package in ("numpy", "soundfile", "soxr"):
        click.echo(f"{package} {version(package)}")
    from tisdiss_rt.engine import conformance, onnx_runtime, open_engine
    from tisdiss_rt.engine.cores import physical_cores
    from tisdiss_rt.planning import autoselect

    click.echo(f"ONNX Runtime {onnx_runtime.VERSION}: {', '.join(onnx_runtime.available_providers())}")
    click.echo(f"physical cores: {physical_cores()}")
    for name in shipped():
        loaded = load(name)
        running = open_engine(loaded)
        worst = max(conformance.differences(loaded, running).values())
        begin = time.perf_counter()
        conformance.differences(loaded, running)
        elapsed_ms = (time.perf_counter() - begin) * 1e3
        click.echo(
            f"bundle {name} on {running.provider}: difference {worst:.1e}, example {elapsed_ms:.0f} ms"
        )
        if worst > running.backend.tolerance:
            raise TisdissError(f"bundle {name} does not compute what it did when it was exported")
        fastest = autoselect.open_fastest(loaded, "auto", None, "auto")
        click.echo(f"bundle {name}: auto is {fastest.provider}, {fastest.precision}")
        if not autoselect.is_as_good(loaded, fastest):
            raise TisdissError(
                f"bundle {name} separates worse with {fastest.provider}, {fastest.precision}; "
                "use --provider cpu --precision fp32"
            )
    if not shipped():
        raise TisdissError("no bundle is installed")
    click.echo("no problems found")


def _summary(manifest: Any) -> str:
    depth = f"depth {manifest.depth.trained} (at most {manifest.depth.max})"
    return f"{manifest.kind}, {manifest.sample_rate} Hz, {manifest.sources} sources, {depth}"


def main() -> None:
    """Run the command line: problems are one line on standard error and exit status 1."""
    try:
        _run()
    except SystemExit as end:
        if is_left_behind():
            end_at_once(end.code if isinstance(end.code, int) else 1)
        raise
    if is_left_behind():
        end_at_once(0)


def _run() -> None:
    signal.signal(signal.SIGTERM, _exit)  # so that half-written files are removed
    if sys.platform != "win32" and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        signal.signal(signal.SIGHUP, _exit)
    standard_streams.mend()
    warnings.simplefilter("always", SeparationWarning)
    warnings.showwarning = lambda message, *_: click.echo(f"tisdiss-rt: warning: {message}", err=True)
    try:
        cli.main(prog_name="tisdiss-rt", standalone_mode=False)
    except click.exceptions.Exit as error:
        sys.exit(error.exit_code)
    except click.Abort:
        _fail("interrupted", 130)
    except click.ClickException as error:
        _fail(error.format_message())
    except MemoryError as error:
        _fail(f"not enough memory: {error}; shorter windows (--window-s) need less")
    except (TisdissError, ImportError) as error:
        _fail(str(error))
    except OSError as error:  # errors of files are told where they are read and written
        if error.filename is not None:
            _fail(str(error))
        standard_streams.drop_output()
        _fail(f"standard output cannot be written: {error.strerror}")


def _exit(number: int, _: object) -> None:
    sys.exit(128 + number)


def _fail(message: str, status: int = 1) -> None:
    click.echo(f"tisdiss-rt: {' '.join(message.split())}", err=True)
    sys.exit(status)
