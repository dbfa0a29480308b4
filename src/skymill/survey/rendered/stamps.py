"""One source's light in all bands, on whole pixels of the mosaic.

A source's transform is made once (by GalSim), multiplied by that of each band's PSF and pixel, and brought back by one
FFT per band. Stars and quasars so bright that the rounding at the highest frequencies would show are drawn by GalSim
band by band. A stamp depends on its source alone: tiles that share a source share every bit of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import galsim
import numpy as np
from numpy.typing import NDArray
from scipy import fft

from skymill.config.images import RenderSettings
from skymill.survey.rendered.bleeding import TRAIL_PX, bleed, trail_px
from skymill.survey.rendered.grid import Array, Window
from skymill.survey.rendered.optics import BETA, optics
from skymill.survey.rendered.profiles import BULGE_ENDS, DISC_SCALE, bulge_and_disc
from skymill.survey.rendered.shapes import real_galaxy, shapes
from skymill.survey.rendered.sources import Catalogue, catalogue
from skymill.survey.simulated.observe import PIXEL_ARCSEC

SIZES = np.array([48, 64, 96, 128, 192, 256, 384, 512, 768, 1024])
"""Sides of the stamps, pixels."""
REACH = int(SIZES[-1]) // 2 + TRAIL_PX
"""No source is drawn farther from its centre, pixels."""
EDGE_SIGMA, OUTSIDE = 0.02, 0.002
"""A stamp ends where the surface brightness is below so many sigma of a pixel's noise, in every band, and at most so
much of the light would lie beyond (it is folded back: a stamp's sum is the flux)."""
CORE_FWHM = 2.0
"""How far the PSF carries the edge of a profile, in its widths."""
DISC_LIGHT = 8.5
"""Scale lengths that hold all but `OUTSIDE` of a disc."""
BRIGHT_SIGMA = 3e4
"""Flux over a pixel's noise beyond which a point is drawn by GalSim."""


@dataclass(frozen=True)
class Stamp:
    """A source's light: nJy per pixel, (bands, ny, nx), and the mosaic's pixel at its lower left."""

    x0: int
    y0: int
    pixels: NDArray[np.float32]

    @property
    def window(self) -> Window:
        """The stamp's place."""
        return Window(self.x0, self.y0, self.pixels.shape[2], self.pixels.shape[1])


@dataclass(frozen=True)
class Layout:
    """How large the sources of a catalogue are drawn; every array has one row each."""

    size: NDArray[np.int64]  # side of the stamp
    trail: NDArray[np.int64]  # pixels above and below it for charge that bleeds
    bright: NDArray[np.bool_]  # whether the point in it is drawn by GalSim

    @property
    def half_height(self) -> NDArray[np.int64]:
        """Rows from the centre to the farthest edge."""
        return self.size // 2 + self.trail


def layout(settings: RenderSettings, sources: Catalogue) -> Layout:
    """Choose the stamps' sizes: a disc, a bulge, a real galaxy and a point each need their own, the largest wins."""
    optical = optics(settings)
    scale = optical.scale_px.max()
    core = CORE_FWHM * optical.fwhm_px.max()
    sigmas = (sources.flux / optical.sigma).max(1)
    wings = sigmas * (BETA - 1) / (np.pi * scale**2) / EDGE_SIGMA
    point = scale * np.sqrt(np.maximum(wings ** (1 / BETA), OUTSIDE ** (1 / (1 - BETA))) - 1)
    profile = sources.sources
    length = np.maximum(profile.disc_radius / DISC_SCALE / PIXEL_ARCSEC, 1e-3)
    central = sigmas * (1 - profile.bulge_fraction) / (2 * np.pi * length**2 * profile.axis_ratio)
    disc = length * np.maximum(DISC_LIGHT, np.log(np.maximum(central / EDGE_SIGMA, 1))) + core
    bulge = BULGE_ENDS * profile.bulge_radius / PIXEL_ARCSEC + core
    half = np.maximum(point, np.where(profile.point_fraction < 1, np.maximum(disc, bulge), 0))
    real = np.flatnonzero(sources.stamp >= 0)
    if real.size and settings.shapes is not None:
        known, number = shapes(settings.shapes), sources.stamp[real]
        stretch = sources.round_radius[real] / known.radius[number]
        half[real] = np.maximum(point[real], known.diagonal[number] * stretch / 2 / PIXEL_ARCSEC + core)
    return Layout(
        size=SIZES[np.minimum(np.searchsorted(SIZES, 2 * half), SIZES.size - 1)],
        trail=trail_px(optical, profile.point_fraction[:, None] * sources.flux),
        bright=profile.point_fraction * sigmas > BRIGHT_SIGMA,
    )


def near(settings: RenderSettings, window: Window) -> Catalogue:
    """Give the sources whose light might reach a window, and others."""
    return catalogue(settings, window, REACH)


def lights(
    settings: RenderSettings, sources: Catalogue, window: Window, bands: tuple[int, ...]
) -> Iterator[tuple[int, tuple[slice, slice], NDArray[np.float32]]]:
    """Yield the light that each source sheds on a window.

    Parameters
    ----------
    settings : RenderSettings
    sources : Catalogue
        All that are `near`.
    window : Window
    bands : tuple of int
        Indices in ugrizy.

    Yields
    ------
    row : int
        Of the source.
    there : tuple of slice
        Rows and columns of the window.
    light : ndarray of float32, (bands, rows, columns)
        nJy.
    """
    plan = layout(settings, sources)
    half_x, half_y = plan.size // 2 + 1, plan.half_height + 1
    reaching = (sources.x > window.x0 - half_x) & (sources.x < window.x0 + window.nx + half_x)
    reaching &= (sources.y > window.y0 - half_y) & (sources.y < window.y0 + window.ny + half_y)
    for row in np.flatnonzero(reaching).tolist():
        stamp = draw(settings, sources, plan, row, bands)
        there, here = window.common(stamp.window), stamp.window.common(window)
        if there is not None and here is not None:
            yield row, there, stamp.pixels[(slice(None), *here)]


def draw(settings: RenderSettings, sources: Catalogue, plan: Layout, row: int, bands: tuple[int, ...]) -> Stamp:
    """Draw one source in some bands (indices in ugrizy)."""
    size, trail = int(plan.size[row]), int(plan.trail[row])
    column, line = round(sources.x[row]), round(sources.y[row])
    offset = (sources.x[row] - column, sources.y[row] - line)
    chosen = list(bands)
    flux = sources.flux[row, chosen]
    point = float(sources.sources.point_fraction[row])
    bright = bool(plan.bright[row])
    pixels = np.zeros((len(chosen), size, size), dtype=np.float32)
    if not (bright and point == 1):
        profile = _transform(settings, sources, row, size, offset, with_point=not bright)
        transform = (psf_transforms(settings, size)[chosen] * profile) * flux.astype(np.float32)[:, None, None]
        pixels += fft.irfft2(transform, s=(size, size), overwrite_x=True)
    if bright:
        pixels += _points(settings, size, offset, point * flux, bands)
    if trail:
        pixels = bleed(pixels, optics(settings).full_well[chosen], trail)
    return Stamp(column - size // 2, line - size // 2 - trail, pixels)


@lru_cache(maxsize=32)
def psf_transforms(settings: RenderSettings, size: int) -> NDArray[np.float32]:
    """Give the transforms of PSF and pixel, (6, size, size / 2 + 1): real, as both are symmetric.

    Their signs alternate, which puts the middle of the stamp on its pixel [size / 2, size / 2].
    """
    image = _half_plane(size)
    pixel = galsim.Pixel(PIXEL_ARCSEC)
    planes = []
    for psf in optics(settings).psf:
        galsim.Convolve(psf, pixel).drawKImage(image, recenter=False)
        planes.append(fft.ifftshift(image.array.real, axes=0))
    sign = (-1.0) ** np.add.outer(np.arange(size), np.arange(size // 2 + 1))
    return np.asarray(np.array(planes) * sign, dtype=np.float32)


def _half_plane(size: int) -> galsim.ImageCD:
    bounds = galsim.BoundsI(0, size // 2, -(size // 2), size // 2 - 1)
    return galsim.ImageCD(bounds, scale=2 * np.pi / (size * PIXEL_ARCSEC))


def _transform(
    settings: RenderSettings, sources: Catalogue, row: int, size: int, offset: tuple[float, float], *, with_point: bool
) -> NDArray[np.complex64]:
    """Give the transform of a source of flux 1, `offset` pixels off the middle, before PSF and pixel."""
    point = float(sources.sources.point_fraction[row])
    total = np.zeros((size, size // 2 + 1), dtype=np.complex128)
    if with_point and point > 0:
        total += point * _shift(size, offset)
    if point < 1:
        galaxy = resolved(settings, sources, row).shift(*(PIXEL_ARCSEC * part for part in offset))
        image = _half_plane(size)
        galaxy.drawKImage(image, recenter=False)
        total += (1 - point) * fft.ifftshift(image.array, axes=0)
    return total.astype(np.complex64)


def resolved(settings: RenderSettings, sources: Catalogue, row: int) -> galsim.GSObject:
    """Give the resolved light of a source as GalSim describes it, of flux 1."""
    number = int(sources.stamp[row])
    if number < 0 or settings.shapes is None:
        return bulge_and_disc(sources.sources, row)
    angle = float(sources.sources.position_angle[row])
    return real_galaxy(settings.shapes, number, float(sources.round_radius[row]), angle)


def _shift(size: int, offset: tuple[float, float]) -> NDArray[np.complex128]:
    x = np.exp(-2j * np.pi * offset[0] * fft.rfftfreq(size))
    y = np.exp(-2j * np.pi * offset[1] * fft.fftfreq(size))
    return np.asarray(np.multiply.outer(y, x))


def _points(
    settings: RenderSettings, size: int, offset: tuple[float, float], flux: Array, bands: tuple[int, ...]
) -> NDArray[np.float32]:
    """Draw a point with GalSim."""
    half = size // 2
    image = galsim.ImageD(galsim.BoundsI(-half, half - 1, -half, half - 1), scale=PIXEL_ARCSEC)
    planes = np.empty((len(bands), size, size), dtype=np.float32)
    for plane, band, brightness in zip(planes, bands, flux):
        optics(settings).psf[band].drawImage(image, center=galsim.PositionD(*offset))
        plane[:] = brightness * image.array
    return planes
