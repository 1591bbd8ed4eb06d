"""The published network a second time, slow and literal, to hold the fast one against.

Written from the description of the method only and sharing no code with `tisdiss_models`: one source
after the other, one head after the other, every norm a formula, float64, and the weights are read by
their published names. An error would have to be made twice, in two styles, to go unnoticed.

Tensors are (channel, frame, bin) for the mixture and (source, channel, frame, bin) after the split.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
import yaml
from torch import Tensor

# What the published implementation takes where a configuration says nothing.
DEFAULTS: dict[str, Any] = {
    "num_spk": 2,
    "emb_dim": 128,
    "num_groups": 4,
    "tf_order": "ft",
    "n_heads": 4,
    "attention_dim": 128,
    "conv1d_kernel": 4,
    "eps": 1e-5,
    "encoder_repeat_times": 2,
    "encoder_n_layers": 1,
    "reconstructor_n_layers": 1,
    "repeat_residual_module": False,
    "reconstructor_repeat_residual_module": True,
    "mask": False,
    "spk_spliter_type": "swiglu_conv_deconv2d",
}


def separate(weights: Mapping[str, Tensor], config: Mapping[str, Any], mix: Tensor, depth: int) -> Tensor:
    """Separate `mix` (samples,) into (sources, samples) by `depth` repetitions, in float64."""
    w = {name.removeprefix("separator."): t.double() for name, t in weights.items()}
    c = {**DEFAULTS, **config["separator_conf"]}
    n_fft = config["encoder_conf"].get("n_fft", 512)
    hop = config["encoder_conf"].get("hop_length", 128)
    window = torch.hann_window(n_fft, periodic=True, dtype=torch.float64)
    mix = mix.double()
    scale = mix.std(unbiased=True)
    spectrum = torch.stft(
        mix / scale, n_fft, hop, window=window, center=True, pad_mode="reflect", return_complex=True
    ).T  # (frame, bin)

    features = _encode(spectrum, w, c)
    mixture_map = _separator(features, w, c)
    sources = _split(mixture_map, w, c)
    for _ in range(depth):
        for layer in range(c["reconstructor_n_layers"]):
            if c["repeat_residual_module"] and c["reconstructor_repeat_residual_module"]:
                sources = torch.stack([_concat_block(features + source, w) for source in sources])
            sources = _reconstructor_block(sources, f"reconstructor_blocks.{layer}.", w, c)
    decoded = []
    for source in sources:
        real, imaginary = F.conv_transpose2d(
            source[None], w["reconstructor_deconv.weight"], w["reconstructor_deconv.bias"], padding=1
        )[0]
        estimate = torch.complex(real, imaginary)
        if c["mask"]:
            estimate = estimate * spectrum
        decoded.append(torch.istft(estimate.T, n_fft, hop, window=window, center=True, length=len(mix)))
    return torch.stack(decoded) * scale


def _encode(spectrum: Tensor, w: Mapping[str, Tensor], c: Mapping[str, Any]) -> Tensor:
    parts = torch.stack([spectrum.real, spectrum.imag])
    x = F.conv2d(parts[None], w["conv.0.weight"], w["conv.0.bias"], padding=1)[0]
    x = (x - x.mean()) / torch.sqrt(x.var(unbiased=False) + c["eps"])
    return x * w["conv.1.weight"][:, None, None] + w["conv.1.bias"][:, None, None]


def _separator(features: Tensor, w: Mapping[str, Tensor], c: Mapping[str, Any]) -> Tensor:
    x = features
    for repetition in range(c["encoder_repeat_times"]):
        for layer in range(c["encoder_n_layers"]):
            if (repetition, layer) != (0, 0) and c["repeat_residual_module"]:
                x = _concat_block(features + x, w)
            x = _time_frequency(x, f"encoder_blocks.{layer}.", w, c)
    return x


def _concat_block(x: Tensor, w: Mapping[str, Tensor]) -> Tensor:
    x = x * w["concat_block.0.weight"].reshape(-1, 1, 1) + w["concat_block.0.bias"].reshape(-1, 1, 1)
    return torch.where(x > 0, x, w["concat_block.1.weight"] * x)


def _split(x: Tensor, w: Mapping[str, Tensor], c: Mapping[str, Any]) -> Tensor:
    x = F.conv2d(x[None], w["spk_spliter.conv2d.weight"], w["spk_spliter.conv2d.bias"], padding=1)
    if c["spk_spliter_type"] == "swiglu_conv_deconv2d":
        value, gate = x.chunk(2, dim=1)
        x = value * (gate * torch.sigmoid(gate))
        x = F.conv_transpose2d(x, w["spk_spliter.deconv2d.weight"], w["spk_spliter.deconv2d.bias"], padding=1)
    return x.reshape(c["num_spk"], c["emb_dim"], *x.shape[2:])  # (S, D, T, F)


def _reconstructor_block(x: Tensor, name: str, w: Mapping[str, Tensor], c: Mapping[str, Any]) -> Tensor:
    x = torch.stack([_time_frequency(source, name, w, c) for source in x])
    frames = [
        _path(x[:, :, t].permute(2, 0, 1), name + "spk_path.", w, c, ffn_before=False).permute(1, 2, 0)
        for t in range(x.shape[2])
    ]
    return torch.stack(frames, dim=2)  # (S, D, T, F)


def _time_frequency(x: Tensor, name: str, w: Mapping[str, Tensor], c: Mapping[str, Any]) -> Tensor:
    for axis in c["tf_order"]:
        if axis == "f":  # (D, T, F) as T sequences over the bins, and back
            x = _path(x.permute(1, 2, 0), name + "freq_path.", w, c).permute(2, 0, 1)
        else:  # as F sequences over the frames, and back
            x = _path(x.permute(2, 1, 0), name + "frame_path.", w, c).permute(2, 1, 0)
    return x


def _path(
    x: Tensor, name: str, w: Mapping[str, Tensor], c: Mapping[str, Any], ffn_before: bool = True
) -> Tensor:
    """Sequences (any number, length, D) through feed-forward, attention, feed-forward, each added."""
    if ffn_before:
        x = x + _ffn(_norm(x, w[name + "ffn_norm.1.gamma"], c), name + "ffn.1.", w, c)
    x = x + _attention(_norm(x, w[name + "attn_norm.gamma"], c), name + "attn.", w, c)
    return x + _ffn(_norm(x, w[name + "ffn_norm.0.gamma"], c), name + "ffn.0.", w, c)


def _norm(x: Tensor, gamma: Tensor, c: Mapping[str, Any]) -> Tensor:
    groups = x.reshape(*x.shape[:2], c["num_groups"], -1)
    root_mean_square = groups.square().mean(-1, keepdim=True).sqrt()
    return (groups / (root_mean_square + c["eps"])).reshape(x.shape) * gamma


def _ffn(x: Tensor, name: str, w: Mapping[str, Tensor], c: Mapping[str, Any]) -> Tensor:
    pad = c["conv1d_kernel"] - 1
    y = F.pad(x.transpose(1, 2), (pad, pad))
    y = F.conv1d(y, w[name + "conv1d.weight"], w[name + "conv1d.bias"])
    value, gate = y.chunk(2, dim=1)
    y = value * (gate * torch.sigmoid(gate))
    y = F.conv_transpose1d(y, w[name + "deconv1d.weight"], w[name + "deconv1d.bias"])
    return y[:, :, pad : pad + x.shape[1]].transpose(1, 2)


def _attention(x: Tensor, name: str, w: Mapping[str, Tensor], c: Mapping[str, Any]) -> Tensor:
    projected = (x @ w[name + "qkv.weight"].T).unflatten(-1, (3, c["n_heads"], -1))
    out = []
    for head in range(c["n_heads"]):
        query, key, value = projected[:, :, :, head].unbind(2)  # (number, length, head_dim) each
        query = _rotate(query, w[name + "rope.freqs"])
        key = _rotate(key, w[name + "rope.freqs"])
        share = torch.softmax(query @ key.transpose(1, 2) / math.sqrt(query.shape[-1]), dim=-1)
        out.append(share @ value)
    return torch.cat(out, dim=-1) @ w[name + "aggregate_heads.0.weight"].T


def _rotate(x: Tensor, freqs: Tensor) -> Tensor:
    """Turn the pair of channels (2 k, 2 k + 1) at position p by the angle p * freqs[k]."""
    angle = torch.arange(x.shape[1], dtype=x.dtype)[:, None] * freqs
    pairs = torch.view_as_complex(x.unflatten(-1, (-1, 2)).contiguous())
    return torch.view_as_real(pairs * torch.polar(torch.ones_like(angle), angle)).flatten(-2)


def random_checkpoint(
    separator_conf: Mapping[str, Any],
    seed: int = 0,
    n_fft: int = 32,
    hop: int = 16,
    sample_rate: int = 8000,
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Make the weights, under their published names, and the configuration of a random separator.

    Nothing is trivial: gammas are not one, biases not zero, the rotation is not the usual one.
    """
    generator = torch.Generator().manual_seed(seed)
    c = {**DEFAULTS, **separator_conf}
    dim, sources, kernel = c["emb_dim"], c["num_spk"], c["conv1d_kernel"]
    w: dict[str, Tensor] = {}

    def normal(name: str, *shape: int, fan_in: int) -> None:
        w[name] = torch.randn(shape, generator=generator) / math.sqrt(fan_in)

    def positive(name: str, *shape: int) -> None:
        w[name] = 0.5 + torch.rand(shape, generator=generator)

    def convolution(name: str, *shape: int, bias: int, fan_in: int) -> None:
        normal(name + "weight", *shape, fan_in=fan_in)
        normal(name + "bias", bias, fan_in=25)

    def path(name: str, before: bool) -> None:
        hidden_before, hidden_after = c["ffn_hidden_dim"]
        for index, hidden in [(0, hidden_after)] + ([(1, hidden_before)] if before else []):
            positive(f"{name}ffn_norm.{index}.gamma", dim)
            convolution(
                f"{name}ffn.{index}.conv1d.", 2 * hidden, dim, kernel, bias=2 * hidden, fan_in=dim * kernel
            )
            convolution(f"{name}ffn.{index}.deconv1d.", hidden, dim, kernel, bias=dim, fan_in=hidden * kernel)
        positive(name + "attn_norm.gamma", dim)
        positive(name + "attn.rope.freqs", c["attention_dim"] // c["n_heads"] // 2)
        normal(name + "attn.qkv.weight", 3 * c["attention_dim"], dim, fan_in=dim)
        normal(name + "attn.aggregate_heads.0.weight", dim, c["attention_dim"], fan_in=c["attention_dim"])

    convolution("conv.0.", dim, 2, 3, 3, bias=dim, fan_in=18)
    positive("conv.1.weight", dim)
    normal("conv.1.bias", dim, fan_in=25)
    for layer in range(c["encoder_n_layers"]):
        path(f"encoder_blocks.{layer}.freq_path.", before=True)
        path(f"encoder_blocks.{layer}.frame_path.", before=True)
    if c["spk_spliter_type"] == "conv2d":
        convolution("spk_spliter.conv2d.", dim * sources, dim, 3, 3, bias=dim * sources, fan_in=9 * dim)
    else:
        middle = 2 * dim * sources
        convolution("spk_spliter.conv2d.", 2 * middle, dim, 3, 3, bias=2 * middle, fan_in=9 * dim)
        convolution(
            "spk_spliter.deconv2d.", middle, dim * sources, 3, 3, bias=dim * sources, fan_in=9 * middle // 4
        )
    for layer in range(c["reconstructor_n_layers"]):
        path(f"reconstructor_blocks.{layer}.freq_path.", before=True)
        path(f"reconstructor_blocks.{layer}.frame_path.", before=True)
        path(f"reconstructor_blocks.{layer}.spk_path.", before=False)
    convolution("reconstructor_deconv.", dim, 2, 3, 3, bias=2, fan_in=9 * dim)
    if c["repeat_residual_module"]:
        convolution("concat_block.0.", dim, 1, 1, 1, bias=dim, fan_in=1)
        positive("concat_block.1.weight", 1)
    stft = {"n_fft": n_fft, "hop_length": hop}
    config = {
        "sample_rate": sample_rate,
        "num_spk": sources,
        "encoder": "stft",
        "encoder_conf": dict(stft),
        "separator": "tisdiss",
        "separator_conf": dict(separator_conf),
        "decoder": "stft",
        "decoder_conf": dict(stft),
        "model_conf": {"normalize_variance": True},
    }
    return {"separator." + name: tensor for name, tensor in w.items()}, config


def write_checkpoint(
    folder: Path, weights: Mapping[str, Tensor], config: Mapping[str, Any], name: str = "x.pth"
) -> Path:
    """Write a checkpoint in the published form and give its folder."""
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(dict(weights), folder / name)
    (folder / "config.yaml").write_text(yaml.safe_dump(dict(config)), encoding="utf-8")
    return folder
