"""Random networks that between them use every part of a graph, and their graphs.

PyTorch takes about 20 seconds to export a network: graphs are written once for all tests.
"""

import hashlib
import os
import pickle
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from filelock import FileLock

from tisdiss_export import exporter
from tisdiss_export.graphs import write_graphs
from tisdiss_models import Network, NetworkConfig, StreamingNetwork, build_network
from tisdiss_rt.bundle import GRAPHS, Graphs

# Low rates make short signals of the seconds that an export is checked with.
BAND_SPLIT = NetworkConfig(
    sample_rate=8000, n_fft=64, hop=32, bands=(2, 2, 4, 8, 8, 8), dim=16, norm_groups=4, heads=2,
    attention_dim=8, ffn_dims=(12, 8), separator_layers=1, separator_repeats=1, splitter="conv2d",
    block_layers=1, trained_depth=3, head_dim=8,
)  # fmt: skip
EVERYTHING = NetworkConfig(
    sample_rate=2000, sources=3, n_fft=64, hop=16, dim=8, norm_groups=2, heads=1, attention_dim=8,
    ffn_dims=(10, 6), separator_layers=1, separator_repeats=2, separator_residual=True, block_layers=2,
    block_residual=True, trained_depth=2, mask=True, time_first=True,
)  # fmt: skip
STREAMING = NetworkConfig(
    sample_rate=16000, n_fft=512, hop=128, bands=(8, 8, 16, 32, 64, 128), dim=8, norm_groups=2, heads=2,
    attention_dim=8, ffn_dims=(12, 8), separator_layers=1, separator_repeats=1, splitter="conv2d",
    block_layers=1, trained_depth=3, head_dim=8, lookback=24,
)  # fmt: skip
RECURRENT = replace(STREAMING, lookback=0, recurrent_dim=12, ffn_kernel=3)


def random_network(config: NetworkConfig, seed: int = 1) -> Network | StreamingNetwork:
    """A network whose every weight matters, norms and biases too; the same one every time."""
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = build_network(config).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.ndim == 1:  # matrices are random already; larger ones would amplify rounding
                parameter += 0.1 * torch.randn(parameter.shape, generator=generator)
    return network


@contextmanager
def written_once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Copy graphs that any worker wrote before; the rest of an export is done every time."""
    folder = tmp_path_factory.getbasetemp()
    kept = (folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder) / "graphs"
    kept.mkdir(exist_ok=True)

    def write_or_copy(network: Network | StreamingNetwork, folder: Path) -> Graphs:
        place = kept / _digest(network)
        place.mkdir(exist_ok=True)
        facts = place / "graphs.pickle"
        with FileLock(place / "lock"):
            if not facts.exists():
                facts.write_bytes(pickle.dumps(write_graphs(network, place)))
        for name in GRAPHS:
            shutil.copy(place / f"{name}.onnx", folder)
        graphs: Graphs = pickle.loads(facts.read_bytes())
        return graphs

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exporter, "write_graphs", write_or_copy)
        yield


def _digest(network: Network | StreamingNetwork) -> str:
    found = hashlib.sha256(repr(network.config).encode())
    for name, tensor in network.state_dict().items():
        found.update(name.encode() + tensor.numpy().tobytes())
    return found.hexdigest()
