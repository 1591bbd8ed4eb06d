"""The C interface by ctypes, for benchmarks and tests: declared as in tisdiss_rt.h, which explains it."""

from __future__ import annotations

import ctypes as c
from pathlib import Path

OK, ARGUMENT, OPTION, BUNDLE, ONNXRUNTIME, UNSUPPORTED, STATE = range(7)
CANCELLED = 9


class Struct(c.Structure):
    """A struct that begins with its size, which is filled in; all else is zero, unless given."""

    def __init__(self, **values: object) -> None:
        super().__init__(size=c.sizeof(self), **values)


class File(c.Structure):
    _fields_ = (("name", c.c_char_p), ("data", c.c_void_p), ("size", c.c_size_t))


class OpenOptions(Struct):
    _fields_ = (
        ("size", c.c_size_t),
        ("onnxruntime", c.c_char_p),
        ("provider", c.c_char_p),
        ("precision", c.c_char_p),
        ("threads", c.c_int32),
        ("reserved", c.c_int32),
        ("files", c.c_void_p),
        ("file_count", c.c_size_t),
        ("onnxruntime_api", c.c_void_p),
    )


class RunOptions(Struct):
    _fields_ = (
        ("size", c.c_size_t),
        ("budget_ms", c.c_double),
        ("depth", c.c_int32),
        ("min_depth", c.c_int32),
        ("window_s", c.c_double),
        ("progress", c.c_void_p),
        ("progress_data", c.c_void_p),
        ("min_gain_db", c.c_double),
    )

    def __init__(self, **values: object) -> None:
        super().__init__(**{"depth": -1, "min_depth": 1, **values})


class Info(Struct):
    _fields_ = (
        ("size", c.c_size_t),
        *((name, c.c_char_p) for name in ("name", "provider", "precision", "licence")),
        *((name, c.c_int32) for name in ("threads", "sample_rate", "sources", "trained_depth", "max_depth")),
        *((name, c.c_int32) for name in ("streaming", "step_samples", "latency_samples")),
        ("onnxruntime_version", c.c_char_p),
    )


class Report(Struct):
    _fields_ = (
        ("size", c.c_size_t),
        *((name, c.c_double) for name in ("window_s", "predicted_ms", "quality_db", "elapsed_ms")),
        *((name, c.c_uint64) for name in ("steps", "misses")),
        *((name, c.c_int32) for name in ("planned_depth", "depth")),
        *((name, c.c_double) for name in ("estimate_db", "low_db", "high_db")),
    )


def load(path: Path) -> c.CDLL:
    library = c.CDLL(str(path))
    pointer, size = c.c_void_p, c.c_size_t
    signatures: dict[str, tuple[object, list[object]]] = {
        "version": (c.c_char_p, []),
        "error_text": (c.c_char_p, [pointer]),
        "stream_error_text": (c.c_char_p, [pointer]),
        "open": (c.c_int, [c.c_char_p, pointer, pointer]),
        "close": (None, [pointer]),
        "get_info": (c.c_int, [pointer, pointer]),
        "separate": (c.c_int, [pointer, pointer, size, pointer, pointer, size, pointer]),
        "stream_open": (c.c_int, [pointer, pointer, pointer]),
        "stream_free": (None, [pointer]),
        "stream_ready": (size, [pointer, size]),
        "stream_rest": (size, [pointer]),
        "stream_process": (c.c_int, [pointer, pointer, size, pointer, size, pointer]),
        "stream_flush": (c.c_int, [pointer, pointer, size, pointer]),
        "stream_reset": (c.c_int, [pointer]),
        "stream_set_depth": (c.c_int, [pointer, c.c_int32]),
        "stream_get_report": (c.c_int, [pointer, pointer]),
    }
    for name, (result, arguments) in signatures.items():
        function = getattr(library, f"tisdiss_{name}")
        function.restype, function.argtypes = result, arguments
    return library
