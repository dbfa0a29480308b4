"""Simulated volunteers who say what they see in the field's brighter galaxies, as in Galaxy Zoo 2 (Willett et al. 2013,
MNRAS 435, 2835): whether a galaxy is smooth or has features, and who sees features is asked whether it is edge-on."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from skymill.survey.rendered.grid import Array
from skymill.survey.rendered.truth import Table

ASKED = 23.0
"""The i magnitude down to which volunteers are asked about galaxies."""
VOLUNTEERS = 40.0
"""Mean number of those who look at a galaxy."""
CONCENTRATION = 20.0
"""Of the Beta distribution that a galaxy's own shares of answers are drawn from: there is more to it than its sizes."""
BLUR_ARCSEC = 0.4
"""The half-light radius of which half of the features are seen."""
PURPOSE = 55
"""Of a random stream."""


def chances(table: Table) -> tuple[Array, Array]:
    """Give the mean shares, (n,) each, of those who see features, and of these of those who see it edge-on.

    Features show in discs that are large against the seeing. NaN where the truth has no disc and bulge.
    """
    disc, radius = 1 - table["bulge_fraction"], table["half_light_radius"]
    seen = radius / (radius + BLUR_ARCSEC)
    featured = 0.03 + 0.94 * seen * expit(8 * (disc - 0.5))
    edge_on = 0.03 + 0.94 * expit((0.35 - table["axis_ratio"]) / 0.06)
    return featured, edge_on


def ask(table: Table, seed: int) -> NDArray[np.int64]:
    """Give the votes for smooth, featured, edge-on and not edge-on, (n, 4), of rows of `truth.truth`.

    0 for what is no galaxy, is fainter than `ASKED` or has a real galaxy's shape, of which no truth is known. The
    answers of a galaxy depend on itself and on the seed alone.
    """
    featured, edge_on = chances(table)
    with np.errstate(divide="ignore"):
        bright = 31.4 - 2.5 * np.log10(table["i_flux"]) < ASKED
    votes = np.zeros((len(bright), 4), np.int64)
    for row in np.flatnonzero((table["class"] == "GALAXY") & bright & np.isfinite(featured)).tolist():
        random = np.random.default_rng([seed, PURPOSE, int(table["objectId"][row])])
        n = random.poisson(VOLUNTEERS)
        with_features = _answer(random, n, featured[row])
        on_edge = _answer(random, with_features, edge_on[row])
        votes[row] = n - with_features, with_features, on_edge, with_features - on_edge
    return votes


def _answer(random: np.random.Generator, n: int, mean: float) -> int:
    """Give how many of n say yes, drawn from a Beta-binomial distribution."""
    return int(random.binomial(n, random.beta(CONCENTRATION * mean, CONCENTRATION * (1 - mean))))
