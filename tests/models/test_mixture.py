"""Posteriors as mixtures: packing, quantiles and densities against scipy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import integrate, stats

from skymill.models.mixture import LEVELS, Mixture, Widths, packed_width

N, K, Q = 40, 3, 2


@pytest.fixture(scope="module")
def mixture() -> Mixture:
    random = np.random.default_rng(3)
    cholesky = np.tril(random.normal(size=(N, K, Q, Q)))
    diagonal = np.arange(Q)
    cholesky[..., diagonal, diagonal] = random.uniform(0.2, 2, (N, K, Q))
    return Mixture(random.dirichlet(np.ones(K), N), random.normal(scale=3, size=(N, K, Q)), cholesky)


def packed(mixture: Mixture) -> np.ndarray:
    triangles = mixture.cholesky[:, :, *np.tril_indices(Q)]
    return np.concatenate([part.reshape(N, -1) for part in (mixture.weights, mixture.means, triangles)], axis=1)


def test_what_is_unpacked_is_what_was_packed(mixture: Mixture) -> None:
    row = packed(mixture)
    assert row.shape[1] == packed_width(K, Q) == 3 + 6 + 9
    for found, expected in zip(Mixture.unpacked(row, Q), mixture, strict=True):
        np.testing.assert_array_equal(found, expected)


def test_densities_are_those_of_scipy(mixture: Mixture) -> None:
    values = np.random.default_rng(4).normal(scale=3, size=(N, Q))
    for row in range(N):
        each = [
            stats.multivariate_normal(mean, triangle @ triangle.T)
            for mean, triangle in zip(mixture.means[row], mixture.cholesky[row], strict=True)
        ]
        joint = sum(weight * one.pdf(values[row]) for weight, one in zip(mixture.weights[row], each, strict=True))
        assert mixture.log_density(values)[row] == pytest.approx(np.log(joint), rel=1e-9)
        for q in range(Q):
            single = [stats.norm(one.mean[q], np.sqrt(one.cov[q, q])) for one in each]
            of = list(zip(mixture.weights[row], single, strict=True))
            below = sum(weight * one.cdf(values[row, q]) for weight, one in of)
            there = sum(weight * one.pdf(values[row, q]) for weight, one in of)
            assert mixture.cumulative(values)[row, q] == pytest.approx(below, rel=1e-9)
            assert mixture.marginal_density(values)[row, q] == pytest.approx(there, rel=1e-9)


def test_the_integral_of_the_squared_density_is_that_of_a_quadrature(mixture: Mixture) -> None:
    squares = mixture.marginal_square()
    for row in range(4):
        one = Mixture(*(part[row : row + 1] for part in mixture))
        line = np.linspace(-40, 40, 200_001)
        repeated = Mixture(*(np.broadcast_to(part, (len(line), *part.shape[1:])) for part in one))
        density = repeated.marginal_density(np.repeat(line[:, None], Q, axis=1))
        np.testing.assert_allclose(squares[row], integrate.trapezoid(density**2, line, axis=0), rtol=1e-6)


def test_below_a_quantile_lies_its_share(mixture: Mixture) -> None:
    quantiles = mixture.quantiles(LEVELS)
    assert (np.diff(quantiles, axis=-1) > 0).all()
    for place, level in enumerate(LEVELS):
        np.testing.assert_allclose(mixture.cumulative(quantiles[..., place]), level, atol=1e-9)


def test_a_row_that_is_not_finite_has_no_quantiles(mixture: Mixture) -> None:
    row = packed(mixture)
    row[1, 4] = np.nan
    found = Mixture.unpacked(row, Q).quantiles(LEVELS)
    assert np.isnan(found[1]).all() and np.isfinite(found[[0, 2]]).all()


def test_a_widened_posterior_keeps_its_means_and_correlations(mixture: Mixture) -> None:
    wide = mixture.widened(Widths(np.array([2.0, 0.5]), np.array([0.0, 0.4])))
    np.testing.assert_allclose(wide.sigma, mixture.sigma ** [1.0, 1.4] * [2.0, 0.5])
    for before, after in ((mixture, wide),):
        pairs = [each.cholesky @ each.cholesky.swapaxes(-1, -2) for each in (before, after)]
        rho = [pair[..., 0, 1] / np.sqrt(pair[..., 0, 0] * pair[..., 1, 1]) for pair in pairs]
        np.testing.assert_allclose(*rho)
