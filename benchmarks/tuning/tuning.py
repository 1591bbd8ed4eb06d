"""Why the graphs and the engine are as they are: what each rewrite of the block and each choice gains.

python -m benchmarks.tuning.tuning                            # all of it, printed
python -m benchmarks.tuning.tuning --only engine --update     # one part, and it goes into TUNING.md
"""

from __future__ import annotations

from pathlib import Path

from benchmarks.speed.page import run
from benchmarks.tuning.engine import engine_choices
from benchmarks.tuning.rewrites import rewrites

if __name__ == "__main__":
    run(
        __doc__,
        Path(__file__).parent / "TUNING.md",
        {
            "rewrites": ("What rewriting the block gains", rewrites),
            "engine": ("How the engine runs them", engine_choices),
        },
        in_overview={},
    )
