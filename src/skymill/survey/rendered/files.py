"""The rendered survey on disk: tiles in the form of LSST exposures, truth as Parquet."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from astropy.io import fits

from skymill.config.images import ImageFile, ImageSettings, RenderSettings
from skymill.survey.images.tile import TilePixels
from skymill.survey.rendered.grid import Window, tile_names, tile_window, wcs_header
from skymill.survey.rendered.tile import PLANES, ROLES, render_tile
from skymill.survey.rendered.truth import truth

TILE_FILE = "coadd-{tile}-{band}.fits"
TRUTH_FILE = "truth-{tile}.parquet"


def image_settings() -> ImageSettings:
    """Describe the files that `write_tiles` writes, as any survey describes its own."""
    return ImageSettings(
        layout="exposure",
        image=ImageFile(file=TILE_FILE),
        psf=ImageFile(file=TILE_FILE, hdu="PSF"),
        planes=ROLES,
    )


def write_tiles(settings: RenderSettings, folder: Path) -> list[Path]:
    """Render all tiles and write them, one file a tile and band, and a table of the truth for each tile.

    Parameters
    ----------
    settings : RenderSettings
    folder : Path
        Made where it does not exist; files of the same names are replaced.

    Returns
    -------
    list of Path
        Every file. `coadd-<tile>-<band>.fits` has IMAGE (nJy), MASK (bits by its `MP_` cards), VARIANCE (nJy^2;
        infinite where a pixel has no weight), compressed without loss, and PSF; `truth-<tile>.parquet` the columns of
        `truth`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name in tile_names(settings):
        tile, window = render_tile(settings, name), tile_window(settings, name)
        for band in tile.bands:
            written.append(folder / TILE_FILE.format(tile=name, band=band))
            _exposure(settings, tile, band, window).writeto(written[-1], overwrite=True)
        written.append(folder / TRUTH_FILE.format(tile=name))
        pq.write_table(pa.table(truth(settings, name)), written[-1])
    return written


def _exposure(settings: RenderSettings, tile: TilePixels, band: str, window: Window) -> fits.HDUList:
    k = tile.bands.index(band)
    with np.errstate(divide="ignore"):
        variance = 1 / tile.inverse_variance[k]
    primary = fits.PrimaryHDU()
    primary.header["FILTER"] = band
    primary.header["TILE"] = tile.name
    primary.header["SEED"] = settings.seed
    primary.header["YEARS"] = (settings.years, "of LSST: the depth")
    primary.header["M5"] = (tile.metadata["m5"][band], "AB mag of a point source at 5 sigma")
    image = _compressed(tile.pixels[k], "IMAGE", settings, window)
    image.header["BUNIT"] = "nJy"
    mask = _compressed(tile.mask[k].astype(np.int32), "MASK", settings, window)
    for plane, bit in PLANES.items():
        mask.header[f"HIERARCH MP_{plane}"] = bit
    variance_hdu = _compressed(variance, "VARIANCE", settings, window)
    variance_hdu.header["BUNIT"] = "nJy2"
    return fits.HDUList([primary, image, mask, variance_hdu, fits.ImageHDU(tile.psf[band].image, name="PSF")])


def _compressed(data: np.ndarray, name: str, settings: RenderSettings, window: Window) -> fits.CompImageHDU:
    """Compress an image without loss; its header has the tile's place on the sky and on the mosaic."""
    header = wcs_header(settings, window)
    header["LTV1"], header["LTV2"] = -window.x0, -window.y0
    for axis, first in ((1, window.x0), (2, window.y0)):
        header[f"CTYPE{axis}A"], header[f"CUNIT{axis}A"] = "LINEAR", "pixel"
        header[f"CRPIX{axis}A"], header[f"CRVAL{axis}A"] = 1.0, float(first)
    return fits.CompImageHDU(data, header=header, name=name, compression_type="GZIP_2", quantize_level=0)
