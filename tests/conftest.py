"""Tests plan with what they measure themselves, not with what was kept, and ``auto`` means one thing.

Side by side (pytest-xdist), those of a file share a process; so do all that build the C library, or export.
"""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import pytest

from tisdiss_rt.engine.backends import BACKENDS

FOLDERS_OF_ONE_GROUP = ("embed", "export")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "alone: needs the machine for itself, as it works in real time")
    if "PYTEST_XDIST_WORKER" in os.environ:
        os.environ.setdefault("OMP_NUM_THREADS", "1")  # before PyTorch comes


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        path = Path(item.path).relative_to(Path(__file__).parent)
        group = path.parts[0] if path.parts[0] in FOLDERS_OF_ONE_GROUP else path.stem
        item.add_marker(pytest.mark.xdist_group(group))


@pytest.fixture(autouse=True, scope="session")
def no_kept_timings(tmp_path_factory: pytest.TempPathFactory) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TISDISS_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(autouse=True)
def auto_is_onnx_runtime(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep measurements from deciding what tests run."""
    without = dataclasses.replace(BACKENDS["openvino"], version=lambda: None)
    monkeypatch.setitem(BACKENDS, "openvino", without)
