"""The network for streams: step by step is the same as at once, and nothing looks ahead."""

import dataclasses

import numpy as np
import pytest
import torch
from torch import Tensor

from tisdiss_models import ConfigError, NetworkConfig, StreamingNetwork, build_network
from tisdiss_models.causal import CausalGatedConv, Memory, RecentAttention
from tisdiss_models.layers import FRAMES, GatedConv
from tisdiss_models.streaming import memory_buffers, stream_windows

HOP = 32
CONFIG = NetworkConfig(
    sample_rate=16000, n_fft=128, hop=HOP, bands=(4, 4, 8, 16, 32), dim=16, norm_groups=4, heads=2,
    attention_dim=8, ffn_dims=(12, 8), separator_layers=2, separator_repeats=1, splitter="conv2d",
    block_layers=2, trained_depth=3, head_dim=8, lookback=9,
)  # fmt: skip


RECURRENT = dataclasses.replace(CONFIG, lookback=0, recurrent_dim=12)
KINDS = pytest.mark.parametrize("config", [CONFIG, RECURRENT], ids=["lookback", "recurrent"])


def network(config: NetworkConfig = CONFIG, seed: int = 4) -> StreamingNetwork:
    torch.manual_seed(seed)
    made = build_network(config).eval()
    assert isinstance(made, StreamingNetwork)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    return made


def noise(*shape: int, seed: int = 0) -> Tensor:
    return 0.1 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def step_by_step(made: StreamingNetwork, mix: Tensor, depths: list[int]) -> Tensor:
    """Run one mixture (samples,) hop by hop as a runtime does: (S, samples)."""
    buffers = memory_buffers(made.config)
    kept = {part: {k: torch.zeros(b.shape) for k, b in named.items()} for part, named in buffers.items()}
    repetitions = [kept["block"]] * max(depths)
    results = []

    def update(part: str, past: dict, newest: dict[str, Tensor]) -> dict:
        rows = {k: torch.cat([past[k], newest[k]], axis) for k, (_, axis) in buffers[part].items()}
        return {k: rows[k].narrow(axis, 1, shape[axis]) for k, (shape, axis) in buffers[part].items()}

    padded = torch.nn.functional.pad(mix, (0, -len(mix) % HOP + HOP))
    for hop, depth in zip(padded.split(HOP), depths, strict=True):
        memory = Memory(kept["stem"])
        z, spec = made.stem(hop[None], memory)
        kept["stem"] = update("stem", kept["stem"], memory.newest)
        newest: dict[str, Tensor] = {}
        for n, past in enumerate(repetitions):
            if n < depth:
                memory = Memory(past)
                z = made.block(z, memory)
                newest = memory.newest
            repetitions[n] = update("block", past, newest)
        memory = Memory(kept["decoder"])
        results.append(made.decoder(z, spec, memory))
        kept["decoder"] = update("decoder", kept["decoder"], memory.newest)
    return torch.cat(results, 1)[:, HOP : HOP + len(mix)]


@KINDS
@pytest.mark.parametrize("samples", [1, 31, 32, 33, 3000])
@torch.no_grad()
def test_step_by_step_gives_what_the_whole_recording_gives(config: NetworkConfig, samples: int) -> None:
    made, mix = network(config), noise(1, samples)
    steps = -(-samples // HOP) + 1
    for depth, whole in enumerate(made.every_depth(mix, 4)):
        if depth:
            found = step_by_step(made, mix[0], [depth] * steps)
            torch.testing.assert_close(found, whole[0], rtol=0, atol=1e-6)


@KINDS
@torch.no_grad()
def test_depth_may_change_at_every_step(config: NetworkConfig) -> None:
    made, mix = network(config), noise(2, 3000)
    generator = torch.Generator().manual_seed(3)
    depths = torch.randint(1, 6, (95, 2), generator=generator)
    *_, whole = made.every_depth(mix, 5, depths)
    *_, fixed = made.every_depth(mix, 5)
    for stream in range(2):
        found = step_by_step(made, mix[stream], depths[:, stream].tolist())
        torch.testing.assert_close(found, whole[stream], rtol=0, atol=1e-6)
    assert (whole - fixed).abs().max() > 1e-3  # or the schedule would have had no effect


@KINDS
@torch.no_grad()
def test_latency_is_two_hops_and_no_sample_is_heard_earlier(config: NetworkConfig) -> None:
    made, mix = network(config), noise(1, 40 * HOP)
    at = 20 * HOP + 5
    changed = mix.clone()
    changed[:, at:] = noise(1, 20 * HOP - 5, seed=1)
    difference = (made(mix) - made(changed)).abs()[0].amax(0)
    assert difference[: 19 * HOP].max() == 0  # the hop before that of the change is still untouched ...
    assert difference[19 * HOP : 20 * HOP].max() > 1e-5  # ... and its successor is heard one hop early


@torch.no_grad()
def test_unchanged_spectra_give_the_mixture_back() -> None:
    made, mix = network(), noise(1, 3000)
    blank = made.blank(mix)
    spec, _ = made.stem.analyse(made.steps(mix), Memory(blank["stem"]))
    wave = made.decoder.synthesise(spec.repeat(2, 1, 1, 1), Memory(blank["decoder"]))
    torch.testing.assert_close(made.crop(wave, mix)[0], mix.repeat(2, 1), rtol=0, atol=1e-6)


def test_spectra_are_those_of_the_windowed_past() -> None:
    made, mix = network(), noise(1, 10 * HOP)
    spec, _ = made.stem.analyse(mix, Memory(made.blank(mix)["stem"]))
    window = stream_windows(128, HOP)[0].numpy()
    expected = np.fft.rfft(mix[0, 3 * HOP : 7 * HOP].numpy() * window)
    found = spec[0, 0, 6].numpy() + 1j * spec[0, 1, 6].numpy()
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_the_followed_level_rises_at_once_and_falls_slowly() -> None:
    made = network()
    mix = torch.cat([noise(1, 10 * HOP), 1e-3 * noise(1, 30 * HOP), noise(1, 10 * HOP)], 1)
    _, scale = made.stem.analyse(mix, Memory(made.blank(mix)["stem"]))
    level, expected = 0.0, []
    padded = np.pad(mix[0].numpy(), (3 * HOP, 0))
    for t in range(50):
        power = float(np.mean(padded[t * HOP : (t + 4) * HOP] ** 2))
        level = max(power, level * np.exp(-HOP / 16000 / 2.0))
        expected.append(0.5 * np.sqrt(max(level, 1e-16)))
    np.testing.assert_allclose(scale[0, 0, :, 0].numpy(), expected, rtol=1e-4)


@KINDS
@pytest.mark.parametrize("level_db", [-30, 30])
@torch.no_grad()
def test_output_levels_follow_the_level_of_the_mixture(config: NetworkConfig, level_db: int) -> None:
    made, mix, gain = network(config), noise(1, 2000), 10 ** (level_db / 20)
    plain, scaled = made(mix), made(gain * mix)
    torch.testing.assert_close(scaled, gain * plain, rtol=0, atol=1e-4 * float(scaled.abs().max()))


@KINDS
@torch.no_grad()
def test_silence_gives_silence_and_speech_after_it_is_finite(config: NetworkConfig) -> None:
    made = network(config)
    mix = torch.cat([torch.zeros(1, 2000), noise(1, 2000)], 1)
    out = made(mix)
    assert out[..., :1900].abs().max() < 1e-6
    assert out.isfinite().all() and out[..., 2000:].abs().max() > 1e-3


@torch.no_grad()
def test_causal_convolution_is_the_centred_one_three_frames_later() -> None:
    torch.manual_seed(0)
    centred = GatedConv(CONFIG, 12, FRAMES)
    causal = CausalGatedConv(CONFIG, 12, "ffn")
    causal.load_state_dict(centred.state_dict())
    x = noise(2, 16, 20, 5)  # (B, D, T, F)
    x[:, :, 17:] = 0
    past = {"ffn_in": torch.zeros(2, 5, 3, 16), "ffn_hidden": torch.zeros(2, 5, 3, 12)}
    gain = 1 + noise(16, seed=1)
    found = causal(x.permute(0, 3, 2, 1), gain, Memory(past)).permute(0, 3, 2, 1)
    torch.testing.assert_close(found[:, :, 3:], centred(x, gain)[:, :, :17], rtol=0, atol=1e-6)


@pytest.mark.parametrize("frames", [1, 5, 64, 65, 150])
@torch.no_grad()
def test_attention_sees_the_last_frames_with_a_bias_for_each_distance(frames: int) -> None:
    torch.manual_seed(0)
    attention = RecentAttention(CONFIG, "kv").eval()
    torch.nn.init.normal_(attention.bias)
    x, gain = noise(2, 3, frames, 16, seed=1), 1 + noise(16, seed=3)  # (B, F, T, D)
    kept = {
        "kv_key": noise(2, 3, 2, 8, 4, seed=2),
        "kv_value": noise(2, 3, 2, 8, 4, seed=4),
    }  # (B, F, H, L, d)
    found = attention(x, gain, Memory(kept))
    q, k, v = (t.unflatten(-1, (2, 4)).transpose(2, 3) for t in attention.qkv(gain * x).chunk(3, -1))
    k, v = torch.cat([kept["kv_key"], k], 3), torch.cat([kept["kv_value"], v], 3)
    for t in range(frames):
        scores = (q[:, :, :, t : t + 1] * k[:, :, :, t : t + 9]).sum(-1) / 2 + attention.bias  # (B, F, H, 9)
        expected = (scores.softmax(-1)[..., None] * v[:, :, :, t : t + 9]).sum(3).flatten(2)
        torch.testing.assert_close(found[:, :, t], attention.out(expected), rtol=0, atol=1e-5)


@torch.no_grad()
def test_what_is_long_past_is_forgotten() -> None:
    made = network()
    tail = noise(1, 3000, seed=5)
    one, other = (torch.cat([noise(1, 3200, seed=s), tail], 1) for s in (1, 2))
    other[:, :3200] *= one[:, :3200].norm() / other[:, :3200].norm()
    late = (made(one) - made(other)).abs()[..., -HOP:]
    assert late.max() < 0.05 * made(one)[..., -HOP:].abs().max()


@torch.no_grad()
def test_one_frame_at_a_time_has_the_features_and_masks_of_many() -> None:
    made = network()
    spec, z = noise(2, 2, 7, 65), noise(4, 7, 5, 16, seed=1)
    frames = range(7)
    features = torch.cat([made.stem.encoder(spec[:, :, t : t + 1]) for t in frames], 2)
    torch.testing.assert_close(features, made.stem.encoder(spec), rtol=0, atol=1e-6)
    head = made.decoder.head
    masked = torch.cat([head(z[:, t : t + 1], spec[:, :, t : t + 1]) for t in frames], 2)
    torch.testing.assert_close(masked, head(z, spec), rtol=0, atol=1e-6)


@KINDS
@pytest.mark.parametrize(
    "changes",
    [
        {"bands": (), "n_fft": 128}, {"splitter": "swiglu_conv_deconv2d"}, {"separator_repeats": 2},
        {"time_first": True}, {"separator_residual": True},
    ],
)  # fmt: skip
def test_what_streams_cannot_have_is_refused(config: NetworkConfig, changes: dict) -> None:
    with pytest.raises(ConfigError, match="lookback"):
        dataclasses.replace(config, **changes)
    with pytest.raises(ConfigError, match="twice hop"):
        dataclasses.replace(config, hop=config.n_fft)


@pytest.mark.parametrize("changes", [{"lookback": 1}, {"ffn_kernel": 1}, {"recurrent_dim": 12}])
def test_what_the_attention_of_streams_cannot_have_is_refused(changes: dict) -> None:
    with pytest.raises(ConfigError, match="lookback"):
        dataclasses.replace(CONFIG, **changes)
