"""The error family, so that a program can catch everything that is the input's fault in one clause.

Every error is also the builtin that a caller would expect without knowing this package. Its message is one
line that a user can act on; the command line prints it as it is.
"""

from numbers import Integral


class TisdissError(Exception):
    """Anything that this package reports about its input, its options or its surroundings."""


class BundleError(TisdissError, ValueError):
    """A bundle is missing, damaged or too new, or its network returned an unusable result."""


class AudioError(TisdissError, ValueError):
    """Audio that cannot be read or used: no such file, not audio, truncated, empty, NaN."""


class OutputError(TisdissError, OSError):
    """A result cannot be written."""


class OptionError(TisdissError, ValueError):
    """An option has an impossible value, or two options exclude each other."""


class ProviderError(TisdissError, RuntimeError):
    """The requested execution provider is not available on this machine."""


class DeviceError(TisdissError, OSError):
    """A sound device is missing, was lost, or cannot do what was requested."""


def is_whole(value: object, least: int, most: int) -> bool:
    """Return whether an option is a whole number in a range: of Python or numpy, but not True or False."""
    return isinstance(value, Integral) and not isinstance(value, bool) and least <= int(value) <= most


def told_of(path: object, error: Exception) -> str:
    """Return an error in one line that names the file; errors of the system do not always name it."""
    reason = " ".join((getattr(error, "strerror", None) or str(error)).split())
    if isinstance(error, MemoryError):
        reason = f"not enough memory: {reason}; shorter windows (--window-s) need less"
    elif not isinstance(error, (TisdissError, OSError)):
        reason = f"{type(error).__name__}: {reason}"
    is_named = str(path) in reason or reason.startswith("standard input: ")
    return reason if is_named else f"{path}: {reason}"


def first_line(error: Exception) -> str:
    """Return the first line of another library's message, for a message of our own."""
    return (str(error).splitlines() or [type(error).__name__])[0]


class SeparationWarning(UserWarning):
    """The result is usable, but not all that was requested: the budget was too small, samples clipped."""
