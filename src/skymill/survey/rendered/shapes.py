"""Real galaxies in place of bulges and discs: stamps of the Hubble Space Telescope as GalSim reads them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import galsim
import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from skymill.config.images import RenderSettings
from skymill.survey.images.tile import ImageError
from skymill.survey.rendered.grid import Array
from skymill.survey.simulated.bands import BANDS
from skymill.survey.simulated.population import Sources

HST_PIXEL_ARCSEC = 0.03
BRIGHTEST, FAINTEST = 20.0, 25.5
"""The i magnitudes between which real shapes are drawn: those of the stamps, and some brighter."""
LEAST_SIGNAL = 12.0
"""Flux of a stamp over its noise; the noise of fainter ones would show as holes in a bright galaxy."""
CANDIDATES = 10
"""A galaxy takes one of so many stamps nearest to its size, which are then stretched least."""


@dataclass(frozen=True)
class Shapes:
    """Real galaxies.

    Attributes
    ----------
    catalogue : galsim.RealGalaxyCatalog
    number : ndarray of int64, (n,)
        Rows of the catalogue that are good enough.
    radius : ndarray, (n,)
        Half-light radius of each, arcsec.
    diagonal : ndarray, (n,)
        Diagonal of its stamp, arcsec.
    """

    catalogue: galsim.RealGalaxyCatalog
    number: NDArray[np.int64]
    radius: Array
    diagonal: Array


@lru_cache(maxsize=2)
def shapes(folder: str) -> Shapes:
    """Open a folder of real galaxies.

    Raises
    ------
    ImageError
        If it holds no `real_galaxy_catalog*.fits` with a `*_fits.fits` of the same name, which has the sizes.
    """
    files = [f for f in sorted(Path(folder).glob("real_galaxy_catalog*.fits")) if not f.stem.endswith("_fits")]
    files = [file for file in files if file.with_name(f"{file.stem}_fits.fits").is_file()]
    if not files:
        raise ImageError(
            f"{folder}: expected real_galaxy_catalog*.fits and its *_fits.fits (column flux_radius), found none; "
            "give the folder of a COSMOS sample as GalSim distributes it, or leave `shapes` out"
        )
    catalogue = galsim.RealGalaxyCatalog(files[0].name, dir=folder)
    with fits.open(files[0].with_name(f"{files[0].stem}_fits.fits")) as hdus:
        radius = np.asarray(hdus[1].data["flux_radius"], dtype=np.float64) * HST_PIXEL_ARCSEC
    stamps = [catalogue.getGalImage(k).array for k in range(len(radius))]
    noise = np.sqrt(catalogue.variance * [stamp.size for stamp in stamps])
    good = np.flatnonzero(np.array([stamp.sum() for stamp in stamps]) > LEAST_SIGNAL * noise)
    if good.size == 0:
        raise ImageError(f"{folder}: expected stamps with a flux above {LEAST_SIGNAL:g} times its noise, found none")
    diagonal = np.array([np.hypot(*stamp.shape) for stamp in stamps]) * HST_PIXEL_ARCSEC
    return Shapes(catalogue, good, radius[good], diagonal[good])


def choose_stamps(
    rng: np.random.Generator, settings: RenderSettings, sources: Sources, radius: Array
) -> NDArray[np.int64]:
    """Choose the shape to draw each source with, -1 = bulge and disc, (n,); `radius` is its half-light radius."""
    stamp = np.full(len(sources.kind), -1, dtype=np.int64)
    if settings.shapes is None:
        return stamp
    known = shapes(settings.shapes)
    i = sources.magnitudes[:, BANDS.index("i")]
    drawn = (sources.kind == 0) & (i > BRIGHTEST) & (i < FAINTEST) & (rng.random(len(i)) < settings.shapes_share)
    rows = np.flatnonzero(drawn)
    order = np.argsort(known.radius)
    number = min(CANDIDATES, order.size)
    nearest = np.searchsorted(known.radius[order], radius[rows]) - number // 2
    first = np.clip(nearest, 0, order.size - number)
    stamp[rows] = order[first + rng.integers(0, number, rows.size)]
    return stamp


@lru_cache(maxsize=1024)
def _stamp(folder: str, number: int) -> galsim.GSObject:
    """Give a real galaxy of flux 1 and half-light radius 1 arcsec, centred on its centroid, without its own PSF."""
    known = shapes(folder)
    galaxy = galsim.RealGalaxy(known.catalogue, index=int(known.number[number]), noise_pad_size=0)
    return galaxy.withFlux(1.0).shift(-galaxy.original_gal.centroid).dilate(1 / known.radius[number])


def real_galaxy(folder: str, number: int, radius: float, angle: float) -> galsim.GSObject:
    """Give a real galaxy of flux 1, stretched to a half-light radius (arcsec) and turned by an angle (degrees)."""
    return _stamp(folder, number).dilate(radius).rotate(angle * galsim.degrees)
