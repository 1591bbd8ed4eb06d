"""A person who is known by a sample of their voice: what voices are compared with, and whose it is."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tisdiss_rt.audio import Array
from tisdiss_rt.audio.blocks import resample
from tisdiss_rt.audio.channels import Mixture, of_array
from tisdiss_rt.audio.files import AudioReader
from tisdiss_rt.errors import AudioError
from tisdiss_rt.talkers.assignment import Order, evidence_of, learnt
from tisdiss_rt.talkers.blocks import BLOCK_S, Blocks, Describer, Voiceprints

Sample = str | os.PathLike[str] | tuple[npt.ArrayLike, int]

LEAST_S = 1.0  # of speech in a sample
BRIEF = 4.0  # what is allowed for a talker who is heard for one block only, of `near`


class Voices:
    """People by samples of their voices; a file is read once, for all the recordings that follow.

    Args:
        voiceprints: what voices are compared by.
        sample_rate: that they work at, in Hz.
    """

    def __init__(self, voiceprints: Voiceprints, sample_rate: int) -> None:
        self._voiceprints, self._sample_rate = voiceprints, sample_rate
        self._latest: dict[tuple[str, int], Array] = {}  # by the path of a sample and its time of change

    def of(self, sample: Sample | None) -> Array | None:
        """Compute the point of a sample, see `voice_of`; None for none."""
        if sample is None:
            return None
        if isinstance(sample, tuple) or not Path(sample).is_file():
            return voice_of(sample, self._voiceprints, self._sample_rate)
        key = (os.fspath(sample), Path(sample).stat().st_mtime_ns)
        if key not in self._latest:
            self._latest = {key: voice_of(sample, self._voiceprints, self._sample_rate)}
        return self._latest[key]


def voice_of(sample: Sample, voiceprints: Voiceprints, sample_rate: int) -> Array:
    """Compute the point (size,) of the person whose voice a sample is.

    Args:
        sample: an audio file, or (n,) or (n, channels) samples with their sample rate in Hz.
        voiceprints: what voices are compared by.
        sample_rate: that they work at, in Hz.

    Raises AudioError for a sample that cannot be used, or that has less than `LEAST_S` of speech.
    """
    if isinstance(sample, tuple):
        return _point(of_array(*sample, "the sample of a voice"), voiceprints, sample_rate)
    with AudioReader(sample) as reader:
        return _point(reader.mixture(), voiceprints, sample_rate)


def _point(given: Mixture, voiceprints: Voiceprints, sample_rate: int) -> Array:
    describer = Describer(voiceprints, 1, sample_rate)
    taken = given.choose("mix")[0].taken
    for piece in resample(given.mono(taken), given.sample_rate, sample_rate):
        describer.take(piece[None])
    blocks = describer.result()
    counts = evidence_of(blocks).counts
    heard = counts.sum()
    if heard * BLOCK_S < LEAST_S:
        raise AudioError(f"{given.label}: a sample of a voice needs at least {LEAST_S:g} s of speech")
    point: Array = voiceprints.points(np.einsum("bs,bsd->d", counts, blocks.prints), heard)
    return point


def who_of(blocks: Blocks, who: Order, count: int, voiceprints: Voiceprints, voice: Array) -> int | None:
    """Return which of so many talkers is the person of a sample; None where nobody is.

    Args:
        blocks: the description of a recording.
        who: the talker of each source (blocks, sources).
        count: number of talkers.
        voiceprints: what voices are compared by.
        voice: the person, see `voice_of`.
    """
    evidence = evidence_of(blocks)
    nobody = np.full((count, voiceprints.size), np.inf, np.float32)
    talkers = learnt(blocks, evidence, who, voiceprints, nobody)
    weights = np.square(evidence.counts)
    heard = np.array([weights[who == talker].sum() for talker in range(count)])
    distance = np.square(talkers - voice).sum(1) / voiceprints.near - BRIEF / (heard + 1e-20)
    nearest = int(distance.argmin())
    return nearest if distance[nearest] < 1 else None
