"""What commands share: options, each declared once, and how they are told."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from tisdiss_rt.errors import OptionError

if TYPE_CHECKING:
    from tisdiss_rt.engine.base import Engine

Command = Callable[..., Any]

_ENGINE = (
    click.option(
        "--provider",
        default="auto",
        show_default=True,
        help="auto, cpu, cuda, openvino, or another of ONNX Runtime's, such as coreml or directml.",
    ),
    click.option(
        "--provider-option",
        "provider_options",
        multiple=True,
        metavar="KEY=VALUE",
        help="Option of the provider, by the provider's own name for it; may be repeated.",
    ),
    click.option(
        "--threads",
        type=int,
        help="Number of CPU threads; by default one per physical core, or 1 for streaming bundles.",
    ),
    click.option(
        "--precision", default="auto", show_default=True, help="auto, or one that the provider can run."
    ),
)

DEPTH = click.option("--depth", type=int, help="Fixed number of repetitions, instead of a budget.")
MIN_DEPTH = click.option(
    "--min-depth", type=int, default=1, show_default=True, help="Repetitions that always run, with a budget."
)
MIN_GAIN = click.option(
    "--min-gain-db",
    type=float,
    metavar="G",
    help="Repeat only where another repetition is expected to add G dB and, with a budget, is in time. "
    "Without one, a voice that is alone is passed on, where the bundle can tell it.",
)
VOICE = click.option(
    "--voice",
    metavar="SAMPLE",
    help="Audio file in which one person talks: that person becomes the first voice.",
)
JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON document on standard output.")
FORCE = click.option("--force", is_flag=True, help="Overwrite existing files.")
QUIET = click.option("--quiet", is_flag=True, help="Print errors and warnings only.")


def engine_options(default_bundle: str) -> Callable[[Command], Command]:
    """Declare which bundle runs and on what; the command gets them as one argument ``engine``.

    Its entries are the arguments of `separator.Separator`.
    """
    bundle = click.option(
        "--bundle", default=default_bundle, show_default=True, help="Name of a bundle, or a folder."
    )
    names = ("bundle", "provider", "threads", "precision", "provider_options")

    def declare(command: Command) -> Command:
        @functools.wraps(command)
        def gathered(*arguments: Any, **options: Any) -> Any:
            engine = {name: options.pop(name) for name in names}
            engine["provider_options"] = _pairs(engine["provider_options"])
            return command(*arguments, engine=engine, **options)

        for option in reversed((bundle, *_ENGINE)):
            gathered = option(gathered)
        return gathered

    return declare


def budget_option(help_text: str) -> Callable[[Command], Command]:
    """Declare ``--budget-ms``, whose meaning depends on the command."""
    return click.option("--budget-ms", type=float, help=help_text)


def _pairs(given: tuple[str, ...]) -> dict[str, str]:
    """Turn ``key=value`` texts into a dictionary; raises OptionError for others."""
    pairs = {}
    for text in given:
        key, found, value = text.partition("=")
        if not key or not found:
            raise OptionError(f"--provider-option is KEY=VALUE, not {text!r}")
        pairs[key] = value
    return pairs


def running(engine: Engine) -> dict[str, Any]:
    """Return what really runs, for a JSON document."""
    return {
        "bundle": engine.manifest.name,
        "provider": engine.provider,
        "threads": engine.threads,
        "precision": engine.precision,
    }


def duration(seconds: float) -> str:
    """Return a length in the unit that it is usually given in: ``8 ms``, ``0.5 s``."""
    return f"{seconds:g} s" if seconds >= 0.1 else f"{1e3 * seconds:g} ms"
