"""Mixtures for training, made anew for every batch on the device that trains.

The corpus (two hours of speech) fits in memory as 16-bit samples, so that a batch is index arithmetic
on one long tensor: draw speakers, places, speeds, colours and levels, and add. Speakers are drawn
evenly, because three of them hold more than half of the hours.
"""

from __future__ import annotations

import math
import os
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import torch
from torch import Tensor

from .config import TrainingConfig

RMS = 0.05  # level of every source before its own level is applied
TAPS = 8  # taps on each side of the interpolation that changes the speed


def speech_folder() -> Path | None:
    """Find the speech corpus: ``TISDISS_SPEECH``, else ``../shared/speech`` seen from the repository."""
    named = os.environ.get("TISDISS_SPEECH")
    folder = Path(named) if named else Path(__file__).parents[2] / ".." / "shared" / "speech"
    return folder if (folder / "train").is_dir() else None


@dataclass(frozen=True)
class Corpus:
    """Speech of several speakers in one tensor.

    Attributes:
        samples: (total,) int16.
        starts: (speakers,) first sample of each speaker.
        lengths: (speakers,) samples of each speaker.
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
        tensors = (self.samples.to(device), self.starts.to(device), self.lengths.to(device))
        return Corpus(*tensors, self.sample_rate, self.names)

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


def load_corpus(folder: Path, sample_rate: int, least_s: float = 0.0) -> Corpus:
    """Read all audio of a folder, mono; a file's name starts with its speaker and a hyphen.

    Speakers are ordered by a fixed shuffle, so that a split by index is a random split. A voice shorter than
    `least_s` seconds is repeated up to that, so that a crop never reads on into the next speaker.

    Raises:
        ValueError: if there is no audio, or a file has another sample rate, several channels, no samples, or
            some that are no numbers, or its name does not say who speaks.
    """
    by_speaker: dict[str, list[Path]] = defaultdict(list)
    for path in sorted(folder.iterdir()):
        if path.suffix in (".flac", ".ogg", ".wav"):
            speaker, hyphen, _ = path.name.partition("-")
            if not hyphen:
                raise ValueError(f"{path}: its name has to start with its speaker and a hyphen")
            by_speaker[speaker].append(path)
    if not by_speaker:
        raise ValueError(f"{folder}: no audio files")

    def read(path: Path) -> np.ndarray:
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
        return np.clip(np.round(audio * 32768), -32768, 32767).astype(np.int16)

    names = sorted(by_speaker)
    np.random.default_rng(1).shuffle(names)
    with ThreadPoolExecutor() as pool:
        voices = [np.concatenate(list(pool.map(read, by_speaker[name]))) for name in names]
    least = math.ceil(least_s * sample_rate)
    voices = [np.resize(voice, max(len(voice), least)) for voice in voices]  # resize repeats
    lengths = torch.tensor([len(v) for v in voices])
    starts = torch.cumsum(lengths, 0) - lengths
    return Corpus(torch.from_numpy(np.concatenate(voices)), starts, lengths, sample_rate, tuple(names))


def _resampled_crops(corpus: Corpus, first: Tensor, speed: Tensor, length: int) -> Tensor:
    """Read `length` samples from the places `first` at `speed`, by windowed-sinc interpolation.

    Args:
        corpus: where from.
        first: (N,) index of the first sample, with `TAPS` samples of margin.
        speed: (N,) input samples per output sample.
        length: output samples.

    Returns:
        (N, length) float32.
    """
    steps = torch.arange(length, device=first.device)
    offset = steps * speed[:, None].double()  # (N, length)
    whole = offset.floor()
    fraction = (offset - whole).float()
    index = first[:, None] + whole.long()
    out = torch.zeros_like(fraction)
    cutoff = (1 / speed).clamp(max=1.0)[:, None]
    for tap in range(1 - TAPS, TAPS + 1):
        distance = fraction - tap
        weight = cutoff * torch.sinc(cutoff * distance) * (0.5 + 0.5 * torch.cos(torch.pi * distance / TAPS))
        weight = torch.where(distance.abs() < TAPS, weight, torch.zeros_like(weight))
        out += weight * corpus.samples[index + tap]
    return out / 32768


def _coloured(audio: Tensor, strength_db: float, generator: torch.Generator) -> Tensor:
    """Filter (N, samples) with a smooth random frequency response of about ±`strength_db`."""
    spectrum = torch.fft.rfft(audio)
    knots = torch.randn(len(audio), 1, 6, device=audio.device, generator=generator) * strength_db / 2
    curve = torch.nn.functional.interpolate(knots, spectrum.shape[-1], mode="linear", align_corners=True)[
        :, 0
    ]  # (N, bins) dB
    return torch.fft.irfft(spectrum * 10 ** (curve / 20), audio.shape[-1])


def _pauses(count: int, length: int, config: TrainingConfig, generator: torch.Generator) -> Tensor:
    """Draw when the sources of `count` mixtures speak: factors (count, 2, length) from 0 to 1.

    Some mixtures have one source only, in some one source starts late or stops early.
    """
    device = generator.device
    kind, place, side = torch.rand(3, count, 1, device=device, generator=generator)  # (count, 1) each
    time = torch.linspace(0, 1, length, device=device)
    late = ((time - (0.15 + 0.7 * place)) * 50).clamp(0, 1)  # (count, length)
    partial = torch.where(side < 0.5, late, 1 - late)
    absent = kind < config.absent_share
    paused = ~absent & (kind < config.absent_share + config.pause_share)
    second = torch.where(absent, 0.0, torch.where(paused, partial, 1.0))
    return torch.stack([torch.ones_like(second), second], 1)


def draw_batch(
    corpus: Corpus, config: TrainingConfig, batch: int, crop_s: float, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Make two-speaker mixtures.

    Args:
        corpus: on the device of `generator`.
        config: augmentation options.
        batch: mixtures.
        crop_s: length in seconds.
        generator: source of all randomness.

    Returns:
        Mixtures (B, samples) and their sources (B, 2, samples), float32.
    """
    device = generator.device
    length = round(crop_s * corpus.sample_rate)

    def uniform(*shape: int) -> Tensor:
        return torch.rand(*shape, device=device, generator=generator)

    count = len(corpus.lengths)
    one = torch.randint(count, (batch,), device=device, generator=generator)
    other = (one + torch.randint(1, count, (batch,), device=device, generator=generator)) % count
    speaker = torch.stack([one, other], 1).flatten()  # (2 B,)
    speed = 1 + config.speed_range * (2 * uniform(2 * batch) - 1)
    room = corpus.lengths[speaker] - (length * speed).long() - 2 * TAPS - 2
    first = corpus.starts[speaker] + TAPS + (uniform(2 * batch) * room.clamp(min=0)).long()
    audio = _resampled_crops(corpus, first, speed, length)
    if config.equaliser_db > 0:
        audio = _coloured(audio, config.equaliser_db, generator)
    audio = audio * (RMS / audio.square().mean(-1, keepdim=True).sqrt().clamp(min=1e-4))
    level_db = config.level_db * (2 * uniform(batch) - 1) / 2
    gain = 10 ** (torch.stack([level_db, -level_db], 1) / 20)
    sources = audio.unflatten(0, (batch, 2)) * gain[..., None]  # (B, 2, samples)
    sources = sources * _pauses(batch, length, config, generator)
    return sources.sum(1), sources
