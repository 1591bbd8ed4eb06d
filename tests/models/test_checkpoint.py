"""Loading: what is found from which path, and that nothing wrong or hostile loads without a word."""

import pickle
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from reference import random_checkpoint, write_checkpoint
from torch import Tensor

from tisdiss_models import ConfigError, Network, NetworkConfig, load_checkpoint, save_checkpoint
from tisdiss_models.checkpoint import CheckpointError
from tisdiss_models.options import from_mapping, to_mapping

CONF: dict[str, Any] = {
    "emb_dim": 8,
    "num_groups": 2,
    "n_heads": 2,
    "attention_dim": 8,
    "norm_type": "rmsgroupnorm",
    "ffn_type": ["swiglu_conv1d", "swiglu_conv1d"],
    "ffn_hidden_dim": [6, 6],
    "repeat_residual_module": True,
}
OWN = NetworkConfig(
    sample_rate=16000, n_fft=32, hop=16, bands=(2, 2, 4, 8), dim=8, norm_groups=2, heads=1,
    attention_dim=4, ffn_dims=(6, 4), splitter="conv2d", trained_depth=2, head_dim=6,
)  # fmt: skip


@pytest.fixture
def published() -> tuple[dict[str, Tensor], dict[str, Any]]:
    return random_checkpoint(CONF)


@pytest.fixture
def folder(tmp_path: Path, published: tuple[dict[str, Tensor], dict[str, Any]]) -> Path:
    return write_checkpoint(tmp_path / "published", *published)


def separated(path: Path) -> Tensor:
    network, _ = load_checkpoint(path)
    with torch.no_grad():
        return network(torch.randn(1, 300, generator=torch.Generator().manual_seed(0)))


@pytest.mark.parametrize("named", ["x.pth", "config.yaml", ""])
def test_a_published_checkpoint_is_found_from_either_file_or_the_folder(folder: Path, named: str) -> None:
    assert torch.equal(separated(folder / named), separated(folder))


def test_a_path_may_be_text(folder: Path) -> None:
    network, _ = load_checkpoint(str(folder))
    assert network.config.dim == 8


def test_a_folder_of_two_state_dicts_is_refused_and_each_can_be_named(
    folder: Path, published: tuple[dict[str, Tensor], dict[str, Any]]
) -> None:
    other = {name: weight + 0.1 for name, weight in published[0].items()}
    torch.save(other, folder / "y.pth")
    for ambiguous in (folder, folder / "config.yaml"):
        with pytest.raises(CheckpointError, match=r"x\.pth, y\.pth"):
            load_checkpoint(ambiguous)
    assert not torch.equal(separated(folder / "x.pth"), separated(folder / "y.pth"))


def test_a_state_dict_without_its_configuration_says_what_it_needs(folder: Path) -> None:
    (folder / "config.yaml").unlink()
    with pytest.raises(CheckpointError, match=r"config\.yaml"):
        load_checkpoint(folder / "x.pth")


def test_a_folder_without_weights_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="found none"):
        load_checkpoint(tmp_path)


def test_a_missing_path_is_reported_with_its_name(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere"):
        load_checkpoint(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("ours", "published_name"),
    [
        ("block.layers.0.source_path.attention.qkv.weight",
         "reconstructor_blocks.0.spk_path.attn.qkv.weight"),
        ("stem.residual.slope", "concat_block.1.weight"),
        ("stem.layers.0.freq_path.ffn_before.conv.bias", "encoder_blocks.0.freq_path.ffn.1.conv1d.bias"),
        ("block.layers.0.time_path.attention.freqs", "reconstructor_blocks.0.frame_path.attn.rope.freqs"),
    ],
)  # fmt: skip
def test_missing_weights_are_named(
    tmp_path: Path, published: tuple[dict[str, Tensor], dict[str, Any]], ours: str, published_name: str
) -> None:
    weights, config = published
    del weights["separator." + published_name]
    with pytest.raises(CheckpointError, match=f"missing weights: .*{ours}"):
        load_checkpoint(write_checkpoint(tmp_path, weights, config))


def test_unexpected_weights_are_named(
    tmp_path: Path, published: tuple[dict[str, Tensor], dict[str, Any]]
) -> None:
    weights, config = published
    weights["separator.encoder_blocks.1.freq_path.attn_norm.gamma"] = torch.ones(8)
    weights["loss.scale"] = torch.ones(1)
    with pytest.raises(CheckpointError, match=r"unexpected weights: loss\.scale, stem\.layers\.1\.freq_path"):
        load_checkpoint(write_checkpoint(tmp_path, weights, config))


def test_weights_of_the_wrong_shape_are_named_with_both_shapes(
    tmp_path: Path, published: tuple[dict[str, Tensor], dict[str, Any]]
) -> None:
    weights, config = published
    weights["separator.reconstructor_deconv.weight"] = torch.zeros(8, 2, 5, 5)
    with pytest.raises(CheckpointError, match=r"deconv\.weight \(8, 2, 5, 5\) instead of \(8, 2, 3, 3\)"):
        load_checkpoint(write_checkpoint(tmp_path, weights, config))


def test_a_state_dict_of_another_kind_than_tensors_is_refused(
    tmp_path: Path, published: tuple[dict[str, Tensor], dict[str, Any]]
) -> None:
    weights: dict[str, Any] = {**published[0], "separator.reconstructor_deconv.weight": "a text"}
    with pytest.raises(CheckpointError, match=r"reconstructor_deconv\.weight' is str"):
        load_checkpoint(write_checkpoint(tmp_path, weights, published[1]))


SEPARATOR_OPTIONS = {
    "band_split": True,
    "input_type": "conv",
    "split_compress": True,
    "norm_type": "layernorm",
    "ffn_type": ["conv1d", "conv1d"],
    "ffn_hidden_dim": 384,
    "conv1d_shift": 2,
    "spk_path_enable": False,
    "spk_spliter_type": "linear",
    "tf_order": "ff",
    "wavelet_depth": 3,
    "num_groups": 3,
    "num_spk": 1,
}


@pytest.mark.parametrize("option", SEPARATOR_OPTIONS)
def test_unsupported_separator_options_are_refused_by_name(
    tmp_path: Path, published: tuple[dict[str, Tensor], dict[str, Any]], option: str
) -> None:
    weights, config = published
    config["separator_conf"][option] = SEPARATOR_OPTIONS[option]
    # Our own configuration names three of these in its own words.
    named = {"spk_spliter_type": "splitter", "num_groups": "norm_groups", "num_spk": "sources"}
    with pytest.raises(ConfigError, match=named.get(option, option)):
        load_checkpoint(write_checkpoint(tmp_path, weights, config))


OTHER_OPTIONS = {
    "normalize_variance": {"model_conf": {"normalize_variance": False}},
    "model_conf.normalize_variance": {"model_conf": {}},  # off by default
    "normalize_variance_per_ch": {
        "model_conf": {"normalize_variance": True, "normalize_variance_per_ch": True}
    },
    "always_forward_in_48k": {"model_conf": {"normalize_variance": True, "always_forward_in_48k": True}},
    "model_conf.flexible_numspk": {"model_conf": {"normalize_variance": True, "flexible_numspk": True}},
    "flexible_numspk": {"flexible_numspk": True},
    "separator": {"separator": "tfgridnet"},
    "encoder": {"encoder": "conv"},
    "decoder": {"decoder": "conv"},
    "diffusion_model": {"diffusion_model": "sgmse"},
    "different STFT sizes": {"decoder_conf": {"n_fft": 32, "hop_length": 8}},
    "encoder_conf.window": {"encoder_conf": {"n_fft": 32, "hop_length": 16, "window": "hamming"}},
    "decoder_conf.window": {"decoder_conf": {"n_fft": 32, "hop_length": 16, "window": "hamming"}},
    "encoder_conf.center": {"encoder_conf": {"n_fft": 32, "hop_length": 16, "center": False}},
    "encoder_conf.win_length": {"encoder_conf": {"n_fft": 32, "hop_length": 16, "win_length": 24}},
    "encoder_conf: spec_transform_type": {
        "encoder_conf": {"n_fft": 32, "hop_length": 16, "spec_transform_type": "exponent"}
    },
    "encoder_conf: pad_mode": {"encoder_conf": {"n_fft": 32, "hop_length": 16, "pad_mode": "constant"}},
    "hop": {
        "encoder_conf": {"n_fft": 32, "hop_length": 12},
        "decoder_conf": {"n_fft": 32, "hop_length": 12},
    },
}


@pytest.mark.parametrize("option", OTHER_OPTIONS)
def test_unsupported_options_elsewhere_are_refused_by_name(
    tmp_path: Path, published: tuple[dict[str, Tensor], dict[str, Any]], option: str
) -> None:
    weights, config = published
    config.update(OTHER_OPTIONS[option])
    with pytest.raises(ConfigError, match=option.replace(".", r"\.")):
        load_checkpoint(write_checkpoint(tmp_path, weights, config))


@pytest.mark.parametrize(
    "change",
    [
        {"encoder_conf": 5},
        {
            "encoder_conf": {"n_fft": None, "hop_length": 16},
            "decoder_conf": {"n_fft": None, "hop_length": 16},
        },
        {"sample_rate": "8k"},
        {"sample_rate": None},
        {"model_conf": [1]},
        {"separator_conf": [1]},
        {"separator_conf": {1: 2}},
    ],
)
def test_values_of_another_kind_are_refused(
    tmp_path: Path, published: tuple[dict[str, Tensor], dict[str, Any]], change: dict[str, Any]
) -> None:
    weights, config = published
    config.update(change)
    with pytest.raises(ConfigError):
        load_checkpoint(write_checkpoint(tmp_path, weights, config))


@pytest.mark.parametrize(
    "change", [{"eps": "x"}, {"mask": "false"}, {"emb_dim": "8"}, {"ffn_hidden_dim": ["a", "b"]}]
)
def test_separator_options_of_another_kind_are_refused(
    tmp_path: Path, published: tuple[dict[str, Tensor], dict[str, Any]], change: dict[str, Any]
) -> None:
    weights, config = published
    config["separator_conf"].update(change)
    with pytest.raises(ConfigError):
        load_checkpoint(write_checkpoint(tmp_path, weights, config))


def test_options_that_restate_the_default_are_accepted(
    tmp_path: Path, published: tuple[dict[str, Tensor], dict[str, Any]]
) -> None:
    weights, config = published
    stft = {"n_fft": 32, "hop_length": 16, "win_length": 32, "window": "hann", "center": True}
    config.update(encoder_conf=stft, decoder_conf=stft, flexible_numspk=False, diffusion_model=None)
    config["model_conf"] = {"normalize_variance": True, "normalize_variance_per_ch": False}
    config["separator_conf"].update(band_split=False, input_type="stft", dropout=0.1, spliter_loss=True)
    assert load_checkpoint(write_checkpoint(tmp_path, weights, config))[0].config.n_fft == 32


@pytest.mark.parametrize(
    ("text", "message"),
    [("- a\n- b\n", "not a mapping"), ("", "not a mapping"), ("a: [1\n", "config"), ("\x00", "config")],
)
def test_a_configuration_that_is_none_is_refused(folder: Path, text: str, message: str) -> None:
    (folder / "config.yaml").write_text(text)
    with pytest.raises(ConfigError, match=message):
        load_checkpoint(folder)


def test_a_configuration_may_not_make_python_objects(folder: Path, tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    (folder / "config.yaml").write_text(f"a: !!python/object/apply:pathlib.Path.touch [{marker}]\n")
    with pytest.raises(ConfigError, match="config"):
        load_checkpoint(folder)
    assert not marker.exists()


class Hostile:
    """Makes a file when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return Path.touch, (self.marker,)


@pytest.mark.parametrize("name", ["x.pth", "own.pt"])
@pytest.mark.parametrize("zipped", [True, False])
def test_code_inside_a_checkpoint_is_refused_and_never_runs(folder: Path, name: str, zipped: bool) -> None:
    marker = folder / "marker"
    content = {"network": {}, "weights": Hostile(marker), "facts": {}}
    if zipped:
        torch.save(content, folder / name)
    else:
        (folder / name).write_bytes(pickle.dumps(content, protocol=2))
    with pytest.raises(CheckpointError, match=name):
        load_checkpoint(folder / name)
    assert not marker.exists()
    if not zipped:
        pickle.loads((folder / name).read_bytes())
        assert marker.exists(), "the trap of this test does not work"


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.99])
@pytest.mark.parametrize("own", [True, False])
def test_truncated_files_are_refused_by_name(folder: Path, share: float, own: bool) -> None:
    path = folder / ("own.pt" if own else "x.pth")
    if own:
        save_checkpoint(path, Network(OWN), {})
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(CheckpointError, match=path.name):
        load_checkpoint(path)


@pytest.mark.parametrize("name", ["x.pth", "own.pt"])
@pytest.mark.parametrize("content", [b"no checkpoint\n", b"RIFF1234WAVEfmt ", bytes(1000)])
def test_files_of_another_kind_are_refused_by_name(folder: Path, name: str, content: bytes) -> None:
    (folder / name).write_bytes(content)
    with pytest.raises(CheckpointError, match=name):
        load_checkpoint(folder / name)


def test_our_own_form_survives_the_round_trip_with_its_facts(tmp_path: Path) -> None:
    torch.manual_seed(3)
    network = Network(OWN).eval()
    facts = {"steps": 12, "data": "sines", "audio_s": 1.5}
    save_checkpoint(tmp_path / "a.pt", network, facts, latest={"x": torch.ones(2)})
    for path in (tmp_path / "a.pt", tmp_path):
        loaded, read = load_checkpoint(path)
        assert (read, loaded.config, loaded.training) == (facts, OWN, False)
        for name, weight in network.state_dict().items():
            assert torch.equal(loaded.state_dict()[name], weight), name
    assert [p.name for p in tmp_path.iterdir()] == ["a.pt"]


def test_a_failed_save_leaves_the_file_that_was_there(tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    save_checkpoint(path, Network(OWN), {"steps": 1})
    with pytest.raises((AttributeError, pickle.PicklingError)):
        save_checkpoint(path, Network(OWN), {"steps": lambda: 2})
    assert load_checkpoint(path)[1] == {"steps": 1}


def test_our_own_form_without_its_parts_or_with_unknown_options_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    torch.save({"weights": {}}, path)
    with pytest.raises(CheckpointError, match="network"):
        load_checkpoint(path)
    torch.save([1, 2], path)
    with pytest.raises(CheckpointError, match="list"):
        load_checkpoint(path)
    content = {"network": {**to_mapping(OWN), "depth": 3}, "weights": {}, "facts": {}}
    torch.save(content, path)
    with pytest.raises(ConfigError, match=r"unknown option depth; known are .*trained_depth"):
        load_checkpoint(path)


def test_two_of_our_own_in_a_folder_are_refused(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "a.pt", Network(OWN), {})
    shutil.copy(tmp_path / "a.pt", tmp_path / "b.pt")
    with pytest.raises(CheckpointError, match=r"found a\.pt, b\.pt; name the file"):
        load_checkpoint(tmp_path)


@pytest.mark.parametrize("name", ["a.pt.bak", "a.pt.step100", "log.jsonl"])
def test_a_file_beside_a_checkpoint_is_none(tmp_path: Path, name: str) -> None:
    save_checkpoint(tmp_path / "a.pt", Network(OWN), {})
    shutil.copy(tmp_path / "a.pt", tmp_path / name)
    with pytest.raises(CheckpointError, match=rf"{name}: not a \.pt or \.pth file"):
        load_checkpoint(tmp_path / name)


@pytest.mark.parametrize(
    ("change", "message"),
    [({"steps": None}, "steps are no whole number"), ({"dim": 2**31 - 8}, "cannot be built")],
)
def test_our_own_form_with_impossible_values_is_refused(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    facts = {name: value for name, value in change.items() if name == "steps"}
    network = {**to_mapping(OWN), **{name: value for name, value in change.items() if name == "dim"}}
    torch.save({"network": network, "weights": {}, "facts": facts}, tmp_path / "a.pt")
    with pytest.raises(CheckpointError, match=message):
        load_checkpoint(tmp_path / "a.pt")


def test_a_configuration_survives_the_way_through_plain_values() -> None:
    assert from_mapping(NetworkConfig, to_mapping(OWN), "here") == OWN


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"hop": 12}, "hop"),
        ({"sources": 1}, "sources"),
        ({"norm_groups": 3}, "norm_groups"),
        ({"heads": 3}, "heads"),
        ({"splitter": "none"}, "splitter"),
        ({"bands": (2, 2)}, "4 bins"),
        ({"mask": True}, "mask"),
        ({"block_residual": True}, "separator_residual"),
        ({"separator_layers": 0}, "separator_layers"),
        ({"dim": "8"}, "dim must be a whole number"),
        ({"hop": 0}, "hop"),
        ({"trained_depth": 2.5}, "trained_depth"),
        ({"block_layers": 0}, "block_layers"),
    ],
)
def test_contradicting_options_are_refused_by_name(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        from_mapping(NetworkConfig, {**to_mapping(OWN), **change}, "here")
