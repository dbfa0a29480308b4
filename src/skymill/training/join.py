"""Find the labelled sources of a feature catalogue, chunk by chunk, keeping only what matched."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from cdshealpix.nested import neighbours
from numpy.typing import NDArray

from skymill.config import LabelSettings
from skymill.sky import Tile, at_order, order29, unit_vectors
from skymill.sky.healpix import tile_range
from skymill.store import GroupManifest, Pool, TileReader, open_tile
from skymill.survey.labels import Labels
from skymill.training.arrays import TrainingSetError
from skymill.training.labels import LabelSky, Pairs, carry_to_epoch, pairs_by_id, settle

NEAR_ORDER = 10
"""Its pixels are wider than the largest radius, 60 arcsec: a match is in the label's pixel or a neighbour."""
COLUMNS = ("objectId", "_healpix_29", "coord_ra", "coord_dec", "features")
NOTES = ("pm_ra_missing", "pm_dec_missing")


@dataclass(frozen=True)
class FeatureTiles:
    """All tiles of a feature catalogue."""

    tiles: list[tuple[Tile, Path]]
    n_rows: int
    features: list[dict[str, Any]]
    """Name, unit, definition, group, `indicator` of each feature."""

    @property
    def names(self) -> list[str]:
        """Names of the features."""
        return [feature["name"] for feature in self.features]

    @classmethod
    def of_manifests(cls, manifests: Sequence[str | Path]) -> FeatureTiles:
        """Read the manifests of all groups.

        Raises
        ------
        TrainingSetError
            If there is no tile.
        """
        tiles: list[tuple[Tile, Path]] = []
        n_rows = 0
        for path in manifests:
            pool = Pool(Path(path).parents[2])
            for entry in GroupManifest.read(path).tiles:
                tiles.append((Tile(*entry.tile), pool.path(entry.tile, entry.key)))
                n_rows += entry.n_rows
        if not tiles:
            raise TrainingSetError(f"{len(manifests)} feature manifests hold no tile: the survey has no usable sources")
        return cls(sorted(tiles), n_rows, _described(open_tile(min(tiles)[1])))


@dataclass(frozen=True)
class Joined:
    """Matched labels with their sources, and what became of every label."""

    label: NDArray[np.int64]
    """Number of the label, one element per match."""
    classes: NDArray[np.int8]
    object_id: NDArray[np.int64]
    healpix29: NDArray[np.int64]
    ra: NDArray[np.float64]
    dec: NDArray[np.float64]
    features: NDArray[np.float32]
    outcome: NDArray[np.int8]
    """(labels,), index in `OUTCOMES`."""
    hint: str
    """What to look at if nothing matched."""
    notes: tuple[str, ...] = NOTES
    """Entries of `Labels.counts` that are not outcomes."""


def join(labels: Labels, tiles: FeatureTiles, settings: LabelSettings, *, survey_epoch: float | None) -> Joined:
    """Join labels to sources.

    Parameters
    ----------
    labels : Labels
    tiles : FeatureTiles
    settings : LabelSettings
    survey_epoch : float or None
        Julian year of the sources' positions; needed where labels have proper motions.
    """
    classes = np.array([settings.classes.index(name) for name in labels.label], dtype=np.int8)
    finder: _ById | _BySky = _ById(labels) if settings.match == "id" else _BySky(labels, settings, survey_epoch)
    found = _Found()
    for _, path in tiles.tiles:
        reader = open_tile(path)
        if _described(reader) != tiles.features:
            raise TrainingSetError(f"{path}: its features differ from those of the other tiles; run `features` again")
        for chunk in range(len(reader.zones)):
            found.add(finder.pairs(reader, chunk), reader, chunk)
    pairs, columns = found.all(len(tiles.features))
    ambiguity = settings.ambiguity if settings.match == "sky" else "drop"
    chosen, outcome = settle(pairs, columns["objectId"][pairs.row], classes, ambiguity=ambiguity)
    row = pairs.row[chosen]
    return Joined(
        label=pairs.label[chosen],
        classes=classes[pairs.label[chosen]],
        object_id=columns["objectId"][row],
        healpix29=columns["_healpix_29"][row],
        ra=columns["coord_ra"][row],
        dec=columns["coord_dec"][row],
        features=columns["features"][row],
        outcome=outcome,
        hint=finder.hint(tiles) if len(chosen) == 0 else "",
    )


@dataclass
class _Found:
    """Pairs and the sources in them, numbered through all tiles."""

    pairs: list[Pairs] = field(default_factory=list)
    columns: list[dict[str, NDArray[Any]]] = field(default_factory=list)
    n_rows: int = 0

    def add(self, pairs: Pairs, reader: TileReader, chunk: int) -> None:
        if len(pairs) == 0:
            return
        rows, number = np.unique(pairs.row, return_inverse=True)
        columns = reader.rows(*_bounds(reader, chunk), COLUMNS)
        self.columns.append({name: values[rows] for name, values in columns.items()})
        self.pairs.append(Pairs(pairs.label, number + self.n_rows, pairs.separation))
        self.n_rows += len(rows)

    def all(self, n_features: int) -> tuple[Pairs, dict[str, NDArray[Any]]]:
        none = np.empty(0, np.int64)
        pairs = [*self.pairs, Pairs(none, none, np.empty(0))]
        nothing: dict[str, NDArray[Any]] = {
            "objectId": none,
            "_healpix_29": none,
            "coord_ra": np.empty(0),
            "coord_dec": np.empty(0),
        }
        columns = [*self.columns, {**nothing, "features": np.empty((0, n_features), np.float32)}]
        joined = Pairs(
            label=np.concatenate([each.label for each in pairs]),
            row=np.concatenate([each.row for each in pairs]),
            separation=np.concatenate([each.separation for each in pairs]),
        )
        return joined, {name: np.concatenate([each[name] for each in columns]) for name in COLUMNS}


class _ById:
    """Labels that say whom they belong to."""

    def __init__(self, labels: Labels) -> None:
        assert labels.object_id is not None  # `read_labels` gives ids for match "id"
        self._order = np.argsort(labels.object_id, kind="stable")
        self._ids = labels.object_id[self._order]

    def pairs(self, reader: TileReader, chunk: int) -> Pairs:
        ids = reader.rows(*_bounds(reader, chunk), ["objectId"])["objectId"]
        return pairs_by_id(self._ids, self._order, ids)

    def hint(self, tiles: FeatureTiles) -> str:
        ids = open_tile(tiles.tiles[0][1]).rows(0, 3, ["objectId"])["objectId"]
        return (
            f"label ids look like {self._ids[:3].tolist()}, source ids like {ids[:3].tolist()}: make labels.id "
            "(column, pack or hash) the same as the survey's id, or match by sky"
        )


class _BySky:
    """Labels that say where they are."""

    def __init__(self, labels: Labels, settings: LabelSettings, survey_epoch: float | None) -> None:
        assert labels.ra is not None and labels.dec is not None  # `read_labels` gives positions for match "sky"
        ra, dec = labels.ra, labels.dec
        if labels.pm_ra is not None and labels.pm_dec is not None and settings.epoch is not None:
            if survey_epoch is None:
                raise TrainingSetError(
                    "labels have proper motions, but the epoch of the survey's positions is not known; "
                    "set `epoch` in the survey's file"
                )
            ra, dec = carry_to_epoch(ra, dec, labels.pm_ra, labels.pm_dec, survey_epoch - settings.epoch)
        self._sky = LabelSky(ra, dec, settings.radius_arcsec)
        self._index = np.sort(order29(ra, dec))
        around = neighbours(np.unique(at_order(self._index, NEAR_ORDER)), NEAR_ORDER).astype(np.int64)
        self._near = np.unique(around[around >= 0])

    def pairs(self, reader: TileReader, chunk: int) -> Pairs:
        low, high = at_order(reader.zones[chunk], NEAR_ORDER)
        if np.searchsorted(self._near, low, "left") == np.searchsorted(self._near, high, "right"):
            return Pairs(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0))
        columns = reader.rows(*_bounds(reader, chunk), ["coord_ra", "coord_dec"])
        vectors = unit_vectors(columns["coord_ra"], columns["coord_dec"])
        centre = vectors.sum(axis=0)
        centre = centre / max(float(np.linalg.norm(centre)), 1e-300)
        reach = 2.0 * np.arcsin(min(np.sqrt(((vectors - centre) ** 2).sum(axis=1).max()) / 2.0, 1.0))
        return self._sky.pairs(columns["coord_ra"], columns["coord_dec"], self._sky.near(centre, reach))

    def hint(self, tiles: FeatureTiles) -> str:
        inside = 0
        for tile, _ in tiles.tiles:
            low, high = np.searchsorted(self._index, tile_range(tile))
            inside += int(high - low)
        if inside == 0:
            return (
                "no label lies on any tile of the survey: look at the units of labels.ra and labels.dec "
                "(deg or hourangle?), then at the area"
            )
        return (
            f"{inside} of {len(self._index)} labels lie on the survey's tiles, but none within "
            f"{self._sky.radius_arcsec} arcsec of a source: look at labels.radius_arcsec, "
            "at epochs and proper motions, and at the depth of the survey"
        )


def _described(reader: TileReader) -> list[dict[str, Any]]:
    described: Any = reader.attrs["features"]
    return list(described)


def _bounds(reader: TileReader, chunk: int) -> tuple[int, int]:
    return chunk * reader.chunk_rows, (chunk + 1) * reader.chunk_rows
