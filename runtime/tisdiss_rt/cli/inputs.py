"""What ``separate`` is to separate: the files that INPUT names, and those in the folders among them."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click


@dataclass(frozen=True)
class Input:
    """One of those that are named or found.

    Attributes:
        path: the file, or - for standard input.
        folder: for its results.
        problem: why it cannot be read, where it is a folder.
    """

    path: str
    folder: Path
    problem: str | None = None


def find(inputs: tuple[str, ...], output: Path) -> Iterator[Input]:
    """Yield what is to be separated, each once.

    A folder is searched with those below it, which the output folder gets, too. Our own results in the output
    folder are passed over.
    """
    from tisdiss_rt.audio.files import STDIN

    seen: set[str] = set()
    for name in inputs:
        is_folder = name != STDIN and _is_folder(Path(name))
        for found in _search(Path(name), output) if is_folder else [Input(name, output)]:
            key = STDIN if found.path == STDIN else os.path.realpath(found.path)
            if key not in seen:
                seen.add(key)
                yield found


def _search(folder: Path, output: Path) -> list[Input]:
    """Return the audio files in a folder, and what of it cannot be searched.

    Says how many files there are that only other programs can read.
    """
    from tisdiss_rt.audio import media
    from tisdiss_rt.audio.files import SUFFIXES

    found, refused = _files(folder)
    others = [path.suffix.lower() for path in found if path.suffix.lower() in media.SUFFIXES]
    if others and not media.is_installed():
        click.echo(
            f"tisdiss-rt: warning: {folder}: passed over {len(others)} files, as they need "
            f"{media.INSTALL}: {', '.join(sorted(set(others)))}",
            err=True,
        )
    readable = (*SUFFIXES, *media.SUFFIXES) if media.is_installed() else SUFFIXES
    audio = [path for path in found if path.suffix.lower() in readable]
    audio = [path for path in audio if not _is_result(path, output)]
    if not audio and not refused:
        return [Input(str(folder), output, "no audio files in this folder")]
    return refused + [Input(str(path), output / path.parent.relative_to(folder)) for path in audio]


def _files(folder: Path) -> tuple[list[Path], list[Input]]:
    """Return the files in a folder and in those below it but for hidden ones, and what cannot be searched.

    Links to folders are followed after all that is really there, and into no folder twice: they may lead in
    circles.
    """
    files: list[Path] = []
    errors: list[OSError] = []
    searched: set[str] = set()
    waiting = [folder]
    for top in waiting:
        for root, below, names in os.walk(top, onerror=errors.append):
            below[:] = sorted(name for name in below if not name.startswith("."))
            if (place := os.path.realpath(root)) in searched:
                below.clear()
                continue
            searched.add(place)
            waiting += [path for name in below if (path := Path(root, name)).is_symlink()]
            visible = [Path(root, name) for name in names if not name.startswith(".")]
            files += [path for path in visible if _is_file(path)]
    return sorted(files), [Input(error.filename, folder, error.strerror) for error in errors]


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:  # too long a name, as an example
        return False


def _is_file(path: Path) -> bool:
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except OSError:  # nobody may look at it, or a link leads nowhere: told when it is opened
        return True


def _is_result(path: Path, output: Path) -> bool:
    """Return whether a file in the output folder was separated from another one."""
    from tisdiss_rt.audio.results import is_voice_path, origin_in

    if not is_voice_path(path) or Path(os.path.realpath(output)) not in Path(os.path.realpath(path)).parents:
        return False
    return path.stem.startswith("stdin_") or origin_in(path) is not None
