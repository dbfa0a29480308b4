"""Features of sources with negative fluxes, which forced photometry gives and a model must bear."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from skymill.features.kernel import compute_features
from skymill.features.recipe import Recipe
from skymill.features.registry import features_of

DEEPEST = 10.0
"""Softenings below zero, to which the fluxes go."""


def negative_flux_features(recipe: Recipe, names: list[str], *, rows: int, seed: int) -> NDArray[np.float32]:
    """Give the features `names` of made-up sources whose every flux is negative, float32 (rows, len(names)).

    Raises
    ------
    ValueError
        If the recipe has no feature of a name.
    """
    random = np.random.default_rng(seed)
    softening = np.array(recipe.softening_nJy)
    photometry: dict[str, NDArray[np.float32]] = {}
    for flux in filter(None, (recipe.colour_flux, recipe.size_flux)):
        depth = random.uniform(0.0, DEEPEST, (rows, len(recipe.bands)))
        photometry[flux] = (-depth * softening).astype(np.float32)
        photometry[f"{flux}Err"] = np.broadcast_to(softening, depth.shape).astype(np.float32)
    features, _ = compute_features(photometry, np.zeros((rows, len(recipe.values)), np.float32), recipe)
    known = [feature.name for feature in features_of(recipe)]
    return features[:, [known.index(name) for name in names]]
