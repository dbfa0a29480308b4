"""Right ascension and declination in degrees."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from skymill.config.survey import AngleColumn


DEGREES_PER_UNIT = {"deg": 1.0, "hourangle": 15.0, "rad": 180.0 / np.pi}


class Positions(NamedTuple):
    """Positions in degrees and what is odd about them; each (n,)."""

    ra: NDArray[np.float64]  # in [0, 360) where valid
    dec: NDArray[np.float64]
    found_ra: NDArray[np.float64]  # before wrapping, NaN where missing
    wrapped: NDArray[np.bool_]
    missing: NDArray[np.bool_]
    ra_out_of_range: NDArray[np.bool_]
    dec_out_of_range: NDArray[np.bool_]


def degrees(values: NDArray[np.generic], column: AngleColumn) -> NDArray[np.float64]:
    """Convert a column of angles to degrees; NaN where it is empty or infinite."""
    angles = np.array(np.ma.getdata(values), dtype=np.float64) * DEGREES_PER_UNIT[column.unit]
    angles[np.ma.getmaskarray(values) | ~np.isfinite(angles)] = np.nan
    return angles


def positions(ra: NDArray[np.float64], dec: NDArray[np.float64]) -> Positions:
    """Bring right ascensions into [0, 360) and say which positions are not on the sphere.

    Parameters
    ----------
    ra, dec : ndarray of float64, (n,)
        Degrees, NaN where missing. A right ascension in [-360, 720) is wrapped; one further out is no angle
        that a table would hold by convention, so it is out of range.
    """
    missing = np.isnan(ra) | np.isnan(dec)
    ra_out = ~missing & ~((ra >= -360.0) & (ra < 720.0))
    dec_out = ~missing & ~(np.abs(dec) <= 90.0)
    wrapped = ~missing & ~ra_out & ~((ra >= 0.0) & (ra < 360.0))
    inside = ra.copy()
    inside[wrapped] = np.mod(ra[wrapped], 360.0)
    inside[inside >= 360.0] = 0.0  # the remainder of -1e-15 rounds to 360
    return Positions(inside + 0.0, dec, ra, wrapped, missing, ra_out, dec_out)  # + 0.0 turns -0.0 into 0.0
