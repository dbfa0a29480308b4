"""Vectors and separations on the unit sphere."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray


def unit_vectors(ra: ArrayLike, dec: ArrayLike) -> NDArray[np.float64]:
    """Give unit vectors, (n, 3), of positions in degrees."""
    longitude, latitude = np.radians(ra), np.radians(dec)
    cosine = np.cos(latitude)
    return np.stack([cosine * np.cos(longitude), cosine * np.sin(longitude), np.sin(latitude)], axis=-1)


def separation_arcsec(ra1: ArrayLike, dec1: ArrayLike, ra2: ArrayLike, dec2: ArrayLike) -> NDArray[np.float64]:
    """Give the angle between positions (degrees) in arcsec.

    Vincenty's formula, exact to rounding at the poles, for small angles and for antipodes
    (Vincenty 1975, Survey Review 23, 88; special case of the sphere).
    """
    longitude1, latitude1, longitude2, latitude2 = (np.radians(angle) for angle in (ra1, dec1, ra2, dec2))
    delta = longitude2 - longitude1
    sin1, cos1, sin2, cos2 = np.sin(latitude1), np.cos(latitude1), np.sin(latitude2), np.cos(latitude2)
    across = np.hypot(cos2 * np.sin(delta), cos1 * sin2 - sin1 * cos2 * np.cos(delta))
    along = sin1 * sin2 + cos1 * cos2 * np.cos(delta)
    return np.degrees(np.arctan2(across, along)) * 3600.0
