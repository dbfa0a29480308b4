"""What was measured on a survey's images, tile by tile."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skymill.config import RunConfig, SurveyConfig
from skymill.features.image_settings import segmentation_settings
from skymill.features.image_tile import CATALOGUE
from skymill.features.measuring.measured import KRON_FLUX, PSF_FLUX
from skymill.store import Accounting, GroupManifest, Pool, open_tile
from skymill.store.manifest import ImageEntry, ImageQuarantined
from skymill.survey.images.ownership import PRIMARY
from skymill.tiling.files import TilingFiles
from skymill.tiling.image_group import ImageGroup, PlannedImage

ZERO_POINT = 31.4
"""AB magnitude of 1 nJy."""
COLUMNS = (
    "objectId",
    "coord_ra",
    "coord_dec",
    "flags",
    PRIMARY,
    "label",
    "n_blended",
    "centre_x",
    "centre_y",
    "values",
)
FLUXES = (PSF_FLUX, f"{PSF_FLUX}Err", KRON_FLUX, f"{KRON_FLUX}Err")
Array = NDArray[np.float64]


@dataclass(frozen=True)
class TileRows:
    """The sources of one image tile.

    Attributes
    ----------
    name : str
        Of the tile.
    bands : tuple of str
    flux, error : dict of ndarray of float64, (n, bands)
        nJy, by `PSF_FLUX` and `KRON_FLUX`; NaN where not measured.
    values : dict of ndarray of float64, (n,)
        Other measurements by name.
    rows : dict of ndarray, (n,)
        Ids, positions, flags and labels by the names of the tile's arrays.
    """

    name: str
    bands: tuple[str, ...]
    flux: dict[str, Array]
    error: dict[str, Array]
    values: dict[str, Array]
    rows: dict[str, NDArray[Any]]

    @property
    def n(self) -> int:
        """Sources."""
        return len(self.rows["flags"])

    @property
    def primary(self) -> NDArray[np.bool_]:
        """Which of them belong to this tile."""
        return np.asarray(self.rows[PRIMARY], bool)

    @property
    def positions(self) -> Array:
        """Column and row of their centres, (n, 2), pixels counted from 0."""
        return np.stack([self.rows["centre_x"], self.rows["centre_y"]], axis=1).astype(np.float64)


@dataclass(frozen=True)
class ImageRun:
    """The image tiles of a run: those measured and those put aside."""

    survey: SurveyConfig
    files: TilingFiles
    groups: Mapping[str, str]
    """Digest of each group of tiles, by its name."""
    pool: Pool
    entries: tuple[ImageEntry, ...]
    quarantined: tuple[ImageQuarantined, ...]

    @property
    def accounting(self) -> Accounting:
        """What was found on all tiles, sources that overlapping tiles share more than once."""
        return Accounting.total(entry.accounting for entry in self.entries)

    def path(self, entry: ImageEntry) -> Path:
        """Give the file of a tile."""
        return self.pool.path(entry.tile, entry.key)

    def planned(self) -> dict[str, PlannedImage]:
        """Give where the tiles lie and which overlap, by name."""
        groups = (ImageGroup.read(self.files.image_group(name, digest)) for name, digest in self.groups.items())
        return {tile.name: tile for group in groups for tile in group.tiles}

    def tables(self) -> Iterator[TileRows]:
        """Read the sources of one tile after the other; no image is touched."""
        for entry in self.entries:
            yield read_rows(entry.image, self.path(entry))

    def maps(self, name: str, *wanted: str) -> dict[str, NDArray[Any]]:
        """Read maps of a tile: `labels`, `classes`, ..., (ny, nx) each."""
        entry = next(entry for entry in self.entries if entry.image == name)
        arrays = open_tile(self.path(entry)).arrays
        return {each: np.asarray(arrays[each][:]) for each in wanted}


def gather_images(run: RunConfig, survey: SurveyConfig, output: Path) -> ImageRun:
    """Read the manifests of the groups of image tiles.

    Raises
    ------
    FileNotFoundError
        If the tiles are not planned, or a group of them is not measured.
    """
    files = TilingFiles(output)
    groups = {name: group["digest"] for name, group in json.loads(files.images.read_text())["groups"].items()}
    folder = output / "catalogues" / CATALOGUE
    manifests = [folder / "groups" / segmentation_settings(run, survey) / f"{group}.json" for group in sorted(groups)]
    read = [GroupManifest.read(path) for path in manifests]
    entries = sorted((entry for one in read for entry in one.tiles), key=lambda entry: str(entry.tile))
    failed = sorted((entry for one in read for entry in one.quarantined), key=lambda entry: str(entry.tile))
    return ImageRun(
        survey,
        files,
        groups,
        Pool(folder),
        tuple(entry for entry in entries if isinstance(entry, ImageEntry)),
        tuple(entry for entry in failed if isinstance(entry, ImageQuarantined)),
    )


def read_rows(name: str, path: Path) -> TileRows:
    """Read the table of a segmentation tile."""
    tile = open_tile(path)
    bands = tuple(str(band) for band in tile.attrs["bands"])
    rows = tile.rows(columns=[*COLUMNS, *FLUXES])
    table = rows.pop("values")
    names = [str(column) for column in tile.arrays["values"].attrs["columns"]]  # type: ignore[union-attr]
    values = {column: table[:, index].astype(np.float64) for index, column in enumerate(names)}
    flux = {kind: rows.pop(kind).astype(np.float64) for kind in (PSF_FLUX, KRON_FLUX)}
    error = {kind: rows.pop(f"{kind}Err").astype(np.float64) for kind in (PSF_FLUX, KRON_FLUX)}
    return TileRows(name, bands, flux, error, values, rows)


def magnitude(flux: Array) -> Array:
    """Give AB magnitudes of fluxes in nJy; NaN where they are not positive."""
    found: Array = ZERO_POINT - 2.5 * np.log10(np.where(flux > 0, flux, np.nan))
    return found
