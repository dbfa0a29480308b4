"""Where a source stands: in a tile, or among the rows that were put aside."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq

from skymill.compute.progress import open_progress
from skymill.sky import ORDER, Tile
from skymill.store import Catalogue, TileReader
from skymill.store.paths import ROW_TABLE
from skymill.survey import REASONS
from skymill.tiling.settling import CONFLICTING_ID

LIMITS = np.iinfo(np.int64)
MEANINGS = {
    CONFLICTING_ID: "another row has the same id and is not equal to it, so that neither is taken for the source"
}
"""Of what the tiling puts aside; `REASONS` are those of the gate."""


class UnknownSourceError(ValueError):
    """There is no such source."""


@dataclass(frozen=True)
class Place:
    """Where a source stands.

    Attributes
    ----------
    tile : Tile
    row : int
        In the tile of the catalogue that was searched.
    ra, dec : float
        Degrees, ICRS.
    healpix29 : int
        Its `_healpix_29`.
    """

    tile: Tile
    row: int
    ra: float
    dec: float
    healpix29: int


def parse_id(text: str) -> int:
    """Read an identifier.

    Raises
    ------
    ValueError
        If it is no whole number of 64 bits.
    """
    try:
        number = int(text)
    except ValueError:
        raise ValueError(
            f"'{text}': expected the objectId of a source, a whole number, or the file of a tile"
        ) from None
    if not LIMITS.min <= number <= LIMITS.max:
        raise ValueError(f"'{text}': expected an objectId of 64 bits, at most {LIMITS.max}")
    return number


def find(catalogue: Catalogue, object_id: int, *, near: tuple[float, float, float] | None = None) -> Place | None:
    """Find a source.

    Parameters
    ----------
    catalogue : Catalogue
    object_id : int
    near : (float, float, float), optional
        A circle that it is in: RA, Dec and radius in degrees. Without it the ids of all tiles are read, some tiles at a
        time, until it is found.

    Returns
    -------
    Place or None
        None if it is not there.
    """
    if near is not None:
        found = catalogue.cone(*near, columns=["objectId", "_healpix_29"])
        rows = np.flatnonzero(found["objectId"].to_numpy() == object_id)
        return find_at(catalogue, object_id, int(found["_healpix_29"].to_numpy()[rows[0]])) if len(rows) else None
    tiles = [Tile(*place) for place in zip(catalogue.tiles["order"].tolist(), catalogue.tiles["pixel"].tolist())]
    with (
        open_progress(f"looking for {object_id}", catalogue.n_rows, "rows") as progress,
        ThreadPoolExecutor(len(os.sched_getaffinity(0))) as readers,
    ):
        waiting = {readers.submit(_in_tile, catalogue, tile, object_id): tile for tile in tiles}
        for done in as_completed(waiting):
            progress.advance(done.result()[1])
            if done.result()[0] is not None:
                readers.shutdown(cancel_futures=True)
                return done.result()[0]
    return None


def find_at(catalogue: Catalogue, object_id: int, healpix29: int) -> Place | None:
    """Find a source in the tile that holds a position; None if it is not in it."""
    tile = tile_at(catalogue, healpix29)
    return None if tile is None else _in_tile(catalogue, tile, object_id)[0]


def tile_at(catalogue: Catalogue, healpix29: int) -> Tile | None:
    """Give the tile that holds a position, where there is one."""
    order, pixel = (catalogue.tiles[name].to_numpy(np.int64) for name in ("order", "pixel"))
    rows = np.flatnonzero(healpix29 >> 2 * (ORDER - order) == pixel)
    return Tile(int(order[rows[0]]), int(pixel[rows[0]])) if len(rows) else None


def key_at(catalogue: Catalogue, tile: Tile) -> str:
    """Give the key of a tile of a catalogue."""
    tiles = catalogue.tiles
    return str(tiles["key"][(tiles["order"] == tile.order) & (tiles["pixel"] == tile.pixel)].item())


def row_of(reader: TileReader, object_id: int) -> int | None:
    """Give a source's row in a tile; only ids are read."""
    start = 0
    for block in reader.blocks(["objectId"]):
        rows = np.flatnonzero(block["objectId"] == object_id)
        if len(rows):
            return start + int(rows[0])
        start += len(block["objectId"])
    return None


def _in_tile(catalogue: Catalogue, tile: Tile, object_id: int) -> tuple[Place | None, int]:
    """Look for a source in a tile; give the tile's rows too."""
    reader = catalogue.reader(*tile)
    row = row_of(reader, object_id)
    if row is None:
        return None, reader.n_rows
    found = reader.rows(row, row + 1, ["coord_ra", "coord_dec", "_healpix_29"])
    ra, dec, healpix29 = (values[0] for values in found.values())
    return Place(tile, row, float(ra), float(dec), int(healpix29)), reader.n_rows


def put_aside(sources: Catalogue, planned: Path, object_id: int) -> list[dict[str, Any]]:
    """Give the rows of an id that are in no tile: reason, and where they stood.

    Parameters
    ----------
    sources : Catalogue
        The source catalogue; its table of quarantined rows is read.
    planned : Path
        The plan's table of refused rows, which names rows that are not primary as well.
    object_id : int
    """
    sealed = Path(sources.location) / ROW_TABLE
    found = _rows(sealed, object_id)
    excluded = [row for row in _rows(planned, object_id) if row["kind"] == "excluded"]
    return [_told(row) for row in [*found, *excluded]]


def _told(row: dict[str, Any]) -> dict[str, Any]:
    """Leave out the id, which is asked for, and say what the reason means."""
    known = {name: value for name, value in row.items() if name not in ("objectId", "kind")}
    reason = REASONS.get(row["reason"])
    return {**known, "meaning": reason.meaning if reason else MEANINGS.get(row["reason"], "")}


def _rows(table: Path, object_id: int) -> list[dict[str, Any]]:
    if not table.is_file():
        return []
    rows: list[dict[str, Any]] = pq.read_table(table, filters=pc.field("objectId") == object_id).to_pylist()
    return rows
