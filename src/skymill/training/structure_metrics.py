"""Metrics of posteriors against true values, each with a bootstrap interval over blocks of sky, and by magnitude.

Errors are those of the median: of a magnitude in mag, of what is learned by its logarithm that of the logarithm (so
0.1 is 10 %), of a share in itself. What says how good the whole posterior is goes by the scales of
`models.quantities`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from skymill.models.mixture import LEVELS, Mixture
from skymill.models.quantities import find_quantity
from skymill.training.metrics import CONFIDENCE, magnitude_bins

RESAMPLES = 500
PIT_BINS = 20
NORMAL_MAD = 1.4826
"""Standard deviation of a normal distribution over its median absolute deviation."""
Array = NDArray[np.float64]


class Judged(NamedTuple):
    """What was said of n galaxies and what is true."""

    truth: Array
    """(n, q), as errors are told."""
    error: Array
    """(n, q), of the median."""
    inside: Array
    """(n, q, 2): whether the central 68 and 95 % hold the truth."""
    pit: Array
    """(n, q): the marginals' probability of less than the truth (Dawid 1984, JRSS A 147, 278)."""
    cde: Array
    """(n, q): integral of the squared marginal density minus twice that at the truth."""
    log_score: Array
    """(n,): minus the logarithm of the joint density at the truth."""
    quantiles: Array
    """(n, q, 5), at `LEVELS`, on the scales."""

    def take(self, rows: NDArray[Any]) -> Judged:
        """Give some of the rows."""
        return Judged._make(values[rows] for values in self)


def judged(
    mixture: Mixture, targets: NDArray[np.floating], quantities: Sequence[str], levels: ArrayLike | None = None
) -> Judged:
    """Hold posteriors against true values on the scales of the quantities, (n, q).

    `levels`, (q, 5), are those that a calibration takes in place of `LEVELS`; quantiles and PIT go by them, what is
    said of densities does not.
    """
    true = np.asarray(targets, dtype=np.float64)
    taken = np.tile(LEVELS, (len(quantities), 1)) if levels is None else np.asarray(levels)
    quantiles = mixture.quantiles(taken)
    low95, low68, median, high68, high95 = np.moveaxis(quantiles, -1, 0)
    told, known = (_as_told(values, quantities) for values in (median, true))
    inside = [(true >= low68) & (true <= high68), (true >= low95) & (true <= high95)]
    cde = mixture.marginal_square() - 2 * mixture.marginal_density(true)
    return Judged(
        truth=known,
        error=told - known,
        inside=np.stack(inside, axis=-1).astype(np.float64),
        pit=_recalibrated(mixture.cumulative(true), taken),
        cde=cde,
        log_score=-mixture.log_density(true),
        quantiles=quantiles,
    )


def _recalibrated(pit: Array, levels: Array) -> Array:
    """Give the probabilities (n, q) that are meant where each of `levels` (q, 5) stands for one of `LEVELS`."""
    meant = [0.0, *LEVELS, 1.0]
    return np.stack([np.interp(values, [0.0, *own, 1.0], meant) for values, own in zip(pit.T, levels)], axis=1)


def _as_told(scaled: Array, quantities: Sequence[str]) -> Array:
    """Give values as their errors are told: shares as they are, what is logarithmic by its logarithm."""
    columns = [
        find_quantity(name).unscaled(values) if find_quantity(name).scale == "logit" else values
        for name, values in zip(quantities, scaled.T, strict=True)
    ]
    return np.stack(columns, axis=1)


def evaluate(
    rows: Judged,
    magnitude: NDArray[np.floating],
    block: NDArray[np.integer],
    *,
    quantities: Sequence[str],
    seed: int,
    resamples: int = RESAMPLES,
) -> dict[str, Any]:
    """Give what `metrics.json` holds.

    Parameters
    ----------
    rows : Judged
        Of n galaxies.
    magnitude : ndarray, (n,)
        For the bins; a row without one counts overall only.
    block : ndarray of int, (n,)
        Block of sky of each row: what is drawn for the intervals.
    quantities : sequence of str, (q,)
    seed, resamples : int
        Of the bootstrap.

    Returns
    -------
    dict
        `overall` and each of `by_magnitude` hold {metric: {value, low, high}}, as `metrics_of` names them; `pit` the
        counts of the PIT of each quantity in `PIT_BINS` bins of equal width.
    """
    bins = []
    for low, high in magnitude_bins(magnitude):
        here = (magnitude >= low) & (magnitude < high)
        metrics = with_intervals(rows.take(here), block[here], quantities, seed=seed, resamples=resamples)
        bins.append({"low": low, "high": high, "n": int(here.sum()), "metrics": metrics})
    counts = [np.histogram(values, PIT_BINS, (0, 1))[0].tolist() for values in rows.pit.T]
    return {
        "quantities": list(quantities),
        "n": len(rows.log_score),
        "blocks": len(np.unique(block)),
        "resamples": resamples,
        "confidence": CONFIDENCE,
        "overall": with_intervals(rows, block, quantities, seed=seed, resamples=resamples),
        "by_magnitude": bins,
        "pit": dict(zip(quantities, counts, strict=True)),
    }


def with_intervals(
    rows: Judged, block: NDArray[np.integer], quantities: Sequence[str], *, seed: int, resamples: int = RESAMPLES
) -> dict[str, dict[str, float | None]]:
    """Give {metric: {value, low, high}}: percentiles of resamples of the blocks; no limits for a single block."""
    values = metrics_of(rows, quantities)
    generator, members = np.random.default_rng(seed), [np.flatnonzero(block == name) for name in np.unique(block)]
    if len(members) < 2:
        return {name: {"value": _known(value), "low": None, "high": None} for name, value in values.items()}
    drawn = []
    for _ in range(resamples):
        chosen = generator.integers(0, len(members), len(members))
        some = np.concatenate([members[number] for number in chosen])
        drawn.append(list(metrics_of(rows.take(some), quantities).values()))
    low, high = np.nanpercentile(drawn, [50 * (1 - CONFIDENCE), 50 * (1 + CONFIDENCE)], axis=0)
    return {
        name: {"value": _known(value), "low": _known(low[number]), "high": _known(high[number])}
        for number, (name, value) in enumerate(values.items())
    }


def metrics_of(rows: Judged, quantities: Sequence[str]) -> dict[str, float]:
    """Give every metric once.

    Of each quantity ``<name>_bias`` (median error), ``_sigma_nmad`` (1.4826 times the median absolute deviation from
    it), ``_r2`` (1 - sum of squared errors over that of the truth about its mean), ``_coverage_68`` and
    ``_coverage_95`` (share whose central intervals hold the truth), ``_pit_ks`` (largest distance of the PIT's
    distribution from the uniform one, Kolmogorov 1933) and ``_cde_loss`` (Izbicki & Lee 2017, arXiv:1704.08095, eq. 5);
    ``log_score`` (Good 1952) is that of the joint posterior. Low is good but for R^2 and coverage.
    """
    bias = np.median(rows.error, axis=0)
    nmad = NORMAL_MAD * np.median(np.abs(rows.error - bias), axis=0)
    spread = ((rows.truth - rows.truth.mean(axis=0)) ** 2).sum(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        r2 = 1 - (rows.error**2).sum(axis=0) / spread
    coverage, ks, cde = rows.inside.mean(axis=0), _uniform_distance(rows.pit), rows.cde.mean(axis=0)
    found: dict[str, float] = {}
    for number, name in enumerate(quantities):
        found |= {
            f"{name}_bias": float(bias[number]),
            f"{name}_sigma_nmad": float(nmad[number]),
            f"{name}_r2": float(r2[number]),
            f"{name}_coverage_68": float(coverage[number, 0]),
            f"{name}_coverage_95": float(coverage[number, 1]),
            f"{name}_pit_ks": float(ks[number]),
            f"{name}_cde_loss": float(cde[number]),
        }
    return found | {"log_score": float(rows.log_score.mean())}


def _uniform_distance(values: Array) -> Array:
    """Give the Kolmogorov distance of columns (n, q) from the uniform distribution, (q,)."""
    ordered, n = np.sort(values, axis=0), len(values)
    steps = np.arange(n + 1)[:, None] / n
    return np.asarray(np.maximum((steps[1:] - ordered).max(axis=0), (ordered - steps[:-1]).max(axis=0)))


def _known(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
