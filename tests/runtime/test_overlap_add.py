import itertools

import numpy as np
import pytest

from tisdiss_rt.audio.overlap_add import separate_windows
from tisdiss_rt.talkers.order import match_order


def run(mix, window, separate, block=None):
    block = block or max(1, len(mix))
    blocks = (mix[i : i + block] for i in range(0, len(mix), block))
    return np.concatenate(list(separate_windows(blocks, window, separate, match_order)), axis=1)


@pytest.mark.parametrize("window", [2, 10, 64])
@pytest.mark.parametrize("block", [1, 7, 64, 1000])
def test_lengths_and_order_over_a_grid(noise, window, block):
    for length in (*range(1, 40), 63, 64, 65, 95, 96, 97, 127, 128, 129, 500):
        mix = noise(length)
        result = run(mix, window, lambda m, start: np.stack([m, -2 * m]), block)
        np.testing.assert_allclose(result, np.stack([mix, -2 * mix]), atol=1e-6, err_msg=str(length))


def test_windows_are_whole_overlap_by_half_and_end_with_the_signal(noise):
    mix, seen = noise(1090), []

    def separate(window, start):
        seen.append((start, len(window)))
        np.testing.assert_array_equal(window, mix[start : start + len(window)])
        return window[None]

    run(mix, 200, separate, 33)
    assert seen == [(start, 200) for start in [*range(0, 900, 100), 890]]
    seen.clear()
    run(mix[:1000], 200, separate)
    assert seen == [(start, 200) for start in range(0, 900, 100)]
    seen.clear()
    run(mix[:199], 200, separate)
    assert seen == [(0, 199)]


def test_nothing_in_nothing_out():
    assert list(separate_windows([np.zeros(0, np.float32)], 8, lambda m, s: m[None], match_order)) == []


def test_crossfade_is_a_raised_cosine_that_sums_to_one():
    levels = iter([0.0, 1.0])
    mix = np.ones(300, np.float32)
    result = run(mix, 200, lambda m, start: np.full((1, len(m)), next(levels), np.float32))[0]
    n = (np.arange(100) + 0.5) / 100
    expected = np.concatenate([np.zeros(100), np.sin(np.pi / 2 * n) ** 2, np.ones(100)])
    np.testing.assert_allclose(result, expected, atol=1e-6)


@pytest.mark.parametrize("length", [1000, 1037])
@pytest.mark.parametrize("sources", [2, 3])
def test_sources_keep_their_order(length, sources):
    rng = np.random.default_rng(0)
    voices = rng.standard_normal((sources, length)).astype(np.float32)
    orders = itertools.cycle(itertools.permutations(range(sources)))

    def separate(window, start):
        return voices[list(next(orders)), start : start + len(window)]

    np.testing.assert_allclose(run(voices.sum(0), 100, separate), voices, atol=1e-5)


def test_a_loud_voice_leaking_into_a_silent_one_is_no_voice():
    """One voice is silent in the overlap, where its estimate is a copy of the other one, 20 dB below."""
    rng = np.random.default_rng(0)
    loud = rng.standard_normal(1000).astype(np.float32)
    voices = np.stack([loud, 0.1 * loud])
    flips = itertools.count()

    def separate(window, start):
        order = [0, 1] if next(flips) % 2 == 0 else [1, 0]
        return voices[order, start : start + len(window)]

    np.testing.assert_allclose(run(loud, 100, separate), voices, atol=1e-5)


def test_silence_keeps_the_last_known_order():
    rng = np.random.default_rng(0)
    before, after = np.zeros((2, 3, 50), np.float32)
    assert match_order(before, after, (2, 0, 1)) == (2, 0, 1)
    voice = rng.standard_normal(50)
    before[0] = after[2] = voice  # one voice is heard, and it is where it was
    assert match_order(before, after, (2, 0, 1)) == (2, 0, 1)
    after[[1, 2]] = after[[2, 1]]  # it moved: as few others as possible move
    assert match_order(before, after, (2, 0, 1)) == (1, 0, 2)
    before[2] = after[0] = 1e-2 * rng.standard_normal(50)  # residue decides nothing
    assert match_order(before, after, (1, 0, 2)) == (1, 0, 2)


def test_memory_stays_constant():
    sizes = []

    def separate(window, start):
        sizes.append(window.base.nbytes if window.base is not None else window.nbytes)
        return window[None]

    blocks = (np.ones(100, np.float32) for _ in range(2000))
    total = sum(piece.shape[1] for piece in separate_windows(blocks, 400, separate, match_order))
    assert total == 200_000
    assert max(sizes) <= 4 * (400 + 200 + 100)
