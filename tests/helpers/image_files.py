"""A small survey of images on disk: one field of stars and round galaxies, cut into tiles that overlap."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from astropy.io import fits
from astropy.wcs import WCS
from survey_files import write_yaml

BANDS = ("g", "r", "i")
SIZE, TILE, OVERLAP = 480, 280, 80
NOISE_nJy = {"g": 3.0, "r": 4.0, "i": 5.0}
FWHM_ARCSEC, SCALE_ARCSEC = 0.8, 0.2
CENTRE = (150.0, 2.0)
CLASSES = ["GALAXY", "STAR"]


def field_wcs(x0: int = 0, y0: int = 0) -> WCS:
    """The field's TAN grid, seen from the window that begins at column x0 and row y0."""
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval = CENTRE
    wcs.wcs.crpix = [(SIZE + 1) / 2 - x0, (SIZE + 1) / 2 - y0]
    wcs.wcs.cdelt = [-SCALE_ARCSEC / 3600, SCALE_ARCSEC / 3600]
    return wcs


def sources(seed: int = 1, *, spacing: int = 24) -> dict[str, np.ndarray]:
    """Sources on a jittered grid, so that none blend: position, flux (n, bands), width and class."""
    rng = np.random.default_rng(seed)
    grid = np.arange(spacing, SIZE - spacing // 2, spacing)
    x, y = (axis.ravel() + rng.uniform(-3, 3, axis.size) for axis in np.meshgrid(grid, grid))
    star = rng.random(len(x)) < 0.4
    magnitude = rng.uniform(21.0, 24.0, len(x))
    colour = np.where(star, 0.9, 0.3)[:, None] * np.array([1, 0, -1]) + rng.normal(0, 0.05, (len(x), 3))
    flux = 10 ** ((31.4 - magnitude[:, None] - colour) / 2.5)
    seeing = FWHM_ARCSEC / SCALE_ARCSEC / 2.3548
    width = np.where(star, seeing, np.hypot(seeing, rng.uniform(1.5, 2.5, len(x))))
    ra, dec = field_wcs().all_pix2world(x, y, 0)
    return {"x": x, "y": y, "flux": flux, "width": width, "star": star, "ra": ra, "dec": dec}


def mosaic(seed: int = 1) -> np.ndarray:
    """The field's pixels, (bands, SIZE, SIZE), nJy."""
    truth, rng = sources(seed), np.random.default_rng([seed, 2])
    image = np.stack([rng.normal(0, NOISE_nJy[band], (SIZE, SIZE)) for band in BANDS])
    for x, y, flux, width in zip(truth["x"], truth["y"], truth["flux"], truth["width"], strict=True):
        x0, y0 = int(x) - 15, int(y) - 15
        rows, columns = slice(max(y0, 0), y0 + 31), slice(max(x0, 0), x0 + 31)
        yy, xx = np.mgrid[rows, columns]
        profile = np.exp(-0.5 * ((xx - x) ** 2 + (yy - y) ** 2) / width**2) / (2 * np.pi * width**2)
        part = image[:, rows, columns]
        part += flux[:, None, None] * profile[: part.shape[1], : part.shape[2]]
    return image.astype(np.float32)


def windows() -> dict[str, tuple[int, int]]:
    """Name and first column and row of each of the 2 x 2 tiles."""
    step = TILE - OVERLAP
    return {f"{row}{column}": (column * step, row * step) for row in range(2) for column in range(2)}


def write_tile(folder: Path, name: str, x0: int, y0: int, *, size: int = TILE, image: np.ndarray | None = None) -> None:
    """Write one tile: a file a band with the pixels and their variance."""
    image = mosaic() if image is None else image
    for index, band in enumerate(BANDS):
        header = field_wcs(x0, y0).to_header()
        header["BUNIT"] = "nJy"
        pixels = image[index, y0 : y0 + size, x0 : x0 + size]
        variance = np.full(pixels.shape, NOISE_nJy[band] ** 2, np.float32)
        hdus = [fits.PrimaryHDU(), fits.ImageHDU(pixels, header, "IMAGE"), fits.ImageHDU(variance, header, "VARIANCE")]
        fits.HDUList(hdus).writeto(folder / f"{band}-{name}.fits", overwrite=True)


def write_images(folder: Path) -> None:
    """Write images/ (2 x 2 tiles), truth.parquet, the YAML files and config.yaml into `folder`."""
    (folder / "images").mkdir(parents=True)
    image = mosaic()
    for name, (x0, y0) in windows().items():
        write_tile(folder / "images", name, x0, y0, image=image)
    truth = sources()
    names = np.where(truth["star"], "STAR", "GALAXY")
    pq.write_table(pa.table({"ra": truth["ra"], "dec": truth["dec"], "class": names}), folder / "truth.parquet")
    for name, content in configuration().items():
        write_yaml(folder / f"{name}.yaml", content)


def configuration() -> dict[str, dict[str, Any]]:
    """The survey's, the run's and the model's file."""
    survey = {
        "name": "pictures",
        "format": "images",
        "path": "images",
        "bands": list(BANDS),
        "images": {
            "layout": "fits",
            "image": {"file": "{band}-{tile}.fits", "hdu": "IMAGE"},
            "variance": {"file": "{band}-{tile}.fits", "hdu": "VARIANCE"},
            "psf_fwhm_arcsec": FWHM_ARCSEC,
        },
    }
    run = {
        "name": "pictures",
        "survey": "survey.yaml",
        "models": ["forest.yaml"],
        "features": {"measure": {"background_px": 64, "threshold": 5.0}},
        "tiling": {"max_rows": 1000, "highest_order": 8, "group_order": 0},
        "labels": {
            "path": "truth.parquet",
            "column": "class",
            "classes": CLASSES,
            "match": "sky",
            "ra": {"column": "ra", "unit": "deg"},
            "dec": {"column": "dec", "unit": "deg"},
        },
        "split": {"order": 13, "guard_arcsec": 1},
        "compute": {"memory_per_worker": "2GB"},
    }
    forest = {"name": "forest", "kind": "forest", "settings": {"trees": 10, "max_depth": 6}}
    return {"survey": survey, "config": run, "forest": forest}
