"""One block of sources as the features see it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from skymill.features.magnitudes import asinh_magnitude, asinh_magnitude_error, deredden
from skymill.features.recipe import Recipe

EBV = "ebv"
"""The survey's column of E(B-V), in magnitudes."""
MOMENTS = ("shape_xx", "shape_yy", "shape_xy")
"""The survey's columns of second moments."""


class Measured:
    """Fluxes and values in float64; what several features share is computed once."""

    def __init__(self, photometry: Mapping[str, NDArray[np.float32]], values: NDArray[np.float32], recipe: Recipe):
        self.recipe = recipe
        self._photometry = photometry
        self._values = finite(values)

    def value(self, name: str) -> NDArray[np.float64]:
        """One of the survey's own columns, (n,)."""
        return self._values[:, self.recipe.value_names.index(name)]

    def values(self) -> NDArray[np.float64]:
        """All of them, (n, values)."""
        return self._values

    def observed(self, photometry: str | None) -> NDArray[np.float64]:
        """Fluxes as measured, (n, bands), nJy."""
        return finite(self._photometry[str(photometry)])

    @cached_property
    def flux(self) -> NDArray[np.float64]:
        """Fluxes of `colour_flux` corrected for extinction, (n, bands), nJy."""
        return self._dereddened(self.observed(self.recipe.colour_flux))

    @cached_property
    def error(self) -> NDArray[np.float64]:
        """Their 1-sigma errors; an error that is not positive is none."""
        error = self.observed(f"{self.recipe.colour_flux}Err")
        return self._dereddened(np.where(error > 0, error, np.nan))

    @cached_property
    def magnitude(self) -> NDArray[np.float64]:
        """Asinh magnitudes of `flux`, (n, bands)."""
        return asinh_magnitude(self.flux, self.recipe.softening_nJy)

    @cached_property
    def magnitude_error(self) -> NDArray[np.float64]:
        """Errors of `magnitude`, (n, bands)."""
        return asinh_magnitude_error(self.flux, self.error, self.recipe.softening_nJy)

    def _dereddened(self, flux: NDArray[np.float64]) -> NDArray[np.float64]:
        if self.recipe.extinction is None:
            return flux
        return deredden(flux, self.value(EBV), self.recipe.extinction)


def finite(array: NDArray[np.floating]) -> NDArray[np.float64]:
    """Widen to float64 and take what is not finite for not measured."""
    wide = np.asarray(array, dtype=np.float64)
    return np.where(np.isfinite(wide), wide, np.nan)
