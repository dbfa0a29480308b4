"""A tile's pixels as a survey would deliver them."""

from __future__ import annotations

import numpy as np
from astropy.wcs import WCS
from numpy.typing import NDArray

from skymill.config.images import PLANE_NAMES, RenderSettings
from skymill.survey.images.tile import Psf, TilePixels
from skymill.survey.rendered.defects import spoil
from skymill.survey.rendered.grid import Window, tile_window, wcs_header
from skymill.survey.rendered.noise import unit_noise
from skymill.survey.rendered.optics import Optics, optics
from skymill.survey.rendered.stamps import lights, near
from skymill.survey.simulated.bands import BANDS

PLANES = {"BAD": 0, "SAT": 1, "INTRP": 2, "CR": 3, "EDGE": 4, "SUSPECT": 7, "NO_DATA": 8, "STREAK": 9}
"""Bits of the mask, by the names of the LSST pipelines."""
ROLES = {role: [*names, "STREAK"] if role == "bad" else names for role, names in PLANE_NAMES.items()}
"""What the planes mean; a satellite's trail counts as bad."""
FULL = 1 - 1e-6
"""Share of the full well from which a pixel counts as saturated."""


def noise_free(settings: RenderSettings, window: Window) -> NDArray[np.float32]:
    """Give the light of all sources in a window without noise or defects, (6, ny, nx) nJy, saturation included."""
    scene = np.zeros((len(BANDS), window.ny, window.nx), dtype=np.float32)
    for _, there, light in lights(settings, near(settings, window), window, tuple(range(len(BANDS)))):
        scene[(slice(None), *there)] += light
    return np.minimum(scene, optics(settings).full_well.astype(np.float32)[:, None, None])


def render_tile(settings: RenderSettings, name: str) -> TilePixels:
    """Render a tile in ugrizy.

    Parameters
    ----------
    settings : RenderSettings
    name : str
        One of `tile_names`.

    Returns
    -------
    TilePixels
        nJy, sky subtracted, white noise. Pixels of a plane among SAT, BAD, CR, STREAK and NO_DATA have weight 0, those
        of NO_DATA are NaN. Neighbours have the same bits in the pixels they share.

    Raises
    ------
    KeyError
        If there is no tile of that name.
    ImageError
        If `settings.shapes` is no folder of real galaxies.
    """
    window = tile_window(settings, name)
    optical = optics(settings)
    scene = noise_free(settings, window)
    pixels, inverse_variance, mask = np.empty_like(scene), np.empty_like(scene), np.zeros(scene.shape, dtype=np.uint32)
    for band in range(len(BANDS)):
        variance = np.float32(optical.sigma[band] ** 2) + np.float32(optical.photon[band]) * scene[band]
        pixels[band] = scene[band] + np.sqrt(variance) * unit_noise(settings, window, band)
        planes = {"SAT": scene[band] >= FULL * optical.full_well[band]}
        if settings.defects:
            planes |= spoil(pixels[band], settings, window, band)
        for plane, where in planes.items():
            mask[band] |= where.astype(np.uint32) << np.uint32(PLANES[plane])
        inverse_variance[band] = np.where(mask[band] == 0, 1 / variance, 0)
    return TilePixels(
        name=name,
        bands=BANDS,
        pixels=pixels,
        inverse_variance=inverse_variance,
        mask=mask,
        planes=PLANES,
        roles={role: tuple(names) for role, names in ROLES.items()},
        wcs=WCS(wcs_header(settings, window)),
        psf={band: Psf(float(optical.fwhm_px[k]), optical.images[k]) for k, band in enumerate(BANDS)},
        metadata=_metadata(settings, window, optical),
    )


def _metadata(settings: RenderSettings, window: Window, optical: Optics) -> dict[str, object]:
    return {
        "simulated": True,
        "seed": settings.seed,
        "years": settings.years,
        "x0": window.x0,
        "y0": window.y0,
        "m5": {band: float(optical.m5[k]) for k, band in enumerate(BANDS)},
        "full_well_nJy": {band: float(optical.full_well[k]) for k, band in enumerate(BANDS)},
    }
