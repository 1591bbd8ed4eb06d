"""STFT, norm, attention and gated convolution against independent forms of the same sums."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tisdiss_models import NetworkConfig
from tisdiss_models.layers import BINS, FRAMES, SOURCES, Attention, GatedConv, RMSGroupNorm
from tisdiss_models.stft import InverseStft, Stft

STFT_SIZES = [(16, 8), (32, 8), (128, 64), (512, 256), (512, 128), (6, 3)]
AXES = [BINS, FRAMES, SOURCES]
CONFIG = NetworkConfig(
    sources=3, n_fft=16, hop=8, dim=8, norm_groups=2, heads=2, attention_dim=8, ffn_dims=(6, 10)
)


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def lengths(n_fft: int, hop: int) -> list[int]:
    """The shortest possible, around a multiple of the hop, and a longer one."""
    return [n_fft // 2 + 1, 20 * hop - 1, 20 * hop, 20 * hop + 1, 40 * hop + hop // 2]


@pytest.mark.parametrize(("n_fft", "hop"), STFT_SIZES)
def test_stft_equals_torch_at_any_length(n_fft: int, hop: int) -> None:
    for samples in lengths(n_fft, hop):
        x = noise(2, samples)
        expected = torch.stft(x, n_fft, hop, window=torch.hann_window(n_fft), return_complex=True)
        spec = Stft(n_fft, hop)(x)
        assert spec.shape == (2, 2, 1 + samples // hop, n_fft // 2 + 1)
        torch.testing.assert_close(
            torch.complex(spec[:, 0], spec[:, 1]).transpose(1, 2), expected, atol=2e-5, rtol=1e-5
        )


@pytest.mark.parametrize(("n_fft", "hop"), STFT_SIZES)
def test_inverse_stft_equals_torch_for_any_spectrum_not_only_consistent_ones(n_fft: int, hop: int) -> None:
    for samples in lengths(n_fft, hop):
        spec = noise(2, 2, 1 + samples // hop, n_fft // 2 + 1)
        expected = torch.istft(
            torch.complex(spec[:, 0], spec[:, 1]).transpose(1, 2),
            n_fft, hop, window=torch.hann_window(n_fft), length=samples,
        )  # fmt: skip
        # Where the length is no multiple of the hop, the last samples lie under the falling end of one
        # window only, and dividing by its square magnifies rounding there.
        torch.testing.assert_close(InverseStft(n_fft, hop)(spec, samples), expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(("n_fft", "hop"), STFT_SIZES)
def test_inverse_stft_gives_back_what_stft_took(n_fft: int, hop: int) -> None:
    for samples in lengths(n_fft, hop):
        x = noise(1, samples)
        back = InverseStft(n_fft, hop)(Stft(n_fft, hop)(x), samples)
        sure = samples - hop // 8  # the very last samples may lie under the end of one window only
        torch.testing.assert_close(back[:, :sure], x[:, :sure], atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(back[:, sure:], x[:, sure:], atol=2e-3, rtol=2e-3)


@pytest.mark.parametrize("axis", [1, -1])
@pytest.mark.parametrize("level", [1.0, 1e-6])
def test_norm_divides_each_group_at_each_place_by_its_root_mean_square(axis: int, level: float) -> None:
    norm = RMSGroupNorm(12, 3, eps=1e-5, axis=axis)
    torch.nn.init.uniform_(norm.gamma, 0.5, 2)
    x = level * noise(2, 12, 5, 4)
    out = norm(x if axis == 1 else x.permute(0, 2, 3, 1))
    out = out if axis == 1 else out.permute(0, 3, 1, 2)
    expected = torch.empty_like(x)
    for b, t, f in torch.cartesian_prod(torch.arange(2), torch.arange(5), torch.arange(4)):
        for group in (slice(0, 4), slice(4, 8), slice(8, 12)):
            values = x[b, group, t, f]
            rms = (sum(v * v for v in values.tolist()) / 4) ** 0.5
            expected[b, group, t, f] = values / (rms + 1e-5) * norm.gamma[group]
    torch.testing.assert_close(out.detach(), expected.detach(), atol=1e-6, rtol=1e-4)


def test_norm_of_silence_is_silence() -> None:
    assert torch.equal(RMSGroupNorm(8, 2, 1e-5)(torch.zeros(1, 8, 2, 2)), torch.zeros(1, 8, 2, 2))


def as_sequences(x: Tensor, axis: str, sources: int) -> Tensor:
    """(B S, D, T, F) to (places, length, D), the sequences along `axis`."""
    if axis == BINS:
        return x.permute(0, 2, 3, 1).flatten(0, 1)
    if axis == FRAMES:
        return x.permute(0, 3, 2, 1).flatten(0, 1)
    return x.unflatten(0, (-1, sources)).permute(0, 3, 4, 1, 2).flatten(0, 2)


def rotated(x: Tensor, freqs: Tensor) -> Tensor:
    """Rotary embedding with interleaved pairs, as a matrix of 2x2 rotations: (..., L, d)."""
    out = torch.empty_like(x)
    for position in range(x.shape[-2]):
        for pair, freq in enumerate(freqs.tolist()):
            angle = torch.tensor(position * freq)
            turn = torch.stack(
                [torch.stack([angle.cos(), -angle.sin()]), torch.stack([angle.sin(), angle.cos()])]
            )
            at = slice(2 * pair, 2 * pair + 2)
            out[..., position, at] = x[..., position, at] @ turn.T
    return out


@pytest.mark.parametrize("axis", AXES)
@pytest.mark.parametrize("training", [False, True])
def test_attention_equals_torch_with_an_independent_rotary_embedding(axis: str, training: bool) -> None:
    torch.manual_seed(1)
    attention = Attention(CONFIG, axis).train(training)
    attention.freqs.uniform_(0.2, 2)
    torch.nn.init.normal_(attention.qkv.weight, std=1.0)  # sharp enough for places to matter
    x, gain = noise(6, 8, 7, 5), 1 + 0.5 * noise(8)
    sequences = as_sequences(x, axis, 3) * gain
    qkv = (sequences @ attention.qkv.weight.T).unflatten(-1, (3, 2, 4)).permute(2, 0, 3, 1, 4)
    q, k, v = rotated(qkv[0], attention.freqs), rotated(qkv[1], attention.freqs), qkv[2]
    mixed = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
    expected = mixed @ attention.out.weight.T
    out = as_sequences(attention(x, gain), axis, 3)
    torch.testing.assert_close(out, expected, atol=1e-5, rtol=1e-4)
    plain = F.scaled_dot_product_attention(*qkv).transpose(1, 2).flatten(2) @ attention.out.weight.T
    assert (plain - expected).abs().max() > 0.01, "the rotation makes no difference here"


def test_attention_starts_with_the_usual_rotation() -> None:
    config = NetworkConfig(dim=8, heads=1, attention_dim=8)
    torch.testing.assert_close(Attention(config, BINS).freqs, torch.tensor([1.0, 0.1, 0.01, 0.001]))


@pytest.mark.parametrize("kernel", [1, 2, 3, 4])
@pytest.mark.parametrize(
    ("axis", "length"),
    [(BINS, 1), (BINS, 2), (BINS, 9), (FRAMES, 1), (FRAMES, 9), (SOURCES, 2), (SOURCES, 3)],
)
def test_gated_convolution_equals_padding_convolving_and_transposed_convolving(
    axis: str, kernel: int, length: int
) -> None:
    sources = length if axis == SOURCES else 2
    config = NetworkConfig(sources=sources, dim=8, heads=1, attention_dim=8, ffn_kernel=kernel)
    torch.manual_seed(2)
    layer = GatedConv(config, 6, axis)
    x = noise(2 * sources, 8, length if axis == FRAMES else 3, length if axis == BINS else 4)
    gain = 1 + 0.5 * noise(8)
    y = F.pad((as_sequences(x, axis, sources) * gain).transpose(1, 2), (kernel - 1, kernel - 1))
    value, gate = F.conv1d(y, layer.conv.weight, layer.conv.bias).chunk(2, 1)
    y = F.conv_transpose1d(value * F.silu(gate), layer.deconv.weight, layer.deconv.bias)
    expected = y[:, :, kernel - 1 :][:, :, :length].transpose(1, 2)
    for gemm in (False, True):
        layer.gemm = gemm
        out = as_sequences(layer(x, gain), axis, sources)
        torch.testing.assert_close(out, expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("axis", AXES)
def test_both_forms_of_the_gated_convolution_have_the_same_gradients(axis: str) -> None:
    """Training runs one form, inference the other."""
    torch.manual_seed(2)
    layer = GatedConv(CONFIG, 6, axis)
    gradients = []
    for gemm in (False, True):
        layer.gemm = gemm
        x, gain = noise(6, 8, 5, 4).requires_grad_(), (1 + 0.5 * noise(8)).requires_grad_()
        loss = layer(x, gain).square().sum()
        gradients.append(torch.autograd.grad(loss, [x, gain, *layer.parameters()]))
    for a, b in zip(*gradients, strict=True):
        torch.testing.assert_close(a, b, atol=1e-3, rtol=1e-4)
