"""Features of a block of sources."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from skymill.features.measured import Measured
from skymill.features.recipe import Recipe
from skymill.features.registry import FAMILIES, features_of

VERSION = 1
"""Raise it to compute all features again although no code below this module changed."""


def compute_features(
    photometry: dict[str, NDArray[np.float32]], values: NDArray[np.float32], recipe: Recipe
) -> NDArray[np.float32]:
    """Compute every feature of the recipe.

    Parameters
    ----------
    photometry : dict of ndarray of float32, (n, bands)
        nJy, NaN where not measured; the recipe's photometries and, where it has errors, `<colour_flux>Err`.
    values : ndarray of float32, (n, values)
        In the order of `recipe.values`.

    Returns
    -------
    ndarray of float32, (n, features)
        In the order of `features_of(recipe)`; NaN where not measured, never infinite.
    """
    measured = Measured(photometry, values, recipe)
    features = np.empty((len(values), len(features_of(recipe))), dtype=np.float32)
    column = 0
    for family in FAMILIES:
        width = len(family.features(recipe))
        if width:
            features[:, column : column + width] = family.compute(measured)
            column += width
    features[~np.isfinite(features)] = np.nan
    return features
