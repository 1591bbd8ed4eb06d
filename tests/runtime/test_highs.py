"""What voices get of the band above their network: shares of the mixture that add up to it at most."""

import numpy as np
import pytest
import soxr

from tisdiss_rt import Separator
from tisdiss_rt.audio.blocks import fit_length
from tisdiss_rt.audio.highs import with_highs

MODEL_HZ = 16000


def below(signal, rate):
    there = soxr.resample(soxr.resample(signal, rate, MODEL_HZ), MODEL_HZ, rate)
    return np.pad(there, (0, max(0, len(signal) - len(there))))[: len(signal)]


def carried(voices, mix, rate, voice_block=10_000, mix_block=4096):
    pieces = (voices[i : i + voice_block] for i in range(0, len(voices), voice_block))
    blocks = (mix[i : i + mix_block] for i in range(0, len(mix), mix_block))
    return np.concatenate(
        list(fit_length(with_highs(pieces, blocks, rate, MODEL_HZ), lambda: len(mix), voices.shape[1]))
    )


@pytest.mark.parametrize("rate", [22050, 44100, 48000, 96000])
@pytest.mark.parametrize("length", [700, 30_001])
def test_one_voice_alone_is_the_whole_mixture(noise, rate, length):
    mix = noise(length)
    low = below(mix, rate)
    result = carried(np.stack([low, np.zeros_like(low)], axis=1), mix, rate)
    assert result.shape == (length, 2)
    assert result.dtype == np.float32
    np.testing.assert_allclose(result[:, 0], mix, atol=2e-3)
    assert not result[:, 1].any()


def test_how_it_comes_makes_no_difference(noise):
    mix = noise(60_000)
    low = below(mix, 48000)
    voices = np.stack([0.7 * low, 0.3 * low], axis=1)
    expected = carried(voices, mix, 48000)
    np.testing.assert_allclose(expected, mix[:, None] * [0.7, 0.3], atol=2e-3)
    for sizes in ((1, 60_000), (60_000, 333), (777, 4096)):
        np.testing.assert_allclose(carried(voices, mix, 48000, *sizes), expected, atol=1e-5)


def test_highs_go_where_the_voice_is(noise):
    """Two voices take turns, and then there is noise that neither has."""
    rate = 48000
    mix = noise(3 * rate)
    low = below(mix, rate)
    turn = np.arange(len(mix)) // rate
    voices = np.stack([np.where(turn == 0, low, 0), np.where(turn == 1, low, 0)], axis=1)
    highs = carried(voices, mix, rate) - voices
    whole = mix - low
    inner = slice(rate // 10, -rate // 10)
    for second, owner in ((0, 0), (1, 1), (2, None)):
        now = slice(second * rate, (second + 1) * rate)
        for voice in (0, 1):
            expected = whole[now] if voice == owner else 0 * whole[now]
            np.testing.assert_allclose(highs[now, voice][inner], expected[inner], atol=2e-3)


def test_arrays_of_a_higher_rate_keep_their_highs(gain_toy):
    """The toy gives 0.7 and 0.3 of everything, each times 31/32."""
    rate = 48000
    time_s = np.arange(rate) / rate
    mix = 0.2 * sum(np.sin(2 * np.pi * hz * time_s) for hz in (440, 6500, 12_000)).astype(np.float32)
    separator = Separator(gain_toy, provider="cpu", threads=1)
    out = separator.separate(np.stack([mix, mix], axis=1), rate, depth=4).sources
    inner = slice(2000, -2000)
    for voice, share in zip(out, (0.7, 0.3), strict=True):
        np.testing.assert_allclose(voice[inner], share * 31 / 32 * mix[inner], atol=3e-3)
    low = separator.separate(soxr.resample(mix, rate, MODEL_HZ), MODEL_HZ, depth=4).sources
    assert low.shape == (2, MODEL_HZ)
