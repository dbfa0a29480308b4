"""Mixtures of Gaussians with full covariances as posteriors, row by row: marginals, quantiles and densities, in numpy.

Each row has its own mixture (a mixture density network: Bishop 1994, Aston University NCRG/94/004). They are packed as
a graph gives them: weights, means, and the rows of the lower triangles L of Cholesky, of which L L^T is a covariance.
"""

from __future__ import annotations

from typing import NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]
LEVELS = (0.025, 0.16, 0.5, 0.84, 0.975)
"""Quantiles that are told of each marginal: the median and the ends of the central 68 and 95 %."""
BISECTIONS = 40
REACH = 8.0
"""Quantiles are looked for within so many standard deviations of the outermost components."""
LOG_TWO_PI = float(np.log(2 * np.pi))


def packed_width(components: int, quantities: int) -> int:
    """Give the numbers that a row's mixture is packed in."""
    return components * (1 + quantities + quantities * (quantities + 1) // 2)


class Widths(NamedTuple):
    """What a calibration makes of the widths of posteriors: `factors` times themselves to the power 1 + `powers`.

    Of each component along each of q quantities, in the units of their scales.
    """

    factors: Array
    powers: Array

    @classmethod
    def unchanged(cls, quantities: int) -> Self:
        """Leave them as they are."""
        return cls(np.ones(quantities), np.zeros(quantities))


class Mixture(NamedTuple):
    """A mixture of k Gaussians over q quantities in each of n rows."""

    weights: Array
    """(n, k), adding up to 1."""
    means: Array
    """(n, k, q)."""
    cholesky: Array
    """(n, k, q, q), lower triangles."""

    @classmethod
    def unpacked(cls, packed: NDArray[np.floating], quantities: int) -> Self:
        """Take rows (n, `packed_width`) apart."""
        values = np.asarray(packed, dtype=np.float64)
        n, k = len(values), values.shape[1] // packed_width(1, quantities)
        weights, means, triangles = np.split(values, [k, k * (1 + quantities)], axis=1)
        cholesky = np.zeros((n, k, quantities, quantities))
        cholesky[:, :, *np.tril_indices(quantities)] = triangles.reshape(n, k, -1)
        return cls(weights, means.reshape(n, k, quantities), cholesky)

    def widened(self, widths: Widths) -> Mixture:
        """Give it with the widths of each component along the q quantities changed; correlations stay."""
        factors = widths.factors * self.sigma**widths.powers
        return self._replace(cholesky=self.cholesky * factors[..., None])

    @property
    def sigma(self) -> Array:
        """Standard deviations of the components along each quantity, (n, k, q)."""
        return np.asarray(np.sqrt((self.cholesky**2).sum(axis=-1)))

    def cumulative(self, values: Array) -> Array:
        """Give the marginal probabilities of less than `values` (n, q), (n, q)."""
        from scipy.special import ndtr

        return np.asarray(np.einsum("nk,nkq->nq", self.weights, ndtr((values[:, None] - self.means) / self.sigma)))

    def quantiles(self, levels: ArrayLike) -> Array:
        """Give the marginals' quantiles, (n, q, l), by bisection; NaN in a row whose mixture is not finite.

        Parameters
        ----------
        levels : array_like, (l,) or (q, l)
            The same for all quantities, or of each its own.
        """
        sigma = self.sigma
        low, high = (self.means - REACH * sigma).min(axis=1), (self.means + REACH * sigma).max(axis=1)
        wanted = np.asarray(levels, dtype=np.float64)
        found = np.stack([self._quantile(level, low, high) for level in np.moveaxis(wanted, -1, 0)], axis=-1)
        finite = np.isfinite(self.weights).all(axis=1) & np.isfinite(low + high).all(axis=1)
        return np.where(finite[:, None, None], found, np.nan)

    def _quantile(self, level: Array, low: Array, high: Array) -> Array:
        for _ in range(BISECTIONS):
            middle = (low + high) / 2
            below = self.cumulative(middle) < level
            low, high = np.where(below, middle, low), np.where(below, high, middle)
        return (low + high) / 2

    def log_density(self, values: Array) -> Array:
        """Give the logarithm of the joint density at `values` (n, q), (n,)."""
        from scipy.special import logsumexp

        offset = values[:, None] - self.means
        standard = np.linalg.solve(self.cholesky, offset[..., None])[..., 0]
        diagonal = np.diagonal(self.cholesky, axis1=-2, axis2=-1)
        logs = -0.5 * (standard**2 + LOG_TWO_PI).sum(axis=-1) - np.log(diagonal).sum(axis=-1)
        return np.asarray(logsumexp(logs, b=self.weights, axis=1))

    def marginal_density(self, values: Array) -> Array:
        """Give the marginals' densities at `values` (n, q), (n, q)."""
        sigma = self.sigma
        each = np.exp(-0.5 * ((values[:, None] - self.means) / sigma) ** 2) / (sigma * np.sqrt(2 * np.pi))
        return np.asarray(np.einsum("nk,nkq->nq", self.weights, each))

    def marginal_square(self) -> Array:
        """Give the integrals of the marginals' squared densities, (n, q): products of Gaussians are Gaussians."""
        variance = self.sigma**2
        both = variance[:, :, None] + variance[:, None]  # (n, k, k, q)
        offset = self.means[:, :, None] - self.means[:, None]
        each = np.exp(-0.5 * offset**2 / both) / np.sqrt(2 * np.pi * both)
        return np.asarray(np.einsum("ni,nj,nijq->nq", self.weights, self.weights, each))
