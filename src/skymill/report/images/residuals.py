"""Numbers of the comparison with truth as JSON has them: shares with their intervals, residuals and pulls."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skymill.features.measuring.measured import KRON_FLUX, PSF_FLUX
from skymill.report.figures import wilson
from skymill.report.images.gather import Array, magnitude
from skymill.report.images.sample import Sample
from skymill.report.images.truth import (
    EDGES,
    EXTENDED_ROW,
    ISOLATED_ARCSEC,
    PAIR_SIGMA,
    POINT,
    RADIUS_ARCSEC,
    SEPARATIONS,
    TruthStatistics,
)

BEYOND = 5.0
"""Pulls beyond this are outliers, counted apart from mean and width."""
FEWEST = 5
"""Sources of which a bin tells mean and width."""
MAGNITUDES: Array = np.arange(15, 28.1, 1.0)
"""Edges of the bins of residuals, mag."""


def truth_facts(found: TruthStatistics) -> dict[str, Any]:
    """Give all numbers of the comparison with truth."""
    point, extended = found.kinds[POINT], found.kinds[EXTENDED_ROW]
    return {
        "band": found.bands[found.reference],
        "edges": EDGES.tolist(),
        "radius_arcsec": RADIUS_ARCSEC,
        "real_by_chance": found.by_chance,
        "not_usable": found.n_unusable,
        "completeness": shares(found.recovered[0], found.true[0]),
        "completeness_alone": shares(found.recovered[1], found.true[1]),
        "purity": shares(found.real[0], found.found[0]),
        "purity_unflagged": shares(found.real[1], found.found[1]),
        "stars_called_point": shares(point[1], point[0]),
        "others_called_extended": shares(extended[1], extended[0]),
        "pairs": {
            "edges": SEPARATIONS.tolist(),
            "least_signal_to_noise": PAIR_SIGMA,
            **shares(found.parted, found.pairs),
        },
        "isolated": {
            "apart_arcsec": ISOLATED_ARCSEC,
            "n": found.isolated.n_seen,
            "kept": len(found.isolated),
            "edges": MAGNITUDES.tolist(),
            "psf": residuals(found.isolated, PSF_FLUX, found.bands, point_sources=True),
            "kron": residuals(found.isolated, KRON_FLUX, found.bands, point_sources=False),
        },
    }


def shares(hits: NDArray[np.int64], n: NDArray[np.int64]) -> dict[str, Any]:
    """Give the share of hits in each bin and its 68 % interval (Wilson); None where a bin is empty."""
    share, (below, above) = wilson(hits.astype(float), np.maximum(n, 1).astype(float))

    def or_none(values: Array) -> list[float | None]:
        return [float(value) if total else None for value, total in zip(values, n, strict=True)]

    return {
        "hits": hits.tolist(),
        "n": n.tolist(),
        "share": or_none(share),
        "low": or_none(share - below),
        "high": or_none(share + above),
    }


def residuals(sample: Sample, kind: str, bands: tuple[str, ...], *, point_sources: bool) -> dict[str, Any]:
    """Give, by band, pulls and magnitude residuals of point sources, or of all others: of all and by true magnitude.

    A pull is (measured - true) / error, a residual measured - true in magnitudes.
    """
    facts: dict[str, Any] = {}
    for index, band in enumerate(bands):
        if not len(sample):
            facts[band] = {"pulls": moments(np.empty(0)), "residual": None, "bins": []}
            continue
        chosen = sample["point"] == point_sources
        true, flux, error = (sample[name][chosen, index] for name in ("true", kind, f"{kind}Err"))
        with np.errstate(invalid="ignore", divide="ignore"):
            pull = np.where(error > 0, (flux - true) / error, np.nan)
        residual, brightness = magnitude(flux) - magnitude(true), magnitude(true)
        bins = [
            {**moments(pull[inside]), "residual": centre(residual[inside])}
            for inside in ((brightness >= low) & (brightness < high) for low, high in pairwise(MAGNITUDES))
        ]
        facts[band] = {"pulls": moments(pull), "residual": centre(residual), "bins": bins}
    return facts


def moments(pull: Array) -> dict[str, Any]:
    """Give mean and width (standard deviation) of the pulls within `BEYOND`, their number, and how many lie beyond."""
    known = pull[np.isfinite(pull)]
    near = known[np.abs(known) <= BEYOND]
    told = len(near) >= FEWEST
    return {
        "n": len(known),
        "outliers": len(known) - len(near),
        "mean": float(near.mean()) if told else None,
        "width": float(near.std(ddof=1)) if told else None,
    }


def centre(residual: Array) -> dict[str, float] | None:
    """Give the median of magnitude residuals and what 16 and 84 % of them lie below; None for fewer than `FEWEST`."""
    known = residual[np.isfinite(residual)]
    if len(known) < FEWEST:
        return None
    low, median, high = np.percentile(known, [16, 50, 84])
    return {"median": float(median), "low": float(low), "high": float(high)}
