"""One task of a comparison: the regions of one piece of the sky."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from skymill.release.diffing.delta import delta_schema, delta_table, write_delta
from skymill.release.diffing.matching import match_ids, match_positions
from skymill.release.diffing.motions import Motions
from skymill.release.diffing.moved import Moved, Pairs
from skymill.release.diffing.regions import Region, regions
from skymill.release.diffing.rows import Rows, Version
from skymill.sky import border_ranges, tile_range
from skymill.store import open_catalogue


@dataclass(frozen=True)
class Comparison:
    """What all tasks of a comparison share; small, since each gets a copy.

    Attributes
    ----------
    before, after : str
        Locations of the two versions.
    features_before, features_after : str
        Locations of their features; empty where there are none.
    classes, numbers : tuple of str
    magnitude : str
    order : int
        Of the map.
    least_change : float
        Of |Δp|, for the delta catalogue.
    radius_arcsec : float or None
        To match by position within; None = by id.
    folder : str
    motions : Motions or None
        Proper motions of the sources before, for matching by position.
    """

    before: str
    after: str
    features_before: str
    features_after: str
    classes: tuple[str, ...]
    numbers: tuple[str, ...]
    magnitude: str
    order: int
    least_change: float
    radius_arcsec: float | None
    folder: str
    motions: Motions | None = None

    def versions(self) -> tuple[Version, Version]:
        """Open both."""
        opened = open_catalogue(self.before), open_catalogue(self.after)
        features = [open_catalogue(place) if place else None for place in (self.features_before, self.features_after)]
        shared = frozenset(region.tile for region in regions(opened[0].tiles, opened[1].tiles) if region.is_shared)
        here, there = (
            Version(catalogue, self.classes, self.numbers, of, self.magnitude, shared)
            for catalogue, of in zip(opened, features, strict=True)
        )
        return here, there

    def delta_table(self, pairs: Pairs, removed: Rows, added: Rows) -> pa.Table:
        """Give the rows of the delta catalogue, as `delta.delta_table` does."""
        return delta_table(
            pairs, removed, added, classes=self.classes, numbers=self.numbers, least_change=self.least_change
        )

    def delta(self, name: str) -> Path:
        """Where a piece's part of the delta catalogue stands."""
        return Path(self.folder) / "delta" / f"{name}.parquet"


@dataclass(frozen=True)
class Piece:
    """Regions to compare, with a name that sorts as the sky."""

    name: str
    regions: Sequence[Region]


@dataclass
class Found:
    """What a task says: counts, and how many rows have no mate in their region."""

    moved: Moved
    n_before: int = 0
    n_after: int = 0
    n_removed: int = 0
    n_added: int = 0

    def __iadd__(self, other: Found) -> Found:
        self.moved += other.moved
        for name in ("n_before", "n_after", "n_removed", "n_added"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        return self


class Mates(NamedTuple):
    """Rows of one region, and their mates."""

    pairs: Pairs
    removed: Rows
    added: Rows
    n_before: int
    n_after: int


def compare_piece(piece: Piece, *, shared: Comparison) -> Found:
    """Compare the regions of a piece and write its part of the delta catalogue."""
    before, after = shared.versions()
    found = Found(Moved(shared.order))
    tables = [delta_schema(shared.classes, shared.numbers).empty_table()]
    for region in piece.regions:
        if shared.radius_arcsec is None:
            mates = by_id(region, before, after)
        else:
            mates = by_position(region, before, after, shared.radius_arcsec, shared.motions)
        counts = (mates.n_before, mates.n_after, len(mates.removed), len(mates.added))
        found += Found(Moved.of(mates.pairs, shared.order), *counts)
        tables.append(shared.delta_table(mates.pairs, mates.removed, mates.added))
    write_delta(pa.concat_tables(tables), shared.delta(piece.name))
    return found


def by_id(region: Region, before: Version, after: Version) -> Mates:
    """Match the sources of a region by id; one that went to another region has no mate yet."""
    here, there = before.read(region.before), after.read(region.after)
    matched = match_ids(here.object_id, there.object_id)
    pairs = Pairs.of(here[matched.before], there[matched.after])
    return Mates(pairs, here[matched.removed], there[matched.added], len(here), len(there))


def by_position(
    region: Region, before: Version, after: Version, radius_arcsec: float, motions: Motions | None = None
) -> Mates:
    """Match the sources of a region by position, at the epoch after, with those around it in view.

    A pair belongs to the region of its source before. Who lies within two reaches of a region decides about its pairs:
    one reach off (a radius, and what a source may have moved) may be a mate, and one further what that mate is nearer
    to.
    """
    reach = radius_arcsec + (motions.farthest_arcsec if motions else 0.0)
    ranges = border_ranges(region.tile, 2 * reach / 3600)
    inside = (before.read(region.before), after.read(region.after))
    n, m = len(inside[0]), len(inside[1])
    here, there = (
        Rows.joined([own, version.near(ranges)]) for own, version in zip(inside, (before, after), strict=True)
    )
    at = here.ra, here.dec
    if motions is not None:
        whole = np.array(sorted([*ranges.tolist(), list(tile_range(region.tile))]), np.int64)
        at = motions.carry(whole, here.object_id, *at)
    matched = match_positions(at, (there.ra, there.dec), radius_arcsec)
    own = matched.before < n
    pairs = Pairs.of(here[matched.before[own]], there[matched.after[own]])
    removed, added = matched.removed[matched.removed < n], matched.added[matched.added < m]
    return Mates(pairs, here[removed], there[added], n, m)
