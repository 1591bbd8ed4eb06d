"""What a session finds wrong with its sound, in words that say what to do."""

from __future__ import annotations

from collections.abc import Iterator

from tisdiss_rt.live.feedback import MUTED_S, FeedbackWatch
from tisdiss_rt.live.intake import SILENCE_S, Intake
from tisdiss_rt.live.recorder import Recorder


class Findings:
    """Collects ``messages``, each once: what `look` finds, and what others `tell`.

    Args:
        microphone: its name.
    """

    def __init__(self, microphone: str) -> None:
        self.messages: list[str] = []
        self._microphone = microphone
        self._told: set[str] = set()

    def tell(self, message: str) -> None:
        """Add a message."""
        self.messages.append(message)

    def look(self, intake: Intake, feedback: FeedbackWatch, recorder: Recorder | None) -> None:
        """Add a message for everything that is wrong now and was not told yet."""
        found = [*self._of_input(intake)]
        if feedback.is_muted:
            what = "feedback: what is played came in again and grew"
            way_out = "wear headphones, or choose a microphone that does not pick up the output"
            key = f"feedback {feedback.mutings}"
            found.append((key, f"{what}, so the output is muted for {MUTED_S:g} s; {way_out}"))
        if recorder is not None and recorder.problem:
            found.append(("recorder", str(recorder.problem)))
        for key, message in found:
            if key not in self._told:
                self._told.add(key)
                self.tell(message)

    def _of_input(self, intake: Intake) -> Iterator[tuple[str, str]]:
        name = f"the microphone {self._microphone!r}"
        if intake.invalid:
            what = "gave samples that are no numbers, or far beyond full scale"
            yield "invalid", f"{name} {what}; they became silence"
        if intake.is_cancelled:
            yield "cancelled", f"the channels of {name} cancel each other: take one with --input-channel 1"
        elif intake.is_silent:
            what = f"has given nothing but zeros for {SILENCE_S:g} s: it is muted, or the wrong input"
            yield "silent", f"{name} {what}; --input-device and --input-channel choose another"
