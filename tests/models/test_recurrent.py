"""The parts of the recurrent layers, each against the same sums written out."""

import dataclasses

import pytest
import torch
from torch import Tensor

from tisdiss_models import NetworkConfig
from tisdiss_models.causal import Memory
from tisdiss_models.recurrent import BandAttention, FeedForward, Recurrence, recurrence

CONFIG = NetworkConfig(
    sample_rate=16000, n_fft=128, hop=32, bands=(4, 4, 8, 16, 32), dim=16, heads=2, attention_dim=8,
    ffn_dims=(1, 12), separator_repeats=1, splitter="conv2d", recurrent_dim=6,
)  # fmt: skip


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("frames", [1, 2, 7])
def test_the_recurrence_has_the_states_and_gradients_of_a_plain_loop(frames: int) -> None:
    keep = normal(2, frames, 5, 6).sigmoid().requires_grad_()
    new = normal(2, frames, 5, 6, seed=1).requires_grad_()
    before, weight = normal(2, 1, 5, 6, seed=2), normal(2, frames, 5, 6, seed=3)
    expected, state = [], before[:, 0]
    for t in range(frames):
        state = keep[:, t] * state + new[:, t]
        expected.append(state)
    found = recurrence(keep, new, before)
    torch.testing.assert_close(found, torch.stack(expected, 1))
    gradients = torch.autograd.grad((weight * found).sum(), (keep, new))
    of_loop = torch.autograd.grad((weight * torch.stack(expected, 1)).sum(), (keep, new))
    torch.testing.assert_close(gradients, of_loop)


@torch.no_grad()
def test_a_frame_keeps_a_share_of_the_state_and_adds_the_rest_of_what_is_new() -> None:
    torch.manual_seed(0)
    part = Recurrence(CONFIG, "h")
    x, past = normal(2, 4, 5, 16), normal(2, 1, 5, 6, seed=1)
    memory = Memory({"h": past})
    found = part(x, memory)
    keep, new, gate = part.inner(part.norm(x)).chunk(3, -1)
    state = past[:, 0]
    for t in range(4):
        share = torch.sigmoid(keep[:, t])
        state = share * state + (1 - share) * new[:, t]
        torch.testing.assert_close(memory.newest["h"][:, t], state)
        expected = part.out(state * gate[:, t] * torch.sigmoid(gate[:, t]))
        torch.testing.assert_close(found[:, t], expected)


@torch.no_grad()
def test_a_skipped_frame_remembers_the_state_of_the_repetition_before() -> None:
    torch.manual_seed(0)
    part = Recurrence(CONFIG, "h")
    x, shallower = normal(2, 4, 5, 16), normal(2, 4, 5, 6, seed=1)
    ran = torch.tensor([[True, False, True, True], [False, True, False, False]])
    memory = Memory({"h": torch.zeros(2, 1, 5, 6)}, ran, {"h": shallower})
    part(x, memory)
    states = memory.newest["h"]
    torch.testing.assert_close(states[~ran], shallower[~ran], rtol=0, atol=0)
    resumed = Memory({"h": shallower[:1, 1:2]})
    part(x[:1, 2:], resumed)
    torch.testing.assert_close(states[0, 2:], resumed.newest["h"][0])


@torch.no_grad()
def test_bands_attend_to_each_other_with_a_bias_for_each_pair() -> None:
    torch.manual_seed(0)
    part = BandAttention(CONFIG)
    torch.nn.init.normal_(part.bias)
    x = normal(2, 3, 5, 16)
    q, k, v = (t.unflatten(-1, (2, 4)) for t in part.qkv(part.norm(x)).chunk(3, -1))  # (B, T, F, H, d)
    scores = torch.einsum("btfhd,btghd->bthfg", q, k) / 2 + part.bias
    expected = torch.einsum("bthfg,btghd->btfhd", scores.softmax(-1), v).flatten(3)
    torch.testing.assert_close(part(x), part.out(expected))


@torch.no_grad()
def test_sources_get_the_mean_of_all_sources_of_their_own_mixture() -> None:
    torch.manual_seed(0)
    part, nothing = FeedForward(CONFIG, 16, over_sources=True), Memory({})
    x = normal(4, 3, 5, 16)  # two mixtures of two sources
    found = part(x, nothing)
    torch.testing.assert_close(part(x[:2], nothing), found[:2])
    torch.testing.assert_close(part(x[2:], nothing), found[2:])
    torch.testing.assert_close(part(x[[1, 0]], nothing), found[[1, 0]])
    changed = x.clone()
    changed[1] += 1.0 * normal(3, 5, 16, seed=1)
    assert (part(changed, nothing)[0] - found[0]).abs().max() > 1e-3
    torch.testing.assert_close(part(changed, nothing)[2:], found[2:])
    alone = FeedForward(CONFIG, 16, over_sources=False)
    torch.testing.assert_close(alone(changed, nothing)[0], alone(x, nothing)[0])


@torch.no_grad()
def test_a_feed_forward_network_gets_frames_before_and_neighbours_of_the_present_one() -> None:
    torch.manual_seed(0)
    part = FeedForward(dataclasses.replace(CONFIG, ffn_kernel=3), 16, over_sources=False, name="before")
    x, past = normal(1, 4, 5, 16), normal(1, 2, 5, 16, seed=1)
    memory = Memory({"before": past})
    found, known = part(x, memory), part.norm(x)
    torch.testing.assert_close(memory.newest["before"], known)
    frames, edge = torch.cat([past, known], 1), torch.zeros(16)
    for t in range(4):
        for f in range(5):
            below = known[0, t, f - 1] if f > 0 else edge
            above = known[0, t, f + 1] if f < 4 else edge
            around = [below, known[0, t, f], above, frames[0, t + 1, f], frames[0, t, f]]
            value, gate = part.inner(torch.cat(around)).chunk(2)
            torch.testing.assert_close(found[0, t, f], part.out(value * gate * torch.sigmoid(gate)))


@torch.no_grad()
def test_a_skipped_frame_remembers_the_input_of_the_repetition_before() -> None:
    part = FeedForward(dataclasses.replace(CONFIG, ffn_kernel=2), 16, over_sources=True, name="before")
    x, shallower = normal(2, 4, 5, 16), normal(2, 4, 5, 16, seed=1)
    ran = torch.tensor([[True, False, True, True], [False, True, False, False]])
    memory = Memory({"before": torch.zeros(2, 1, 5, 16)}, ran, {"before": shallower})
    part(x, memory)
    newest = memory.newest["before"]
    torch.testing.assert_close(newest[~ran], shallower[~ran], rtol=0, atol=0)
    torch.testing.assert_close(newest[ran], part.norm(x)[ran])
