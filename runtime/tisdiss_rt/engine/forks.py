"""What a forked child does with the engines that its parent has opened: it leaves them alone.

A fork copies the memory, but not the threads. A graph that computes with several waits for them for ever, and
so does its end: the child could not even exit. Graphs with one thread have nobody to wait for, and go on.
"""

from __future__ import annotations

import ctypes
import os
import weakref
from typing import Any, NoReturn, Protocol

from tisdiss_rt.errors import ProviderError


class Owner(Protocol):
    """Whatever has opened graphs."""

    _graphs: dict[str, Any]


class _Graphs(dict[str, Any]):
    """In the place of the graphs: using one raises ProviderError."""

    def __missing__(self, name: str) -> NoReturn:
        raise ProviderError(
            "this process was forked after the Separator was opened, and its threads are in the parent; open "
            "one in each process after the fork, or use the start method spawn"
        )


_owners: weakref.WeakSet[Any] = weakref.WeakSet()


def leave_in_parent(owner: Owner) -> None:
    """Make sure that children forked from now on neither use nor end the graphs of ``owner``."""
    _owners.add(owner)


def _leave() -> None:
    for owner in _owners:
        for graph in owner._graphs.values():
            for handle in graph.handles():
                ctypes.pythonapi.Py_IncRef(ctypes.py_object(handle))  # nothing ends it, not even the exit
        owner._graphs = _Graphs()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_leave)
