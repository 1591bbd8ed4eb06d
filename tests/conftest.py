"""Tests plan with what they measure themselves, not with what was kept for the user."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True, scope="session")
def no_kept_timings(tmp_path_factory: pytest.TempPathFactory) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TISDISS_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield
