"""`skymill diff`: what moved between two versions of a catalogue of classes, or of numbers with errors."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from skymill.compute import ComputeError, Task, run_tasks
from skymill.config import ComputeSettings
from skymill.release.diffing.motions import Motions
from skymill.release.diffing.moved import Moved
from skymill.release.diffing.piece import Comparison, Found, Piece, compare_piece
from skymill.release.diffing.regions import PIECE_ROWS, Region, pieces, regions
from skymill.release.diffing.rows import in_common
from skymill.release.diffing.strays import settle_strays
from skymill.release.diffing.summary import sky_map, summary
from skymill.store import Catalogue, StoreError, made_with, open_catalogue
from skymill.store.document import to_document
from skymill.store.durable import staged, write_bytes

FORMAT = 1
DIFF, MAP, DELTA = "diff.json", "map.parquet", "delta"
MAP_ORDER = 6
LEAST_CHANGE = 0.01
FEW_IN_COMMON = 0.5
logger = logging.getLogger(__name__)


def diff(
    before: str | Path,
    after: str | Path,
    folder: str | Path,
    *,
    features: tuple[str, str] = ("", ""),
    magnitude: str = "",
    radius_arcsec: float | None = None,
    motions: Motions | None = None,
    least_change: float = LEAST_CHANGE,
    map_order: int = MAP_ORDER,
    compute: ComputeSettings | None = None,
    workers: int = 1,
) -> dict[str, Any]:
    """Compare two versions of a catalogue of classes, or of numbers with errors, or two catalogues of the same sky.

    Tiles that both versions share are counted, not read. The others are read once, a few at a time.

    Parameters
    ----------
    before, after : str or Path
        Catalogues (their current version) or versions, as `open_catalogue` takes them.
    folder : Path
        Gets `diff.json`, `map.parquet` and `delta/`, a catalogue of the changed rows; is emptied of these first.
    features : (str, str)
        Catalogues of features of the two, for magnitudes; empty for none.
    magnitude : str
        Name of the feature to bin by.
    radius_arcsec : float, optional
        Match each other's nearest sources within this radius instead of equal ids.
    motions : Motions, optional
        Of the sources before, which are carried to the epoch after; needs `radius_arcsec`.
    least_change : float
        Of |Δp|, from which on a row is in the delta catalogue.
    map_order : int
        HEALPix order of the map.
    compute : ComputeSettings, optional
    workers : int

    Returns
    -------
    dict
        What `diff.json` holds.

    Raises
    ------
    ValueError
        If motions are given without a radius.
    StoreError
        If one has neither classes nor numbers with errors, or rows do not add up.
    ComputeError
        If a part of the sky cannot be compared.
    """
    if motions is not None and radius_arcsec is None:
        raise ValueError("diff: motions serve to match by position; give a radius too")
    if motions is not None:
        motions.check()
    opened = open_catalogue(before), open_catalogue(after)
    classes, numbers = in_common(*opened)
    folder = Path(folder)
    shutil.rmtree(folder / DELTA, ignore_errors=True)
    shared = Comparison(
        before=opened[0].location,
        after=opened[1].location,
        features_before=features[0],
        features_after=features[1],
        classes=classes,
        numbers=numbers,
        magnitude=magnitude,
        order=map_order,
        least_change=least_change,
        radius_arcsec=radius_arcsec,
        folder=str(folder),
        motions=motions,
    )
    every = list(regions(opened[0].tiles, opened[1].tiles))
    found = _compare(
        [region for region in every if not region.is_shared], shared, compute or ComputeSettings(), workers
    )
    n_strays = settle_strays(found, shared) if radius_arcsec is None else 0
    n_shared = sum(region.before[0].n_rows for region in every if region.is_shared)
    rows = _rows(opened, found, n_shared, n_strays)
    content = {
        "skymill_format": FORMAT,
        "before": _version(opened[0]),
        "after": _version(opened[1]),
        "matched_by": _matched_by(radius_arcsec, motions),
        "magnitude": magnitude,
        "least_change": least_change,
        "map_order": map_order,
        "tiles": _tiles(every),
        "rows": rows,
        **summary(found.moved, classes, numbers),
        "made_with": made_with(),
    }
    _warn(content)
    folder.mkdir(parents=True, exist_ok=True)
    with staged(folder / MAP) as file:
        pq.write_table(pa.table(sky_map(found.moved)), file)
    write_bytes(folder / DIFF, to_document(content))
    return content


def _compare(changed: Sequence[Region], shared: Comparison, compute: ComputeSettings, workers: int) -> Found:
    cut = [Piece(f"{number:07d}", piece) for number, piece in enumerate(pieces(changed, PIECE_ROWS))]
    tasks = [Task(piece.name, sum(region.n_rows for region in piece.regions), piece) for piece in cut]
    outcome = run_tasks(
        partial(compare_piece, shared=shared), tasks, workers=workers, settings=compute, describe="diff"
    )
    for name, why in outcome.failures.items():
        tile = next(piece.regions[0].tile for piece in cut if piece.name == name)
        raise ComputeError(f"diff: the tiles from {tile} on could not be compared: {why}; `skymill verify` both")
    found = Found(Moved(shared.order))
    for each in outcome.results.values():  # in the order of the sky, so that sums come out the same
        found += each
    return found


def _rows(opened: tuple[Catalogue, Catalogue], found: Found, n_shared: int, n_strays: int) -> dict[str, int]:
    """Account for every row of both versions."""
    moved = found.moved
    n_before, n_after = (catalogue.n_rows for catalogue in opened)
    for word, n, other in (("before", n_before, found.n_removed), ("after", n_after, found.n_added)):
        if n != n_shared + moved.n_matched + other:
            raise StoreError(
                f"diff: of {n:,} rows {word} {n_shared:,} are in shared tiles, {moved.n_matched:,} have a mate and "
                f"{other:,} have none, which does not add up; is an id there twice? run `skymill verify`"
            )
    return {
        "before": n_before,
        "after": n_after,
        "in_shared_tiles": n_shared,
        "matched": moved.n_matched,
        "changed": moved.n_changed,
        "moved_to_another_tile": n_strays,
        "removed": found.n_removed,
        "added": found.n_added,
    }


def _tiles(every: Sequence[Region]) -> dict[str, int]:
    return {
        "before": sum(len(region.before) for region in every),
        "after": sum(len(region.after) for region in every),
        "shared": sum(region.is_shared for region in every),
    }


def _matched_by(radius_arcsec: float | None, motions: Motions | None) -> str:
    if radius_arcsec is None:
        return "objectId"
    moved = f", proper motions of {motions.years:+g} yr applied" if motions else ""
    return f"position, within {radius_arcsec:g} arcsec{moved}"


def _version(catalogue: Catalogue) -> dict[str, str]:
    return {"catalogue": catalogue.name, "version": catalogue.version, "location": catalogue.location}


def _warn(content: dict[str, Any]) -> None:
    rows = content["rows"]
    compared = min(rows["before"], rows["after"]) - rows["in_shared_tiles"]
    if content["matched_by"] == "objectId" and rows["matched"] < FEW_IN_COMMON * compared:
        logger.warning(
            "diff: only %s of %s rows have an id that both versions know; where ids changed, match by position",
            f"{rows['matched']:,}",
            f"{compared:,}",
        )
