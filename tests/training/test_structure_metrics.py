"""Metrics of posteriors: against scipy, against scikit-learn, and on a mixture whose coverage is known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import r2_score

from skymill.models.mixture import Mixture, Widths
from skymill.training.structure import fit_levels, fit_widths
from skymill.training.structure_metrics import Judged, evaluate, judged, metrics_of, with_intervals

QUANTITIES = ["mag_i", "axis_ratio"]
N = 4000


def normal(mean: np.ndarray, sigma: np.ndarray) -> Mixture:
    """A single Gaussian in each row, its quantities not correlated."""
    n, q = mean.shape
    cholesky = np.broadcast_to(np.diag(sigma), (n, 1, q, q)).copy()
    return Mixture(np.ones((n, 1)), mean[:, None].astype(float), cholesky)


def correlated(n: int, seed: int) -> tuple[Mixture, np.ndarray]:
    """Mixtures of two correlated Gaussians, and truths drawn of them."""
    random = np.random.default_rng(seed)
    means = random.normal(size=(n, 2, 2)) + np.array([[0, 0], [2, -1]])
    cholesky = np.broadcast_to(np.array([[[0.4, 0], [0.3, 0.2]], [[0.8, 0], [-0.5, 0.6]]]), (n, 2, 2, 2)).copy()
    first = random.random(n) < 0.7
    chosen = np.where(first, 0, 1)
    noise = random.normal(size=(n, 2))
    truth = means[np.arange(n), chosen] + np.einsum("nij,nj->ni", cholesky[np.arange(n), chosen], noise)
    return Mixture(np.tile([0.7, 0.3], (n, 1)), means, cholesky), truth


def test_of_truths_drawn_from_the_posteriors_intervals_hold_what_they_say() -> None:
    mixture, truth = correlated(N, seed=1)
    found = metrics_of(judged(mixture, truth, QUANTITIES), QUANTITIES)
    for name in QUANTITIES:
        assert found[f"{name}_coverage_68"] == pytest.approx(0.68, abs=3 * np.sqrt(0.68 * 0.32 / N))
        assert found[f"{name}_coverage_95"] == pytest.approx(0.95, abs=3 * np.sqrt(0.95 * 0.05 / N))
        assert found[f"{name}_pit_ks"] < stats.kstwo(N).ppf(0.999)


def test_posteriors_that_are_too_narrow_are_found_out_and_mended() -> None:
    mixture, truth = correlated(N, seed=2)
    narrow = mixture.widened(Widths(np.array([0.5, 1.0]), np.zeros(2)))
    found = metrics_of(judged(narrow, truth, QUANTITIES), QUANTITIES)
    assert found["mag_i_coverage_68"] < 0.6 and found["mag_i_pit_ks"] > stats.kstwo(N).ppf(0.999)
    widths = fit_widths(narrow, truth)
    mended = narrow.widened(widths)
    np.testing.assert_allclose(mended.sigma, mixture.sigma, rtol=0.1)
    mended = metrics_of(judged(mended, truth, QUANTITIES), QUANTITIES)
    assert mended["mag_i_coverage_68"] == pytest.approx(0.68, abs=0.03)
    assert mended["log_score"] < found["log_score"]


def test_levels_mend_the_quantiles_of_posteriors_of_the_wrong_form() -> None:
    """Truths of a skewed distribution under Gaussians of the right width; levels are learned on other rows."""
    random = np.random.default_rng(9)
    mean = random.normal(size=(2 * N, 2))
    truth = mean + np.stack([0.7 + 0.6 * random.exponential(size=2 * N), random.normal(size=2 * N)], axis=1)
    half = [normal(mean[rows], np.array([1.0, 1.0])) for rows in (slice(N), slice(N, None))]
    plain = metrics_of(judged(half[1], truth[N:], QUANTITIES), QUANTITIES)
    levels = fit_levels(half[0], truth[:N])
    mended = metrics_of(judged(half[1], truth[N:], QUANTITIES, levels), QUANTITIES)
    assert abs(plain["mag_i_coverage_68"] - 0.68) > 0.03 and plain["mag_i_bias"] < -0.5
    for name in QUANTITIES:
        assert mended[f"{name}_coverage_68"] == pytest.approx(0.68, abs=4 * np.sqrt(0.68 * 0.32 / N))
        assert mended[f"{name}_coverage_95"] == pytest.approx(0.95, abs=4 * np.sqrt(0.95 * 0.05 / N))
        assert abs(mended[f"{name}_bias"]) < 0.05
    np.testing.assert_allclose(levels[1], [0.025, 0.16, 0.5, 0.84, 0.975], atol=0.03)


def test_pit_and_log_score_are_those_of_scipy() -> None:
    random = np.random.default_rng(5)
    mean, sigma = random.normal(size=(300, 2)), np.array([0.5, 2.0])
    truth = random.normal(size=(300, 2))
    found = metrics_of(judged(normal(mean, sigma), truth, QUANTITIES), QUANTITIES)
    pit = stats.norm.cdf(truth, mean, sigma)
    assert found["mag_i_pit_ks"] == pytest.approx(stats.kstest(pit[:, 0], "uniform").statistic)
    assert found["log_score"] == pytest.approx(-stats.norm.logpdf(truth, mean, sigma).sum(axis=1).mean())


def test_the_cde_loss_of_a_gaussian_is_known() -> None:
    """A Gaussian squared integrates to 1 / (2 sigma sqrt(pi)); at its mean it is 1 / (sigma sqrt(2 pi))."""
    sigma = np.array([0.5, 2.0])
    found = metrics_of(judged(normal(np.zeros((1, 2)), sigma), np.zeros((1, 2)), QUANTITIES), QUANTITIES)
    for name, width in zip(QUANTITIES, sigma):
        expected = 1 / (2 * width * np.sqrt(np.pi)) - 2 / (width * np.sqrt(2 * np.pi))
        assert found[f"{name}_cde_loss"] == pytest.approx(expected)


def test_errors_are_those_of_the_median_worked_by_hand() -> None:
    mean = np.array([[20.0, 0.0], [21.0, 0.0], [22.0, 0.0], [23.0, 0.0]])
    truth = mean - np.array([[0.1], [0.2], [0.4], [-0.1]]) * [1, 0]
    found = metrics_of(judged(normal(mean, np.array([1.0, 1.0])), truth, QUANTITIES), QUANTITIES)
    assert found["mag_i_bias"] == pytest.approx(0.15)  # median of -0.1, 0.1, 0.2, 0.4
    assert found["mag_i_sigma_nmad"] == pytest.approx(1.4826 * 0.15)  # of 0.25, 0.05, 0.05, 0.25
    assert found["mag_i_r2"] == pytest.approx(r2_score(truth[:, 0], mean[:, 0]))
    assert found["mag_i_coverage_68"] == 1.0


def test_errors_of_shares_are_told_as_shares() -> None:
    """On the logit scale the middle is half, whatever the margin."""
    truth = np.array([[20.0, 0.0], [21.0, 0.0]])
    rows = judged(normal(truth + [0, 1.0], np.array([1.0, 1.0])), truth, QUANTITIES)
    share = (1 / (1 + np.exp(-1.0)) - 0.025) / 0.95
    np.testing.assert_allclose(rows.error[:, 1], share - 0.5)


def test_intervals_come_from_blocks_and_bins_from_the_magnitude() -> None:
    mixture, truth = correlated(600, seed=7)
    rows, block = judged(mixture, truth, QUANTITIES), np.repeat(np.arange(12), 50)
    magnitude = np.where(np.arange(600) % 2, 20.5, 22.5).astype(np.float32)
    found = evaluate(rows, magnitude, block, quantities=QUANTITIES, seed=1, resamples=100)
    assert (found["n"], found["blocks"], [each["n"] for each in found["by_magnitude"]]) == (600, 12, [300, 300])
    entry = found["overall"]["mag_i_coverage_68"]
    assert entry["low"] < entry["value"] < entry["high"]
    assert sum(found["pit"]["mag_i"]) == 600
    alone = with_intervals(rows, np.zeros(600, int), QUANTITIES, seed=1, resamples=100)
    assert alone["log_score"]["low"] is None


def test_rows_that_are_drawn_twice_count_twice() -> None:
    """A bootstrap over two blocks gives the metrics of either, and of both."""
    mixture, truth = correlated(60, seed=8)
    rows, block = judged(mixture, truth, QUANTITIES), np.repeat([0, 1], 30)
    means = sorted(float(rows.log_score[block == each].mean()) for each in (0, 1))
    found = with_intervals(rows, block, QUANTITIES, seed=3, resamples=200)["log_score"]
    assert [found["low"], found["high"]] == pytest.approx(means)
    assert isinstance(rows, Judged)


def test_a_power_of_the_width_mends_posteriors_that_are_too_wide_where_narrow_and_too_narrow_where_wide() -> None:
    random = np.random.default_rng(4)
    sigma = np.exp(random.uniform(-3, 0, (N, 2)))
    truth = sigma * random.normal(size=(N, 2))
    told = 0.7 * sigma**0.6
    mixture = Mixture(np.ones((N, 1)), np.zeros((N, 1, 2)), (told[:, :, None] * np.eye(2))[:, None])
    mended = mixture.widened(fit_widths(mixture, truth))
    assert np.median(np.abs(np.log(mended.sigma[:, 0] / sigma))) < 0.03
    for narrow in (sigma[:, 0] < 0.1, sigma[:, 0] > 0.5):
        held = [
            metrics_of(judged(each, truth, QUANTITIES).take(narrow), QUANTITIES)["mag_i_coverage_68"]
            for each in (mixture, mended)
        ]
        assert abs(held[0] - 0.68) > 0.07 and held[1] == pytest.approx(0.68, abs=0.05)
