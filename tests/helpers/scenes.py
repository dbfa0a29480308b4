"""Scenes drawn with GalSim, whose truth is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import galsim
import numpy as np
from tiles import make_tile

from skymill.survey.images.tile import Psf, TilePixels

PIXEL = 0.2


@dataclass(frozen=True)
class Scene:
    """A tile, and the truth of what is on it: pixels from 0, fluxes in nJy (n, bands)."""

    tile: TilePixels
    x: np.ndarray
    y: np.ndarray
    flux: np.ndarray
    is_star: np.ndarray
    radius: np.ndarray
    clean: np.ndarray


def atmosphere(fwhm_arcsec: float) -> galsim.GSObject:
    return galsim.Moffat(beta=3.5, fwhm=fwhm_arcsec)


def psf_image(profile: galsim.GSObject, size: int = 41) -> np.ndarray:
    image = galsim.ImageD(size, size, scale=PIXEL)
    profile.drawImage(image)
    return (image.array / image.array.sum()).astype(np.float32)


def measured_fwhm(image: np.ndarray) -> float:
    """Width of a PSF image at half its height, in pixels, from the area above it."""
    fine = galsim.InterpolatedImage(galsim.ImageF(image), scale=1.0).drawImage(
        nx=401, ny=401, scale=0.1, method="no_pixel"
    )
    return 2 * np.sqrt((fine.array > fine.array.max() / 2).sum() / np.pi) * 0.1


def draw(
    x: np.ndarray,
    y: np.ndarray,
    flux: np.ndarray,
    radius: np.ndarray,
    *,
    shape: tuple[int, int],
    noise: Sequence[float],
    fwhm_arcsec: Sequence[float],
    bands: str,
    seed: int,
    sky: float = 0.0,
    with_psf: bool = True,
    name: str = "scene",
) -> Scene:
    """Draw stars (radius 0) and exponential galaxies (half-light radius, arcsec), with white noise (nJy per pixel)."""
    generator = np.random.default_rng(seed)
    ellipticity, angle = generator.uniform(0, 0.5, len(x)), generator.uniform(0, np.pi, len(x))
    profiles = [atmosphere(fwhm) for fwhm in fwhm_arcsec]
    images = [psf_image(profile) for profile in profiles]
    planes = np.zeros((len(bands), *shape), dtype=np.float64)
    canvases = [galsim.Image(plane, scale=PIXEL, xmin=0, ymin=0) for plane in planes]
    for index in range(len(x)):
        for band, profile in enumerate(profiles):
            source = profile
            if radius[index] > 0:
                galaxy = galsim.Exponential(half_light_radius=radius[index])
                shear = galsim.Shear(e=ellipticity[index], beta=angle[index] * galsim.radians)
                source = galsim.Convolve(galaxy.shear(shear), profile)
            size = int(np.clip(40 + 12 * radius[index] / PIXEL, 40, 200))
            if flux[index, band] > 300 * noise[band]:
                size = min(2 * size, 400)
            cx, cy = round(x[index]), round(y[index])
            bounds = (
                galsim.BoundsI(cx - size // 2, cx + size // 2, cy - size // 2, cy + size // 2) & canvases[band].bounds
            )
            if not bounds.isDefined():
                continue
            stamp = galsim.ImageD(bounds, scale=PIXEL)
            offset = galsim.PositionD(x[index], y[index]) - stamp.true_center
            source.withFlux(flux[index, band]).drawImage(stamp, offset=offset)
            canvases[band][bounds] += stamp
    clean = planes.copy()
    for plane, sigma in zip(planes, noise):
        plane += sky + generator.normal(0.0, sigma, shape)
    psf = {band: Psf(measured_fwhm(image), image if with_psf else None) for band, image in zip(bands, images)}
    weight = np.broadcast_to((1 / np.square(noise))[:, None, None], planes.shape)
    tile = make_tile(planes, weight, bands=bands, psf=psf, name=name)
    return Scene(tile, x, y, flux, radius == 0, radius, clean)


def isolated(
    kind: str, magnitudes: Sequence[float], *, spacing: int = 64, per_side: int = 12, seed: int = 1, **more
) -> Scene:
    """Sources on a grid, far from one another: stars, or galaxies of half-light radius 0.4 arcsec."""
    generator = np.random.default_rng(seed)
    n = per_side**2
    column, row = np.meshgrid(np.arange(per_side), np.arange(per_side))
    x, y = ((axis.ravel() + 0.5) * spacing + generator.uniform(-0.5, 0.5, n) for axis in (column, row))
    magnitude = np.resize(magnitudes, n)
    options = {"noise": [3.0], "fwhm_arcsec": [0.7], "bands": "r", **more}
    flux = np.repeat(10 ** (0.4 * (31.4 - magnitude))[:, None], len(options["bands"]), axis=1)
    radius = np.full(n, 0.0 if kind == "stars" else 0.4)
    side = per_side * spacing
    return draw(x, y, flux, radius, shape=(side, side), seed=seed + 1, **options)


def deep_field(
    *, side: int = 1024, per_arcmin2: float = 46.0, faintest: float = 27.3, stars: float = 4.0, seed: int = 1, **more
) -> Scene:
    """Galaxies and stars at random, as many per magnitude as in a deep survey.

    Galaxies brighter than i grow as 46 x 10^(0.31 (i - 25)) per square arcmin (LSST Science Book, section 3.7); stars
    are spread evenly over magnitudes 18 to 25.
    """
    generator = np.random.default_rng(seed)
    arcmin2 = (side * PIXEL / 60) ** 2
    count = generator.poisson(per_arcmin2 * 10 ** (0.31 * (faintest - 25)) * arcmin2)
    magnitude = np.maximum(faintest + np.log10(generator.uniform(size=count)) / 0.31, 18.0)
    radius = 0.25 * 10 ** (-0.08 * (magnitude - 26)) * 10 ** generator.normal(0, 0.15, count)
    n_stars = generator.poisson(stars * arcmin2)
    magnitude = np.concatenate([magnitude, generator.uniform(18, 25, n_stars)])
    radius = np.concatenate([np.minimum(radius, 3.0), np.zeros(n_stars)])
    x, y = generator.uniform(-0.5, side - 0.5, (2, len(magnitude)))
    options = {"noise": [1.0], "fwhm_arcsec": [0.7], "bands": "i", **more}
    flux = np.repeat(10 ** (0.4 * (31.4 - magnitude))[:, None], len(options["bands"]), axis=1)
    return draw(x, y, flux, radius, shape=(side, side), seed=seed + 1, **options)
