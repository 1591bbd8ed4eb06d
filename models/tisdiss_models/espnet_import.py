"""Read the options and the weights of published TISDiSS checkpoints (an ESPnet recipe's files).

Every option is either translated, known to have no effect on inference, or refused by name: a network
that ignores an option it does not know separates wrongly without a word.
"""

from __future__ import annotations

import re
import reprlib
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from .config import ConfigError, NetworkConfig
from .options import from_mapping

# Options of the published separator with their defaults there, which hold where a file omits them.
_TRANSLATED: dict[str, Any] = {
    "num_spk": 2,
    "emb_dim": 128,
    "num_groups": 4,
    "tf_order": "ft",
    "n_heads": 4,
    "attention_dim": 128,
    "ffn_hidden_dim": 384,
    "conv1d_kernel": 4,
    "eps": 1e-5,
    "encoder_repeat_times": 2,
    "encoder_n_layers": 1,
    "reconstructor_repeat_times": 3,
    "reconstructor_n_layers": 1,
    "repeat_residual_module": False,
    "reconstructor_repeat_residual_module": True,
    "mask": False,
    "spk_spliter_type": "swiglu_conv_deconv2d",
}
# The only value that each of these may have.
_FIXED: dict[str, Any] = {
    "norm_type": "rmsgroupnorm",
    "ffn_type": ["swiglu_conv1d", "swiglu_conv1d"],
    "conv1d_shift": 1,
    "spk_path_enable": True,
    "split_compress": False,
    "input_type": "stft",
    "band_split": False,
}
_FIXED_ELSEWHERE: dict[str, dict[str, Any]] = {
    "": {
        "encoder": "stft", "separator": "tisdiss", "decoder": "stft",
        "flexible_numspk": False, "diffusion_model": None,
    },
    "model_conf": {
        "normalize_variance": True, "normalize_variance_per_ch": False, "flexible_numspk": False,
        "always_forward_in_48k": False,
    },
    "stft": {
        "window": "hann", "center": True, "normalized": False, "onesided": True, "win_length": None,
    },
}  # fmt: skip
# These choose losses, or belong to options that are refused when on: no effect on the network.
_WITHOUT_EFFECT = {
    "flash_attention", "dropout", "encoder_decoder", "encoder_multi_decoder",
    "encoder_n_layers_multi_decoder", "reconstructor_multi_decoder",
    "reconstructor_n_layers_multi_decoder", "spliter_loss", "segment_size", "split_type",
    "band_split_encoder_type", "band_split_decoder_type", "stft_n_fft", "stft_hop_length",
    "stft_win_length", "stft_normalized", "sample_rate", "num_bands", "stereo",
    "band_split_decoder_depth", "mlp_expansion_factor", "freqs_per_bands",
}  # fmt: skip

_RENAMED = [
    (r"^conv\.0\.", "stem.encoder.conv."),
    (r"^conv\.1\.", "stem.encoder.norm."),
    (r"^encoder_blocks\.", "stem.layers."),
    (r"^spk_spliter\.conv2d\.", "stem.splitter.conv."),
    (r"^spk_spliter\.deconv2d\.", "stem.splitter.deconv."),
    (r"^reconstructor_blocks\.", "block.layers."),
    (r"^reconstructor_deconv\.", "decoder.head.deconv."),
    (r"^concat_block\.0\.", "stem.residual."),
    (r"^concat_block\.1\.weight$", "stem.residual.slope"),
    (r"\.frame_path\.", ".time_path."),
    (r"\.spk_path\.", ".source_path."),
    (r"\.ffn_norm\.1\.", ".ffn_before_norm."),
    (r"\.ffn_norm\.0\.", ".ffn_after_norm."),
    (r"\.ffn\.1\.(de)?conv1d\.", r".ffn_before.\1conv."),
    (r"\.ffn\.0\.(de)?conv1d\.", r".ffn_after.\1conv."),
    (r"\.attn_norm\.", ".attention_norm."),
    (r"\.attn\.qkv\.", ".attention.qkv."),
    (r"\.attn\.aggregate_heads\.0\.", ".attention.out."),
    (r"\.attn\.rope\.freqs$", ".attention.freqs"),
]


def _refuse_other_than(allowed: Mapping[str, Any], values: Mapping[str, Any], where: str) -> None:
    for key, only in allowed.items():
        value = values.get(key, only)
        if value != only:
            raise ConfigError(f"{where}{key}: {reprlib.repr(value)} is not supported, only {only!r}")


def _section(config: Mapping[str, Any], name: str) -> dict[str, Any]:
    values = config.get(name) or {}
    if not isinstance(values, Mapping) or not all(isinstance(key, str) for key in values):
        raise ConfigError(f"{name}: not a mapping of options")
    return dict(values)


def _stft_sizes(config: Mapping[str, Any]) -> tuple[Any, Any]:
    """Read n_fft and hop, which encoder and decoder must share."""
    sizes = []
    for section in ("encoder_conf", "decoder_conf"):
        values = _section(config, section)
        n_fft, hop = values.pop("n_fft", 512), values.pop("hop_length", 128)
        if values.get("win_length") == n_fft:
            values.pop("win_length", None)
        unknown = set(values) - set(_FIXED_ELSEWHERE["stft"]) - {"default_fs", "spec_transform_type"}
        if unknown or values.get("spec_transform_type") is not None:
            raise ConfigError(
                f"{section}: {', '.join(sorted(unknown)) or 'spec_transform_type'} not supported"
            )
        _refuse_other_than(_FIXED_ELSEWHERE["stft"], values, f"{section}.")
        sizes.append((n_fft, hop))
    if sizes[0] != sizes[1]:
        raise ConfigError("encoder_conf and decoder_conf: different STFT sizes are not supported")
    return sizes[0]


def network_config(config: Mapping[str, Any]) -> NetworkConfig:
    """Translate a published ``config.yaml``.

    Raises:
        ConfigError: if an option is unknown or has a value that is not supported.
    """
    _refuse_other_than(_FIXED_ELSEWHERE[""], config, "")
    model = {"normalize_variance": False, **_section(config, "model_conf")}  # off unless it is set
    _refuse_other_than(_FIXED_ELSEWHERE["model_conf"], model, "model_conf.")
    options = _section(config, "separator_conf")
    unknown = sorted(set(options) - set(_TRANSLATED) - set(_FIXED) - _WITHOUT_EFFECT)
    if unknown:
        raise ConfigError(f"separator_conf: unknown option {', '.join(unknown)}")
    _refuse_other_than(_FIXED, options, "separator_conf.")
    get = {**_TRANSLATED, **options}
    if "ffn_type" not in options or not isinstance(get["ffn_hidden_dim"], list | tuple):
        raise ConfigError("separator_conf.ffn_type, ffn_hidden_dim: a list of two each is supported only")
    if len(get["ffn_hidden_dim"]) != 2:
        raise ConfigError("separator_conf.ffn_hidden_dim: two sizes are needed")
    if get["tf_order"] not in ("ft", "tf"):
        raise ConfigError(f"separator_conf.tf_order: {get['tf_order']!r} is neither 'ft' nor 'tf'")
    n_fft, hop = _stft_sizes(config)
    values = {
        "sample_rate": config.get("sample_rate", 8000),
        "sources": get["num_spk"],
        "n_fft": n_fft,
        "hop": hop,
        "dim": get["emb_dim"],
        "norm_groups": get["num_groups"],
        "heads": get["n_heads"],
        "attention_dim": get["attention_dim"],
        "ffn_dims": get["ffn_hidden_dim"],
        "ffn_kernel": get["conv1d_kernel"],
        "eps": get["eps"],
        "time_first": get["tf_order"] == "tf",
        "separator_layers": get["encoder_n_layers"],
        "separator_repeats": get["encoder_repeat_times"],
        "separator_residual": get["repeat_residual_module"],
        "splitter": get["spk_spliter_type"],
        "block_layers": get["reconstructor_n_layers"],
        "block_residual": get["repeat_residual_module"] and get["reconstructor_repeat_residual_module"],
        "trained_depth": get["reconstructor_repeat_times"],
        "mask": get["mask"],
    }
    return from_mapping(NetworkConfig, values, "config.yaml")


def network_weights(weights: Mapping[str, Tensor], config: NetworkConfig) -> dict[str, Tensor]:
    """Rename published weights to ours; names that are not known stay, for the loader to refuse."""
    renamed = {}
    for name, tensor in weights.items():
        own = name.removeprefix("separator.")
        for pattern, replacement in _RENAMED:
            own = re.sub(pattern, replacement, own)
        if own == "stem.residual.weight":
            tensor = tensor.flatten()  # a depthwise 1x1 convolution: (D, 1, 1, 1)
        renamed[own] = tensor
        if config.block_residual and own.startswith("stem.residual."):
            renamed[own.replace("stem.", "block.", 1)] = tensor
    return renamed
