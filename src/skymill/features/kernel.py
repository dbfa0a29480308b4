"""Features and flags of a block of sources, and the form of the tile they are written to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skymill.features.measured import Measured
from skymill.features.recipe import Recipe
from skymill.features.registry import FAMILIES, features_of
from skymill.store.flags import with_flags
from skymill.store.variable import IDENTITY, Variable
from skymill.survey.flags import Flag

VERSION = 1
"""Raise it to compute all features again although no code below this module changed."""

BAND_MISSING = Flag(16, "band_missing", "a band has no flux in the photometry that colours are made of")
NO_PHOTOMETRY = Flag(17, "no_photometry", "no magnitude in any band: no flux, or no E(B-V) to correct it with")
FEATURE_FLAGS = (BAND_MISSING, NO_PHOTOMETRY)
"""Bits 16 to 19 are this stage's, lower ones the survey's."""

FEATURES = "features"
VALUES = "values"


def tile_rows(block: Mapping[str, NDArray[Any]], recipe: Recipe) -> dict[str, NDArray[Any]]:
    """Make rows of a feature tile of rows of a source tile: ids and positions stay, flags are added to."""
    values = block.get(VALUES, np.empty((len(block["flags"]), 0), np.float32))
    features, flags = compute_features(block, values, recipe)
    return {**{name: block[name] for name in IDENTITY}, "flags": flags | block["flags"], FEATURES: features}


def tile_form(identity: Mapping[str, Variable], recipe: Recipe) -> dict[str, Variable]:
    """Describe the arrays of a feature tile; ids and positions are described as in the source tile."""
    features = features_of(recipe)
    matrix = Variable.of_rows(
        np.float32,
        dim="feature",
        columns=tuple(feature.name for feature in features),
        long_name="features, NaN where not measured",
        column_units=[feature.unit for feature in features],
    )
    return {**identity, "flags": with_flags(identity["flags"], FEATURE_FLAGS), FEATURES: matrix}


def compute_features(
    photometry: Mapping[str, NDArray[np.float32]], values: NDArray[np.float32], recipe: Recipe
) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """Compute every feature of the recipe.

    Parameters
    ----------
    photometry : mapping of ndarray of float32, (n, bands)
        nJy, NaN where not measured; the recipe's photometries and, where it has errors, `<colour_flux>Err`.
    values : ndarray of float32, (n, values)
        In the order of `recipe.values`.

    Returns
    -------
    features : ndarray of float32, (n, features)
        In the order of `features_of(recipe)`; NaN where not measured, never infinite.
    flags : ndarray of int32, (n,)
        Bits of `FEATURE_FLAGS`.
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
    return features, _flags(measured, len(values))


def _flags(measured: Measured, n: int) -> NDArray[np.int32]:
    flags = np.zeros(n, dtype=np.int32)
    if measured.recipe.colour_flux:
        flags[np.isnan(measured.observed(measured.recipe.colour_flux)).any(axis=1)] |= BAND_MISSING.mask
        flags[np.isnan(measured.magnitude).all(axis=1)] |= NO_PHOTOMETRY.mask
    return flags
