"""A host for LADSPA plug-ins, with any sample rate, blocks and pace."""

from __future__ import annotations

import ctypes as c
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import cycle
from pathlib import Path

import numpy as np

PORTS = ("Input", "Output 1", "Output 2", "Budget (ms)", "Depth", "Voice", "Buffer (ms)", "latency")
BUDGET, DEPTH, VOICE, BUFFER, LATENCY = range(3, 8)

Instantiate = c.CFUNCTYPE(c.c_void_p, c.c_void_p, c.c_ulong)
Connect = c.CFUNCTYPE(None, c.c_void_p, c.c_ulong, c.c_void_p)
Simple = c.CFUNCTYPE(None, c.c_void_p)
Run = c.CFUNCTYPE(None, c.c_void_p, c.c_ulong)


class Hint(c.Structure):
    _fields_ = (("descriptor", c.c_int), ("lower", c.c_float), ("upper", c.c_float))


class Descriptor(c.Structure):
    _fields_ = (
        ("unique_id", c.c_ulong),
        ("label", c.c_char_p),
        ("properties", c.c_int),
        *((name, c.c_char_p) for name in ("name", "maker", "copyright")),
        ("port_count", c.c_ulong),
        ("kinds", c.POINTER(c.c_int)),
        ("names", c.POINTER(c.c_char_p)),
        ("hints", c.POINTER(Hint)),
        ("data", c.c_void_p),
        ("instantiate", Instantiate),
        ("connect_port", Connect),
        ("activate", Simple),
        ("run", Run),
        ("run_adding", c.c_void_p),
        ("set_run_adding_gain", c.c_void_p),
        ("deactivate", Simple),
        ("cleanup", Simple),
    )


def descriptor(plugin: Path) -> Descriptor:
    library = c.CDLL(str(plugin))
    library.ladspa_descriptor.restype = c.POINTER(Descriptor)
    assert not library.ladspa_descriptor(c.c_ulong(1))
    found: Descriptor = library.ladspa_descriptor(c.c_ulong(0)).contents
    return found


class Instance:
    """An active plug-in. Controls are set by their ports' numbers, in ``controls``."""

    def __init__(self, plugin: Descriptor, handle: int, rate: int) -> None:
        self._plugin, self._handle, self._rate = plugin, handle, rate
        self.controls = np.array([0, 0, 0, 0, 1, 0, 8, -1], np.float32)
        for port in range(BUDGET, len(PORTS)):
            plugin.connect_port(handle, port, self.controls[port:].ctypes.data)

    @property
    def latency(self) -> int:
        return int(self.controls[LATENCY])

    def reset(self) -> None:
        self._plugin.deactivate(self._handle)
        self._plugin.activate(self._handle)

    def run(self, sound: np.ndarray, in_place: bool = False) -> np.ndarray:
        """Give a block (n,), return both outputs (2, n)."""
        out = np.full((2, len(sound)), np.nan, np.float32)
        mix = out[0] if in_place else sound.astype(np.float32)
        mix[:] = sound
        for port, buffer in enumerate((mix, *out)):
            self._plugin.connect_port(self._handle, port, buffer.ctypes.data)
        self._plugin.run(self._handle, len(sound))
        return out

    def play(self, sound: np.ndarray, blocks: Sequence[int], paced: bool = False) -> np.ndarray:
        """Give (n,) in blocks of these sizes in turn, against the clock or at once; return (2, n)."""
        given, start, begin_s = [], 0, time.perf_counter()
        for size in cycle(blocks):
            if start >= len(sound):
                return np.concatenate(given, axis=1)
            wait_s = begin_s + start / self._rate - time.perf_counter()
            if paced and wait_s > 0:
                time.sleep(wait_s)
            given.append(self.run(sound[start : start + size]))
            start += size
        raise AssertionError


@contextmanager
def hosted(plugin: Path, rate: int) -> Iterator[Instance]:
    found = descriptor(plugin)
    handle = found.instantiate(c.addressof(found), rate)
    assert handle
    instance = Instance(found, handle, rate)
    found.activate(handle)
    try:
        yield instance
    finally:
        found.deactivate(handle)
        found.cleanup(handle)
