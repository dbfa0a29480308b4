"""Opening a catalogue, here or on a web server: tiles, cones, and everything at once."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Sequence, Set
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property, lru_cache
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from skymill.sky import ORDER, Tile, tile_centres
from skymill.store.cones import Cone
from skymill.store.document import from_document
from skymill.store.errors import StoreError
from skymill.store.keys import digest, short
from skymill.store.lazy import lazy_array
from skymill.store.paths import CURRENT, MANIFEST, QUARANTINE_TABLE, TILE_TABLE, VERSIONS, version_file
from skymill.store.reader import TileReader
from skymill.store.sealing import MANIFEST_HAS, POINTER_HAS, VERSION_FORMAT
from skymill.store.source import is_url, read_whole
from skymill.store.tables import from_parquet
from skymill.store.variable import IDENTITY, SOURCE
from skymill.store.zipstore import Traffic

OPEN_TILES = 128
"""Tiles whose directory and metadata are kept."""
WEB_READERS = 8
"""Tiles read at the same time from a web server."""


def open_catalogue(location: str | Path) -> Catalogue:
    """Open a catalogue.

    Parameters
    ----------
    location : Path or str
        Path or URL of a catalogue's folder (its current version is opened) or of a version's folder.

    Returns
    -------
    Catalogue

    Raises
    ------
    FileNotFoundError
        If no catalogue stands there.
    FormatError
        If a newer skymill wrote it.
    StoreError
        If its manifest or its table of tiles is not as it was written.

    Examples
    --------
    ::

        catalogue = skymill.open_catalogue("results/catalogues/classification")
        near = catalogue.cone(ra=53.1, dec=-27.8, radius_deg=0.1)
        everything = catalogue.to_xarray(["objectId", "probability"])
    """
    base = str(location).rstrip("/")
    if not is_url(base) and os.path.realpath(base) != os.path.abspath(base):  # noqa: PTH100
        base = os.path.realpath(base)  # of a release: who opened it keeps reading it, whatever `current` is now
    version = None
    with contextlib.suppress(FileNotFoundError):  # a version's folder has no pointer
        version = _document(base, CURRENT, POINTER_HAS)["version"]
        base = f"{base}/{VERSIONS}/{version}"
    try:
        manifest = _document(base, MANIFEST, MANIFEST_HAS)
    except FileNotFoundError:
        below = [] if is_url(base) else [str(path.parent) for path in _catalogues_below(Path(base))]
        hint = f"did you mean {' or '.join(sorted(below))}?" if below else "a catalogue appears when it is sealed"
        raise FileNotFoundError(f"{base}: expected a catalogue's {CURRENT} or {MANIFEST}, found none; {hint}") from None
    if version not in (None, manifest["version"]):
        raise StoreError(f"{base}: expected version {version}, found {manifest['version']}; run `skymill verify`")
    return Catalogue(base, manifest)


def _document(base: str, name: str, has: Set[str]) -> dict[str, Any]:
    location = f"{base}/{name}"
    return from_document(read_whole(location), kind="catalogue", where=location, newest=VERSION_FORMAT, has=has)


def _catalogues_below(folder: Path) -> list[Path]:
    return [*folder.glob(f"*/{CURRENT}"), *folder.glob(f"*/*/{CURRENT}")]


class Catalogue:
    """A sealed version of a catalogue; made by `open_catalogue`.

    Attributes
    ----------
    location, name, version : str
        Where it stands, and what it is.
    manifest : dict
        What the version says about itself: `accounting`, `about`, `settings`, ...
    tiles : DataFrame
        One row per tile in the order of the sky: `order`, `pixel`, `n_rows`, `key`, `sha256`, accounting.
    traffic : Traffic
        What has been read so far.
    """

    def __init__(self, location: str, manifest: dict[str, Any]) -> None:
        self.location = location
        self.version: str = manifest["version"]
        self.manifest: dict[str, Any] = manifest["content"]
        self.name: str = self.manifest["catalogue"]
        table = read_whole(f"{location}/{TILE_TABLE}")
        if hashlib.sha256(table).hexdigest() != manifest["files"][TILE_TABLE]:
            raise StoreError(
                f"{location}/{TILE_TABLE}: expected the table that was sealed, found another; run `skymill verify`"
            )
        self.tiles: pd.DataFrame = from_parquet(table).to_pandas()
        self.traffic = Traffic()
        self._orders, self._pixels = (self.tiles[name].to_numpy(np.int64) for name in ("order", "pixel"))
        shift = 2 * (ORDER - self._orders)
        self._sizes: list[int] = self.tiles["n_bytes"].tolist()
        self._keys: list[str] = self.tiles["key"].tolist()
        self._starts, self._stops = self._pixels << shift, (self._pixels + 1) << shift
        self._reader = lru_cache(maxsize=OPEN_TILES)(self._open_tile)

    @property
    def n_rows(self) -> int:
        """Number of sources."""
        return int(self.manifest["n_rows"])

    def __len__(self) -> int:
        return self.n_rows

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the variables with one entry per source; without a tile only what every catalogue has is known."""
        return self._first.columns if len(self.tiles) else tuple(IDENTITY)

    def __repr__(self) -> str:
        lines = [
            f"<skymill.Catalogue '{self.name}' version {self.version}>",
            f"  {self.n_rows:,} sources in {len(self.tiles):,} tiles at {self.location}",
            *(f"  {line}" for line in self._described()),
            "  .tiles  .tile(order, pixel)  .cone(ra, dec, radius_deg)  .to_xarray(columns)",
        ]
        return "\n".join(lines)

    def _described(self) -> list[str]:
        lines = []
        for name in self.columns if len(self.tiles) else ():
            array = self._first.arrays[name]
            shape = f" x {array.shape[1]}" if array.ndim > 1 else ""
            units = f" [{array.attrs['units']}]" if "units" in array.attrs else ""
            lines.append(f"{name}: {array.dtype}{shape}{units}")
        for name, counts in self._first.observations.items() if len(self.tiles) else ():
            lines.append(f"{name}: {self._first.arrays[name].dtype}, as many per source as {counts} says")
        return lines

    @property
    def centre(self) -> tuple[float, float]:
        """Position (ra, dec in degrees) of a source amid the fullest tile: a place worth looking at.

        Raises
        ------
        StoreError
            If the catalogue has no source.
        """
        if not self.n_rows:
            raise StoreError(f"{self.location}: expected a source to give a position of, found none")
        zones = self._reader(int(self.tiles["n_rows"].to_numpy().argmax())).zones
        ra, dec = tile_centres(ORDER, zones[len(zones) // 2, :1])
        return float(ra[0]), float(dec[0])

    def tile(self, order: int, pixel: int) -> xr.Dataset:
        """Open one tile as plain xarray; values are read when they are used.

        Raises
        ------
        KeyError
            If the catalogue has no such tile.
        """
        return self.reader(order, pixel).dataset()  # a reader of its own, which goes with it

    def reader(self, order: int, pixel: int) -> TileReader:
        """Open one tile to read rows of it as numpy.

        Raises
        ------
        KeyError
            If the catalogue has no such tile.
        """
        row = self._rows.get(Tile(order, pixel))
        if row is None:
            raise KeyError(
                f"{self.location}: expected one of its {len(self.tiles):,} tiles (see .tiles), "
                f"found no {Tile(order, pixel)}"
            )
        return self._open_tile(row)

    def to_xarray(self, columns: Sequence[str] | None = None) -> xr.Dataset:
        """Give all tiles as one lazy Dataset; nothing but the form of one tile is read before values are used.

        Parameters
        ----------
        columns : sequence of str, optional
            Variables to have; default all.

        Returns
        -------
        Dataset
            Along `source`, in the order of the sky; one dask chunk per tile and variable.
        """
        if not len(self.tiles):
            return self._nothing(columns)
        names = self._first.select(columns)
        if observed := [name for name in names if name in self._first.observations]:
            raise KeyError(
                f"{self.location}: expected columns with one entry per source, found {observed}; their observations "
                "come by .cone(...) and .tile(...)"
            )
        filled = np.flatnonzero(self.tiles["n_rows"])
        filled = filled if len(filled) else np.array([0])  # dask needs a chunk
        files = [self._file(row) for row in filled.tolist()]
        rows = tuple(self.tiles["n_rows"].iloc[filled].tolist())
        token = short(digest({"location": self.location, "version": self.version}))
        forms = self._first.arrays
        return self._dataset({name: lazy_array(forms[name], name, files, rows, token=token) for name in names})

    def cone(self, ra: float, dec: float, radius_deg: float, columns: Sequence[str] | None = None) -> xr.Dataset:
        """Read the sources within a circle on the sky, its edge included, and only the chunks that may hold some.

        Parameters
        ----------
        ra, dec, radius_deg : float
            Centre (ICRS) and radius in degrees.
        columns : sequence of str, optional
            Variables to read; default all, observations of nested columns included.

        Returns
        -------
        Dataset
            In memory, in the order of the sky. Observations come with their counts, those of the first source first.

        Raises
        ------
        ValueError
            If the centre or the radius is not on the sphere.
        KeyError
            If a column does not exist.
        """
        cone = Cone(ra, dec, radius_deg)
        touched = np.flatnonzero(cone.touches(self._starts, self._stops - 1)).tolist()
        if not len(self.tiles):
            return self._nothing(columns)
        first = self._first
        names = first.select([*first.columns, *first.observations] if columns is None else columns)
        names = tuple(
            dict.fromkeys([*names, *(first.observations[name] for name in names if name in first.observations)])
        )
        with ThreadPoolExecutor(WEB_READERS if is_url(self.location) else 1) as readers:
            found = readers.map(lambda row: self._rows_of(row, cone, names), touched)
            parts = [first.rows(0, 0, names), *chain.from_iterable(found)]
        return self._dataset({name: np.concatenate([part[name] for part in parts]) for name in names})

    def _rows_of(self, row: int, cone: Cone, names: tuple[str, ...]) -> list[dict[str, Any]]:
        """Read a tile's sources in a cone; of the tile, only directory and metadata are kept."""
        reader = self._reader(row)
        try:
            return cone.rows(reader, names)
        finally:
            reader.store.source.forget()

    def _nothing(self, columns: Sequence[str] | None) -> xr.Dataset:
        """Give no sources, for a catalogue without a tile."""
        names = self.columns if columns is None else columns
        unknown = sorted(set(names) - set(IDENTITY))
        if unknown:
            raise KeyError(f"{self.location}: without a tile only {[*IDENTITY]} are known, found {unknown}")
        arrays = {name: (SOURCE, np.empty(0, IDENTITY[name])) for name in names}
        return xr.Dataset(arrays, attrs={"catalogue": self.name, "version": self.version})

    @cached_property
    def _first(self) -> TileReader:
        """The tile that shows what all have in common."""
        if not len(self.tiles):
            raise StoreError(f"{self.location}: expected at least one tile, found none; see {QUARANTINE_TABLE} there")
        return self._reader(0)

    @cached_property
    def _rows(self) -> dict[Tile, int]:
        """Where each tile stands in the table."""
        return {Tile(*place): row for row, place in enumerate(zip(self._orders.tolist(), self._pixels.tolist()))}

    def _file(self, row: int) -> tuple[str, int, str]:
        """Give the place, the size and the key of a tile."""
        tile = Tile(int(self._orders[row]), int(self._pixels[row]))
        return f"{self.location}/{version_file(tile)}", self._sizes[row], self._keys[row]

    def _open_tile(self, row: int) -> TileReader:
        location, n_bytes, key = self._file(row)
        return TileReader(location, n_bytes=n_bytes, key=key, traffic=self.traffic)

    @cached_property
    def _form(self) -> xr.Dataset:
        """What all tiles have in common: no rows, but dimensions, attributes, names and grids."""
        dataset = self._first.dataset()
        observed = {dim for name in self._first.observations for dim in dataset[name].dims}
        return dataset.isel(dict.fromkeys((SOURCE, *observed), slice(0, 0))).load()

    def _dataset(self, values: dict[str, Any]) -> xr.Dataset:
        """Dress arrays along `source` with what all tiles have in common."""
        arrays = {name: (self._form[name].dims, array, self._form[name].attrs) for name, array in values.items()}
        own = {SOURCE, *(dim for name in self._first.observations for dim in self._form[name].dims)}
        shared = {name: grid for name, grid in self._form.variables.items() if own.isdisjoint(grid.dims)}
        return xr.Dataset(arrays, shared, {"catalogue": self.name, "version": self.version})
