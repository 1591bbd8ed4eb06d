"""The training objective against plain numpy and scipy."""

from itertools import permutations

import numpy as np
import pytest
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from tisdiss_models.losses import (
    best_assignment,
    multi_depth_loss,
    pairwise_soft_snr_db,
    si_sdr_db,
    soft_snr_db,
)


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def numpy_si_sdr_db(estimate: np.ndarray, source: np.ndarray) -> float:
    estimate, source = estimate - estimate.mean(), source - source.mean()
    target = np.dot(estimate, source) / np.dot(source, source) * source
    return float(10 * np.log10(np.sum(target**2) / np.sum((estimate - target) ** 2)))


@pytest.mark.parametrize("share", [0.01, 0.5, 10.0])
def test_si_sdr_equals_the_formula(share: float) -> None:
    source = noise(3, 2, 400) + 0.3
    estimate = 2.5 * source + share * noise(3, 2, 400, seed=1) - 1
    out = si_sdr_db(estimate, source)
    assert out.shape == (3, 2)
    for b in range(3):
        for s in range(2):
            expected = numpy_si_sdr_db(estimate[b, s].double().numpy(), source[b, s].double().numpy())
            assert float(out[b, s]) == pytest.approx(expected, abs=1e-3)


def test_si_sdr_ignores_scale_and_offset() -> None:
    source, estimate = noise(300), noise(300) + noise(300, seed=1)
    plain = si_sdr_db(estimate, source)
    torch.testing.assert_close(si_sdr_db(-3 * estimate + 2, 0.1 * source - 1), plain, atol=1e-3, rtol=0)


@pytest.mark.parametrize("zero", ["source", "estimate", "both"])
def test_si_sdr_of_silence_is_finite(zero: str) -> None:
    signals = {"source": noise(100), "estimate": noise(100, seed=1)}
    for name in signals:
        if zero in (name, "both"):
            signals[name] = torch.zeros(100)
    assert si_sdr_db(signals["estimate"], signals["source"]).isfinite()


def test_soft_snr_is_the_ratio_of_energies_where_the_limit_is_far() -> None:
    source, error = noise(4, 500), 0.1 * noise(4, 500, seed=1)
    expected = 10 * torch.log10(source.square().sum(-1) / error.square().sum(-1))
    out = soft_snr_db(source + error, source, source, 80.0)
    torch.testing.assert_close(out, expected, atol=1e-3, rtol=0)


@pytest.mark.parametrize("limit_db", [10.0, 30.0])
def test_soft_snr_of_a_perfect_estimate_is_about_the_limit(limit_db: float) -> None:
    mix = noise(500)
    assert float(soft_snr_db(mix, mix, mix, limit_db)) == pytest.approx(limit_db, abs=0.5)
    quiet = 0.1 * mix  # 20 dB below the mixture, and so is its limit
    t, s = 10 ** (-limit_db / 10), 0.01
    assert float(soft_snr_db(quiet, quiet, mix, limit_db)) == pytest.approx(
        10 * np.log10((s + t) / t), abs=1e-3
    )


def test_soft_snr_of_a_silent_source_is_best_at_0_db_for_silence_and_falls_with_the_estimate() -> None:
    mix, silence = noise(500), torch.zeros(500)
    scores = [float(soft_snr_db(g * mix, silence, mix, 30.0)) for g in (0, 0.01, 0.1, 1.0)]
    assert scores[0] == pytest.approx(0, abs=1e-5)
    assert scores == sorted(scores, reverse=True)
    assert scores[-1] == pytest.approx(-30, abs=0.1)


def test_soft_snr_does_not_depend_on_the_level_but_on_the_scale_of_the_estimate() -> None:
    source, mix = noise(500), noise(500) + noise(500, seed=1)
    estimate = source + 0.1 * mix
    plain = soft_snr_db(estimate, source, mix, 30.0)
    torch.testing.assert_close(
        soft_snr_db(0.01 * estimate, 0.01 * source, 0.01 * mix, 30.0), plain, atol=1e-2, rtol=0
    )
    assert soft_snr_db(2 * estimate, source, mix, 30.0) < plain - 5


def test_soft_snr_has_finite_gradients_in_silence() -> None:
    estimate = torch.zeros(50, requires_grad=True)
    soft_snr_db(estimate, torch.zeros(50), torch.zeros(50), 30.0).backward()
    assert estimate.grad is not None
    assert estimate.grad.isfinite().all()


@pytest.mark.parametrize("sources", [2, 3])
def test_the_best_assignment_is_the_one_scipy_finds(sources: int) -> None:
    scores = 10 * noise(50, sources, sources)
    out = best_assignment(scores)
    assert out.shape == (50,)
    orders = set()
    for one, found in zip(scores, out, strict=True):
        rows, columns = linear_sum_assignment(one.numpy(), maximize=True)
        assert float(found) == pytest.approx(float(one[rows, columns].mean()), abs=1e-4)
        orders.add(tuple(columns))
    assert len(orders) == len(list(permutations(range(sources))))


def test_all_depths_share_the_assignment_that_is_best_over_all() -> None:
    """The first depth has the sources swapped; the second, which weighs more, has not."""
    sources = noise(1, 2, 800)
    mix = sources.sum(1)
    clean = sources + 0.1 * noise(1, 2, 800, seed=1)
    estimates = [clean.flip(1), clean]

    def mean_db(estimate: Tensor) -> float:
        return float(soft_snr_db(estimate, sources, mix[:, None], 30.0).mean())

    expected = -(0.25 * mean_db(clean.flip(1)) + 0.75 * mean_db(clean))
    swapped = [estimate.flip(1) for estimate in estimates]
    for depths in (estimates, swapped):
        scores = [pairwise_soft_snr_db(estimate, sources, mix, 30.0) for estimate in depths]
        assert float(multi_depth_loss(scores, [0.25, 0.75])) == pytest.approx(expected, abs=1e-3)


def test_the_loss_needs_a_weight_for_every_depth() -> None:
    scores = noise(1, 2, 2)
    with pytest.raises(ValueError):
        multi_depth_loss([scores, scores], [1.0])
