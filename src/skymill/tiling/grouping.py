"""Groups of tiles: what `tiling_plan` hands to `tiling_partition`, one content-addressed file a group."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skymill.sky import ORDER, Tile
from skymill.store.durable import write_bytes
from skymill.store.keys import canonical_json, digest
from skymill.tiling.adaptive import TileTable, group_of, tile_bounds
from skymill.tiling.content import Bucket
from skymill.tiling.files import TilingFiles
from skymill.tiling.spill import PartRecord


@dataclass(frozen=True)
class Group:
    """Tiles that one job makes, where their rows lie, and the ids among them that stand at two positions on the sky."""

    name: str
    tiles: tuple[tuple[Tile, int], ...]
    """Each tile and its rows before copies and conflicts are taken out."""
    buckets: tuple[Bucket, ...]
    conflicts: tuple[int, ...]

    @property
    def digest(self) -> str:
        """Digest of the content: the same rows give the same group, in whatever parts they were read."""
        return digest(self._values())

    @property
    def n_rows(self) -> int:
        """Rows of all tiles."""
        return sum(n_rows for _, n_rows in self.tiles)

    def write(self, files: TilingFiles) -> None:
        """Write the group's file unless it stands there already."""
        path = files.group(self.name, self.digest)
        if not path.is_file():
            write_bytes(path, canonical_json(self._values()) + b"\n")

    @classmethod
    def read(cls, path: str | Path) -> Group:
        """Read a group's file.

        Raises
        ------
        ValueError
            If the content is not what the file's name promises.
        """
        values: dict[str, Any] = json.loads(Path(path).read_bytes())
        tiles = tuple((Tile(order, pixel), n_rows) for order, pixel, n_rows in values["tiles"])
        buckets = tuple(Bucket(**bucket) for bucket in values["buckets"])
        group = cls(values["group"], tiles, buckets, tuple(int(text) for text in values["conflicts"]))
        if not Path(path).stem.endswith(group.digest[:12]):
            raise ValueError(
                f"{path}: expected content of the digest in its name, found {group.digest[:12]}; plan again"
            )
        return group

    def _values(self) -> Mapping[str, Any]:
        return {
            "group": self.name,
            "tiles": [[tile.order, tile.pixel, n_rows] for tile, n_rows in self.tiles],
            "buckets": [vars(bucket) for bucket in sorted(self.buckets, key=lambda b: (b.order, b.pixel, b.sha256))],
            "conflicts": [str(number) for number in self.conflicts],  # beyond 2^53 JSON readers lose digits
        }


def make_groups(
    tiles: TileTable, records: Sequence[PartRecord], conflicts: NDArray[np.void], *, group_order: int
) -> list[Group]:
    """Put tiles, the buckets that hold their rows, and the conflicting ids among them into groups."""
    order, pixel = group_of(tiles, group_order=group_order)
    first = np.flatnonzero(
        np.concatenate([[True], (order[1:] != order[:-1]) | (pixel[1:] != pixel[:-1])])[: len(order)]
    )
    starts, _ = tile_bounds(TileTable(order[first], pixel[first], first))
    pieces = [bucket for record in records for bucket in record.buckets]
    pixels = np.array([bucket.pixel for bucket in pieces], np.int64)
    holders = np.searchsorted(starts, pixels << 2 * (ORDER - group_order), side="right") - 1
    buckets: dict[int, list[Bucket]] = {}
    for bucket, holder in zip(pieces, holders.tolist()):
        buckets.setdefault(holder, []).append(bucket)
    place = np.searchsorted(starts, conflicts["_healpix_29"], side="right") - 1
    groups = []
    for number, (begin, end) in enumerate(zip(first, [*first[1:], len(order)])):
        columns = (column[begin:end].tolist() for column in tiles)
        groups.append(
            Group(
                name=f"o{order[begin]}p{pixel[begin]}",
                tiles=tuple((Tile(k, p), n) for k, p, n in zip(*columns)),
                buckets=tuple(buckets.get(number, ())),
                conflicts=tuple(np.unique(conflicts["objectId"][place == number]).tolist()),
            )
        )
    return groups


def groups(plan: str | Path) -> dict[str, str]:
    """Give the name of each group of a plan and its digest."""
    return {name: group["digest"] for name, group in json.loads(Path(plan).read_bytes())["groups"].items()}
