"""What ``separate`` is to separate: the files that INPUT names, and those in the folders among them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click


def find(inputs: tuple[str, ...], output: Path) -> Iterator[tuple[str, Path]]:
    """Yield the files to separate, each once, and the folder for the results of each.

    A folder is searched with those below it, which the output folder gets, too. Our own results are passed
    over where the output folder is the one that is searched, or in it.
    """
    from tisdiss_rt.audio.files import STDIN

    seen: set[str | Path] = set()
    for name in inputs:
        paths = [(name, output)]
        if name != STDIN and Path(name).is_dir():
            paths = [(str(p), output / p.parent.relative_to(name)) for p in _search(Path(name), output)]
        for path, folder in paths or [(name, output)]:
            key = path if path == STDIN else Path(path).resolve()
            if key not in seen:
                seen.add(key)
                yield path, folder


def _search(folder: Path, output: Path) -> list[Path]:
    """Return the audio files in a folder; says how many there are that only other programs can read."""
    from tisdiss_rt.audio import media
    from tisdiss_rt.audio.files import SUFFIXES
    from tisdiss_rt.audio.results import is_voice_path

    every = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    found = [path for path in every if not any(n.startswith(".") for n in path.relative_to(folder).parts)]
    others = [path.suffix.lower() for path in found if path.suffix.lower() in media.SUFFIXES]
    if others and not media.is_installed():
        click.echo(
            f"tisdiss-rt: warning: {folder}: passed over {len(others)} files, as they need "
            f"{media.INSTALL}: {', '.join(sorted(set(others)))}",
            err=True,
        )
    readable = (*SUFFIXES, *media.SUFFIXES) if media.is_installed() else SUFFIXES
    audio = [path for path in found if path.suffix.lower() in readable]
    if folder.resolve() in (output.resolve(), *output.resolve().parents):
        audio = [p for p in audio if not (is_voice_path(p) and output.resolve() in p.resolve().parents)]
    return audio
