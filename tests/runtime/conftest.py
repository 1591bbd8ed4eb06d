"""Toy bundles, whose result is known exactly (`toys`)."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import example
import numpy as np
import pytest
from toys import aligned_reference, make_stream_toy, make_toy, toy_split

from tisdiss_rt.cli import main

ToyMaker = Callable[..., Path]
Command = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="session")
def mix() -> np.ndarray:
    """The mixture of the shipped example; not to be changed."""
    return example.mixture()


@pytest.fixture(scope="session")
def voices() -> np.ndarray:
    """The two voices of the shipped example; not to be changed."""
    return example.references()


@pytest.fixture(scope="session")
def stream_toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The streaming toy bundle; not to be changed."""
    return make_stream_toy(tmp_path_factory.mktemp("toys") / "stream")


@pytest.fixture
def stream_toy_maker(tmp_path: Path) -> ToyMaker:
    """Makes a streaming toy bundle to change: ``stream_toy_maker(name, **manifest_entries)``."""
    return lambda name="stream", **changes: make_stream_toy(tmp_path / name, **changes)


@pytest.fixture(scope="session")
def streamed() -> Callable[..., np.ndarray]:
    """`aligned_reference` of the streaming toy."""
    return aligned_reference


@pytest.fixture
def toy_maker(tmp_path: Path) -> ToyMaker:
    """Makes a toy bundle to change: ``toy_maker(name, split=..., swap=..., **manifest_entries)``."""
    return lambda name="bundle", **options: make_toy(tmp_path / name, **options)


@pytest.fixture(scope="session")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The toy bundle that splits by sign and swaps its sources; not to be changed."""
    return make_toy(tmp_path_factory.mktemp("toys") / "toy", swap=True)


@pytest.fixture(scope="session")
def gain_toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The linear toy bundle; not to be changed."""
    return make_toy(tmp_path_factory.mktemp("toys") / "gain", split="gain")


@pytest.fixture(scope="session")
def split() -> Callable[..., np.ndarray]:
    return toy_split


@pytest.fixture
def noise() -> Callable[..., np.ndarray]:
    """Reproducible noise of a shape, well inside full scale."""
    return lambda *shape: np.random.default_rng(1).uniform(-0.5, 0.5, shape).astype(np.float32)


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Command:
    """Runs ``tisdiss-rt`` in an empty folder: (exit status, standard output, standard error)."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["tisdiss-rt", *map(str, arguments)])
        status = 0
        try:
            main.main()
        except SystemExit as error:
            status = int(error.code or 0)
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return run
