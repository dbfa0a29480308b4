"""One image tile to its sources: background, detection, positions, shapes, fluxes, flags."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skymill.config.images import MeasureSettings
from skymill.features.measuring import flags
from skymill.features.measuring.background import Sky, subtract_background
from skymill.features.measuring.detection import Stack, bright_pixels, detect, stack_bands
from skymill.features.measuring.fitting import PointFluxes, fit_points
from skymill.features.measuring.footprints import Footprints, circle_share
from skymill.features.measuring.light import Light, measure_light
from skymill.features.measuring.measured import Measured, Positions, flux_names, psf_names, value_units
from skymill.features.measuring.morphology import morphology
from skymill.features.measuring.psf import is_usable
from skymill.features.measuring.shapes import psf_moments
from skymill.features.measuring.stars import with_stars
from skymill.features.measuring.values import blendedness, extendedness, star_size
from skymill.survey.images.celestial import pixel_scale_arcsec
from skymill.survey.images.tile import Psf, TilePixels
from skymill.survey.reference import reference_band

VERSION = 1
"""Raise it to measure all tiles again although no code below this module changed."""
UNKNOWN_FWHM_PX = 3.0
"""Width of the detection filter where no band of a tile has a point-spread function."""


Segmenter = Callable[[TilePixels, Sky, float, MeasureSettings], Footprints]
"""Finds the sources of a tile, given its sky and the width of its point-spread function, px."""


def measure(
    tile: TilePixels,
    settings: MeasureSettings,
    *,
    positions: Positions | None = None,
    segmenter: Segmenter | None = None,
) -> Measured:
    """Find and measure the sources of a tile, or measure at given positions.

    Parameters
    ----------
    tile : TilePixels
    settings : MeasureSettings
    positions : Positions, optional
        Measure here and detect nothing (forced mode): the maps of labels are zero, sources stay where they are put.
    segmenter : callable, optional
        Finds the sources in place of detection, and may class the pixels.

    Raises
    ------
    MeasureError
        If nothing can be measured on the tile, or it has more than `settings.max_sources` sources.
    """
    psfs = {band: psf for band, psf in tile.psf.items() if is_usable(psf)}
    fwhm = float(np.median([psf.fwhm_px for psf in psfs.values()])) if psfs else UNKNOWN_FWHM_PX
    bright = bright_pixels(tile, settings.background_px, fwhm)
    sky = subtract_background(tile, settings.background_px, fwhm, bright)
    psfs = {band: psf for band, psf in psfs.items() if sky.present[tile.bands.index(band)]}
    stack = stack_bands(sky, fwhm)
    radii = [radius / pixel_scale_arcsec(tile.wcs) for radius in settings.apertures_arcsec]
    if positions is not None:
        footprints = Footprints.at(positions, tile.shape, radius_px=min(radii))
    elif segmenter is not None:
        footprints = segmenter(tile, sky, fwhm, settings)
    else:
        footprints = detect(tile, stack, settings)
    places = footprints.places()
    light = measure_light(places, stack, sky, radii)
    bits, masked = _flags(tile, sky, footprints, light, max(radii))
    if settings.psf_from_stars:
        psfs = with_stars(psfs, tile.bands, sky, places, light, bits == 0)
    points = [
        fit_points(sky.pixels[index], sky.weight[index], light.x, light.y, psfs[band])
        if band in psfs
        else PointFluxes(*np.full((4, footprints.n), np.nan))
        for index, band in enumerate(tile.bands)
    ]
    bits[_failed(points, sky.present)] |= flags.PSF_FAILED.mask
    values = {
        **_shape_values(psfs, tile.bands, light),
        **_flux_values(psfs, tile.bands, sky, stack, light, points),
        "coverage_frac": circle_share(stack.weight > 0, light.x, light.y, max(radii)),
        "masked_frac": masked,
        "area": footprints.area,
    }
    if settings.morphology:
        values |= _morphology(tile.bands, sky, footprints)
    photometry = _photometry(settings, light, points)
    names = value_units(tile.bands, morphology=settings.morphology)
    return _measured(footprints, sky, light, photometry, {name: values[name] for name in names}, bits)


def _morphology(bands: Sequence[str], sky: Sky, footprints: Footprints) -> dict[str, NDArray[Any]]:
    """Give the morphology of the sources in the reference band; NaN where it is missing or nothing is detected."""
    band = bands.index(reference_band(bands))
    sources = np.arange(1, footprints.n + 1)
    found = morphology(sky.pixels[band], footprints.labels, sources, inverse_variance=sky.weight[band])
    return {**found, "morphology_flag": found["flag"].astype(np.float64)}


def _flags(
    tile: TilePixels, sky: Sky, footprints: Footprints, light: Light, largest_px: float
) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    """Give all flags but that of the PSF flux, and the share of the footprints' pixels that are not used."""
    bits, masked = flags.mask_flags(tile, sky, footprints.share)
    bits[flags.leaves_image(light.x, light.y, largest_px, tile.shape)] |= flags.EDGE.mask
    bits[footprints.n_blended > 1] |= flags.DEBLENDED.mask
    bits[footprints.n_blended > flags.CROWDED_FROM] |= flags.CROWDED.mask
    bits[light.shapes.failed] |= flags.SHAPE_FAILED.mask
    return bits, masked


def _failed(points: Sequence[PointFluxes], present: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Say which sources lack the PSF flux of a band that the tile has."""
    lacking = [np.isnan(one.flux) for one, there in zip(points, present, strict=True) if there]
    return np.asarray(np.any(lacking, axis=0))


def _photometry(
    settings: MeasureSettings, light: Light, points: Sequence[PointFluxes]
) -> dict[str, NDArray[np.float32]]:
    """Name the fluxes and errors, (n, bands)."""
    fluxes = [np.stack([one.flux for one in points], axis=1), *light.flux]
    errors = [np.stack([one.error for one in points], axis=1), *light.error]
    named = {}
    for name, flux, error in zip(flux_names(settings.apertures_arcsec), fluxes, errors, strict=True):
        named[name], named[f"{name}Err"] = _float32(flux), _float32(error)
    return named


def _shape_values(psfs: Mapping[str, Psf], bands: Sequence[str], light: Light) -> dict[str, NDArray[np.float64]]:
    """Give moments (NaN where they failed), radii, and the moments of the reference band's PSF."""
    band, shapes = reference_band(bands), light.shapes
    of_psf = psf_moments(psfs[band]) if band in psfs else (np.nan, np.nan, np.nan)
    found = np.where(shapes.failed, np.nan, np.stack([shapes.xx, shapes.yy, shapes.xy]))
    return {
        **dict(zip(("shape_xx", "shape_yy", "shape_xy"), found, strict=True)),
        **{name: np.full(found.shape[1], value) for name, value in zip(psf_names(band), of_psf, strict=True)},
        "kron_radius": light.kron_radius,
        "half_light_radius": light.half_light_radius,
    }


def _flux_values(
    psfs: Mapping[str, Psf],
    bands: Sequence[str],
    sky: Sky,
    stack: Stack,
    light: Light,
    points: Sequence[PointFluxes],
) -> dict[str, NDArray[np.float64]]:
    """Give what is made of PSF fluxes."""
    size = np.where(light.shapes.failed, np.nan, light.shapes.xx + light.shapes.yy)
    star = star_size(psfs, bands, sky, stack.fwhm_px)
    flux, error = np.stack([one.flux for one in points], axis=1), np.stack([one.error for one in points], axis=1)
    return {"extendedness": extendedness(size, star, flux, error), "blendedness": blendedness(points, sky)}


def _measured(
    footprints: Footprints,
    sky: Sky,
    light: Light,
    photometry: dict[str, NDArray[np.float32]],
    values: Mapping[str, NDArray[Any]],
    bits: NDArray[np.int32],
) -> Measured:
    """Put everything in its place."""
    return Measured(
        n=footprints.n,
        label=np.arange(1, footprints.n + 1, dtype=np.int32),
        x=light.x,
        y=light.y,
        peak_x=footprints.peak_x.astype(np.int32),
        peak_y=footprints.peak_y.astype(np.int32),
        photometry=photometry,
        values={name: _float32(value) for name, value in values.items()},
        flags=bits,
        parent=footprints.parent,
        n_blended=footprints.n_blended,
        bbox=footprints.bbox,
        labels=footprints.labels,
        parents=footprints.parents,
        background=sky.background,
        noise=sky.noise,
        classes=footprints.classes,
        blend_probability=footprints.blend_probability,
    )


def _float32(values: NDArray[Any]) -> NDArray[np.float32]:
    with np.errstate(over="ignore"):
        return values.astype(np.float32)
