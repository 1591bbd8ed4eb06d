"""Why the graphs and the engine are as they are: what each rewrite of the block and each choice gains.

python benchmarks/tuning.py                            # all of it, printed
python benchmarks/tuning.py --only engine --update     # one part, and it goes into benchmarks/TUNING.md
"""

from __future__ import annotations

from pathlib import Path

from speed_pages import run
from tuning_engine import engine_choices
from tuning_rewrites import rewrites

if __name__ == "__main__":
    run(
        __doc__,
        Path(__file__).parent / "TUNING.md",
        {
            "rewrites": ("What rewriting the block gains", rewrites),
            "engine": ("How the engine runs them", engine_choices),
        },
        in_readme={},
    )
