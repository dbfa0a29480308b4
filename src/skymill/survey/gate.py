"""The gate: whatever a reader gives leaves it native-endian, C-ordered, in the declared dtype and unit.

Nothing else in skymill touches raw columns. Every row that enters is in the block or among the rejected.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from skymill.sky import Tile, at_order, order29
from skymill.survey import flags
from skymill.survey.angles import degrees, positions
from skymill.survey.blocks import Gated, Rejected, SourceBlock
from skymill.survey.columns import (
    Columns,
    RawColumns,
    check_columns,
    column_type,
    lists,
    plain,
    positions_of,
    source_roles,
)
from skymill.survey.errors import TableError
from skymill.survey.ids import object_ids
from skymill.survey.measurements import measurements
from skymill.survey.nested import misfits, nested

if TYPE_CHECKING:
    from skymill.config.survey import SurveyConfig


def gate_part(
    blocks: Iterable[RawColumns], config: SurveyConfig, *, part: str = "", tile: Tile | None = None
) -> Iterator[Gated]:
    """Bring all blocks of a part through the gate; see `gate`."""
    row = 0
    for block in blocks:
        gated = gate(block, config, part=part, first_row=row, tile=tile)
        row += len(gated.block) + len(gated.rejected)
        yield gated


def gate(
    raw: RawColumns, config: SurveyConfig, *, part: str = "", first_row: int = 0, tile: Tile | None = None
) -> Gated:
    """Turn raw columns into sources.

    Parameters
    ----------
    raw : mapping of name to array, (n,) each
        Any byte order, stride or width; masked arrays where rows are empty. At least the mapped columns.
    config : SurveyConfig
        The column map.
    part, first_row
        Where the rows stand, for the rejected ones.
    tile : Tile, optional
        Rows must lie inside it.

    Returns
    -------
    Gated

    Raises
    ------
    TableError
        If mapped columns are missing, of a wrong type, or of different lengths.
    """
    mapped = _mapped(raw, config, where=part or f"survey '{config.name}'")
    columns, observed = plain(mapped), lists(mapped)
    identifier, ra, dec = positions_of(config)
    ids, id_missing, id_out = object_ids(columns, identifier)
    place = positions(degrees(columns[ra.column], ra), degrees(columns[dec.column], dec))
    failures = {
        **_primary_failures(columns, config),
        "id_missing": id_missing,
        "id_out_of_range": id_out,
        "position_missing": place.missing,
        "ra_out_of_range": place.ra_out_of_range,
        "dec_out_of_range": place.dec_out_of_range,
    }
    on_sphere = ~(place.missing | place.ra_out_of_range | place.dec_out_of_range)
    healpix29 = np.full(len(ids), -1, dtype=np.int64)
    healpix29[on_sphere] = order29(place.ra[on_sphere], place.dec[on_sphere])
    if tile is not None:
        failures["outside_tile"] = on_sphere & (at_order(healpix29, tile.order) != tile.pixel)
    failures["nested_misfit"] = misfits(observed, config, len(ids))
    reason = first_reason(failures, len(ids))
    keep = reason == ""
    photometry, values, bits = measurements({name: column[keep] for name, column in columns.items()}, config)
    observations, more_bits = nested({name: column[keep] for name, column in observed.items()}, config, int(keep.sum()))
    block = SourceBlock(
        object_id=ids[keep],
        ra=place.ra[keep],
        dec=place.dec[keep],
        healpix29=healpix29[keep],
        flags=bits | more_bits | np.where(place.wrapped[keep], flags.RA_WRAPPED.mask, 0).astype(np.int32),
        photometry=photometry,
        values=values,
        nested=observations,
    )
    rows = np.flatnonzero(~keep)
    kind = np.array([flags.REASONS[name].kind for name in reason[rows]], dtype="U11")
    rejected = Rejected(part, rows + first_row, ids[rows], place.found_ra[rows], place.dec[rows], reason[rows], kind)
    return Gated(block, rejected)


def _mapped(raw: RawColumns, config: SurveyConfig, *, where: str) -> RawColumns:
    """Choose the columns that the map names, and hold them against it."""
    roles = source_roles(config)
    check_columns({name: column_type(values) for name, values in raw.items()}, roles, where=where)
    mapped = {name: raw[name] for name, _ in roles}
    lengths = {name: len(values) for name, values in mapped.items()}
    if len(set(lengths.values())) > 1:
        raise TableError(f"{where}: expected columns of one length, found {lengths}")
    return mapped


def _primary_failures(columns: Columns, config: SurveyConfig) -> dict[str, NDArray[np.bool_]]:
    if config.primary is None:
        return {}
    mark = columns[config.primary.column]
    missing = np.ma.getmaskarray(mark)
    return {
        "not_primary": ~missing & (np.ma.getdata(mark).astype(np.int64) != int(config.primary.keep)),
        "primary_missing": missing,
    }


def first_reason(failures: dict[str, NDArray[np.bool_]], n_rows: int) -> NDArray[np.str_]:
    """Give the first reason of `REASONS` that applies to each row, '' where none does."""
    reason = np.zeros(n_rows, dtype="U24")
    for name in reversed(flags.REASONS):
        if name in failures:
            reason[failures[name]] = name
    return reason
