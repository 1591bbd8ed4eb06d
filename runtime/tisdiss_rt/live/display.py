"""What a listener sees while `live` runs: whether it keeps up, and what is heard."""

from __future__ import annotations

import math
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import RenderableType

    from tisdiss_rt.live.session import Status

FLOOR_DB = -60.0  # left end of the levels
WIDTH = 80  # characters
_BAR = 30


def picture(
    title: str, status: Status, budget_ms: float | None, most_depth: int, has_keys: bool = True
) -> RenderableType:
    """The whole display for one moment; ``title`` says what runs, ``has_keys`` whether keys do something."""
    from rich.panel import Panel
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column()
    for number, peak in enumerate(status.peaks):
        name = f"source {number}" if number else "mixture"
        heard = "[green]heard[/]" if not status.is_muted else "[red]muted[/]"
        heard = heard if number == status.listen else f"[dim]key {number or 'm'}[/]"
        level_db = 20 * math.log10(max(peak, 1e-9))
        shown = f"{level_db:5.1f} dB" if level_db > FLOOR_DB else "silent"
        table.add_row(
            name, _bar(1 - level_db / FLOOR_DB, "red" if peak >= 1 else "green"), f"{shown:10} {heard}"
        )
    table.add_row("depth", _bar(status.depth / max(1, most_depth), "cyan"), f"{status.depth} of {most_depth}")
    if budget_ms is not None:
        share = status.compute_ms / budget_ms
        text = f"{100 * share:.0f} % of {budget_ms:g} ms"
        table.add_row("budget", _bar(share, "red" if share > 1 else "cyan"), text)
    table.add_row(
        "late steps", f"{status.misses} of {status.steps}", f"clock {1e6 * (status.speed - 1):+.0f} ppm"
    )
    gaps = f"{status.underflows} underflows, {status.overflows} overflows"
    table.add_row("gaps", gaps, f"{status.restarts} restarts" if status.restarts else "")
    table.add_row("latency", f"[bold]{status.total_ms:.0f} ms[/]", "")
    for name, part_ms in status.latency_ms.items():
        table.add_row("", _bar(part_ms / max(1.0, status.total_ms), "blue"), f"{part_ms:5.1f} ms {name}")
    if status.recorded_s is not None:
        table.add_row("recorded", f"{status.recorded_s:.0f} s", "")
    sources = len(status.peaks) - 1
    footer = f"keys 1 to {sources}: listen to a source, m: to the mixture, q: stop"
    footer = footer if has_keys else "Ctrl-C: stop"
    return Panel(table, title=Text(title, overflow="ellipsis"), subtitle=footer, width=WIDTH)


def _bar(share: float, colour: str) -> str:
    full = round(_BAR * min(1.0, max(0.0, share)))
    done, rest = _lines()
    return f"[{colour}]{done * full}[/][dim]{rest * (_BAR - full)}[/]"


def _lines() -> tuple[str, str]:
    """Return the letters of a bar and of its rest, in an encoding that has them or not."""
    try:
        "━─".encode(getattr(sys.stderr, "encoding", None) or "utf-8")
    except UnicodeEncodeError:
        return "=", "-"
    return "━", "─"


@contextmanager
def shown(
    draw: Callable[[Status], RenderableType],
) -> Iterator[tuple[Callable[[Status], None], Callable[[str], None]]]:
    """While the block runs, show on standard error what is given to the two yielded functions.

    The first takes a status, which replaces the one before; the second a message, which stays above.
    """
    from rich.console import Console
    from rich.live import Live

    console = Console(stderr=True)
    with Live(console=console, auto_refresh=False, transient=True) as live:
        yield (
            lambda status: live.update(draw(status), refresh=True),
            lambda message: console.print(message, markup=False, highlight=False),
        )


def has_keys() -> bool:
    """Whether standard input is a terminal."""
    return bool(sys.stdin) and sys.stdin.isatty()


@contextmanager
def keys() -> Iterator[Callable[[float], str]]:
    """While the block runs, give every key at once; the yielded function waits so many seconds for one.

    It returns an empty string if none came, or where there are none. A process in the background has none
    until it is brought to the foreground: asking for them would stop it.
    """
    if not has_keys():
        yield _no_key
    elif sys.platform == "win32":
        yield _windows_key
    else:
        import termios

        before = termios.tcgetattr(sys.stdin)
        try:
            yield _posix_key
        finally:
            if _is_foreground():
                with suppress(termios.error):  # it is closed
                    termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)


def _no_key(wait_s: float) -> str:
    time.sleep(wait_s)
    return ""


def _is_foreground() -> bool:
    try:
        return os.tcgetpgrp(sys.stdin.fileno()) == os.getpgrp()
    except OSError:  # not the terminal that we were started from, which stops nobody
        return True


def _posix_key(wait_s: float) -> str:
    import select
    import termios
    import tty

    if not _is_foreground():
        return _no_key(wait_s)
    with suppress(termios.error):
        if termios.tcgetattr(sys.stdin)[3] & termios.ICANON:  # at first, and after a shell has had it
            tty.setcbreak(sys.stdin)
    key = b""
    with suppress(OSError):  # the terminal is closed
        if not select.select([sys.stdin], [], [], wait_s)[0]:
            return ""
        key = os.read(sys.stdin.fileno(), 1)
    return key.decode("ascii", "ignore") if key else _no_key(wait_s)


def _windows_key(wait_s: float) -> str:
    import importlib

    msvcrt = importlib.import_module("msvcrt")  # is not there where types are checked
    time.sleep(wait_s)
    return str(msvcrt.getwch()) if msvcrt.kbhit() else ""
