"""What depends on time, tried again where the machine was too busy for it."""

from collections.abc import Callable
from typing import TypeVar

Result = TypeVar("Result")


def attempts(times: int, try_it: Callable[[], Result]) -> Result:
    """Return what ``try_it`` returns, which may fail because the machine itself was held up for a moment."""
    for _ in range(times - 1):
        try:
            return try_it()
        except AssertionError as error:
            print(f"once more, since: {str(error)[:200]}")
    return try_it()
