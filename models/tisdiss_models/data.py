"""Recordings to draw mixtures from, on the device that trains.

A corpus of some hours fits in memory as 16-bit samples, so that drawing is index arithmetic on one long
tensor (`acoustics`). Speakers are drawn evenly, however many of the hours are theirs.
"""

from __future__ import annotations

import math
import os
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import soundfile
import torch
from torch import Tensor

from .config import ConfigError


def speech_folder() -> Path | None:
    """Find the speech corpus: ``TISDISS_SPEECH``, else ``../shared/speech`` seen from the repository."""
    named = os.environ.get("TISDISS_SPEECH")
    folder = Path(named) if named else Path(__file__).parents[2] / ".." / "shared" / "speech"
    return folder if (folder / "train").is_dir() else None


@dataclass(frozen=True)
class Corpus:
    """Speech of several speakers in one tensor, or noise, where each recording is a "speaker".

    Attributes:
        samples: (total,) int16, on the device that draws.
        starts: (speakers,) first sample of each speaker, on the CPU.
        lengths: (speakers,) samples of each speaker, on the CPU.
        sample_rate: in Hz.
        names: of the speakers; empty where they are not known.
    """

    samples: Tensor
    starts: Tensor
    lengths: Tensor
    sample_rate: int
    names: tuple[str, ...] = ()

    def to(self, device: torch.device) -> Corpus:
        """Move the samples to `device`."""
        return Corpus(self.samples.to(device), self.starts, self.lengths, self.sample_rate, self.names)

    def speakers(self, first: int, last: int) -> Corpus:
        """Keep the speakers from `first` up to, not including, `last`."""
        return self._chosen(list(range(len(self.starts)))[first:last])

    def beginning_with(self, names: Sequence[str]) -> Corpus:
        """Put these speakers first; the others stay in their order. Raises ValueError if one is missing."""
        missing = sorted(set(names) - set(self.names))
        if missing:
            raise ValueError(f"the speech has no voice {missing[0]}, which this run keeps for validation")
        order = [self.names.index(name) for name in names]
        order += [i for i, name in enumerate(self.names) if name not in set(names)]
        return self._chosen(order)

    def _chosen(self, order: list[int]) -> Corpus:
        names = tuple(self.names[i] for i in order) if self.names else ()
        return Corpus(self.samples, self.starts[order], self.lengths[order], self.sample_rate, names)


def _files_by_speaker(folder: Path, by_file: bool) -> dict[str, list[Path]]:
    by_speaker: dict[str, list[Path]] = defaultdict(list)
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in (".flac", ".ogg", ".wav"):
            speaker, hyphen, _ = path.name.partition("-")
            if by_file:
                speaker = path.name
            elif not hyphen:
                raise ValueError(f"{path}: its name has to start with its speaker and a hyphen")
            by_speaker[speaker].append(path)
    if not by_speaker:
        raise ValueError(f"{folder}: no audio files")
    return by_speaker


def _read(path: Path, sample_rate: int) -> np.ndarray:
    """Return the samples (n,) of a mono file as int16."""
    try:
        audio, rate = soundfile.read(path, dtype="float32")
    except soundfile.LibsndfileError as error:
        raise ValueError(f"{path}: not readable as audio: {error.error_string}") from error
    if rate != sample_rate:
        raise ValueError(f"{path}: {rate} Hz, but the network works at {sample_rate} Hz")
    if audio.ndim != 1:
        raise ValueError(f"{path}: {audio.shape[1]} channels; training takes mono")
    if len(audio) == 0 or not np.isfinite(audio).all():
        raise ValueError(f"{path}: has no samples, or some that are NaN or infinite")
    beyond = max(1.0, float(np.abs(audio).max()))  # floating point may be louder than full scale
    return np.clip(np.round(audio / beyond * 32768), -32768, 32767).astype(np.int16)


def load_corpus(folder: Path, sample_rate: int, least_s: float = 0.0, by_file: bool = False) -> Corpus:
    """Read all audio of a folder and those in it, mono; a file's name starts with its speaker and a hyphen.

    With `by_file`, for noise, every file is taken for itself and may have any name.

    Speakers are ordered by a fixed shuffle, so that a split by index is a random split. A voice shorter than
    `least_s` seconds is repeated up to that, so that a crop never reads on into the next speaker.

    Raises:
        ValueError: if there is no audio, or a file has another sample rate, several channels, no samples, or
            some that are no numbers, or its name does not say who speaks.
    """
    by_speaker = _files_by_speaker(folder, by_file)
    names = sorted(by_speaker)
    np.random.default_rng(1).shuffle(names)
    with ThreadPoolExecutor() as pool:
        read = partial(_read, sample_rate=sample_rate)
        voices = [np.concatenate(list(pool.map(read, by_speaker[name]))) for name in names]
    least = math.ceil(least_s * sample_rate)
    voices = [np.resize(voice, max(len(voice), least)) for voice in voices]  # resize repeats
    lengths = torch.tensor([len(v) for v in voices])
    starts = torch.cumsum(lengths, 0) - lengths
    return Corpus(torch.from_numpy(np.concatenate(voices)), starts, lengths, sample_rate, tuple(names))


def check_mixable(talkers: Corpus, folder: Path) -> None:
    """Raise ValueError for less than two speakers."""
    if len(talkers.names) < 2:
        raise ValueError(
            f"{folder}: one speaker, {talkers.names[0]}, and mixtures need two; the name of a file starts "
            "with its speaker and a hyphen"
        )


@dataclass(frozen=True)
class Recordings:
    """What a run trains on and what it is judged by.

    Attributes:
        talkers, validation_talkers: different people.
        noises, validation_noises: different recordings; None where the folder has none.
        held_out: names of talkers of ``train/`` who are kept for validation; none where ``validation/`` has
            people of its own.
    """

    talkers: Corpus
    validation_talkers: Corpus
    noises: Corpus | None
    validation_noises: Corpus | None
    held_out: tuple[str, ...]


def load_recordings(
    folder: Path, sample_rate: int, least_s: float, validation_speakers: int, held_out: Sequence[str] = ()
) -> Recordings:
    """Read ``train/``, and ``validation/``, ``noise/train/`` and ``noise/validation/`` where there are such.

    Without ``validation/``, speakers of ``train/`` are kept for validation: `held_out`, else the first
    `validation_speakers` after a fixed shuffle.

    Raises:
        ValueError: if a folder cannot be read, the speakers are too few for both groups, or somebody would be
            in both.
    """
    train = load_corpus(folder / "train", sample_rate, least_s)
    noises = [
        load_corpus(path, sample_rate, least_s, by_file=True) if path.is_dir() else None
        for path in (folder / "noise" / "train", folder / "noise" / "validation")
    ]
    if (folder / "validation").is_dir():
        validation = load_corpus(folder / "validation", sample_rate, least_s)
        for talkers, name in ((train, "train"), (validation, "validation")):
            check_mixable(talkers, folder / name)
        both = sorted(set(train.names) & set(validation.names))
        if both:
            raise ValueError(
                f"{folder}: {both[0]} speaks in train/ and in validation/, where other people are to tell "
                "whether training goes well"
            )
        return Recordings(train, validation, noises[0], noises[1], ())
    count = validation_speakers
    if not 2 <= count <= len(train.lengths) - 2:
        raise ConfigError(
            f"validation_speakers: {count} of {len(train.lengths)} speakers; validation and "
            "training need two each"
        )
    if held_out and len(held_out) != count:
        raise ConfigError(f"validation_speakers: this run keeps {len(held_out)}, not {count}")
    train = train.beginning_with(held_out)
    validation = train.speakers(0, count)
    rest = train.speakers(count, len(train.lengths))
    return Recordings(rest, validation, noises[0], noises[1], validation.names)
