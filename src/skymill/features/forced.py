"""Positions of a catalogue at which images are measured, in place of detection."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from skymill.features.measuring import MeasureError, Positions
from skymill.survey.images.ownership import Outline

COLUMNS = ("objectId", "coord_ra", "coord_dec")


@dataclass(frozen=True)
class ForcedSources:
    """Sources of a catalogue on one tile.

    Attributes
    ----------
    object_id : ndarray of int64, (n,)
    ra, dec : ndarray of float64, (n,)
        Degrees, ICRS.
    positions : Positions
        The same in pixels of the tile.
    """

    object_id: NDArray[np.int64]
    ra: NDArray[np.float64]
    dec: NDArray[np.float64]
    positions: Positions


def forced_sources(path: str | Path, outline: Outline) -> ForcedSources:
    """Read the sources of a table that lie on a tile.

    Parameters
    ----------
    path : Path
        Parquet with the columns `objectId` (integers), `coord_ra` and `coord_dec` (degrees, ICRS).
    outline : Outline
        The tile.

    Raises
    ------
    MeasureError
        If the table lacks a column, cannot be read, or has an id twice.
    """
    ids, ra, dec = _read(path)
    rows = np.flatnonzero(outline.holds(ra % 360.0, dec))
    object_id, ra, dec = ids[rows], ra[rows] % 360.0, dec[rows]
    if len(np.unique(object_id)) < len(object_id):
        raise MeasureError(f"{path}: expected each objectId once, found some twice on {outline.name}; make them differ")
    x, y = outline.wcs.all_world2pix(ra, dec, 0) if len(ra) else (np.empty(0), np.empty(0))
    return ForcedSources(object_id, ra, dec, Positions(np.asarray(x), np.asarray(y)))


def _read(path: str | Path) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    mend = "features.measure.positions needs Parquet with objectId (integers), coord_ra, coord_dec (degrees, ICRS)"
    try:
        table = pq.read_table(path, columns=list(COLUMNS))
        missing = sorted(set(COLUMNS) - set(table.column_names))
        if missing:
            raise MeasureError(f"{path}: expected the columns {', '.join(COLUMNS)}, found no {missing}; {mend}")
        ids = table["objectId"].cast(pa.int64(), safe=True).to_numpy()
        ra, dec = (table[name].cast(pa.float64()).to_numpy() for name in COLUMNS[1:])
    except (pa.ArrowException, OSError) as error:
        raise MeasureError(f"{path}: expected a table of positions, found {error}; {mend}") from error
    if table["objectId"].null_count or not (np.isfinite(ra).all() and (np.abs(dec) <= 90).all()):
        raise MeasureError(
            f"{path}: expected an id and a position on the sphere in each row, found rows without; {mend}"
        )
    return ids, ra, dec
