"""Quantities that models of `task: structure` know: units, meanings, and the scales on which they are learned."""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

MARGIN = 0.025
"""Of the logit scale at 0 and at 1, so that pure discs and pure bulges lie at a finite place."""
Array = NDArray[np.float64]


class Quantity(NamedTuple):
    """What a target is.

    Attributes
    ----------
    scale : {'linear', 'log', 'logit'}
        On which it is learned: itself, its natural logarithm, or the logit of a share.
    unit, meaning, ucd : str
        Of itself, for catalogues.
    """

    scale: Literal["linear", "log", "logit"]
    unit: str
    meaning: str
    ucd: str

    def scaled(self, values: NDArray[np.floating]) -> Array:
        """Give values on the scale that is learned; NaN where they are impossible."""
        given = np.asarray(values, dtype=np.float64)
        with np.errstate(divide="ignore", invalid="ignore"):
            if self.scale == "log":
                return np.where(given > 0, np.log(given), np.nan)
            if self.scale == "logit":
                share = MARGIN + (1 - 2 * MARGIN) * given
                return np.where((given >= 0) & (given <= 1), np.log(share / (1 - share)), np.nan)
        return np.where(np.isfinite(given), given, np.nan)

    def unscaled(self, scaled: Array) -> Array:
        """Give the values of places on the scale; shares end at 0 and 1."""
        if self.scale == "log":
            return np.exp(scaled)
        if self.scale == "logit":
            share = 1 / (1 + np.exp(-scaled))
            return np.clip((share - MARGIN) / (1 - 2 * MARGIN), 0, 1)
        return scaled


SHAPES = {
    "half_light_radius": Quantity("log", "arcsec", "half-light radius along the major axis", "phys.angSize"),
    "axis_ratio": Quantity("logit", "1", "ratio of the minor to the major axis", "phys.size.axisRatio"),
    "sersic_index": Quantity("log", "1", "Sersic index", "src.morph.param"),
    "bulge_fraction": Quantity("logit", "1", "share of the light in the bulge", "src.morph.param"),
}
MAGNITUDE = "mag_"
"""Before the name of a band: a total AB magnitude."""


def find_quantity(name: str, *, source: str = "targets") -> Quantity:
    """Look up a quantity; `source` is where its name stands, for the message.

    Raises
    ------
    ValueError
        If there is none of this name; the message lists those there are.
    """
    if name.startswith(MAGNITUDE):
        band = name.removeprefix(MAGNITUDE)
        return Quantity("linear", "mag", f"total AB magnitude in {band}", f"phot.mag;em.opt.{band.upper()}")
    if name not in SHAPES:
        raise ValueError(
            f"{source}: '{name}': not a quantity that can be learned; known: mag_<band>, {', '.join(SHAPES)}"
        )
    return SHAPES[name]
