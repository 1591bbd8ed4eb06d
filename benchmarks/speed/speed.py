"""What depth costs here, against everything else: PyTorch, one unrolled graph, other separators, the machine.

    python -m benchmarks.speed.speed                          # all of it, printed
    python -m benchmarks.speed.speed --only peers --update    # one part, and it goes into SPEED.md

What is compared as a ratio runs in turn, round by round, on the same number of threads, and so do all
separators of the table of peers; times are medians, ratios are medians of the rounds' ratios. Peers need
packages of their own, see `peer_networks.py`.
"""

from __future__ import annotations

from pathlib import Path

from benchmarks.speed.budget import budgets
from benchmarks.speed.growth import growth, predicted
from benchmarks.speed.page import run
from benchmarks.speed.peers import peers
from benchmarks.speed.weights import same_weights

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
        in_overview={"peers": "other separators"},
    )
