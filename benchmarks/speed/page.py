"""What `speed.py` and `tuning.py` share: parts that measure something, and pages with a section for each."""

from __future__ import annotations

import argparse
import os
import platform
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import onnxruntime as ort
import torch

from benchmarks.pages import OVERVIEW, fill, update
from tisdiss_rt.planning.timing_cache import processor

OTHERWISE = ", without AVX-512"  # such processors have sections of their own

Part = tuple[str, Callable[[], str]]  # title of its section, and what measures and returns the text


def instructions() -> str:
    """Return the widest arithmetic of the processor that runtimes use."""
    try:
        flags = set(Path("/proc/cpuinfo").read_text().split())
    except OSError:  # not Linux
        return platform.machine()
    known = {"avx2": "AVX2", "avx512f": "AVX-512", "avx512_vnni": "VNNI", "avx512_bf16": "bfloat16"}
    return " ".join(name for flag, name in known.items() if flag in flags) or platform.machine()


def run(
    about: str | None,
    page: Path,
    parts: Mapping[str, Part],
    in_overview: Mapping[str, str],
    overview: Path = OVERVIEW,
) -> None:
    """Measure what the command line asks for, and write it to the page.

    Args:
        about: for the help.
        page: what `--update` writes to.
        parts: by the name on the command line, in the order of the page.
        in_overview: parts that another page shows, too, and the place that it has for them.
        overview: that page.
    """
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=parts, help="one part instead of all")
    parser.add_argument(
        "--update", action="store_true", help=f"write to {page.name} and docs/{overview.name}"
    )
    options = parser.parse_args()
    versions = (
        f"PyTorch {torch.__version__}, ONNX Runtime {ort.__version__}, Python {platform.python_version()}"
    )
    where = f"{processor()}, {len(os.sched_getaffinity(0))} cores, {instructions()}; {versions}."
    kind = "" if "AVX-512" in where else OTHERWISE
    titles = [title + of for of in ("", OTHERWISE) for title, _ in parts.values()]
    for name, (title, part) in parts.items():
        if options.only in (None, name):
            begin_s = time.perf_counter()
            text = part()
            text += f"\nTook {(time.perf_counter() - begin_s) / 60:.1f} minutes on {where}\n"
            print(f"## {title}{kind}\n\n{text}", flush=True)
            if options.update:
                update(page, titles, title + kind, text)
                if name in in_overview and not kind:
                    fill(overview, in_overview[name], text)
