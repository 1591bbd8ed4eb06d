"""Tests plan with what they measure themselves, not with what was kept, and ``auto`` means one thing."""

from __future__ import annotations

import dataclasses
import os

import pytest

from tisdiss_rt.engine.backends import BACKENDS


def pytest_configure(config: pytest.Config) -> None:
    """Give each of several workers a core of its own: threads of theirs would wait for one another, and spin.

    Tests that measure time are not kept from any core.
    """
    worker = os.environ.get("PYTEST_XDIST_WORKER")
    if worker and config.option.markexpr == "not realtime" and hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {cores[int(worker.removeprefix("gw")) % len(cores)]})


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the folders whose files take longest: at the end, no worker is left alone with one."""
    items.sort(key=lambda item: item.path.parent.name not in ("embed", "export", "tests", "web"))


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
