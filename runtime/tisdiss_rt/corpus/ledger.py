"""What is done and what failed, as two files that are right at every moment, also after a kill.

::

    manifest.jsonl    a row for each voice, in the form of the manifest that came in
    failed.jsonl      each entry that is broken, and the reason

All rows of an entry are written at once, after its files are in their places. A kill may leave a row half or
an entry without its last rows; whoever goes on cuts them off and separates that entry again. Shares of a
manifest have files of their own and may have one folder together.
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Iterator
from io import FileIO
from pathlib import Path
from types import TracebackType
from typing import Any

from tisdiss_rt.audio.growing import lock, write
from tisdiss_rt.corpus.entries import DURATION, OFFSET, PATH, PROBLEM, BadLine, Entry, Shard
from tisdiss_rt.corpus.voices import Outcome
from tisdiss_rt.errors import OptionError, OutputError

_NAMES = ("manifest", "failed")
_SHARE = r"(-[1-9]\d*-of-[1-9]\d*)?"  # see `Shard.suffix`
_BAD = -1  # of a line that was no entry


def paths_of(folder: Path, shard: Shard) -> list[Path]:
    """Return the two files of a share of a manifest."""
    return [folder / f"{name}{shard.suffix}.jsonl" for name in _NAMES]


class Ledger:
    """The two files of a run; a context manager, inside which nobody else can go on with them.

    Args:
        folder: where they are, or will be.
        shard: the share of the manifest.
        resume: whether to go on where they end; otherwise there must be none.
        force: whether to begin anew; what is there stays until `begin`.

    Attributes: ``failed``, the lines in which something is wrong, as far as they are done.
    Raises OptionError where there are results already, OutputError where nothing can be written.
    """

    def __init__(self, folder: Path, shard: Shard, resume: bool, force: bool) -> None:
        self._folder, self._suffix, self._resumes = folder, shard.suffix, resume
        self._done: dict[int, int] = {}  # line and digest of what it is
        self.failed: set[int] = set()
        self._files: list[FileIO] = []
        paths = paths_of(folder, shard)
        there = [path for path in paths if path.exists() and path.stat().st_size > 0]
        if there and not resume and not force:
            raise OptionError(f"{there[0]} exists; --resume goes on with it, --force begins anew")
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for path in paths:
                self._files.append(path.open("a+b", buffering=0))
            lock(self._files[0], "another run is at work there")
            self._recover()
        except BaseException as error:
            self._close()
            if isinstance(error, OSError):
                raise OutputError(f"cannot write to {folder}: {error.strerror}") from error
            raise

    def begin(self) -> None:
        """Drop what an earlier run wrote, unless this one goes on with it; to be called before any `add`."""
        for file in () if self._resumes else self._files:
            file.truncate(0)

    def has(self, entry: Entry | BadLine) -> bool:
        """Return whether an entry is done.

        Raises OptionError if something else was done for its line, or another share has done it and this run
        does not go on.
        """
        digest = self._done.get(entry.line)
        if digest is None or (digest == _BAD and isinstance(entry, Entry)):  # it was no entry, and now it is
            return False
        if isinstance(entry, Entry) and digest != _digest(entry.fields[PATH], entry.start_s, entry.length_s):
            anew = ", or begin anew with --force" if self._resumes else ""
            raise OptionError(
                f"{self._folder} has results of another manifest: its line {entry.line} is not this part of "
                f"{entry.fields[PATH]}; choose another folder with -o{anew}"
            )
        if not self._resumes:
            raise OptionError(
                f"{self._folder} has results of line {entry.line} by another share, which --force leaves; "
                "--resume goes on with them, or choose another folder with -o"
            )
        return True

    def add(self, entry: Entry | BadLine, outcome: Outcome) -> None:
        """Write down what became of an entry. Raises OutputError; no line is then written by halves."""
        if outcome.reason is not None:
            fields = entry.fields if isinstance(entry, Entry) else {"text": entry.text}
            of_it = {"line": entry.line, "voices": len(outcome.rows), "reason": outcome.reason}
            self._append(self._files[1], [{**fields, **of_it}])
            self.failed.add(entry.line)
        if outcome.rows:
            self._append(self._files[0], outcome.rows)

    def _append(self, file: FileIO, rows: Any) -> None:
        data = b"".join(_encoded(row) + b"\n" for row in rows)
        end = file.seek(0, 2)
        try:
            write(file.fileno(), data, end)
        except OSError as error:
            file.truncate(end)
            raise OutputError(f"cannot write to {self._folder}: {error.strerror}") from error

    def _recover(self) -> None:
        """Find out what other shares have done, and to go on, what this one has; cut off what is half."""
        for number, read in enumerate((self._read_done, self._read_failed)):
            for path in sorted(self._folder.glob("*.jsonl")):
                own = path.stem == f"{_NAMES[number]}{self._suffix}"
                if re.fullmatch(f"{_NAMES[number]}{_SHARE}", path.stem) and (self._resumes or not own):
                    read(path, self._files[number] if own else None)

    def _read_done(self, path: Path, own: FileIO | None) -> None:
        line, count, begin, end = 0, 0, 0, 0  # of the last entry: how many of its rows are there, and where
        for at, row in _rows_of(path):
            if row["line"] != line or count == row["voices"]:
                line, count, begin = row["line"], 0, at[0]
            count, end = count + 1, at[1]
            if count == row["voices"]:
                self._done[line] = _digest(row["parent"], row["start_s"], row.get("length_s"))
                if PROBLEM in row:
                    self.failed.add(line)
                begin = end
        if own is not None:
            own.truncate(begin)

    def _read_failed(self, path: Path, own: FileIO | None) -> None:
        end = 0
        for at, row in _rows_of(path):
            if row["voices"] and row["line"] not in self._done:
                break  # the last one, and its voices were not written down any more
            end = at[1]
            if PATH in row:
                length_s = None if row.get(OFFSET) is None else row.get(DURATION)  # as `parse` has it
                self._done[row["line"]] = _digest(row[PATH], row.get(OFFSET) or 0.0, length_s)
            elif self._done.setdefault(row["line"], _BAD) != _BAD:
                continue  # it has become an entry since
            self.failed.add(row["line"])
        if own is not None:
            own.truncate(end)

    def __enter__(self) -> Ledger:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def _close(self) -> None:
        for file in self._files:
            file.close()


def _digest(path: str, start_s: float, length_s: float | None) -> int:
    length = None if length_s is None else float(length_s)
    return zlib.crc32(f"{path}\n{float(start_s)!r}\n{length!r}".encode("utf-8", "surrogatepass"))


def _encoded(row: dict[str, Any]) -> bytes:
    """Return a row as JSON: in UTF-8, with file names that are no text as they are."""
    try:
        return json.dumps(row, ensure_ascii=False).encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # half of a letter, which JSON can have as an escape alone
        return json.dumps(row).encode()


def _rows_of(path: Path) -> Iterator[tuple[tuple[int, int], dict[str, Any]]]:
    """Yield where each whole row of a file begins and ends, and the row. Raises OptionError."""
    end = 0
    with path.open("rb") as file:
        for number, text in enumerate(file, start=1):
            begin, end = end, end + len(text)
            if not text.endswith(b"\n"):
                return
            try:
                row = json.loads(text.decode("utf-8", "surrogateescape"))
                ours = {"line", "voices"} <= row.keys()
            except (ValueError, AttributeError):
                ours = False
            if not ours:
                raise OptionError(f"{path}: line {number} is not from here; choose another folder with -o")
            yield (begin, end), row
