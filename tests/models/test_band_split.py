"""The band-split network: levels, silence and batches."""

import dataclasses
import itertools

import pytest
import torch
from torch import Tensor

from tisdiss_models import Network, NetworkConfig
from tisdiss_models.frontends import BandDecoder, BandEncoder, apply_mask, band_runs
from tisdiss_models.network import use_gemm

CONFIG = NetworkConfig(
    sample_rate=16000, n_fft=64, hop=32, bands=(2, 2, 4, 8, 8, 8), dim=16, norm_groups=4, heads=2,
    attention_dim=8, ffn_dims=(12, 8), separator_layers=2, separator_repeats=1, splitter="conv2d",
    trained_depth=3, head_dim=8,
)  # fmt: skip
FULL_BAND = dataclasses.replace(
    CONFIG, bands=(), separator_residual=True, block_residual=True, separator_repeats=2
)


def network(config: NetworkConfig = CONFIG) -> Network:
    torch.manual_seed(4)
    made = Network(config).eval()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    return made


def noise(*shape: int, seed: int = 0) -> Tensor:
    return 0.1 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("config", [CONFIG, FULL_BAND], ids=["band-split", "full band"])
@pytest.mark.parametrize("level_db", [-30, 30])
@torch.no_grad()
def test_output_levels_follow_the_level_of_the_mixture(config: NetworkConfig, level_db: int) -> None:
    separator, mix = network(config), noise(1, 1000)
    gain = 10 ** (level_db / 20)
    for depth in (0, 1, 4):
        plain, scaled = separator(mix, depth), separator(gain * mix, depth)
        torch.testing.assert_close(scaled, gain * plain, rtol=1e-3, atol=1e-3 * float(scaled.abs().max()))


@pytest.mark.parametrize("config", [CONFIG, FULL_BAND], ids=["band-split", "full band"])
@torch.no_grad()
def test_silence_gives_silence(config: NetworkConfig) -> None:
    separator = network(config)
    for depth in (0, 1, 4):
        out = separator(torch.zeros(1, 700), depth)
        assert out.shape == (1, 2, 700)
        assert out.abs().max() < 1e-6


@torch.no_grad()
def test_a_constant_offset_alone_gives_finite_output() -> None:
    assert network()(torch.full((1, 500), 0.3)).isfinite().all()


@torch.no_grad()
def test_masks_keep_a_silent_stretch_silent() -> None:
    mix = noise(1, 2000)
    mix[:, 800:1600] = 0
    out = network()(mix)
    assert out[:, :, :700].abs().max() > 1e-3
    assert out[:, :, 864:1536].abs().max() < 1e-6  # a window away from both edges


@pytest.mark.parametrize("config", [CONFIG, FULL_BAND], ids=["band-split", "full band"])
@torch.no_grad()
def test_a_batch_equals_its_mixtures_one_by_one(config: NetworkConfig) -> None:
    separator = network(dataclasses.replace(config, sources=3))
    mix = torch.cat([noise(1, 900), 20 * noise(1, 900, seed=1)])
    for gemm in (False, True):
        use_gemm(separator, gemm)
        both = separator(mix, 2)
        assert both.shape == (2, 3, 900)
        for one, out in zip(mix, both, strict=True):
            torch.testing.assert_close(
                separator(one[None], 2)[0], out, rtol=0, atol=1e-4 * float(out.abs().max())
            )


@pytest.mark.parametrize("samples", [33, 63, 64, 65, 1000])
@torch.no_grad()
def test_the_output_is_as_long_as_the_mixture(samples: int) -> None:
    assert network()(noise(1, samples)).shape == (1, 2, samples)


@torch.no_grad()
def test_no_length_ends_in_a_click() -> None:
    """A mask leaves something under the ends of a window; undoing the window there must not magnify it."""
    separator, mix = network(), noise(1, 2000)
    for samples in range(1500, 1500 + CONFIG.hop):
        out = separator(mix[:, :samples]).abs()
        assert out[:, :, -CONFIG.hop :].max() < 2 * out[:, :, : -CONFIG.hop].max(), samples


@torch.no_grad()
def test_depth_is_free_and_every_repetition_changes_the_result() -> None:
    separator, mix = network(), noise(1, 600)
    outputs = [separator(mix, depth) for depth in range(8)]
    for shallow, deep in itertools.pairwise(outputs):
        assert (shallow - deep).abs().max() > 1e-4
    assert torch.equal(separator(mix), outputs[3])


@torch.no_grad()
def test_masks_start_as_an_equal_share_for_each_source() -> None:
    decoder = BandDecoder(dataclasses.replace(CONFIG, sources=3))
    for out in decoder.out:
        out.weight.zero_()
    spec = noise(2, 2, 5, 33)
    shares = decoder(noise(6, 5, 6, 16), spec).unflatten(0, (2, 3))
    torch.testing.assert_close(shares, (spec / 3)[:, None].expand_as(shares))


@torch.no_grad()
def test_masks_are_complex_factors_of_the_mixture_of_their_own_batch_entry() -> None:
    mask, spec = noise(6, 2, 4, 5), noise(2, 2, 4, 5, seed=1)
    out = apply_mask(mask, spec, 3)
    for index in range(6):
        product = torch.complex(*mask[index]) * torch.complex(*spec[index // 3])
        torch.testing.assert_close(torch.complex(*out[index]), product)


@torch.no_grad()
def test_a_band_sees_its_own_bins_and_its_mask_moves_them_only() -> None:
    """Bins 4 to 7 are the third band; the encoder's norm is taken out, because it is global."""
    torch.manual_seed(5)
    encoder, decoder = BandEncoder(CONFIG), BandDecoder(CONFIG)
    encoder.norm = torch.nn.Identity()  # type: ignore[assignment]
    spec = noise(1, 2, 3, 33)
    changed = spec.clone()
    changed[..., 4:8] += 1
    moved = (encoder(changed) != encoder(spec)).any(1).any(1)[0]  # (bands,)
    assert moved.tolist() == [False, False, True, False, False, False]
    z = noise(2, 3, 6, 16)
    other = z.clone()
    other[:, :, 2] = noise(2, 3, 16, seed=1)
    moved = (decoder(other, spec) != decoder(z, spec)).any(0).any(0).any(0)  # (bins,)
    assert moved.nonzero().flatten().tolist() == [4, 5, 6, 7]
    other = z.clone()
    other[:, :, 5] = noise(2, 3, 16, seed=1)
    moved = (decoder(other, spec) != decoder(z, spec)).any(0).any(0).any(0)
    assert moved.nonzero().flatten().tolist() == list(range(24, 33)), "the Nyquist bin follows"


def test_runs_of_equal_bands_are_grouped_in_order() -> None:
    assert band_runs((2, 2, 4, 8, 8, 2)) == [(2, 2), (1, 4), (2, 8), (1, 2)]
