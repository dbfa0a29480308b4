"""Layout `numpy`: arrays of one image, or of all bands along the first axis, in `.npy` or `.npz` files.

They have no WCS and no unit: the settings give both (`centre`, `pixel_scale_arcsec`, `unit`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skymill.survey.images.bands import BandSource, Description, Grid, declared_noise
from skymill.survey.images.celestial import laid_out
from skymill.survey.images.numpy_files import NumpyFile
from skymill.survey.images.units import nJy_per_unit


def describe(source: BandSource) -> Description:
    """Read the header of a band's array."""
    file = source.open.get(source.path("image"), NumpyFile)
    name = file.find(source.part("image"))
    where, stored = file.where(name), file.header(name).shape
    source.place(stored, "image", where)
    shape = (stored[-2], stored[-1])
    grid = Grid(where, laid_out(shape, source.settings, where), shape)
    return Description(grid, nJy_per_unit(source.settings, source.band, where), declared_noise(source.settings))


def array(source: BandSource, role: str) -> NDArray[Any] | None:
    """Read the band's image of a role."""
    if source.declared(role) is None:
        return None
    file = source.open.get(source.path(role), NumpyFile)
    name = file.find(source.part(role))
    place = source.place(file.header(name).shape, role, file.where(name))
    band: NDArray[Any] = file.array(name)[place]
    return band


def psf(source: BandSource, places: NDArray[np.float64]) -> NDArray[Any] | None:
    """Read the image of the band's PSF, which is the same everywhere."""
    return array(source, "psf")


def planes(source: BandSource) -> Mapping[str, int]:
    """Give the bits that the settings name."""
    return source.settings.mask_bits
