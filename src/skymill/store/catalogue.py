"""A sealed version, here or on a web server: tiles, cones, and everything at once."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property, lru_cache
from itertools import chain
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from skymill.sky import ORDER, AnyTile, Tile, tile_centres
from skymill.store.cones import Cone
from skymill.store.errors import StoreError
from skymill.store.keys import digest, short
from skymill.store.kinds import kind_of
from skymill.store.lazy import lazy_array
from skymill.store.nearest import EMBEDDING, nearest, unit
from skymill.store.paths import QUARANTINE_TABLE, TILE_TABLE, version_file
from skymill.store.reader import TileReader
from skymill.store.source import is_url, read_whole
from skymill.store.tables import LARGEST_TABLE, read_tiles
from skymill.store.variable import IDENTITY, SOURCE
from skymill.store.zipstore import Traffic

OPEN_TILES = 128
"""Tiles whose directory and metadata are kept."""
WEB_READERS = 8
"""Tiles read at the same time from a web server."""


class Catalogue:
    """A sealed version of a catalogue; made by `open_catalogue`.

    Attributes
    ----------
    location, name, version : str
        Where it stands, and what it is.
    manifest : dict
        What the version says about itself: `accounting`, `about`, `settings`, ...
    files : dict of str to str
        SHA-256 of each of its files but the tiles and the manifest.
    tiles : DataFrame
        One row per tile in the order of the sky: `order`, `pixel`, `n_rows`, `key`, `sha256`, accounting.
    kind : Kind
        Of its tiles: of the sky, or of images.
    traffic : Traffic
        What has been read so far.
    """

    _offers = ".tiles  .tile(order, pixel)  .cone(ra, dec, radius_deg)  .nearest(vector)  .to_xarray(columns)"

    def __init__(self, location: str, manifest: dict[str, Any]) -> None:
        self.location = location
        self.version: str = manifest["version"]
        self.manifest: dict[str, Any] = manifest["content"]
        self.name: str = self.manifest["catalogue"]
        self.files: dict[str, str] = manifest["files"]
        where = f"{location}/{TILE_TABLE}"
        table = read_whole(where, most=LARGEST_TABLE)
        if hashlib.sha256(table).hexdigest() != self.files.get(TILE_TABLE):
            raise StoreError(f"{where}: expected the table that was sealed, found another; run `skymill verify`")
        self.kind = kind_of(self.manifest)
        found = read_tiles(io.BytesIO(table), self.manifest["n_tiles"], where=where, kind=self.kind)
        self.tiles: pd.DataFrame = found.to_pandas()
        self.traffic = Traffic()
        self._sizes: list[int] = self.tiles["n_bytes"].tolist()
        self._keys: list[str] = self.tiles["key"].tolist()
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
            f"<skymill.{type(self).__name__} '{self.name}' version {self.version}>",
            f"  {self.n_rows:,} sources in {len(self.tiles):,} tiles at {self.location}",
            *(f"  {line}" for line in self._described()),
            f"  {self._offers}",
        ]
        return "\n".join(lines)

    def _described(self) -> Iterator[str]:
        for name in self.columns if len(self.tiles) else ():
            array = self._first.arrays[name]
            shape = f" x {array.shape[1]}" if array.ndim > 1 else ""
            units = f" [{array.attrs['units']}]" if "units" in array.attrs else ""
            yield f"{name}: {array.dtype}{shape}{units}"
        for name, counts in self._first.observations.items() if len(self.tiles) else ():
            yield f"{name}: {self._first.arrays[name].dtype}, as many per source as {counts} says"

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
        return self.reader_of(Tile(order, pixel))

    @cached_property
    def places(self) -> tuple[AnyTile, ...]:
        """The tiles, in the order of `tiles`."""
        columns = (self.tiles[name].tolist() for name, _ in self.kind.place)
        return tuple(self.kind.tile(*place) for place in zip(*columns))

    def reader_of(self, tile: AnyTile) -> TileReader:
        """Open one of `places` to read rows of it as numpy.

        Raises
        ------
        KeyError
            If the catalogue has no such tile.
        """
        row = self._rows.get(tile)
        if row is None:
            raise KeyError(
                f"{self.location}: expected one of its {len(self.tiles):,} tiles (see .tiles), "
                f"found no {tile}{self._hint(tile)}"
            )
        return self._open_tile(row)

    def _hint(self, place: object) -> str:
        return ""

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
        touched = self._touched(cone)
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

    def nearest(
        self, vector: Sequence[float] | NDArray[Any], k: int = 10, columns: Sequence[str] | None = None
    ) -> xr.Dataset:
        """Read the sources whose embeddings are most similar to a vector; the vectors of all sources are looked at.

        Parameters
        ----------
        vector : sequence of float, (d,)
            Of any length but 0: `embedding` of a source, or what the model's ONNX file makes of a stamp.
        k : int
            Sources to give.
        columns : sequence of str, optional
            Variables to read; default all.

        Returns
        -------
        Dataset
            In memory, the most similar first; `similarity` is the cosine of the angle between the two.

        Raises
        ------
        ValueError
            If the vector has not the length of those of the catalogue, or is 0 or not finite, or k is below 1.
        KeyError
            If a column does not exist, or the catalogue has no `embedding`.
        """
        if EMBEDDING not in self.columns:
            raise KeyError(f"{self.location}: expected a catalogue with '{EMBEDDING}', found {', '.join(self.columns)}")
        if not len(self.tiles):
            return self._nothing(columns).assign(similarity=(SOURCE, np.empty(0, np.float32)))
        names = self._first.select(columns)
        threads = WEB_READERS if is_url(self.location) else len(os.sched_getaffinity(0))
        found = nearest([self._open_tile(row) for row in range(len(self.tiles))], unit(vector), k, threads=threads)
        rows = [
            self._reader(tile).rows(row, row + 1, names) for tile, row in zip(found.tile.tolist(), found.row.tolist())
        ]
        parts = [self._first.rows(0, 0, names), *rows]
        dataset = self._dataset({name: np.concatenate([part[name] for part in parts]) for name in names})
        meaning = {"long_name": "cosine of the angle between the embeddings", "units": "1"}
        return dataset.assign(similarity=(SOURCE, found.similarity, meaning))

    def _touched(self, cone: Cone) -> list[int]:
        """Give the rows of the table whose tiles may hold sources of a cone."""
        found: list[int] = np.flatnonzero(cone.touches(*self._spans)).tolist()
        return found

    @cached_property
    def _spans(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The lowest and the highest order-29 index of each tile."""
        orders, pixels = (self.tiles[name].to_numpy(np.int64) for name in ("order", "pixel"))
        shift = 2 * (ORDER - orders)
        return pixels << shift, ((pixels + 1) << shift) - 1

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
    def _rows(self) -> dict[AnyTile, int]:
        """Where each tile stands in the table."""
        return {place: row for row, place in enumerate(self.places)}

    def _file(self, row: int) -> tuple[str, int, str]:
        """Give the place, the size and the key of a tile."""
        return f"{self.location}/{version_file(self.places[row])}", self._sizes[row], self._keys[row]

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
