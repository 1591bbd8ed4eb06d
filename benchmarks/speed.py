"""What depth costs here, against everything else: PyTorch, one unrolled graph, other separators, the machine.

    python benchmarks/speed.py                          # all of it, printed
    python benchmarks/speed.py --only peers --update    # one part, and it goes into benchmarks/SPEED.md

What is compared as a ratio runs in turn, round by round, on the same number of threads, and so do all
separators of the table of peers; times are medians, ratios are medians of the rounds' ratios. Peers need
packages of their own, see `peers.py`.
"""

from __future__ import annotations

import argparse
import os
import platform
import time
from collections.abc import Callable
from pathlib import Path

import onnxruntime as ort
import torch
from pages import fill_readme, update
from speed_budget import budgets
from speed_engine import engine_choices
from speed_growth import growth, predicted
from speed_peers import peers
from speed_rewrites import rewrites
from speed_weights import same_weights

from tisdiss_rt.timing_cache import processor

PAGE = Path(__file__).parent / "SPEED.md"
OTHERWISE = ", without AVX-512"  # such processors have sections of their own

PARTS: dict[str, tuple[str, Callable[[], str]]] = {
    "weights": ("The same weights", same_weights),
    "rewrites": ("What rewriting the block gains", rewrites),
    "engine": ("How the engine runs them", engine_choices),
    "peers": ("Other separators", peers),
    "growth": ("How it grows", growth),
    "budget": ("The budget kept", budgets),
    "predicted": ("Predicted by `bench`, and taken", predicted),
}


def instructions() -> str:
    """The widest arithmetic that the processor has, of what runtimes make use of."""
    try:
        flags = set(Path("/proc/cpuinfo").read_text().split())
    except OSError:  # not Linux
        return platform.machine()
    known = {"avx2": "AVX2", "avx512f": "AVX-512", "avx512_vnni": "VNNI", "avx512_bf16": "bfloat16"}
    return " ".join(name for flag, name in known.items() if flag in flags) or platform.machine()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", choices=PARTS, help="one part instead of all")
    parser.add_argument("--update", action="store_true", help=f"write to {PAGE.name} and README")
    options = parser.parse_args()
    versions = (
        f"PyTorch {torch.__version__}, ONNX Runtime {ort.__version__}, Python {platform.python_version()}"
    )
    where = f"{processor()}, {len(os.sched_getaffinity(0))} cores, {instructions()}; {versions}."
    kind = "" if "AVX-512" in where else OTHERWISE
    titles = [title + of for of in ("", OTHERWISE) for title, _ in PARTS.values()]
    for name, (title, part) in PARTS.items():
        if options.only in (None, name):
            begin_s = time.perf_counter()
            minutes = f"Took {{:.1f}} minutes on {where}"
            text = part()
            text += "\n" + minutes.format((time.perf_counter() - begin_s) / 60) + "\n"
            print(f"## {title}{kind}\n\n{text}", flush=True)
            if options.update:
                update(PAGE, titles, title + kind, text)
                if part is peers and not kind:
                    fill_readme("other separators", text)


if __name__ == "__main__":
    main()
