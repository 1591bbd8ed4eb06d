"""What depth costs here, against everything else: PyTorch, one unrolled graph, other separators, the machine.

    python benchmarks/speed.py                          # all of it, printed
    python benchmarks/speed.py --only peers --update    # one part, and it goes into benchmarks/SPEED.md

What is compared as a ratio runs in turn, round by round, on the same number of threads, and so do all
separators of the table of peers; times are medians, ratios are medians of the rounds' ratios. Peers need
packages of their own, see `peers.py`.
"""

from __future__ import annotations

from pathlib import Path

from speed_budget import budgets
from speed_growth import growth, predicted
from speed_pages import run
from speed_peers import peers
from speed_weights import same_weights

if __name__ == "__main__":
    run(
        __doc__,
        Path(__file__).parent / "SPEED.md",
        {
            "weights": ("The same weights", same_weights),
            "peers": ("Other separators", peers),
            "growth": ("How it grows", growth),
            "budget": ("The budget kept", budgets),
            "predicted": ("Predicted by `bench`, and taken", predicted),
        },
        in_readme={"peers": "other separators"},
    )
