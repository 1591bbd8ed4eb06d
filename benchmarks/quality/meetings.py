"""Whether people of a meeting are told apart: how many, and who talks when, by `separate --talkers auto`.

The diarization error rate is that of pyannote.metrics, without a collar and with overlaps: the time that is
missed, false or of somebody else, per time in which people talk. SI-SDR is that of whole outputs, assigned to
people as is best for their sum, less that of the mixture; 0 for somebody without an output. Who says nothing,
as may be in short meetings, does not count.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from scipy.optimize import linear_sum_assignment

from benchmarks.quality.conversation import FRAME_S, Conversation
from benchmarks.quality.quality import si_sdr_db
from tisdiss_rt import Separator


@dataclass(frozen=True)
class Told:
    """Whether the number is right, shares of the time in which people talk, and improvement in dB."""

    right: bool
    missed: float
    false: float
    confused: float
    improvement_db: float

    @property
    def error(self) -> float:
        """The diarization error rate."""
        return self.missed + self.false + self.confused


def measure(separator: Separator, made: Conversation) -> Told:
    """Separate a meeting as a file, and compare the RTTM file with the truth."""
    from pyannote.database.util import load_rttm  # installed for this benchmark alone
    from pyannote.metrics.diarization import DiarizationErrorRate

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "meeting.wav"
        soundfile.write(path, made.mix, made.sample_rate, subtype="FLOAT")
        targets = [Path(folder) / f"{number}.wav" for number in range(8)]
        rttm = path.with_suffix(".rttm")
        result = separator.separate_file(path, targets, talkers="auto", rttm=rttm)
        told = load_rttm(rttm)[rttm.stem] if rttm.stat().st_size else annotation(np.zeros((1, 1), bool))
        outputs = [soundfile.read(each, dtype="float32")[0] for each in result.paths]
    found = DiarizationErrorRate()(annotation(made.talks), told, detailed=True)
    return Told(
        right=len(result.paths) == int(made.talks.any(1).sum()),
        missed=found["missed detection"] / found["total"],
        false=found["false alarm"] / found["total"],
        confused=found["confusion"] / found["total"],
        improvement_db=improvement_db(made, outputs),
    )


def improvement_db(made: Conversation, outputs: list[np.ndarray]) -> float:
    """Return the mean over people of how much SI-SDR is better than the mixture's."""
    voices = made.voices[made.talks.any(1)]
    gains = np.array([[si_sdr_db(o, v) - si_sdr_db(made.mix, v) for o in outputs] for v in voices])
    return float(gains[linear_sum_assignment(gains, maximize=True)].sum() / len(gains))


def annotation(talks: np.ndarray) -> Any:
    """Return who talks when (people, frames) as pyannote has it."""
    from pyannote.core import Annotation, Segment

    made = Annotation()
    for person, row in enumerate(talks):
        edges = np.flatnonzero(np.diff(np.concatenate([[0], row.astype(np.int8), [0]])))
        for begin, end in zip(edges[::2], edges[1::2], strict=True):
            made[Segment(begin * FRAME_S, end * FRAME_S), person] = str(person)
    return made


def row(told: list[Told]) -> str:
    """Return the cells of a table: number right, diarization error, its three parts, and improvement."""
    means = 100 * np.mean([(each.error, each.missed, each.false, each.confused) for each in told], 0)
    gain_db = np.mean([each.improvement_db for each in told])
    right = f"{sum(each.right for each in told)} of {len(told)}"
    return " | ".join([right, *(f"{mean:.1f} %" for mean in means), f"{gain_db:.1f} dB"])
