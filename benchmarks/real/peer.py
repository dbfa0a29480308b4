"""SEP, SExtractor as a library, on the tiles that ours is measured on."""

from __future__ import annotations

from typing import Any

import numpy as np
import sep
from numpy.typing import NDArray

from skymill.report.images.pictures import noise_of
from skymill.survey.images import TilePixels

SIGMA, AREA_PX = 1.5, 5
"""All else is SEP's, and SExtractor's, default."""


def extract(tile: TilePixels) -> tuple[NDArray[Any], NDArray[np.int32], float]:
    """Detect and deblend on the noise-weighted sum of all bands.

    Returns
    -------
    objects : ndarray, (n,)
        SEP's table.
    labels : ndarray of int32, (ny, nx)
        1 to n, 0 for sky.
    noise : float
        Of the sum, in the unit of the objects' fluxes.
    """
    noise = np.array([noise_of(pixels) for pixels in tile.pixels])
    total = np.tensordot(noise**-2, tile.pixels.astype(np.float64), 1)
    background = sep.Background(total)
    objects, labels = sep.extract(
        total - background.back(), SIGMA, err=background.globalrms, minarea=AREA_PX, segmentation_map=True
    )
    return objects, np.asarray(labels, np.int32), float(background.globalrms)
