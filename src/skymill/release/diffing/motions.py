"""Proper motions: where the sources of one version stand at the epoch of the other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from astropy import units as u
from numpy.typing import NDArray

from skymill.release.diffing.ranges import read_ranges
from skymill.store import Catalogue, StoreError, open_catalogue
from skymill.training.labels import carry_to_epoch

FASTEST = 11.0
"""Arcsec/yr. Barnard's star, the fastest known, moves by 10.4 (Gaia DR3); a larger value is a fault, not a motion."""
VALUES = "values"


@dataclass(frozen=True)
class Motions:
    """Proper motions of the sources before, by id.

    Attributes
    ----------
    location : str
        Of the catalogue of sources that holds them among its `values`.
    pm_ra, pm_dec : str
        Their names; the first is mu_alpha cos(delta).
    years : float
        Epoch after minus epoch before.
    """

    location: str
    pm_ra: str
    pm_dec: str
    years: float

    @property
    def farthest_arcsec(self) -> float:
        """How far a source may have moved."""
        return FASTEST * abs(self.years)

    def carry(
        self, ranges: NDArray[np.int64], object_id: NDArray[np.int64], ra: NDArray[np.float64], dec: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Give where sources stand at the epoch after; those without a motion stay.

        Parameters
        ----------
        ranges : ndarray of int64, (m, 2)
            Sorted, half-open ranges of `_healpix_29` in which all of them lie.
        object_id : ndarray of int64, (n,)
        ra, dec : ndarray of float64, (n,)
            Degrees.
        """
        parts = list(read_ranges(self._catalogue, ranges, ("objectId", "_healpix_29", VALUES)))
        ids = np.concatenate([np.empty(0, np.int64), *(part["objectId"] for part in parts)])
        motion = np.concatenate([np.empty((0, 2)), *(self._motion(part) for part in parts)])
        order = np.argsort(ids, kind="stable")
        place = np.searchsorted(ids[order], object_id)
        known = place < len(ids)
        known[known] = ids[order][place[known]] == object_id[known]
        found = np.full((len(object_id), 2), np.nan)
        found[known] = motion[order[place[known]]]
        found[np.hypot(*found.T) > FASTEST * 1000] = np.nan
        return carry_to_epoch(ra, dec, found[:, 0], found[:, 1], self.years)

    def _motion(self, part: Mapping[str, NDArray[Any]]) -> NDArray[np.float64]:
        return np.asarray(part[VALUES][:, self._columns] * self._in_mas, np.float64)

    def check(self) -> None:
        """Make sure that the motions are there.

        Raises
        ------
        StoreError
            If the catalogue has no such values, or not in units of a motion.
        """
        _ = replace(self)._in_mas  # not kept: what is sent to the workers opens its own

    @cached_property
    def _catalogue(self) -> Catalogue:
        return open_catalogue(self.location)

    @cached_property
    def _columns(self) -> list[int]:
        """Where the two stand among the values.

        Raises
        ------
        StoreError
            If the catalogue has none of that name.
        """
        names = list(self._attributes["columns"])
        for name in (self.pm_ra, self.pm_dec):
            if name not in names:
                raise StoreError(f"{self.location}: expected '{name}' among the values of sources, found {names}")
        return [names.index(self.pm_ra), names.index(self.pm_dec)]

    @cached_property
    def _in_mas(self) -> NDArray[np.float64]:
        """Factors to mas/yr."""
        units = [self._attributes["column_units"][column] for column in self._columns]
        try:
            return np.array([u.Unit(unit).to(u.mas / u.yr) for unit in units])
        except ValueError as error:
            names = f"{self.pm_ra}, {self.pm_dec}"
            raise StoreError(f"{self.location}: expected {names} in mas / yr or the like, found {units}") from error

    @cached_property
    def _attributes(self) -> Mapping[str, Any]:
        if VALUES not in self._catalogue.columns:
            raise StoreError(f"{self.location}: expected sources with 'values', found {self._catalogue.columns}")
        first = self._catalogue.reader(*self._catalogue.tiles[["order", "pixel"]].iloc[0].tolist())
        return first.arrays[VALUES].attrs
