"""Reading tiles: as plain xarray, or block by block as numpy."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import zarr
from numpy.typing import NDArray

from skymill.store.chunk import decode_chunk
from skymill.store.errors import CorruptTile
from skymill.store.source import open_source
from skymill.store.variable import Variable
from skymill.store.zipstore import TileStore, Traffic

if TYPE_CHECKING:
    import xarray as xr


class TileReader:
    """A tile of which nothing is read before it is asked for.

    Parameters
    ----------
    location : Path or str
        Path or URL of a tile file.
    n_bytes : int, optional
        Its size, where known: spares a request.
    key : str, optional
        The key it is expected to have; another tile is refused.
    traffic : Traffic, optional
        Counts what is read.

    Attributes
    ----------
    attrs : dict
        Attributes of the tile, with its `receipt`.
    n_rows, chunk_rows : int
        Sources, and sources per chunk.
    zones : ndarray of int64, (chunks, 2)
        Smallest and largest `_healpix_29` of each chunk (both inclusive).
    columns : tuple of str
        Names of the variables that have one entry per source.
    observations : dict of str to str
        Names of the variables of nested columns, which have any number of entries per source, and of the variable that
        counts them.
    """

    def __init__(
        self,
        location: str | Path,
        *,
        n_bytes: int | None = None,
        key: str | None = None,
        traffic: Traffic | None = None,
    ) -> None:
        self.location = str(location)
        self.store = TileStore(open_source(location, size=n_bytes), traffic)
        layout = self.store.layout
        self.n_rows, self.chunk_rows, self.zones = layout.n_rows, layout.chunk_rows, layout.zones
        self.attrs: dict[str, Any] = self.store.document["attributes"]
        self.receipt: dict[str, Any] = self.attrs["receipt"]
        if key is not None and self.receipt.get("key") != key:
            raise CorruptTile(
                f"{self.location}: expected the tile of key {key}, found that of {self.receipt.get('key')}; "
                "run `skymill verify`"
            )
        rows = {name: array for name, array in layout.arrays.items() if array.is_rows}
        self.columns = tuple(rows)
        counts = {array.attributes.get("sample_dimension"): name for name, array in rows.items()}
        along = {name: array.dims[0] for name, array in layout.arrays.items() if array.dims and name not in rows}
        self.observations = {name: counts[dim] for name, dim in along.items() if dim in counts}
        self._known_edges: dict[str, NDArray[np.int64]] = {}
        self._types = {name: (array.dtype, array.shape[1:]) for name, array in rows.items()}

    @cached_property
    def arrays(self) -> dict[str, zarr.Array[Any]]:
        """All arrays by name."""
        return dict(zarr.open_group(self.store, mode="r", use_consolidated=True).arrays())

    def form(self, names: Iterable[str]) -> dict[str, Variable]:
        """Describe variables of one dimension for a tile made of this one: no rows yet, the same attributes."""
        arrays = [(name, self.arrays[name]) for name in names]
        return {name: Variable(np.empty(0, array.dtype), attrs=dict(array.attrs)) for name, array in arrays}

    def select(self, columns: Sequence[str] | None) -> tuple[str, ...]:
        """Check names of variables; None means all that have one entry per source.

        Raises
        ------
        KeyError
            If one does not exist; the message lists those that do.
        """
        known = [*self.columns, *self.observations]
        missing = sorted(set(columns or ()) - set(known))
        if missing:
            close = get_close_matches(missing[0], known, n=1)
            hint = f" (did you mean '{close[0]}'?)" if close else ""
            raise KeyError(f"{self.location}: expected some of the columns {known}, found {missing}{hint}")
        return self.columns if columns is None else tuple(columns)

    def rows(
        self, start: int = 0, stop: int | None = None, columns: Sequence[str] | None = None
    ) -> dict[str, NDArray[Any]]:
        """Read rows `start` to `stop` of some variables, and only the chunks that hold them.

        Returns
        -------
        dict of str to ndarray
            (rows,) or (rows, k) each; of a nested column the observations of these rows, one behind the other.

        Raises
        ------
        CorruptTile
            If what stands on the disk is not what was written.
        """
        stop = self.n_rows if stop is None else min(stop, self.n_rows)
        names = self.select(columns)
        chunks = range(start // self.chunk_rows, (stop - 1) // self.chunk_rows + 1) if stop > start else range(0)
        if self.store.source.distant:
            self.store.fetch(self._entry(name, chunk) for name in names if name in self._types for chunk in chunks)
        return {
            name: self._column(name, start, max(start, stop), chunks)
            if name in self._types
            else self._observed(name, start, max(start, stop))
            for name in names
        }

    def _column(self, name: str, start: int, stop: int, chunks: range) -> NDArray[Any]:
        dtype, width = self._types[name]
        values = np.empty((stop - start, *width), dtype)
        for chunk in chunks:
            offset = chunk * self.chunk_rows
            first, last = max(start, offset), min(stop, offset + self.chunk_rows)
            values[first - start : last - start] = self._chunk(name, chunk)[first - offset : last - offset]
        return values

    def _observed(self, name: str, start: int, stop: int) -> NDArray[Any]:
        edges = self._edges(self.observations[name])
        return np.asarray(self.arrays[name][edges[start] : edges[stop]])

    def _edges(self, counts: str) -> NDArray[np.int64]:
        """Where the observations of each source begin and, last, where those of all end."""
        if counts not in self._known_edges:
            n = self.rows(columns=[counts])[counts]
            self._known_edges[counts] = np.concatenate([[0], np.cumsum(n, dtype=np.int64)])
        return self._known_edges[counts]

    def _entry(self, name: str, chunk: int) -> str:
        return f"{name}/c/{chunk}" + "/0" * len(self._types[name][1])

    def _chunk(self, name: str, chunk: int) -> NDArray[Any]:
        dtype, width = self._types[name]
        entry = self._entry(name, chunk)
        content = self.store.content(entry)
        self.store.check_chunk(entry, content)
        try:
            return decode_chunk(content, dtype, (self.chunk_rows, *width))
        except (RuntimeError, ValueError) as error:
            raise CorruptTile(
                f"{self.location}: expected a whole chunk {chunk} of '{name}', found {error}; "
                "delete the file and make it again"
            ) from error

    def blocks(self, columns: Sequence[str] | None = None) -> Iterator[dict[str, NDArray[Any]]]:
        """Read the tile chunk by chunk, in the order of its rows."""
        for start in range(0, self.n_rows, self.chunk_rows):
            yield self.rows(start, start + self.chunk_rows, columns)

    def dataset(self) -> xr.Dataset:
        """Give the tile as plain xarray; values are read when they are used."""
        import xarray as xr  # takes longer to load than a small tile to make; tasks do without

        return xr.open_zarr(self.store, chunks=None, consolidated=True, zarr_format=3)


def open_tile(location: str | Path) -> TileReader:
    """Open a tile for reading block by block.

    Parameters
    ----------
    location : Path or str
        Path or URL.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    CorruptTile
        If it is not whole.
    FormatError
        If a newer skymill wrote it.
    """
    return TileReader(location)


def read_tile(location: str | Path) -> xr.Dataset:
    """Read a tile whole.

    Returns
    -------
    Dataset
        Dimension `source`; ids are int64, the receipt is in `attrs`.

    Raises
    ------
    FileNotFoundError, CorruptTile, FormatError
        As `open_tile`.
    """
    return open_tile(location).dataset().load()
