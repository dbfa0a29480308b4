"""Write cell coadds in two bands into a folder, with the package lsst-images (Python 3.12 or later)."""

from __future__ import annotations

import sys
from pathlib import Path

import astropy.units as u
import numpy as np
from astropy.wcs import WCS
from lsst.images import YX, Box, Image, Mask, MaskSchema, SkyProjection, TractFrame, get_legacy_deep_coadd_mask_planes
from lsst.images.cells import CellCoadd, CellGrid, CellGridBounds, CellIJ, CellPointSpreadFunction, PatchDefinition
from lsst.images.fits import write

BOX = Box.factory[3000:3100, 6000:6150]
TRACT = Box.factory[0:30000, 0:30000]


def main(folder: Path) -> None:
    """Write `<tract>_<band>.fits` in g and i, and the truth."""
    wcs = WCS(naxis=2)
    wcs.wcs.ctype, wcs.wcs.crval, wcs.wcs.crpix = ["RA---TAN", "DEC--TAN"], [53.0, -28.0], [15001, 15001]
    wcs.wcs.cd = np.diag([-0.2 / 3600, 0.2 / 3600])
    pixels = [np.random.default_rng(seed).normal(0, 10, BOX.shape).astype(np.float32) for seed in (1, 2)]
    for band, image in zip("gi", pixels):
        write(coadd(band, image, wcs), folder / f"5063_{band}.fits", compression_seed=1)
    corner = wcs.all_pix2world([[6000, 3000]], 0)
    np.savez(folder / "truth.npz", pixels=pixels, corner=corner)


def coadd(band: str, pixels: np.ndarray, wcs: WCS) -> CellCoadd:
    """Six cells, one without a PSF; a saturated pixel at row 5, column 7."""
    frame = TractFrame(skymap="lsst_cells_v1", tract=5063, bbox=TRACT)
    projection = SkyProjection.from_fits_wcs(wcs, frame, pixel_bounds=TRACT)
    schema = MaskSchema(list(get_legacy_deep_coadd_mask_planes().values()), dtype=np.uint8)
    mask = Mask(0, bbox=BOX, schema=schema)
    saturated = np.zeros(BOX.shape, dtype=bool)
    saturated[5, 7] = True
    mask.set("SATURATED", saturated)
    grid = CellGrid(bbox=BOX, cell_shape=YX(y=50, x=50))
    bounds = CellGridBounds(grid=grid, bbox=BOX, missing={CellIJ(i=1, j=2)})
    return CellCoadd(
        Image(pixels, bbox=BOX, unit=u.nJy, sky_projection=projection),
        mask=mask,
        variance=Image(np.full(BOX.shape, 100, np.float32), bbox=BOX, unit=u.nJy**2),
        sky_projection=projection,
        band=band,
        psf=CellPointSpreadFunction(kernels(), bounds),
        mask_fractions={"rejected": Image(np.zeros(BOX.shape, np.float32), bbox=BOX)},
        noise_realizations=[Image(pixels[::-1].copy(), bbox=BOX)],
        patch=PatchDefinition(id=4, index=YX(y=0, x=4), inner_bbox=Box.factory[3010:3090, 6010:6140], cells=grid),
    )


def kernels() -> np.ndarray:
    """Gaussians of slightly different width, (rows of cells, columns of cells, 25, 25)."""
    offset = np.arange(-12, 13)
    images = np.zeros((2, 3, 25, 25))
    for i, j in np.ndindex(2, 3):
        images[i, j] = np.exp(-(offset[:, None] ** 2 + offset**2) / (2 * (2 + 0.1 * i - 0.05 * j) ** 2))
        images[i, j] /= images[i, j].sum()
    images[1, 2] = np.nan
    return images


if __name__ == "__main__":
    main(Path(sys.argv[1]))
