"""Bundles that are exported once for all tests."""

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from exported_networks import BAND_SPLIT, EVERYTHING, random_network, written_once

from tisdiss_export import export_bundle
from tisdiss_models import Network, save_checkpoint
from tisdiss_rt.bundle import Bundle, load
from tisdiss_rt.cli.main import cli

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> Iterator[None]:
    """Several threads of PyTorch wait for each other longer than they compute on small tensors."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True, scope="session")
def graphs_are_written_once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with written_once(tmp_path_factory):
        yield


def golden_folder() -> Path:
    folder = Path(os.environ.get("TISDISS_GOLDEN", REPOSITORY / ".." / "shared" / "golden")) / "espnet-mini"
    if not folder.is_dir():
        pytest.skip(f"no reference outputs in {folder}; name their folder with TISDISS_GOLDEN")
    return folder


@pytest.fixture(scope="session")
def golden() -> tuple[Path, dict[str, np.ndarray]]:
    """Folder of the published-form checkpoint, and what the published implementation computed for it."""
    folder = golden_folder()
    with np.load(folder / "golden.npz") as arrays:
        return folder, dict(arrays)


@pytest.fixture(scope="session")
def golden_bundle(
    golden: tuple[Path, dict[str, np.ndarray]], tmp_path_factory: pytest.TempPathFactory
) -> Bundle:
    target = tmp_path_factory.mktemp("golden") / "mini"
    result = CliRunner().invoke(cli, ["export", str(golden[0]), "-o", str(target)])
    assert result.exit_code == 0, result.output
    return load(target)


@pytest.fixture(scope="session", params=[BAND_SPLIT, EVERYTHING], ids=["band-split", "everything on"])
def exported(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Network, Bundle]:
    network = random_network(request.param)
    folder = tmp_path_factory.mktemp("exported")
    save_checkpoint(folder / "network.pt", network, {"steps": 7})
    return network, export_bundle(folder / "network.pt", folder / "bundle", data="noise", licence="CC0-1.0")
