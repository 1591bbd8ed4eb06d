"""Published checkpoints: the network computes what its authors' does, whatever the options."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from reference import random_checkpoint, separate, write_checkpoint
from torch import Tensor

from tisdiss_models import load_checkpoint
from tisdiss_models.network import use_gemm

REPOSITORY = Path(__file__).parents[2]
GOLDEN = Path(os.environ.get("TISDISS_GOLDEN", REPOSITORY / ".." / "shared" / "golden")) / "espnet-mini"
GOLDEN_DEPTHS = {"aux_split": 0, "est_n1": 1, "est_n2": 2, "est_n3": 3, "est_n6": 6, "est_n8": 8}

SMALL: dict[str, Any] = {
    "emb_dim": 8,
    "num_groups": 2,
    "n_heads": 2,
    "attention_dim": 8,
    "norm_type": "rmsgroupnorm",
    "ffn_type": ["swiglu_conv1d", "swiglu_conv1d"],
    "ffn_hidden_dim": [6, 6],
    "repeat_residual_module": True,
    "reconstructor_repeat_residual_module": False,
}
# Options on top of SMALL, and what `random_checkpoint` takes beside them.
VARIANTS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "as published, small": ({}, {}),
    "two layers per repetition": ({"encoder_n_layers": 2, "reconstructor_n_layers": 2}, {}),
    "three sources": ({"num_spk": 3}, {}),
    "16 kHz": ({}, {"sample_rate": 16000, "n_fft": 64, "hop": 32}),
    "residual in the reconstructor": ({"reconstructor_repeat_residual_module": True}, {}),
    "no residual": ({"repeat_residual_module": False}, {}),
    "no residual, though the reconstructor asks for it": (
        {"repeat_residual_module": False, "reconstructor_repeat_residual_module": True}, {},
    ),
    "time before frequency": ({"tf_order": "tf"}, {}),
    "convolution as splitter": ({"spk_spliter_type": "conv2d"}, {}),
    "mask": ({"mask": True}, {}),
    "feed-forward sizes differ": ({"ffn_hidden_dim": [10, 4]}, {}),
    "separator once": ({"encoder_repeat_times": 1}, {}),
    "separator three times": ({"encoder_repeat_times": 3}, {}),
    "hop a quarter of the window": ({}, {"n_fft": 32, "hop": 8}),
    "kernel of three": ({"conv1d_kernel": 3}, {}),
    "large epsilon": ({"eps": 0.1}, {}),
    "everything at once": (
        {
            "num_spk": 3, "encoder_n_layers": 2, "encoder_repeat_times": 3, "reconstructor_n_layers": 2,
            "reconstructor_repeat_residual_module": True, "tf_order": "tf", "mask": True,
            "ffn_hidden_dim": [4, 10], "emb_dim": 16, "num_groups": 4, "n_heads": 1,
        },
        {"n_fft": 64, "hop": 16},
    ),
}  # fmt: skip


def noise(samples: int, seed: int = 5) -> Tensor:
    """A mixture with an offset and a level far from one: both must survive."""
    return 0.02 + 0.05 * torch.randn(samples, generator=torch.Generator().manual_seed(seed))


def difference(out: Tensor, expected: Tensor) -> float:
    """Largest absolute difference over the largest absolute value."""
    assert out.shape == expected.shape
    return float((out.double() - expected).abs().max() / expected.abs().max())


@pytest.fixture(scope="module")
def golden() -> dict[str, np.ndarray]:
    if not GOLDEN.is_dir():
        pytest.skip(f"no reference outputs in {GOLDEN}; name their folder with TISDISS_GOLDEN")
    with np.load(GOLDEN / "golden.npz") as arrays:
        return dict(arrays)


@pytest.mark.parametrize("name", GOLDEN_DEPTHS)
def test_the_reference_of_these_tests_computes_what_the_authors_code_computed(
    golden: dict[str, np.ndarray], name: str
) -> None:
    weights = torch.load(next(GOLDEN.glob("*.pth")), weights_only=True)
    config = yaml.safe_load((GOLDEN / "config.yaml").read_text())
    out = separate(weights, config, torch.from_numpy(golden["mix"]), GOLDEN_DEPTHS[name])
    assert difference(out, torch.from_numpy(golden[name])) < 1e-5


@pytest.mark.parametrize("gemm", [False, True])
def test_the_network_computes_what_the_authors_code_computed_at_every_depth(
    golden: dict[str, np.ndarray], gemm: bool
) -> None:
    network, _ = load_checkpoint(GOLDEN)
    use_gemm(network, gemm)
    mix = torch.from_numpy(golden["mix"])[None]
    for name, depth in GOLDEN_DEPTHS.items():
        with torch.no_grad():
            out = network(mix, depth)[0]
        assert difference(out, torch.from_numpy(golden[name])) < 1e-4, f"depth {depth}"


@pytest.mark.parametrize("name", VARIANTS)
def test_every_supported_option_agrees_with_the_reference(tmp_path: Path, name: str) -> None:
    options, more = VARIANTS[name]
    weights, config = random_checkpoint({**SMALL, **options}, **more)
    network, facts = load_checkpoint(write_checkpoint(tmp_path, weights, config))
    mix = noise(509)
    assert facts == {}
    assert network.config.sample_rate == more.get("sample_rate", 8000)
    for depth in (0, 1, 3):
        expected = separate(weights, config, mix, depth)
        for gemm in (False, True):
            use_gemm(network, gemm)
            with torch.no_grad():
                out = network(mix[None], depth)[0]
            assert difference(out, expected) < 1e-4, f"depth {depth}, gemm {gemm}"


@pytest.mark.parametrize(
    "name",
    [
        "two layers per repetition", "residual in the reconstructor", "time before frequency", "mask",
        "separator once", "separator three times", "large epsilon", "no residual",
    ],
)  # fmt: skip
def test_options_that_no_shape_betrays_change_the_result(name: str) -> None:
    """Else agreeing on them would say nothing."""
    options, more = VARIANTS[name]
    weights, config = random_checkpoint({**SMALL, **options}, **more)
    mix = noise(509)
    if name == "no residual":
        weights.update(random_checkpoint(SMALL)[0])
    plain = {**config, "separator_conf": SMALL}
    assert difference(separate(weights, plain, mix, 1), separate(weights, config, mix, 1)) > 1e-2


def test_omitted_options_have_the_published_defaults(tmp_path: Path) -> None:
    """The residual of the reconstructor is on by default, and a size of 128 where nothing is said."""
    required = {"norm_type", "ffn_type", "ffn_hidden_dim"}
    options = {**{k: v for k, v in SMALL.items() if k in required}, "repeat_residual_module": True}
    weights, config = random_checkpoint(options)
    config["encoder_conf"] = config["decoder_conf"] = {}
    network, _ = load_checkpoint(write_checkpoint(tmp_path, weights, config))
    assert (network.config.n_fft, network.config.hop, network.config.trained_depth) == (512, 128, 3)
    mix = noise(1500)
    with torch.no_grad():
        out = network(mix[None], 1)[0]
    assert difference(out, separate(weights, config, mix, 1)) < 1e-4


def test_without_a_depth_the_trained_one_is_used(tmp_path: Path) -> None:
    weights, config = random_checkpoint({**SMALL, "reconstructor_repeat_times": 2})
    network, _ = load_checkpoint(write_checkpoint(tmp_path, weights, config))
    mix = noise(300)[None]
    with torch.no_grad():
        assert torch.equal(network(mix), network(mix, 2))
        assert not torch.equal(network(mix), network(mix, 3))


def test_the_published_size_has_eight_million_parameters_and_agrees(tmp_path: Path) -> None:
    options = {
        "emb_dim": 128, "num_groups": 4, "n_heads": 4, "attention_dim": 128, "ffn_hidden_dim": [384, 384],
        "norm_type": "rmsgroupnorm", "ffn_type": ["swiglu_conv1d"] * 2, "repeat_residual_module": True,
        "reconstructor_repeat_residual_module": False, "reconstructor_repeat_times": 6,
    }  # fmt: skip
    weights, config = random_checkpoint(options, n_fft=128, hop=64)
    network, _ = load_checkpoint(write_checkpoint(tmp_path, weights, config))
    assert sum(p.numel() for p in network.parameters()) == pytest.approx(8.0e6, rel=0.01)
    mix = noise(700)
    with torch.no_grad():
        out = network(mix[None], 2)[0]
    assert difference(out, separate(weights, config, mix, 2)) < 1e-4


@pytest.mark.parametrize("samples", [17, 255, 256, 257])
def test_every_length_longer_than_half_a_window_agrees(tmp_path: Path, samples: int) -> None:
    weights, config = random_checkpoint(SMALL)
    network, _ = load_checkpoint(write_checkpoint(tmp_path, weights, config))
    mix = noise(samples)
    with torch.no_grad():
        out = network(mix[None], 1)[0]
    assert difference(out, separate(weights, config, mix, 1)) < 1e-4
