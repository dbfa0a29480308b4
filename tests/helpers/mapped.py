"""Catalogues of image tiles: label maps under a WCS and a row for each label, without anything being measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from astropy.wcs import WCS
from skies import group_of_all

from skymill.sky import ImageTile, order29
from skymill.store import Accounting, Pool, Variable, digest, write_tile
from skymill.store.manifest import ImageEntry

NAMES = ("tract=9813/patch=0", "tract=9813/patch=1", "tract=9814/patch=0")
PIXEL_DEG = 1 / 3600
SHAPE = (40, 60)


def wcs_at(ra: float, dec: float, *, turn_deg: float = 0.0, shape: tuple[int, int] = SHAPE) -> WCS:
    """A tangential projection around the middle of an image, turned."""
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval = [ra, dec]
    wcs.wcs.crpix = [(shape[1] + 1) / 2, (shape[0] + 1) / 2]
    turn = np.radians(turn_deg)
    wcs.wcs.cd = PIXEL_DEG * np.array([[-np.cos(turn), np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    return wcs


def write_image_tile(
    pool: Pool, name: str, wcs: WCS, *, n: int = 5, content: int = 0, shape: tuple[int, int] = SHAPE
) -> ImageEntry:
    """Write a tile with `n` sources, one pixel each; another `content` is another tile of the same sources."""
    random = np.random.default_rng(n)
    pixels = np.sort(random.choice(shape[0] * shape[1], n, replace=False))
    y, x = np.divmod(pixels, shape[1])
    labels = np.zeros(shape, np.int32)
    labels[y, x] = np.arange(1, n + 1)
    ra, dec = wcs.all_pix2world(x, y, 0) if n else (np.empty(0), np.empty(0))
    ra, dec = np.asarray(ra) % 360, np.asarray(dec)
    index = order29(ra, dec)
    order = np.argsort(index)
    first = int.from_bytes(digest({"name": name}).encode()[:4], "big") << 22
    variables = {
        "objectId": Variable(first + 1 + order),
        "_healpix_29": Variable(index[order]),
        "coord_ra": Variable(ra[order], attrs={"units": "deg"}),
        "coord_dec": Variable(dec[order], attrs={"units": "deg"}),
        "flags": Variable(np.zeros(n, np.int32)),
        "label": Variable((1 + order).astype(np.int32)),
        "bbox": Variable(np.zeros((n, 4), np.int32), ("source", "edge"), {}, ("y0", "y1", "x0", "x1")),
        "labels": Variable(labels, ("y", "x")),
        "labels_2": Variable(np.ascontiguousarray(labels[::2, ::2]), ("y_2", "x_2")),
    }
    ingredients = {"tile": name, "content": content, "n": n}
    key, accounting, tile = digest(ingredients), Accounting(n_in=n, n_ok=n), ImageTile(name)
    receipt = {"key": key, "ingredients": ingredients, "accounting": accounting.as_dict(), "tile": name}
    attrs = {"wcs": wcs.to_header_string(), "image": name}
    file = write_tile(pool.path(tile, key), variables, attrs=attrs, receipt=receipt, staging=pool.staging)
    return ImageEntry(name, key, file.sha256, file.n_bytes, n, accounting)


def write_image_catalogue(
    root: Path, names: Sequence[str] = NAMES, *, contents: Mapping[str, int] | None = None
) -> list[ImageEntry]:
    """Write tiles beside each other at RA 0, overlapping a little, and their one group manifest; seal nothing."""
    pool, entries = Pool(root), []
    for number, name in enumerate(names):
        wcs = wcs_at((number - 1) * (SHAPE[1] - 8) * PIXEL_DEG % 360, 10.0)
        entries.append(write_image_tile(pool, name, wcs, n=number + 3, content=(contents or {}).get(name, 0)))
    group_of_all(root, entries)
    return entries
