"""Generated text: pages with a head that is written by hand and sections that benchmarks write, and tables in
README and in the overview of all benchmarks."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

README = Path(__file__).parents[1] / "README.md"
OVERVIEW = Path(__file__).parents[1] / "docs" / "benchmarks.md"


def update(page: Path, titles: Iterable[str], title: str, text: str) -> None:
    """Write a section to the page, replacing the one with the same title; ``titles`` is their order."""
    head, *old = re.split(r"^## ", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    sections = dict(section.split("\n\n", 1) for section in old)
    sections[title] = text
    ordered = [f"## {name}\n\n{sections[name].strip()}" for name in titles if name in sections]
    page.write_text("\n\n".join([head.strip(), *ordered]) + "\n", encoding="utf-8")


def fill(page: Path, name: str, text: str) -> None:
    """Replace the text between the two comments of that name in a page."""
    start, end = f"<!-- {name} -->\n", f"<!-- end of {name} -->"
    before, _, rest = page.read_text(encoding="utf-8").partition(start)
    _, found, after = rest.partition(end)
    if not found:
        raise ValueError(f"{page.name} has no place for {name}")
    page.write_text(before + start + text + end + after, encoding="utf-8")
