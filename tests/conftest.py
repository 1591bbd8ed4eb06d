"""Tests plan with what they measure themselves, not with what was kept, and ``auto`` means one thing."""

from __future__ import annotations

import dataclasses

import pytest

from tisdiss_rt.engine.backends import BACKENDS


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
