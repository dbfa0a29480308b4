"""Our side of cutouts from files: six FITS files are read, then all stamps are cut."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow.parquet as pq
from answering import answer
from astropy.io import fits
from astropy.wcs import WCS

from skymill.survey.images.cutting import cutouts
from skymill.survey.images.tile import TilePixels


def cut(catalogue: str, files: list[str], size: int, batch: int) -> dict[str, Any]:
    """Cut the stamps of a catalogue; give how many there are and the sum of their absolute pixels."""
    table = pq.read_table(catalogue, columns=["RA", "Dec"])
    tile = read(files)
    x, y = tile.wcs.all_world2pix(table["RA"].to_numpy(), table["Dec"].to_numpy(), 0)
    n, total = 0, 0.0
    for stamps in cutouts(tile, x, y, size, batch=batch):
        n += len(stamps.pixels)
        total += float(np.abs(stamps.pixels).sum(dtype=np.float64))
    return {"n": n, "total": total}


def read(files: list[str]) -> TilePixels:
    """Read bands that have one grid; without weights, so that all pixels weigh the same."""
    pixels = np.stack([fits.getdata(file) for file in files]).astype(np.float32)
    return TilePixels(
        name="tile",
        bands=tuple(files),
        pixels=pixels,
        inverse_variance=np.ones_like(pixels),
        mask=np.zeros(pixels.shape, np.uint32),
        planes={},
        roles={},
        wcs=WCS(fits.getheader(files[0])),
    )


if __name__ == "__main__":
    answer(cut, {})
