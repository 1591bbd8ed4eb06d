"""Random networks that between them use every part of a graph."""

from dataclasses import replace

import torch

from tisdiss_models import Network, NetworkConfig, StreamingNetwork, build_network

BAND_SPLIT = NetworkConfig(
    sample_rate=16000, n_fft=64, hop=32, bands=(2, 2, 4, 8, 8, 8), dim=16, norm_groups=4, heads=2,
    attention_dim=8, ffn_dims=(12, 8), separator_layers=2, separator_repeats=1, splitter="conv2d",
    block_layers=1, trained_depth=3, head_dim=8,
)  # fmt: skip
EVERYTHING = NetworkConfig(
    sample_rate=4000, sources=3, n_fft=64, hop=16, dim=8, norm_groups=2, heads=1, attention_dim=8,
    ffn_dims=(10, 6), separator_layers=2, separator_repeats=2, separator_residual=True, block_layers=2,
    block_residual=True, trained_depth=2, mask=True, time_first=True,
)  # fmt: skip
STREAMING = NetworkConfig(
    sample_rate=16000, n_fft=512, hop=128, bands=(8, 8, 16, 32, 64, 128), dim=8, norm_groups=2, heads=2,
    attention_dim=8, ffn_dims=(12, 8), separator_layers=1, separator_repeats=1, splitter="conv2d",
    block_layers=1, trained_depth=3, head_dim=8, lookback=24,
)  # fmt: skip
RECURRENT = replace(STREAMING, lookback=0, recurrent_dim=12, ffn_kernel=3)
# 8.0 M parameters; a low rate makes short signals of the seconds that an export is checked with.
PUBLISHED = NetworkConfig(sample_rate=1000, separator_residual=True, trained_depth=2)


def random_network(config: NetworkConfig, seed: int = 1) -> Network | StreamingNetwork:
    """A network whose every weight matters, norms and biases too."""
    generator = torch.Generator().manual_seed(seed)
    network = build_network(config).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.ndim == 1:  # matrices are random already; larger ones would amplify rounding
                parameter += 0.1 * torch.randn(parameter.shape, generator=generator)
    return network
