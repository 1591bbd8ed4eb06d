"""One entry of a manifest: its voices become files, and rows of the manifest that comes out.

The files are made in a folder of their own and moved when all of them are complete. What a killed run leaves
behind is in that folder alone.
"""

from __future__ import annotations

import dataclasses
import glob
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tisdiss_rt.audio.files import AudioReader
from tisdiss_rt.audio.results import is_voice_path, turns_path, voice_paths
from tisdiss_rt.corpus.entries import DURATION, OFFSET, PATH, PROBLEM, Entry
from tisdiss_rt.errors import OutputError, SeparationWarning, told_of
from tisdiss_rt.talkers.meeting import MOST_TALKERS

if TYPE_CHECKING:
    from tisdiss_rt.separation import Found
    from tisdiss_rt.separator import FileSeparation, Separator


@dataclass(frozen=True)
class Outcome:
    """What became of an entry.

    Attributes:
        line: its number.
        rows: of its voices.
        audio_s: seconds of audio that were separated.
        reason: what is wrong with it, if anything; there may be voices all the same.
        warnings: what else is to be said of it.
    """

    line: int
    rows: tuple[dict[str, Any], ...] = ()
    audio_s: float = 0.0
    reason: str | None = None
    warnings: tuple[str, ...] = ()


def separate_entry(
    separator: Separator, entry: Entry, output: Path, making: Path, options: Mapping[str, Any]
) -> Outcome:
    """Separate an entry into files below ``output``, which are made in ``making``.

    ``options`` are those of `Separator.separate_file`. Whatever is wrong with the entry is in the outcome.
    Raises OutputError where nothing can be written.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", SeparationWarning)
        try:
            result = _separate(separator, entry, output, making, options)
        except OutputError:
            raise
        except Exception as error:  # one input must not end the work on all the others
            return Outcome(entry.line, reason=told_of(entry.path, error))
    told = [str(each.message) for each in caught if issubclass(each.category, SeparationWarning)]
    others = tuple(each for each in told if f"{result.problem};" not in each)
    of_each = separator.bundle.manifest.sources if options.get("channels") == "split" else None
    rows = tuple(_rows(entry, result, of_each, output))
    return Outcome(entry.line, rows, result.frames / result.sample_rate, result.problem, others)


def _separate(
    separator: Separator, entry: Entry, output: Path, making: Path, options: Mapping[str, Any]
) -> FileSeparation:
    """Separate an entry and move its files to their places."""
    talkers = options.get("talkers")
    with AudioReader(entry.path, entry.start_s, entry.length_s) as reader:
        sources = separator.bundle.manifest.sources if talkers is None else talkers
        channels = reader.channels if options.get("channels") == "split" else None
        targets = voice_paths(
            making, f"{entry.name}.wav", MOST_TALKERS if sources == "auto" else sources, channels
        )
        rttm = None if talkers is None else turns_path(making, f"{entry.name}.wav")
        result = separator.separate_file(reader, targets, **options, rttm=rttm)
    folder = _folder_of(entry, output)
    made = [*result.paths, *filter(None, [rttm])]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path in made:
            path.replace(folder / path.name)
        _remove_rest(entry, folder, {path.name for path in made})
    except OSError as error:
        raise OutputError(f"cannot write to {folder}: {error.strerror}") from error
    return result


def _remove_rest(entry: Entry, folder: Path, made: set[str]) -> None:
    """Remove what an earlier run has left of an entry: voices of more people or channels, and their turns."""
    name = Path(entry.name).name
    for path in folder.glob(f"{glob.escape(name)}[._]*"):
        is_own = path.name == f"{name}.rttm" or (path.suffix == ".wav" and is_voice_path(path))
        if is_own and path.name not in made:
            path.unlink()


def expected_db(result: Found, number: int) -> float | None:
    """Return how good the voice of an index, from 0, is expected to be: SI-SDR in dB; None if nobody knows.

    The mean over the windows in which it talks; that of all voices where windows do not have them in the
    order of the outputs, as with ``talkers``, and with ``split`` of several channels.
    """
    if result.estimate is None:
        return None
    told = [step.voices for step in result.steps if step.voices is not None]
    if result.turns is not None or any(len(voices) != len(result.activity) for voices in told):
        return round(result.estimate.si_sdr_db, 2)
    own = [voice.si_sdr_db for voices in told if (voice := voices[number]) is not None]
    return round(sum(own) / len(own), 2) if own else None


def _folder_of(entry: Entry, output: Path) -> Path:
    return (output / entry.name).parent


def _rows(entry: Entry, result: FileSeparation, of_each: int | None, output: Path) -> list[dict[str, Any]]:
    """Return a row for each voice: what the entry carries along, and what is known of the voice.

    ``of_each`` is the number of voices of each channel, where channels are separated one by one.
    """
    not_carried = (PATH, DURATION, OFFSET, PROBLEM)
    carried = {name: value for name, value in entry.fields.items() if name not in not_carried}
    depths = [step.depth for step in result.steps]
    duration_s = round(result.frames / result.sample_rate, 6)
    of_all = {
        "parent": entry.fields[PATH],
        "line": entry.line,
        "voices": len(result.paths),
        "start_s": entry.start_s,
        "length_s": entry.length_s,
        "depth": round(sum(depths) / max(1, len(depths)), 2),
        **({} if result.problem is None else {PROBLEM: result.problem}),
    }
    rows = []
    for number, (path, voice) in enumerate(zip(result.paths, result.activity, strict=True)):
        file = (_folder_of(entry, output) / path.name).relative_to(output).as_posix()
        place = {"talker": number + 1}
        if of_each is not None:
            place = {"channel": result.channels[number // of_each], "talker": number % of_each + 1}
        known = {**dataclasses.asdict(voice), "estimate_db": expected_db(result, number)}
        own = {PATH: file, DURATION: duration_s, **of_all, **place, **known}
        rows.append({**own, **{name: value for name, value in carried.items() if name not in own}})
    return rows
