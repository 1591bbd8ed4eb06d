"""What is to be separated: a manifest with one JSON object a line, in the form that NeMo uses.

::

    {"audio_filepath": "calls/0001.flac", "duration": 61.4, "text": "...", "lang": "en"}
    {"audio_filepath": "calls/0002.flac", "offset": 12.5, "duration": 3.2}

A path is relative to the folder of the manifest. With ``offset``, a part of the file is meant, as long as
``duration``; without, all of it, whatever ``duration`` says. All else is carried along.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tisdiss_rt.errors import AudioError, OptionError

PATH, DURATION, OFFSET, PROBLEM = "audio_filepath", "duration", "offset", "problem"
_STEM_BYTES = 100  # of a file, in the names of its voices
_MOST_NESTED = 100  # levels of a line: what is carried along goes to other processes and back


@dataclass(frozen=True)
class Shard:
    """One of several equal shares of a manifest: the ``number``-th of ``count``, from 1."""

    number: int = 1
    count: int = 1

    @classmethod
    def parse(cls, text: str | None) -> Shard:
        """Read ``i/n``; raises OptionError for anything else."""
        if text is None:
            return cls()
        found = re.fullmatch(r"([1-9]\d{0,5})/([1-9]\d{0,5})", text, re.ASCII)
        if found is None or int(found[1]) > int(found[2]):
            raise OptionError(f"--shard is i/n, as 1/4 to 4/4; not {text!r}")
        return cls(int(found[1]), int(found[2]))

    @property
    def suffix(self) -> str:
        """What the names of its files end with."""
        return "" if self.count == 1 else f"-{self.number}-of-{self.count}"

    def has(self, line: int) -> bool:
        """Return whether a line, from 1, is in this share."""
        return line % self.count == self.number % self.count


@dataclass(frozen=True)
class Entry:
    """A line of a manifest: something to separate.

    Attributes:
        line: its number, from 1.
        fields: the JSON object.
        path: the file.
        start_s: where the part begins.
        length_s: how long it is; None for all that follows.
    """

    line: int
    fields: dict[str, Any] = field(repr=False)
    path: Path
    start_s: float = 0.0
    length_s: float | None = None

    @property
    def name(self) -> str:
        """The beginning of its files' names: no other line has it, whatever the file is called."""
        stem = self.path.stem.encode("utf-8", "ignore")[:_STEM_BYTES].decode("utf-8", "ignore")
        return f"{self.line // 1000:04d}/{self.line:06d}_{stem}"


@dataclass(frozen=True)
class BadLine:
    """A line that is no entry, and why."""

    line: int
    text: str
    reason: str


def read_lines(manifest: Path, shard: Shard) -> Iterator[tuple[int, str]]:
    """Yield number and text of the lines of a share that are not empty. Raises AudioError."""
    try:
        with manifest.open(encoding="utf-8-sig", errors="surrogateescape") as file:
            for number, text in enumerate(file, start=1):
                if shard.has(number) and text.strip():
                    yield number, text.strip()
    except OSError as error:
        raise AudioError(f"{manifest}: {error.strerror}") from error


def parse(line: int, text: str, folder: Path) -> Entry | BadLine:
    """Read a line; paths are relative to ``folder``."""
    try:
        fields = json.loads(text)
    except ValueError as error:
        return BadLine(line, text, f"line {line} is no JSON: {error}")
    except RecursionError:
        fields = None
    if fields is None or _is_nested(fields, _MOST_NESTED):
        return BadLine(line, text, f"line {line} is nested more than {_MOST_NESTED} levels deep")
    if not isinstance(fields, dict) or not isinstance(fields.get(PATH), str) or not fields[PATH]:
        return BadLine(line, text, f"line {line} has no {PATH}")
    path, start_s, length_s = folder / fields[PATH], fields.get(OFFSET), fields.get(DURATION)
    if start_s is None:
        return Entry(line, fields, path)
    for name, value in ((OFFSET, start_s), (DURATION, length_s)):
        if not (_is_time(value) or (name == DURATION and value is None)):
            return BadLine(line, text, f"line {line}: {name} is no number of seconds: {value!r}")
    return Entry(line, fields, path, float(start_s), None if length_s is None else float(length_s))


def _is_nested(value: Any, levels: int) -> bool:
    """Return whether a value has values within values, more than so many levels deep."""
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return any(levels == 0 or _is_nested(part, levels - 1) for part in parts)


def _is_time(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1e9
