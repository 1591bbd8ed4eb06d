"""``separate --report``: one page that shows where a result is doubtful, a file that needs nothing else.

For each recording: spectrograms of the mixture and of the voices, and below them on the same axis of time the
estimated quality of each voice with its interval, and the depth.
"""

from __future__ import annotations

import base64
import html
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tisdiss_rt.errors import OutputError

if TYPE_CHECKING:
    from tisdiss_rt.planning.plan import Step
    from tisdiss_rt.separation import FileSeparation

WIDTH, HEIGHT = 960, 120  # of a plot
MOST_SHAPES = 2000  # of a voice; of more steps, some are taken
LEAST_DB, MOST_DB = -5.0, 30.0  # of the axis of quality
_COLOURS = ("#1f77b4", "#d62728", "#2ca02c", "#9467bd", "#ff7f0e", "#17becf", "#8c564b", "#e377c2")
_STYLE = (
    "body{font:15px sans-serif;margin:2em;max-width:980px}img,svg{display:block;width:100%;margin:0 0 .2em}"
    "img{height:150px}svg{height:150px;background:#f6f6f6}h2{margin-top:2em}p{margin:.6em 0 .2em}"
)


@dataclass(frozen=True)
class Entry:
    """A recording of the report: its file, what was made of it, and what is told of it in a line."""

    path: str
    result: FileSeparation
    line: str


def write(path: Path, entries: Sequence[Entry], title: str) -> None:
    """Write the page, whole or not at all; raises OutputError where that cannot be."""
    sections = "".join(_section(entry) for entry in entries)
    page = (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{html.escape(title)}</title>'
        f"<style>{_STYLE}</style><h1>{html.escape(title)}</h1>{sections}</html>\n"
    )
    part = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(page, encoding="utf-8", errors="replace")
        part.replace(path)
    except OSError as error:
        raise OutputError(f"{path}: {error.strerror}") from error
    finally:
        part.unlink(missing_ok=True)


def _section(entry: Entry) -> str:
    from tisdiss_rt.audio.files import STDIN

    result = entry.result
    length_s = result.frames / result.sample_rate
    taken = tuple(channel - 1 for channel in result.channels)
    is_there = entry.path != STDIN and Path(entry.path).is_file()  # and no pipe, which is read only once
    mixture = [(entry.path, taken)] if is_there else []
    pictures = _pictures([*mixture, *((path, (0,)) for path in result.paths)], result.frames)
    parts = [f"<h2>{html.escape(Path(entry.path).name)}</h2><p>{html.escape(entry.line)}</p>", *pictures]
    if any(step.voices for step in result.steps):
        parts += [
            "<p>Estimated SI-SDR of each voice in dB, with its 80 % interval</p>",
            _quality(result.steps, length_s),
        ]
    parts += ["<p>Depth</p>", _depths(result.steps, length_s)]
    return "".join(parts)


def _pictures(drawn: Sequence[tuple[str | Path, tuple[int, ...]]], frames: int) -> list[str]:
    """Return the spectrograms of files of so many samples, the mean of some channels each, on one scale."""
    from tisdiss_rt.audio.files import AudioReader
    from tisdiss_rt.cli.pictures import png, spectrogram

    found = []
    for path, channels in drawn:
        with AudioReader(path) as reader:
            power = spectrogram(reader.mixture().mono(channels), frames)
            found.append((path, power, reader.sample_rate))
    loudest = max((float(power.max()) for _, power, _ in found), default=1.0)
    pictures = []
    for path, power, rate in found:
        content = base64.b64encode(png(power, loudest)).decode()
        pictures.append(
            f"<p>{html.escape(Path(path).name)}, 0 to {rate / 2e3:g} kHz</p>"
            f'<img alt="spectrogram" src="data:image/png;base64,{content}">'
        )
    return pictures


def _quality(steps: Sequence[Step], length_s: float) -> str:
    """Plot the estimate of each voice, and its interval as a band; gaps where it does not talk."""
    shapes = [_grid(f"{db:g} dB", _height(db)) for db in (0.0, 10.0, 20.0)]
    told = [step for step in steps if step.voices]
    for number in range(max(len(step.voices or ()) for step in told)):
        colour = _COLOURS[number % len(_COLOURS)]
        for step in told[:: 1 + len(told) // MOST_SHAPES]:
            voice = step.voices[number] if step.voices and number < len(step.voices) else None
            if voice is None:
                continue
            left, right = _place(step.start_s, length_s), _place(step.start_s + step.window_s, length_s)
            top, bottom = _height(voice.high_db), _height(voice.low_db)
            middle = _height(voice.si_sdr_db)
            shapes.append(
                f'<rect x="{left:.1f}" y="{top:.1f}" width="{right - left:.1f}" height="{bottom - top:.1f}" '
                f'fill="{colour}" opacity=".12"/><path d="M{left:.1f} {middle:.1f}H{right:.1f}" '
                f'stroke="{colour}" stroke-width="2"/>'
            )
    return _svg(shapes)


def _depths(steps: Sequence[Step], length_s: float) -> str:
    """Plot the mean depth over time."""
    import numpy as np

    most = max((step.depth for step in steps), default=0) or 1
    sums, counts = np.zeros(WIDTH), np.zeros(WIDTH)
    for step in steps:
        first = min(WIDTH - 1, int(_place(step.start_s, length_s)))
        last = max(first + 1, int(_place(step.start_s + step.window_s, length_s)))
        sums[first:last] += step.depth
        counts[first:last] += 1
    means = sums / np.maximum(counts, 1) / most
    points = " ".join(f"{x},{HEIGHT - (HEIGHT - 4) * y:.1f}" for x, y in enumerate(means))
    line = f'<polygon points="0,{HEIGHT} {points} {WIDTH},{HEIGHT}" fill="#555" opacity=".4"/>'
    return _svg([_grid(f"depth {most}", 4.0), line])


def _place(seconds: float, length_s: float) -> float:
    return WIDTH * min(1.0, seconds / max(length_s, 1e-9))


def _height(db: float) -> float:
    return HEIGHT * (1 - (min(max(db, LEAST_DB), MOST_DB) - LEAST_DB) / (MOST_DB - LEAST_DB))


def _grid(label: str, at: float) -> str:
    return (
        f'<path d="M0 {at:.1f}H{WIDTH}" stroke="#bbb" stroke-width=".5"/>'
        f'<text x="2" y="{at + 11:.1f}" font-size="10" fill="#888">{label}</text>'
    )


def _svg(shapes: list[str]) -> str:
    content = "".join(shapes)
    return f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" preserveAspectRatio="none">{content}</svg>'
