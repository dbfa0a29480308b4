"""Image tiles made by hand, of arrays and of the real images among the test data."""

from __future__ import annotations

import bz2
from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS
from real.tiles import flat_wcs

from skymill.survey.images.tile import Psf, TilePixels

NANOMAGGY = 3630.78
"""nJy."""
PLANES = ("no_data", "bad", "saturated", "edge", "interpolated", "cosmic_ray")


def make_tile(
    pixels: np.ndarray,
    inverse_variance: np.ndarray | float = 1.0,
    *,
    bands: Sequence[str] | None = None,
    fwhm_px: float | None = 3.5,
    psf: Mapping[str, Psf] | None = None,
    mask: np.ndarray | None = None,
    wcs: WCS | None = None,
    noise_known: bool = True,
    name: str = "t0",
) -> TilePixels:
    """A tile of pixels (bands, ny, nx) or (ny, nx); the mask's bits are those of `PLANES`."""
    pixels = np.atleast_3d(pixels.T).T.astype(np.float32)
    bands = tuple(bands or "ugrizy"[: len(pixels)] if len(pixels) > 1 else bands or "r")
    weight = np.broadcast_to(np.asarray(inverse_variance, dtype=np.float32), pixels.shape).copy()
    if psf is None:
        psf = {} if fwhm_px is None else {band: Psf(fwhm_px) for band in bands}
    return TilePixels(
        name=name,
        bands=bands,
        pixels=np.ascontiguousarray(pixels),
        inverse_variance=weight,
        mask=np.zeros(pixels.shape, dtype=np.uint32) if mask is None else mask.astype(np.uint32),
        planes={plane: bit for bit, plane in enumerate(PLANES)},
        roles={plane: (plane,) for plane in PLANES},
        wcs=wcs or flat_wcs(0.2),
        psf=psf,
        noise_known=noise_known,
    )


def native(array: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(array, dtype=np.float32)


def sdss_frame(data: Path, band: str = "r") -> TilePixels:
    """A frame of Stripe 82, in one band; seeing as its README says."""
    path = data / f"images/sdss_stripe82_94_1_12/frame-{band}-000094-1-0012.fits.bz2"
    with fits.open(BytesIO(bz2.decompress(path.read_bytes()))) as hdus:
        pixels, wcs = native(hdus[0].data) * np.float32(NANOMAGGY), WCS(hdus[0].header)
    return make_tile(pixels, 1.0, bands=[band], fwhm_px=1.3 / 0.396, wcs=wcs, noise_known=False, name="sdss")


def sdss_group(data: Path) -> TilePixels:
    """The NGC 6976 group in g, r and i, on one grid of 1.19 arcsec: stars are hardly wider than a pixel."""
    planes = []
    for band in "gri":
        path = data / f"images/small_references/reprojected_sdss_{band}.fits.bz2"
        with fits.open(BytesIO(bz2.decompress(path.read_bytes()))) as hdus:
            planes.append(native(hdus[0].data) * np.float32(NANOMAGGY))
            wcs = WCS(hdus[0].header)
    return make_tile(np.stack(planes), 1.0, bands="gri", fwhm_px=1.8, wcs=wcs, noise_known=False, name="ngc6976")
