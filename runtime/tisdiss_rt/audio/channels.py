"""Which channels of a recording are separated: their mean, one of them, or each as a recording of its own.

A mean loses what two channels have with opposite signs, and gets quieter with every channel that is dead. So
all of a recording is looked at before its channels are averaged, and what would spoil the mean is left out.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tisdiss_rt.audio import Array
from tisdiss_rt.errors import AudioError, OptionError, SeparationWarning

BLOCK_FRAMES = 4096  # that are read in one go: where a file is damaged, so much before is lost, too
MOST_CHANNELS = 32  # of an array
DEAD_DB = -30.0  # of the loudest channel's level
_FRAME = 1024  # samples of a spectrum
_HEARD_DB = -20.0  # of the loudest channel, in one bin of a spectrum
_CANCELLING = 0.05  # of the power that the sum of unrelated channels has: two differ by 162 to 198 degrees
# Share of bins, from which on the mean is not taken: two microphones apart come to at most 0.11, a voice that
# is inverted in one of two channels while another one is not, to 0.21 and more.
_CANCELLED_SHARE = 0.15
_NUMBERS = {"left": 1, "right": 2}


@dataclass(frozen=True)
class Choice:
    """Channels to separate as one signal: their mean, where there are several.

    Attributes:
        taken: the channels, from 0; None for all, however many come.
        problem: why others are left out of the mean; None where they are not.
        is_passed_on: whether the channel stays as it is where one person talks in it.
    """

    taken: tuple[int, ...] | None
    problem: str | None = None
    is_passed_on: bool = False


def parse(channels: str | int) -> str | int:
    """Return ``mix``, ``split``, or the number of a channel, from 1. Raises OptionError for anything else."""
    if channels in ("mix", "split"):
        return channels
    text = str(_NUMBERS.get(str(channels), channels))
    if not (text.isascii() and text.isdecimal() and int(text)):
        raise OptionError(f"channels are mix, left, right, split, or a number from 1; not {channels!r}")
    return int(text)


def number_of(channels: str | int) -> int | None:
    """Return which channel alone is meant, from 1; None for ``mix`` and ``split``."""
    wanted = parse(channels)
    return wanted if isinstance(wanted, int) else None


@dataclass(frozen=True)
class Mixture:
    """A recording that may have several channels.

    Attributes:
        columns: returns its blocks (m, channels), every time from the beginning.
        channels: how many.
        sample_rate: in Hz.
        length: returns how many samples have come until now.
        expected: how many there will be; None where nobody knows.
        label: what messages call it.
    """

    columns: Callable[[], Iterator[Array]]
    channels: int
    sample_rate: int
    length: Callable[[], int]
    expected: int | None
    label: str

    def choose(self, channels: str | int) -> list[Choice]:
        """Choose what to separate, one entry for each signal; ``channels`` is as `parse` takes it.

        Warns of channels that are left out of a mean. Raises AudioError where there is no such channel.
        """
        number = number_of(channels)
        if number is not None:
            if number > self.channels:
                raise AudioError(f"{self.label}: has no channel {number}, but {self.channels} in all")
            return [Choice((number - 1,))]
        if channels == "split":
            return [Choice((channel,), is_passed_on=True) for channel in range(self.channels)]
        choice = usable(self.columns(), self.channels) if self.channels > 1 else Choice(None)
        if choice.problem is not None:
            message = f"{self.label}: {choice.problem}; the option channels chooses"
            warnings.warn(message, SeparationWarning, stacklevel=3)
        return [choice]

    def mono(self, taken: tuple[int, ...] | None) -> Iterator[Array]:
        """Yield the mean (m,) of some channels, or of all.

        Raises AudioError for NaN or infinity, and where a block does not have the channels.
        """
        for block in self.columns():
            if taken is not None and max(taken) >= block.shape[1]:
                raise AudioError(f"{self.label}: has no channel {max(taken) + 1} in all of its parts")
            yield mix_down(block if taken is None else block[:, list(taken)], self.label)


def usable(blocks: Iterable[Array], count: int) -> Choice:
    """Find the channels (m, count) whose mean has all the sound: without the dead ones.

    One channel alone, the loudest, where they cancel each other.
    """
    energy, cancelled, heard = np.zeros(count), 0.0, 1e-20
    for block in blocks:
        if block.shape[1] == count:
            with np.errstate(all="ignore"):
                energy += np.square(block - block.mean(axis=0, dtype=np.float64)).sum(axis=0)  # no offset
                weights, is_cancelling = _cancelling(block)
            heard += float(weights.sum())
            cancelled += float(weights[is_cancelling].sum())
    if not np.isfinite(energy).all() or not energy.any():
        return Choice(None)
    if cancelled > _CANCELLED_SHARE * heard:
        loudest = int(energy.argmax())
        return Choice((loudest,), f"the channels cancel each other, so only channel {loudest + 1} is taken")
    dead = energy < energy.max() * 10 ** (DEAD_DB / 10)
    if not dead.any():
        return Choice(None)
    taken = np.flatnonzero(~dead).tolist()
    return Choice(tuple(taken), f"{_listed(np.flatnonzero(dead))} silent, so {_listed(taken)} taken")


def _cancelling(block: Array) -> tuple[Array, npt.NDArray[np.bool_]]:
    """Look at the phases of channels (m, channels): bin by bin, how much it counts, and whether they cancel.

    Levels do not matter, but those of channels that are hardly heard in the bin.
    """
    frames = -(-len(block) // _FRAME)
    padded = np.zeros((frames * _FRAME, block.shape[1]), np.float32)
    padded[: len(block)] = block
    window = np.hanning(_FRAME)[:, None]
    bins = np.fft.rfft(padded.reshape(frames, _FRAME, -1) * window, axis=1)[:, 1:]  # (frames, bins, channels)
    size = np.abs(bins)
    is_heard = size > 10 ** (_HEARD_DB / 20) * size.max(axis=2, keepdims=True)
    phases = np.where(is_heard, bins / (size + 1e-20), 0)
    count = is_heard.sum(axis=2)
    power = np.square(np.abs(phases.sum(axis=2)))
    weights: Array = np.sqrt(size.max(axis=2))  # a few loud bins should not decide
    return weights, (count > 1) & (power < _CANCELLING * count)


def _listed(channels: Iterable[int]) -> str:
    """Return "channel 1 is", "channels 1, 2 are"."""
    numbers = [str(channel + 1) for channel in channels]
    return f"channel {numbers[0]} is" if len(numbers) == 1 else f"channels {', '.join(numbers)} are"


def of_array(signal: npt.ArrayLike, sample_rate: int, label: str) -> Mixture:
    """Return an array (n,) or (n, channels) as a recording.

    Raises AudioError for one of another shape or type, or without samples, and OptionError for a sample rate
    that cannot be.
    """
    given = np.asarray(signal)
    if given.ndim not in (1, 2) or given.size == 0:
        raise AudioError(f"{label} must be (n,) or (n, channels), not empty; it is {given.shape}")
    columns = in_columns(given, label)
    if not 0 < sample_rate < math.inf:
        raise OptionError(f"sample_rate must be above 0, not {sample_rate}")
    frames, count = columns.shape
    starts = range(0, frames, BLOCK_FRAMES)
    return Mixture(
        lambda: (columns[start : start + BLOCK_FRAMES] for start in starts),
        *(count, sample_rate, lambda: frames, frames, label),
    )


def in_columns(signal: npt.NDArray[Any], label: str) -> npt.NDArray[Any]:
    """Return an array (n,) or (n, channels) as the latter.

    Raises AudioError for one that is not floating point, or has so many channels that it must be turned.
    """
    if not np.issubdtype(signal.dtype, np.floating):
        raise AudioError(f"{label} must be floating point with full scale 1, not {signal.dtype}")
    if signal.ndim == 2 and signal.shape[1] > MOST_CHANNELS:
        raise AudioError(
            f"{label} is {signal.shape}, which is {signal.shape[1]} channels; where the channels come first, "
            "transpose it: .T"
        )
    return signal.reshape(len(signal), -1) if signal.size else signal.reshape(len(signal), 1)


def mix_down(block: Array, label: str = "the mixture") -> Array:
    """Average (m, channels) to mono (m,); raises AudioError for NaN or infinity."""
    with np.errstate(all="ignore"):
        mono: Array = block.mean(axis=1, dtype=np.float32)
    if not np.isfinite(mono).all():
        raise AudioError(f"{label}: has samples that are NaN or infinite")
    return mono
