"""Small images with a WCS, and how a folder of them is read."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS

from skymill.config.images import ImageSettings
from skymill.survey.images.files import list_tiles
from skymill.survey.images.layout import read_geometry, read_tile
from skymill.survey.images.tile import TileGeometry, TilePixels

SHAPE = (24, 30)


def image_settings(layout: str = "fits", **keys: Any) -> ImageSettings:
    """Settings of a survey of files `<band>.fits`; keyword arguments replace or add keys, None takes one out."""
    content: dict[str, Any] = {"layout": layout, "image": {"file": "{band}.fits"}, "unit": "nJy", **keys}
    return ImageSettings.model_validate({key: value for key, value in content.items() if value is not None})


def tan_wcs(
    shape: tuple[int, int] = SHAPE,
    *,
    scale_arcsec: float = 0.2,
    turn_deg: float = 0.0,
    shift: tuple[float, float] = (0, 0),
) -> WCS:
    """A gnomonic WCS about (150, 2); `shift` moves the sky by (x, y) pixels."""
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval = [150.0, 2.0]
    wcs.wcs.crpix = [(shape[1] + 1) / 2 + shift[0], (shape[0] + 1) / 2 + shift[1]]
    cosine, sine = np.cos(np.radians(turn_deg)), np.sin(np.radians(turn_deg))
    wcs.wcs.cd = np.array([[-cosine, sine], [sine, cosine]]) * scale_arcsec / 3600
    wcs.wcs.radesys = "ICRS"
    wcs.wcs.set()
    return wcs


def header(wcs: WCS | None = None, **cards: Any) -> fits.Header:
    """The header of an image: a WCS and further cards (`__` for a hyphen)."""
    made = (wcs or tan_wcs()).to_header(relax=True)
    made.update({name.replace("__", "-"): value for name, value in cards.items()})
    return made


def noise(shape: tuple[int, ...] = SHAPE, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 1, shape).astype(np.float32)


def write_fits(path: Path, pixels: np.ndarray, head: fits.Header | None = None, *, checksum: bool = False) -> Path:
    """Write an image as the primary one of a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fits.PrimaryHDU(pixels, header() if head is None else head).writeto(path, checksum=checksum)
    return path


def write_exposure(
    path: Path,
    *,
    order: Sequence[str] = ("IMAGE", "MASK", "VARIANCE"),
    named: bool = True,
    wcs: WCS | None = None,
    compression_type: str | None = None,
    quantize_level: float = 16,
    **cards: Any,
) -> Path:
    """Write an exposure as afw does: noise of variance 4 in nJy, SAT (bit 1) set at row 3, column 4."""
    images = {"IMAGE": noise(), "MASK": sole_pixel(1 << 1), "VARIANCE": np.full(SHAPE, 4, np.float32)}
    hdus: list[Any] = [fits.PrimaryHDU()]
    for name in order:
        head = header(wcs, BUNIT="nJy", **(cards if name == "IMAGE" else {"MP_SAT": 1} if name == "MASK" else {}))
        if compression_type is None:
            hdus.append(fits.ImageHDU(images[name], head))
        else:
            level = {} if name == "MASK" else {"quantize_level": quantize_level}
            hdus.append(fits.CompImageHDU(images[name], head, compression_type=compression_type, **level))
        if named:
            hdus[-1].name = name
    fits.HDUList(hdus).writeto(path)
    return path


def sole_pixel(value: int) -> np.ndarray:
    """A mask with one pixel set."""
    mask = np.zeros(SHAPE, np.int32)
    mask[3, 4] = value
    return mask


def write_cells(path: Path, *, band: str, psf: bool = True) -> Path:
    """Write a cell coadd as lsst-images does (layout of its files of version 30): four cells, one without data."""
    place = {"CTYPE1A": "LINEAR", "CTYPE2A": "LINEAR", "CRPIX1A": 1.0, "CRPIX2A": 1.0, "CRVAL1A": 6e3, "CRVAL2A": 3e3}
    planes = {"MSKN0000": "NO_DATA", "MSKN0001": "INTERPOLATED", "MSKN0003": "SATURATED"}
    bits = {name.replace("N", "M", 1): 1 << int(name[-4:]) for name in planes}
    images = {
        "IMAGE": (noise(), {"BUNIT": "nJy"}),
        "MASK": (sole_pixel(1 << 3), planes | bits),
        "VARIANCE": (np.full(SHAPE, 4, np.float32), {"BUNIT": "nJy2"}),
    }
    hdus: list[Any] = [fits.PrimaryHDU()]
    for name, (pixels, cards) in images.items():
        compressed = fits.CompImageHDU(
            pixels, header(**place, **cards), name, compression_type="GZIP_2", quantize_level=0, tile_shape=(12, 15)
        )
        hdus.append(compressed)
    if psf:
        offset = np.arange(-12, 13)
        kernel = np.exp(-(offset[:, None] ** 2 + offset**2) / (2 * 2.0**2))
        kernels = np.tile(kernel / kernel.sum(), (2, 2, 1, 1))
        kernels[1, 1] = np.nan
        hdus.append(fits.CompImageHDU(kernels, name="PSF", compression_type="GZIP_2", quantize_level=0))
    box = {"x": {"start": 6002, "stop": 6028}, "y": {"start": 3003, "stop": 3021}}
    frames = [{"skymap": "lsst_cells_v1", "tract": 5063, "frame_type": "TRACT"}, "ICRS"]
    tree = {
        "band": band,
        "patch": {"id": 4, "inner_bbox": box},
        "sky_projection": {"pixel_to_sky": {"frames": frames}},
    }
    text = np.frombuffer(json.dumps(tree).encode(), dtype=np.uint8)
    column = fits.Column("JSON", "PB()", array=np.array([text], dtype=object))
    hdus.append(fits.BinTableHDU.from_columns([column], name="JSON"))
    fits.HDUList(hdus).writeto(path)
    return path


def read(folder: Path, settings: ImageSettings, bands: Sequence[str] = ("g",), **keys: Any) -> TilePixels:
    """Read the only tile of a folder, and hold its geometry against its pixels."""
    [files] = list_tiles(folder, settings, bands, **keys)
    tile = read_tile(files, folder, settings, bands, **keys)
    geometry = read_geometry(files, folder, settings, bands, **keys)
    assert (geometry.name, geometry.shape) == (tile.name, tile.shape)
    pixel = np.array([[3.0, 4.0]])
    np.testing.assert_allclose(geometry.wcs.all_pix2world(pixel, 0), tile.wcs.all_pix2world(pixel, 0), rtol=0, atol=0)
    return tile


def geometry(folder: Path, settings: ImageSettings, bands: Sequence[str] = ("g",)) -> TileGeometry:
    """Read where the only tile of a folder is."""
    [files] = list_tiles(folder, settings, bands)
    return read_geometry(files, folder, settings, bands)
