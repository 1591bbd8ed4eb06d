"""The package for Node and browsers, built, and toy bundles for it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from node_package import built
from toys import make_stream_toy, make_toy


@pytest.fixture(scope="session")
def programs() -> Path:
    """The programs in JavaScript, beside the package as users get it."""
    return built()


@pytest.fixture(scope="session")
def toys(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Toy bundles, not to be changed: their sources change places, or it is a streaming one."""
    folder = tmp_path_factory.mktemp("toys")
    return {"toy": make_toy(folder / "toy", swap=True), "stream-toy": make_stream_toy(folder / "stream-toy")}


@pytest.fixture(scope="session")
def chromium() -> str:
    """The path of Chromium."""
    found = shutil.which("chromium") or shutil.which("google-chrome")
    if found is None:
        pytest.skip("not on this machine: chromium")
    return found
