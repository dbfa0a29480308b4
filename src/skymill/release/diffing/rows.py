"""Rows of a catalogue as the comparison needs them: classes, and numbers that have errors."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skymill.release.diffing.ranges import read_ranges
from skymill.release.diffing.regions import Side
from skymill.sky import Tile
from skymill.store import Catalogue, StoreError

NEEDED = ("objectId", "_healpix_29", "coord_ra", "coord_dec", "flags")
OF_CLASSES = ("class", "probabilities")
ERROR = "_err"
"""Behind the name of a number whose error a column holds."""


@dataclass(frozen=True)
class Rows:
    """Sources of one version.

    Attributes
    ----------
    object_id, healpix29 : ndarray of int64, (n,)
    ra, dec : ndarray of float64, (n,)
        Degrees.
    flags : ndarray of int, (n,)
    kind : ndarray of int64, (n,)
        Most probable class, a place in the comparison's list of classes; -1 = not scored.
    probabilities : ndarray of float32, (n, classes)
        Of the comparison's classes; 0 for one that the version's model does not know. NaN = not scored.
    magnitude : ndarray of float32, (n,)
        NaN = not measured, or no features were given.
    numbers, errors : ndarray of float32, (n, numbers)
        The comparison's numbers, and their errors; NaN = not told.
    """

    object_id: NDArray[np.int64]
    healpix29: NDArray[np.int64]
    ra: NDArray[np.float64]
    dec: NDArray[np.float64]
    flags: NDArray[np.integer]
    kind: NDArray[np.int64]
    probabilities: NDArray[np.float32]
    magnitude: NDArray[np.float32]
    numbers: NDArray[np.float32]
    errors: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.object_id)

    def __getitem__(self, rows: NDArray[Any]) -> Rows:
        return replace(self, **{field.name: getattr(self, field.name)[rows] for field in fields(self)})

    @classmethod
    def joined(cls, parts: Sequence[Rows]) -> Rows:
        """Put parts behind each other."""
        return cls(*(np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(cls)))


@dataclass(frozen=True)
class Version:
    """One version of a catalogue of sources, with the magnitudes of its sources where these are known.

    Attributes
    ----------
    catalogue : Catalogue
    classes, numbers : tuple of str
        Of the comparison: the classes of either version, the numbers of both.
    features : Catalogue or None
        The features the catalogue was made of.
    magnitude : str
        Name of the feature to bin by.
    shared : frozenset of Tile
        Tiles that the other version has too: their sources have their mates.
    """

    catalogue: Catalogue
    classes: tuple[str, ...]
    numbers: tuple[str, ...] = ()
    features: Catalogue | None = None
    magnitude: str = ""
    shared: frozenset[Tile] = frozenset()

    def read(self, sides: Iterable[Side]) -> Rows:
        """Read whole tiles."""
        return Rows.joined([self._nothing(), *(self._tile(side) for side in sides)])

    def near(self, ranges: NDArray[np.int64]) -> Rows:
        """Read the sources whose `_healpix_29` lies in one of some sorted, half-open ranges; chunks with none are not.

        Shared tiles are left out. Magnitudes are not looked up.
        """
        found = read_ranges(self.catalogue, ranges, self._needed, but=self.shared)
        return Rows.joined([self._nothing(), *(self._rows(values) for values in found)])

    @property
    def _needed(self) -> list[str]:
        """Columns to read."""
        errors = [name + ERROR for name in self.numbers]
        return [*NEEDED, *(OF_CLASSES if self.classes else ()), *self.numbers, *errors]

    def _nothing(self) -> Rows:
        whole, real = np.empty(0, np.int64), np.empty(0)
        chances, numbers = (np.empty((0, len(each)), np.float32) for each in (self.classes, self.numbers))
        return Rows(whole, whole, real, real, whole, whole, chances, np.empty(0, np.float32), numbers, numbers)

    def _tile(self, side: Side) -> Rows:
        values = self.catalogue.reader(*side.tile).rows(columns=self._needed)
        return replace(self._rows(values), magnitude=self._magnitudes(side, values))

    @cached_property
    def _places(self) -> NDArray[np.int64]:
        """Where the version's classes stand among those of the comparison."""
        return np.array([self.classes.index(name) for name in classes_of(self.catalogue)])

    def _rows(self, values: Mapping[str, NDArray[Any]]) -> Rows:
        kind, probabilities = self._classified(values)
        numbers, errors = (
            np.stack([values[name + word] for name in self.numbers], axis=1)
            if self.numbers
            else np.empty((len(kind), 0), np.float32)
            for word in ("", ERROR)
        )
        return Rows(
            values["objectId"],
            values["_healpix_29"],
            values["coord_ra"],
            values["coord_dec"],
            values["flags"],
            kind,
            probabilities,
            np.full(len(kind), np.nan, np.float32),
            numbers,
            errors,
        )

    def _classified(self, values: Mapping[str, NDArray[Any]]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Give the most probable classes and their probabilities, by the places of the comparison."""
        n, places = len(values["objectId"]), self._places
        probabilities = np.zeros((n, len(self.classes)), np.float32)
        if not self.classes:
            return np.full(n, -1), probabilities
        probabilities[:, places] = values["probabilities"]
        scored = values["class"] >= 0
        probabilities[~scored] = np.nan
        return np.where(scored, places[np.maximum(values["class"], 0)], -1), probabilities

    def _magnitudes(self, side: Side, values: Mapping[str, NDArray[Any]]) -> NDArray[np.float32]:
        """Look the magnitudes up, by id, in the tile of features at the same place."""
        found = np.full(len(values["objectId"]), np.nan, np.float32)
        if self.features is None:
            return found
        try:
            reader = self.features.reader(*side.tile)
        except KeyError:
            return found
        columns = list(reader.arrays["features"].attrs["columns"])  # type: ignore[arg-type]
        if self.magnitude not in columns:
            return found
        rows = reader.rows(columns=["objectId", "features"])
        if np.array_equal(rows["objectId"], values["objectId"]):  # the catalogues of one run hold the same sources
            return rows["features"][:, columns.index(self.magnitude)]
        order = np.argsort(rows["objectId"], kind="stable")
        ids = rows["objectId"][order]
        place = np.minimum(np.searchsorted(ids, values["objectId"]), max(len(ids) - 1, 0))
        same = ids[place] == values["objectId"] if len(ids) else np.zeros(len(found), bool)
        found[same] = rows["features"][order[place[same]], columns.index(self.magnitude)]
        return found


def classes_of(catalogue: Catalogue) -> tuple[str, ...]:
    """Name the classes of a catalogue, in the order of its probabilities; none where it has none, or no tile."""
    if not len(catalogue.tiles) or "probabilities" not in catalogue.columns:
        return ()
    first = catalogue.reader_of(catalogue.places[0])
    return tuple(first.arrays["probabilities"].attrs["columns"])  # type: ignore[arg-type]


def numbers_of(catalogue: Catalogue) -> tuple[str, ...]:
    """Name the columns of a catalogue that have an error beside them."""
    return tuple(name for name in catalogue.columns if name + ERROR in catalogue.columns)


def in_common(before: Catalogue, after: Catalogue) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Name what two catalogues are compared by: the classes of either, and the numbers that both have.

    Raises
    ------
    StoreError
        If one of them has neither classes nor numbers, or they have nothing in common.
    """
    for catalogue in (before, after):
        if not is_comparable(catalogue):
            raise StoreError(
                f"{catalogue.location}: expected classes ('probabilities') or numbers with errors ('x' and "
                f"'x{ERROR}'), found {', '.join(catalogue.columns)}"
            )
    classes = tuple(dict.fromkeys([*classes_of(before), *classes_of(after)]))
    sides = [each for each in (before, after) if len(each.tiles)]
    classified = [bool(classes_of(each)) for each in sides]
    numbers = tuple(name for name in numbers_of(sides[0]) if name in numbers_of(sides[-1])) if sides else ()
    if sides and not all(classified) and not numbers:
        raise StoreError(
            f"{before.location} and {after.location}: have neither classes nor a number with its error in common"
        )
    return (classes if all(classified) else ()), numbers


def is_comparable(catalogue: Catalogue) -> bool:
    """Tell whether a catalogue holds what is compared: classes, or numbers with errors."""
    return not len(catalogue.tiles) or "probabilities" in catalogue.columns or bool(numbers_of(catalogue))
