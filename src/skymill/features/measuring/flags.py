"""What may be odd about a source that was measured on pixels."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from skymill.features.measuring.background import Sky
from skymill.survey.flags import (
    BAD_PIXEL,
    COSMIC_RAY,
    CROWDED,
    DEBLENDED,
    EDGE,
    INTERPOLATED,
    MEASURE_FLAGS,
    PSF_FAILED,
    SATURATED,
    SHAPE_FAILED,
)
from skymill.survey.images.tile import TilePixels

__all__ = [
    "CROWDED",
    "CROWDED_FROM",
    "DEBLENDED",
    "EDGE",
    "MEASURE_FLAGS",
    "PSF_FAILED",
    "SHAPE_FAILED",
    "leaves_image",
    "mask_flags",
]

CROWDED_FROM = 100
"""More sources than so many in one footprint make a crowd."""
ROLES = {
    SATURATED: ("saturated",),
    EDGE: ("edge",),
    BAD_PIXEL: ("bad", "no_data"),
    COSMIC_RAY: ("cosmic_ray",),
    INTERPOLATED: ("interpolated",),
}
"""The roles of mask planes that set a flag."""

Share = Callable[[NDArray[np.bool_]], NDArray[np.float64]]
"""Gives, of pixels (ny, nx), the share of each source's footprint, (n,)."""


def mask_flags(tile: TilePixels, sky: Sky, share: Share) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    """Look the footprints up in the mask planes.

    Returns
    -------
    flags : ndarray of int32, (n,)
    masked : ndarray of float64, (n,)
        Share of the footprint's pixels, over the bands that the tile has, that are not used.
    """
    masked = np.zeros_like(share(np.zeros(tile.shape, dtype=bool)))
    for index in np.flatnonzero(sky.present):
        unused = sky.weight[index] == 0
        if unused.any():
            masked += share(unused) / np.count_nonzero(sky.present)
    bits = np.where(masked > 0, BAD_PIXEL.mask, 0).astype(np.int32)
    marked = np.bitwise_or.reduce(tile.mask[sky.present], axis=0)
    for flag, roles in ROLES.items():
        planes = {tile.planes[name] for role in roles for name in tile.roles.get(role, ()) if name in tile.planes}
        touched = (marked & np.uint32(sum(1 << plane for plane in planes))) != 0
        if touched.any():
            bits[share(touched) > 0] |= flag.mask
    return bits, masked


def leaves_image(
    x: NDArray[np.float64], y: NDArray[np.float64], radius_px: float, shape: tuple[int, int]
) -> NDArray[np.bool_]:
    """Say which circles, (n,), reach beyond the image's outermost pixels."""
    room_x, room_y = np.minimum(x + 0.5, shape[1] - 0.5 - x), np.minimum(y + 0.5, shape[0] - 0.5 - y)
    leaves: NDArray[np.bool_] = np.minimum(room_x, room_y) < radius_px
    return leaves
