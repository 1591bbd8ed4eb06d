"""The C library against the Python engine on the same file, and two streams of it on two threads.

    make embed                  # builds the library
    python -m benchmarks.speed.embed

Both run in this process on the same number of threads, in turn; a ratio above 1 means that C++ is faster. The
streams are fed in real time, at real-time priority where that is allowed.
"""

from __future__ import annotations

import argparse
import ctypes
import statistics
import threading
import time
from pathlib import Path

import numpy as np
import onnxruntime
import soundfile

import tisdiss_rt
from benchmarks.c_library import OK, Info, OpenOptions, Report, RunOptions, load
from tisdiss_rt.audio import Array
from tisdiss_rt.priority import raised_priority

PACKAGE = Path(tisdiss_rt.__file__).parent
LIBRARY = Path(__file__).parents[2] / "build" / "embed" / "release" / "prefix" / "lib" / "libtisdiss_rt.so"
BUDGET_MS = 6.0
STREAM_S = 30.0


def pointer(array: Array) -> ctypes.c_void_p:
    return array.ctypes.data_as(ctypes.c_void_p)


class Bundle:
    """An opened bundle of the C library."""

    def __init__(self, library: ctypes.CDLL, name: str, threads: int) -> None:
        self._library, self._handle = library, ctypes.c_void_p()
        runtime = next(Path(onnxruntime.__file__).parent.glob("capi/libonnxruntime.so*"))
        options = OpenOptions(onnxruntime=str(runtime).encode(), provider=b"cpu", threads=threads)
        folder = str(PACKAGE / "bundles" / name).encode()
        status = library.tisdiss_open(folder, ctypes.byref(options), ctypes.byref(self._handle))
        assert status == OK, library.tisdiss_error_text(None)
        self.info = Info()
        assert library.tisdiss_get_info(self._handle, ctypes.byref(self.info)) == OK

    def separate(self, mix: Array) -> Array:
        """Separate (n,) at the trained depth: (sources, n)."""
        out = np.zeros((self.info.sources, len(mix)), np.float32)
        arguments = (pointer(mix), len(mix), None, pointer(out), len(mix), None)
        status = self._library.tisdiss_separate(self._handle, *arguments)
        assert status == OK, self._library.tisdiss_error_text(self._handle)
        return out

    def stream(self) -> ctypes.c_void_p:
        """Open a stream with the budget."""
        stream, options = ctypes.c_void_p(), RunOptions(budget_ms=BUDGET_MS)
        status = self._library.tisdiss_stream_open(self._handle, ctypes.byref(options), ctypes.byref(stream))
        assert status == OK, self._library.tisdiss_error_text(self._handle)
        return stream

    def play(self, stream: ctypes.c_void_p, mix: Array) -> tuple[Report, str]:
        """Stream (n,) in real time; return what happened, and at which priority. Frees the stream."""
        library, given, report = self._library, ctypes.c_size_t(), Report()
        step = self.info.step_samples
        out = np.zeros((self.info.sources, step), np.float32)
        with raised_priority() as priority:
            begin_s = time.perf_counter()
            for start in range(0, len(mix) - step + 1, step):
                wait_s = begin_s + start / self.info.sample_rate - time.perf_counter()
                if wait_s > 0:
                    time.sleep(wait_s)
                chunk = mix[start : start + step]
                arguments = (pointer(chunk), step, pointer(out), step, ctypes.byref(given))
                assert library.tisdiss_stream_process(stream, *arguments) == OK
        assert library.tisdiss_stream_get_report(stream, ctypes.byref(report)) == OK
        library.tisdiss_stream_free(stream)
        return report, priority


def against_python(library: ctypes.CDLL, name: str, mix: Array, threads: int, rounds: int) -> str:
    """Return one row: seconds of each, and their ratio round by round."""
    bundle = Bundle(library, name, threads)
    separator = tisdiss_rt.Separator(name, provider="cpu", threads=threads)
    calls = (lambda: separator.separate(mix, 16000).sources, lambda: bundle.separate(mix))
    python_s: list[float] = []
    cpp_s: list[float] = []
    difference = np.abs(calls[0]() - calls[1]()).max()  # and both are warm now
    for _ in range(rounds):
        for call, taken_s in zip(calls, (python_s, cpp_s), strict=True):
            begin_s = time.perf_counter()
            call()
            taken_s.append(time.perf_counter() - begin_s)
    ratios = [ours / theirs for ours, theirs in zip(python_s, cpp_s, strict=True)]
    low, high = np.quantile(ratios, (0.25, 0.75))
    return (
        f"| {name}, {threads} threads | {statistics.median(python_s):.3f} | {statistics.median(cpp_s):.3f} "
        f"| {statistics.median(ratios):.2f} ({low:.2f} to {high:.2f}) | {difference:.1e} |"
    )


def two_streams(library: ctypes.CDLL, mix: Array) -> None:
    """Print rows on two streams of one bundle, side by side."""
    bundle = Bundle(library, "live-16k", 1)
    results: list[tuple[Report, str]] = []

    def play(stream: ctypes.c_void_p) -> None:
        results.append(bundle.play(stream, mix))

    streams = [bundle.stream() for _ in range(2)]  # one after the other: calls on one bundle must not overlap
    threads = [threading.Thread(target=play, args=(stream,)) for stream in streams]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number, (report, priority) in enumerate(results, start=1):
        share = 100 * report.misses / report.steps
        print(
            f"| {number} | {priority} | {report.depth} | {report.misses} of {report.steps} | {share:.2f} % |"
        )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=20)
    options = parser.parse_args()
    library = load(LIBRARY)
    mix, _ = soundfile.read(PACKAGE / "example" / "two_voices.wav", dtype="float32")
    print("| bundle | Python s | C++ s | ratio (quartiles) | greatest difference |\n|---|---|---|---|---|")
    for name in ("edge-16k", "live-16k"):
        for threads in (1, 2):
            print(against_python(library, name, mix, threads, options.rounds), flush=True)
    print(f"\n{STREAM_S:g} s of two streams, budget {BUDGET_MS:g} ms for each step of 8 ms\n")
    print("| stream | priority | last depth | over budget | share |\n|---|---|---|---|---|")
    two_streams(library, np.resize(mix, round(STREAM_S * 16000)))


if __name__ == "__main__":
    main()
