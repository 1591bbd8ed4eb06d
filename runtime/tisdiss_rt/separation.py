"""What a separator returns: voices as arrays or as files, and how they were made."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path

from tisdiss_rt.audio import Array
from tisdiss_rt.errors import SeparationWarning
from tisdiss_rt.planning.plan import Plan, Step


@dataclass(frozen=True)
class Separation:
    """The result of `Separator.separate`.

    Attributes:
        sources: (sources, n) float32, one row for each voice; with ``channels="split"`` those of the first
            channel, then those of the second, and so on.
        sample_rate: of the sources, in Hz.
        steps: one record for each window or step.
        plan: what each step was planned to do.
        one_talker: whether nobody else talks, in any channel with ``split``; all but the first source are
            silent then.
        channels: those that were separated, from 1: their mean, or with ``split`` each of them.
        passed_on: channels that ``split`` passed on as they are, as one person talks in each.
    """

    sources: Array
    sample_rate: int
    steps: list[Step]
    plan: Plan
    one_talker: bool = False
    channels: tuple[int, ...] = (1,)
    passed_on: tuple[int, ...] = ()


@dataclass(frozen=True)
class FileSeparation:
    """The files that were written, one for each source, and how they were made.

    ``problem`` says what of the input could not be read, and ``missing_s`` how many seconds of it, as far as
    its header tells; None and 0 where it is whole. ``one_talker``, ``channels`` and ``passed_on`` are as in
    `Separation`.
    """

    paths: list[Path]
    sample_rate: int
    frames: int
    missing_s: float
    problem: str | None
    clipped: int
    steps: list[Step]
    plan: Plan
    one_talker: bool = False
    channels: tuple[int, ...] = (1,)
    passed_on: tuple[int, ...] = ()

    def warn(self, label: str) -> None:
        """Warn of what the input lacks and the output cannot hold."""
        if self.problem is not None:
            warnings.warn(f"{self.problem}; what is there is separated", SeparationWarning, stacklevel=3)
        if self.clipped:
            message = f"{label}: {self.clipped} samples of the sources clipped at full scale"
            warnings.warn(message, SeparationWarning, stacklevel=3)
