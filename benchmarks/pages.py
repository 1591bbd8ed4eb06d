"""Generated pages: a head that is written by hand, and sections, each of which a benchmark writes anew."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path


def update(page: Path, titles: Iterable[str], title: str, text: str) -> None:
    """Put a section into the page, in the place of the one with the same title; ``titles`` is their order."""
    head, *old = re.split(r"^## ", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    sections = dict(section.split("\n\n", 1) for section in old)
    sections[title] = text
    ordered = [f"## {name}\n\n{sections[name].strip()}" for name in titles if name in sections]
    page.write_text("\n\n".join([head.strip(), *ordered]) + "\n", encoding="utf-8")
