"""What commands share: options, each declared once, and how they are told."""


def duration(seconds: float) -> str:
    """Return a length in the unit that it is usually given in: ``8 ms``, ``0.5 s``."""
    return f"{seconds:g} s" if seconds >= 0.1 else f"{1e3 * seconds:g} ms"
