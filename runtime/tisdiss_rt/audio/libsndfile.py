"""libsndfile, and what has to be known of it: where it can jump, what it says only in its log, its names."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import Any

import soundfile

from tisdiss_rt.audio.lengths import Measured

UNKNOWN_FRAMES = 2**60  # as many or more, where nobody knows
# libsndfile finds any sample of these; in others, as MP3, it has to decode all that comes before.
_SEEKABLE = ("WAV", "WAVEX", "RF64", "W64", "AIFF", "AU", "CAF", "FLAC")
# libsndfile shortens a file whose header promises more than there is, and says so only in its log.
_SHORTENED = re.compile(r"(?:SSND|Data Size|riff)\s*:\s*(\d+) \(should be (\d+)\)")
_UNKNOWN_BYTES = 0x7F000000  # sizes from here on mean "unknown", as programs that write to a pipe put


class ForwardFile(soundfile.SoundFile):  # type: ignore[misc]
    """Read from start to end. Where it can, soundfile seeks after every block, which leaves gaps in MP3."""

    def seekable(self) -> bool:
        """Return False: soundfile is not to jump back after a block."""
        return False


def passed_over(file: Any, frames: int) -> int:
    """Go forward in a file that was just opened, where that is exact; return by how many frames."""
    is_exact = getattr(file, "format", "") in _SEEKABLE and file.frames < UNKNOWN_FRAMES
    if frames <= 0 or not is_exact:  # behind the end of a file, libsndfile could not go on
        return 0
    target = min(frames, file.frames)
    try:
        return int(file.seek(target))
    except soundfile.LibsndfileError:  # reading tells what is wrong
        return 0


def frames_beyond(file: Any, measured: Measured) -> int:
    """Return how many frames the header of a file promises beyond ``file.frames``."""
    frames: int = file.frames
    if measured.missing is not None:
        return round(frames * measured.missing)
    for declared, there in _SHORTENED.findall(file.extra_info):
        if 0 < int(there) < int(declared) < _UNKNOWN_BYTES:
            return round(frames * (int(declared) - int(there)) / int(there))
    return 0


def native_path(source: Any) -> Any:
    """Return a path as soundfile takes names that are not valid text: in bytes, except on Windows."""
    return os.fsencode(source) if isinstance(source, Path) and sys.platform != "win32" else source


def reason_of(error: Exception) -> str:
    """Return libsndfile's message without its prefix and full stop."""
    return str(getattr(error, "error_string", error)).rstrip(".").lower()
