"""Layout `cells`: `CellCoadd` files of Rubin's DP2, as the package lsst-images writes them.

IMAGE, MASK and VARIANCE are tile-compressed; mask planes are named by `MSKN` cards; the PSF is an image per cell, NaN
for cells without data; a JSON tree tells the patch's inner region (https://images.lsst.io, schema cell_coadd 1.0).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skymill.survey.images import exposure_layout
from skymill.survey.images.bands import BandSource, Description
from skymill.survey.images.fits_files import FitsFile, Unit
from skymill.survey.images.mask_planes import planes_of
from skymill.survey.images.tile import ImageError


def describe(source: BandSource) -> Description:
    """Read the headers of a band's coadd, and the patch's inner region."""
    description = exposure_layout.describe(source)
    file = source.open.get(source.path("image"), FitsFile)
    tree = _tree(file)
    if tree.get("band") not in (None, source.band, source.spelled):
        raise ImageError(
            f"{file.path}: expected band '{source.spelled}', found '{tree['band']}'; correct the pattern or band_names"
        )
    patch = tree.get("patch") or {}
    told = {"tract": _frame(tree).get("tract"), "patch": patch.get("id")}
    grid = replace(description.grid, inner=_inner(patch, description.grid.origin))
    return replace(description, grid=grid, metadata={**description.metadata, **told})


def array(source: BandSource, role: str) -> NDArray[Any] | None:
    """Decode the band's image, mask or variance."""
    return exposure_layout.array(source, role)


def psf(source: BandSource, places: NDArray[np.float64]) -> NDArray[Any] | None:
    """Give the mean PSF of the coadd's cells, unless another file is declared."""
    if source.settings.psf is not None:
        return exposure_layout.psf(source, places)
    file = source.open.get(source.path("image"), FitsFile)
    unit = _named(file, "PSF")
    if unit is None or len(unit.shape) != 4:
        return None
    kernels = file.array(unit)  # (rows of cells, columns of cells, k, k)
    known = kernels[np.isfinite(kernels).all(axis=(2, 3))]
    return known.mean(axis=0) if len(known) else None


def planes(source: BandSource) -> Mapping[str, int]:
    """Give the bits that the mask's `MSKN` cards name."""
    file = source.open.get(source.path("image"), FitsFile)
    masks = [unit for unit in file.units if unit.name == "MASK"]
    if len(masks) > 1:
        raise ImageError(
            f"{file.path}: expected one extension MASK of at most 31 planes, found {len(masks)}; drop planes"
        )
    return planes_of(masks[0].header, f"{file.path}[MASK]") if masks else {}


def _named(file: FitsFile, name: str) -> Unit | None:
    return next((unit for unit in file.units if unit.name == name), None)


def _tree(file: FitsFile) -> dict[str, Any]:
    """The file's JSON tree; empty where it has none."""
    unit = _named(file, "JSON")
    if unit is None:
        return {}
    try:
        tree: dict[str, Any] = json.loads(bytes(np.asarray(file.table(unit)["JSON"][0]).astype(np.uint8)))
    except (ValueError, KeyError, IndexError) as error:
        if isinstance(error, ImageError):
            raise
        raise ImageError(f"{file.path}: expected a JSON tree in its extension, found none ({error})") from error
    return tree


def _frame(tree: Mapping[str, Any]) -> Mapping[str, Any]:
    """The pixel frame of the sky projection, which names the tract."""
    frames = (tree.get("sky_projection") or {}).get("pixel_to_sky", {}).get("frames", [])
    return next((frame for frame in frames if isinstance(frame, dict)), {})


def _inner(patch: Mapping[str, Any], origin: tuple[int, int] | None) -> tuple[int, int, int, int] | None:
    box = patch.get("inner_bbox")
    if not box or origin is None:
        return None
    (x0, y0), x, y = origin, box["x"], box["y"]
    return int(x["start"]) - x0, int(y["start"]) - y0, int(x["stop"]) - x0, int(y["stop"]) - y0
