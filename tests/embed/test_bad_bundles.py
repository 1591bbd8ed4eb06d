"""What Python refuses to open, the C library refuses too, for the same reason and at once."""

from __future__ import annotations

import ctypes as c
import shutil
import time
from pathlib import Path

import pytest
from bad_bundles import OFFLINE, PASSED_OVER, STREAMING
from embedding import opened

from benchmarks.c_library import BUNDLE, OK

CASES = [("toy", name, *case) for name, case in OFFLINE.items()]
CASES += [("stream-toy", name, *case) for name, case in STREAMING.items()]


@pytest.mark.parametrize(("toy", "name", "edit", "message"), CASES, ids=[case[1] for case in CASES])
def test_refused(library: c.CDLL, toys: dict[str, Path], tmp_path: Path, toy, name, edit, message) -> None:  # type: ignore[no-untyped-def]
    folder = shutil.copytree(toys[toy], tmp_path / "bundle")
    edit(folder)
    begin_s = time.monotonic()
    status, text, _ = opened(library, folder)
    assert time.monotonic() - begin_s < 5
    assert status == BUNDLE, (name, text)
    assert message in text


@pytest.mark.parametrize("name", PASSED_OVER)
def test_parts_to_come_are_passed_over(
    library: c.CDLL, toys: dict[str, Path], tmp_path: Path, name: str
) -> None:
    folder = shutil.copytree(toys["toy"], tmp_path / "bundle")
    PASSED_OVER[name](folder)
    status, text, handle = opened(library, folder)
    assert status == OK, text
    library.tisdiss_close(handle)
