"""The resolved light of galaxies: a de Vaucouleurs bulge and an exponential disc of the same shape."""

from __future__ import annotations

from functools import cache

import galsim
import numpy as np
from scipy.optimize import brentq
from scipy.special import gammainc, gammaincinv

from skymill.survey.rendered.grid import Array
from skymill.survey.simulated.population import Sources

BULGE_ENDS = 12.0
"""Bulges are cut off at so many half-light radii: without that, 3 % of their light would lie beyond."""
CONCENTRATION = (0.2, 0.8)
"""Shares of the light between whose radii it is measured."""
DISC_SCALE = 1.67834699
"""Half-light radius of an exponential disc over its scale length."""
BULGE = galsim.DeVaucouleurs(half_light_radius=1.0, trunc=BULGE_ENDS)
DISC = galsim.Exponential(half_light_radius=1.0)


def bulge_and_disc(sources: Sources, row: int) -> galsim.GSObject:
    """Give a galaxy of flux 1 as GalSim describes it, lengths in arcsec."""
    ratio, bulge = float(sources.axis_ratio[row]), float(sources.bulge_fraction[row])
    light = DISC.dilate(float(sources.disc_radius[row]) * np.sqrt(ratio))
    if bulge > 0:
        light = (1 - bulge) * light + bulge * BULGE.dilate(float(sources.bulge_radius[row]) * np.sqrt(ratio))
    return light.shear(q=ratio, beta=float(sources.position_angle[row]) * galsim.degrees)


@cache
def _bulge_exponent() -> float:
    """Give b of exp(-b r^(1/4)) such that half the light within BULGE_ENDS lies within r = 1."""
    return float(brentq(lambda b: 2 * gammainc(8, b) - gammainc(8, b * BULGE_ENDS**0.25), 5, 9))


def bulge_light(radius: Array) -> Array:
    """Give the share of a bulge's light within radii in units of its half-light radius."""
    b = _bulge_exponent()
    inside = gammainc(8, b * np.minimum(radius, BULGE_ENDS) ** 0.25)
    return np.asarray(inside / gammainc(8, b * BULGE_ENDS**0.25))


def disc_light(radius: Array) -> Array:
    """Give the share of a disc's light within radii in units of its half-light radius."""
    return np.asarray(gammainc(2, DISC_SCALE * radius))


def half_light_radius(sources: Sources) -> Array:
    """Give the half-light radius of the resolved light along the major axis, (n,) arcsec; 0 where there is none."""
    return light_radius(sources, 0.5)


def light_radius(sources: Sources, share: float) -> Array:
    """Give the radius along the major axis that holds a share of the resolved light, (n,) arcsec; 0 without any."""
    low = np.zeros(len(sources.bulge_radius))
    high = BULGE_ENDS * np.maximum(sources.bulge_radius, sources.disc_radius)
    resolved = np.minimum(sources.bulge_radius, sources.disc_radius) > 0
    bulge_radius, disc_radius = (np.where(resolved, r, 1.0) for r in (sources.bulge_radius, sources.disc_radius))
    for _ in range(45):
        middle = (low + high) / 2
        bulge, disc = bulge_light(middle / bulge_radius), disc_light(middle / disc_radius)
        enough = sources.bulge_fraction * bulge + (1 - sources.bulge_fraction) * disc > share
        low, high = np.where(enough, low, middle), np.where(enough, middle, high)
    return np.where(resolved, (low + high) / 2, 0.0)


def sersic_index(sources: Sources) -> Array:
    """Give the index of the Sersic profile that is as concentrated, (n,); NaN where no light is resolved.

    Bulge and disc together are no Sersic profile; what they share with one is the ratio of the radii that hold 80 and
    20 % of the light (the concentration of Kent 1985, ApJS 59, 115). A disc alone has index 1, a bulge alone, which
    ends, a little less than 4.
    """
    inner, outer = (light_radius(sources, share) for share in CONCENTRATION)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.interp(np.log(outer / inner), *_sersic_concentrations(), left=np.nan, right=np.nan)


@cache
def _sersic_concentrations() -> tuple[Array, Array]:
    """Give the logarithms of the ratio of the radii, and the indices that have them (Graham & Driver 2005, PASA 22,
    118, eq. 2)."""
    index = np.geomspace(0.2, 20, 2000)
    inner, outer = (index * np.log(gammaincinv(2 * index, share)) for share in CONCENTRATION)
    return outer - inner, index
