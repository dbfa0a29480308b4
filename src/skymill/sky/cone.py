"""Cones on the sky."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from skymill.sky.healpix import ORDER
from skymill.sky.sphere import separation_arcsec

PIXELS_PER_RADIUS = 8
"""A cone is covered at the order whose pixels are about this many times smaller than its radius."""
DEEPEST_COVER = 27
"""cdshealpix 0.9 looks two orders below the one asked for, so it fails at orders 28 and 29."""
WIDEST_COVER = 90.0
"""Degrees. Beyond 130, cdshealpix 0.9 leaves out whole base pixels, so wider cones are covered by the whole sky."""
SLACK = 1e-8
"""Degrees by which a cover is wider than its cone: far more than rounding, a tenth of an order-29 pixel."""


def in_cone(ra: ArrayLike, dec: ArrayLike, centre_ra: float, centre_dec: float, radius: float) -> NDArray[np.bool_]:
    """Tell which positions lie within `radius` of a centre, its edge included (all in degrees)."""
    return separation_arcsec(ra, dec, centre_ra, centre_dec) <= radius * 3600.0


def cone_ranges(ra: float, dec: float, radius: float) -> NDArray[np.int64]:
    """Give half-open ranges of order-29 indices that cover a cone.

    Parameters
    ----------
    ra, dec, radius : float
        Centre and radius in degrees.

    Returns
    -------
    ndarray of int64, (m, 2)
        Sorted, disjoint; a superset of the cone.

    Raises
    ------
    ValueError
        If the centre or the radius is not on the sphere.
    """
    # Loaded here since few who need a HEALPix index need a cone: the two take a second.
    from astropy import units
    from astropy.coordinates import Latitude, Longitude
    from cdshealpix.nested import cone_search

    if not (np.isfinite(ra) and -90 <= dec <= 90):
        raise ValueError(f"cone centre: expected finite ra and dec in [-90, 90], found ra={ra}, dec={dec}")
    if not 0 <= radius <= 180:
        raise ValueError(f"cone radius: expected 0 to 180 degrees, found {radius}")
    if radius > WIDEST_COVER:
        return np.array([[0, 12 << 2 * ORDER]], dtype=np.int64)
    depth = int(np.clip(np.log2(58.6 * PIXELS_PER_RADIUS / max(radius, 1e-9)), 0, DEEPEST_COVER))
    pixels, depths, _ = cone_search(
        Longitude(ra % 360.0, units.deg), Latitude(dec, units.deg), (radius + SLACK) * units.deg, depth
    )
    shift = 2 * (ORDER - depths.astype(np.int64))
    ranges = np.stack([pixels.astype(np.int64) << shift, (pixels.astype(np.int64) + 1) << shift], axis=1)
    ranges = ranges[np.argsort(ranges[:, 0])]
    gaps = np.flatnonzero(ranges[1:, 0] > ranges[:-1, 1]) + 1
    starts = ranges[np.concatenate([[0], gaps]), 0]
    stops = ranges[np.concatenate([gaps - 1, [len(ranges) - 1]]), 1]
    return np.stack([starts, stops], axis=1)
