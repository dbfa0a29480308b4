"""The real images of the test data, and the simulated ones that others made, as tiles to measure."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.utils.exceptions import AstropyUserWarning
from astropy.wcs import WCS
from numpy.typing import NDArray
from scipy import ndimage

from skymill.config.load import load_survey
from skymill.features.measuring import Measured
from skymill.features.measuring.measured import KRON_FLUX, PSF_FLUX
from skymill.report.images.gather import TileRows
from skymill.survey.images import Psf, TilePixels, list_tiles, read_tile
from skymill.survey.images.ownership import PRIMARY
from skymill.survey.images.psf import on_grid, psf_of

CONFIG = Path(__file__).resolve().parents[2] / "config" / "surveys"
COUNT_27 = 57.544
"""nJy of one count where the zero point is 27."""
HSC_PIXEL, LSST_PIXEL = 0.168, 0.2
"""Arcsec."""


@dataclass(frozen=True)
class Blend:
    """An HSC blend, and the peaks (n, 2: x, y) of the LSST pipelines in it."""

    tile: TilePixels
    peaks: NDArray[np.float64]


@dataclass(frozen=True)
class Scene:
    """A simulated blend: its noise-free sources, (n, bands, ny, nx), where they are, and whether they are stars."""

    tile: TilePixels
    light: NDArray[np.float32]
    places: NDArray[np.float64]
    star: NDArray[np.bool_]


def flat_wcs(pixel_arcsec: float) -> WCS:
    """Give a tangent plane on the equator."""
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval = [10.0, 0.0]
    wcs.wcs.crpix = [1.0, 1.0]
    wcs.wcs.cdelt = [-pixel_arcsec / 3600, pixel_arcsec / 3600]
    return wcs


def tile_of(
    name: str,
    bands: Sequence[str],
    pixels: NDArray[np.floating],
    inverse_variance: NDArray[np.floating] | None,
    psf: Mapping[str, Psf],
    pixel_arcsec: float,
) -> TilePixels:
    """Make a tile without masks of pixels (bands, ny, nx) in nJy; without a variance the noise is measured."""
    weight = np.ones(pixels.shape) if inverse_variance is None else inverse_variance
    return TilePixels(
        name=name,
        bands=tuple(bands),
        pixels=np.ascontiguousarray(pixels, dtype=np.float32),
        inverse_variance=np.ascontiguousarray(weight, dtype=np.float32),
        mask=np.zeros(pixels.shape, dtype=np.uint32),
        planes={},
        roles={},
        wcs=flat_wcs(pixel_arcsec),
        psf=psf,
        noise_known=inverse_variance is not None,
    )


def sextractor_reference(data: Path) -> TilePixels:
    """Give the NTT image of which SExtractor's own catalogue stands beside it; its counts are taken for nJy."""
    image = image_of(data / "images/small_references/image.fits")
    return tile_of("sextractor", "r", image[None], None, {}, 1.0)


def image_of(path: Path) -> NDArray[np.float64]:
    """Read a FITS image whose header holds cards, of the telescope's own log, that are not standard."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AstropyUserWarning)
        return np.asarray(fits.getdata(path), np.float64)


def stripe82_frame(data: Path) -> TilePixels:
    """Give the SDSS frame in five bands, as `config/surveys/sdss_frames.yaml` reads it."""
    os.environ["SDSS_FRAMES"] = str(data / "images/sdss_stripe82_94_1_12")
    survey = load_survey(CONFIG / "sdss_frames.yaml")
    assert survey.images is not None
    folder = Path(survey.path)
    [files] = list_tiles(folder, survey.images, survey.bands)
    return read_tile(files, folder, survey.images, survey.bands)


def hsc_blends(data: Path) -> Iterator[Blend]:
    """Give the blends of HSC's COSMOS field with their weights and point-spread functions."""
    for path in sorted((data / "images/lsst_hsc_cosmos_blends").glob("*.npz")):
        with np.load(path) as blend:
            images, weights, psfs, peaks = (blend[name] for name in ("images", "weights", "psfs", "peaks"))
        psf = {band: psf_of(image, path.name) for band, image in zip("grizy", psfs, strict=True)}
        tile = tile_of(path.stem, "grizy", images * COUNT_27, weights / COUNT_27**2, psf, HSC_PIXEL)
        yield Blend(tile, np.asarray(peaks, np.float64))


def on_lsst_pixels(blend: Blend) -> Blend:
    """Interpolate a blend to LSST's pixels, beside a u band without weight; noise is then shared by neighbours."""
    step, tile = LSST_PIXEL / HSC_PIXEL, blend.tile
    shape = tuple(int((n - 1) / step) + 1 for n in tile.shape)
    images, weights = (
        np.stack([ndimage.affine_transform(band, [step, step], output_shape=shape, order=order) for band in layers])
        for layers, order in ((tile.pixels, 3), (tile.inverse_variance, 1))
    )
    nothing = np.zeros((1, *shape))
    pixels, weight = (np.concatenate([nothing, each]) for each in (images * step**2, np.maximum(weights, 0) / step**2))
    psf = {band: on_grid(tile.psf[band], step * np.eye(2)) for band in tile.bands}
    psf["u"] = psf["g"]
    return Blend(tile_of(tile.name, "ugrizy", pixels, weight, psf, LSST_PIXEL), blend.peaks / step)


def scarlet_scenes(data: Path) -> Iterator[Scene]:
    """Give scarlet's two simulated blends; entries of one place (bulge and disc) are one source.

    Three things are taken from the noise-free light of the sources, not from the files: the noise, which is what the
    image has beyond it; the positions, which the files have half a pixel beside it; and the point-spread functions,
    since those of the first file are not those of its light, and of the second in another order than its bands.
    """
    for name in ("psf_matched_sim", "psf_unmatched_sim"):
        with np.load(data / f"images/scarlet_blends/{name}.npz") as blend:
            images, bands, table = (blend[key] for key in ("images", "filters", "catalog"))
        every = np.stack([table[f"intensity_{band}"] for band in bands], axis=1)  # (n, bands, ny, nx)
        places, source = np.unique(np.column_stack([table["x"], table["y"]]), axis=0, return_inverse=True)
        light = np.stack([every[source == one].sum(axis=0) for one in range(len(places))])
        star = np.array([table["is_star"][source == one].all() for one in range(len(places))])
        centres = np.array([centre_of(one.sum(axis=0)) for one in light[star]])
        places += np.median(centres - places[star], axis=0)
        noise = (images - light.sum(axis=0)).std(axis=(1, 2), keepdims=True)
        psf = {band: psf_of(one, name) for band, one in zip(bands, star_images(light[star], centres), strict=True)}
        tile = tile_of(name, bands, images, np.broadcast_to(noise**-2, images.shape), psf, HSC_PIXEL)
        yield Scene(tile, light, places, star)


def centre_of(image: NDArray[np.floating]) -> NDArray[np.float64]:
    """Give x, y of the middle of the light of an image (ny, nx)."""
    y, x = np.indices(image.shape)
    return np.array([np.average(x, weights=image), np.average(y, weights=image)])


def star_images(light: NDArray[np.floating], centres: NDArray[np.float64], half_px: int = 10) -> NDArray[np.floating]:
    """Give the image in each band, on its middle pixel, of the star that is nearest to the middle of one."""
    best = np.argmin(np.abs(centres - np.rint(centres)).max(axis=1))
    x, y = np.rint(centres[best]).astype(int)
    move = (0, *(np.rint(centres[best]) - centres[best])[::-1])
    moved = ndimage.shift(light[best].astype(np.float64), move, order=5)
    return moved[:, y - half_px : y + half_px + 1, x - half_px : x + half_px + 1]


def dc2_cutout(data: Path) -> TilePixels:
    """Give the DC2 cutout in six bands; its stars are to tell the point-spread function."""
    pixels = np.load(data / "images/deepdisc_dc2/3828_2,2_12_images.npy") * COUNT_27
    return tile_of("dc2", "ugrizy", pixels, None, {band: Psf(4.0) for band in "ugrizy"}, LSST_PIXEL)


def rows_of(tile: TilePixels, found: Measured, chosen: NDArray[np.bool_] | None = None) -> TileRows:
    """Give the sources as the page of a survey has them; those `chosen` are the tile's own, by default all."""
    kinds = (PSF_FLUX, KRON_FLUX)
    rows = {
        "label": found.label,
        "flags": found.flags,
        "n_blended": found.n_blended,
        "centre_x": found.x,
        "centre_y": found.y,
        PRIMARY: np.ones(found.n, bool) if chosen is None else chosen,
    }
    return TileRows(
        tile.name,
        tile.bands,
        {kind: found.photometry[kind].astype(np.float64) for kind in kinds},
        {kind: found.photometry[f"{kind}Err"].astype(np.float64) for kind in kinds},
        {name: values.astype(np.float64) for name, values in found.values.items()},
        rows,
    )
