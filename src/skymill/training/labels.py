"""Join labels to sources, by id or by position, and settle which pairs hold.

Pairs are found tile by tile and settled once all are known, so that a match across the border of two tiles is no
different from one inside a tile.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from skymill.sky import separation_arcsec, unit_vectors

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
MAS_PER_RADIAN = np.degrees(1.0) * 3.6e6
OUTCOMES = ("matched", "unmatched", "ambiguous", "conflicting", "duplicate")
"""What becomes of a label: it labels a source; has no source; has several; shares its source with a label of another
class; shares its source with a nearer label of the same class."""
MATCHED, UNMATCHED, AMBIGUOUS, CONFLICTING, DUPLICATE = range(len(OUTCOMES))


@dataclass(frozen=True)
class Pairs:
    """Labels and sources that may belong together, one element per pair."""

    label: Ints
    """Number of the label."""
    row: Ints
    """Row of the source in its tile; later, any number that stands for the source's data."""
    separation: Floats
    """arcsec; 0 for matches by id."""

    def __len__(self) -> int:
        return len(self.label)


def pairs_by_id(sorted_ids: Ints, order: Ints, source_ids: Ints) -> Pairs:
    """Find the labels of sources by id.

    Parameters
    ----------
    sorted_ids : ndarray of int64, (l,)
        Ids of the labels, ascending.
    order : ndarray of int64, (l,)
        Number of the label that each belongs to.
    source_ids : ndarray of int64, (n,)
    """
    first = np.searchsorted(sorted_ids, source_ids, side="left")
    count = np.searchsorted(sorted_ids, source_ids, side="right") - first
    row = np.repeat(np.arange(len(source_ids)), count)
    within = np.arange(len(row)) - np.repeat(np.cumsum(count) - count, count)
    label = order[np.repeat(first, count) + within]
    return Pairs(label, row, np.zeros(len(row)))


class LabelSky:
    """Labels on the sky, indexed for finding those near a tile.

    Parameters
    ----------
    ra, dec : ndarray of float64, (l,)
        Degrees, at the epoch of the sources.
    radius_arcsec : float
        Largest separation of a match.
    """

    def __init__(self, ra: Floats, dec: Floats, radius_arcsec: float) -> None:
        from scipy.spatial import cKDTree

        self.ra, self.dec, self.radius_arcsec = ra, dec, radius_arcsec
        self._vectors = unit_vectors(ra, dec)
        self._tree = cKDTree(self._vectors)

    def near(self, centre: Floats, radius: float) -> Ints:
        """Give the labels that may match a source within `radius` (radians) of a unit vector."""
        reach = min(radius + np.radians(self.radius_arcsec / 3600.0), np.pi)
        return np.sort(self._tree.query_ball_point(centre, _chord(reach))).astype(np.int64)

    def pairs(self, ra: Floats, dec: Floats, labels: Ints) -> Pairs:
        """Find all pairs of some labels and the sources of a tile that are no farther apart than the radius."""
        from scipy.spatial import cKDTree

        sources = cKDTree(unit_vectors(ra, dec))
        found = sources.query_ball_point(self._vectors[labels], _chord(np.radians(self.radius_arcsec / 3600.0)))
        label = np.repeat(labels, [len(rows) for rows in found])
        row = np.fromiter((row for rows in found for row in rows), np.int64, len(label))
        separation = separation_arcsec(self.ra[label], self.dec[label], ra[row], dec[row])
        inside = separation <= self.radius_arcsec
        return Pairs(label[inside], row[inside], separation[inside])


def settle(
    pairs: Pairs, source_ids: Ints, classes: NDArray[np.integer], *, ambiguity: str
) -> tuple[Ints, NDArray[np.int8]]:
    """Decide which pairs hold, each source having one label at most and each label one source at most.

    A label with several sources is dropped, or goes to the nearest one. A source with labels of different classes is
    dropped under both rules, since the nearer of two spectra of one object is not the truer; one with several labels
    of the same class keeps the nearest.

    Parameters
    ----------
    pairs : Pairs
        All pairs within the radius, of all tiles.
    source_ids : ndarray of int64, (pairs,)
        The id of each pair's source.
    classes : ndarray of int, (labels,)
        Class of each label.
    ambiguity : {'nearest', 'drop'}

    Returns
    -------
    chosen : ndarray of int64
        Numbers of the pairs that hold.
    outcome : ndarray of int8, (labels,)
        Index in `OUTCOMES` for each label.
    """
    outcome = np.full(len(classes), UNMATCHED, dtype=np.int8)
    by_label = np.lexsort((pairs.row, source_ids, pairs.separation, pairs.label))
    nearest = by_label[_first_of_run(pairs.label[by_label])]
    if ambiguity == "drop":
        candidates = np.arange(len(pairs))
        ambiguous = np.bincount(pairs.label, minlength=len(classes)) > 1
    else:
        candidates = nearest
        ambiguous = np.zeros(len(classes), dtype=bool)

    ids, source = np.unique(source_ids[candidates], return_inverse=True)
    lowest, highest = np.full(len(ids), len(classes)), np.full(len(ids), -1)
    np.minimum.at(lowest, source, classes[pairs.label[candidates]])
    np.maximum.at(highest, source, classes[pairs.label[candidates]])
    at_odds = (lowest != highest)[source]
    outcome[pairs.label[candidates[at_odds]]] = CONFLICTING
    outcome[ambiguous] = AMBIGUOUS

    left = candidates[~at_odds & ~ambiguous[pairs.label[candidates]]]
    by_source = left[np.lexsort((pairs.label[left], pairs.separation[left], source_ids[left]))]
    outcome[pairs.label[by_source]] = DUPLICATE
    chosen = by_source[_first_of_run(source_ids[by_source])]
    outcome[pairs.label[chosen]] = MATCHED
    return chosen, outcome


def carry_to_epoch(ra: Floats, dec: Floats, pm_ra: Floats, pm_dec: Floats, years: float) -> tuple[Floats, Floats]:
    """Carry positions along straight lines in space, seen without parallax and radial velocity.

    Hipparcos Catalogue vol. 1 (ESA 1997), section 1.2.8 with parallax and radial velocity zero; exact at the poles.

    Parameters
    ----------
    ra, dec : ndarray, (n,)
        Degrees.
    pm_ra, pm_dec : ndarray, (n,)
        mas/yr; pm_ra is mu_alpha cos(delta). NaN counts as no motion.
    years : float
        New epoch minus old.

    Returns
    -------
    ra, dec : ndarray, (n,)
        Degrees; ra in [0, 360).
    """
    longitude, latitude = np.radians(ra), np.radians(dec)
    east = np.stack([-np.sin(longitude), np.cos(longitude), np.zeros_like(longitude)], axis=-1)
    north = np.stack(
        [-np.sin(latitude) * np.cos(longitude), -np.sin(latitude) * np.sin(longitude), np.cos(latitude)], axis=-1
    )
    motion = np.nan_to_num(pm_ra)[:, None] * east + np.nan_to_num(pm_dec)[:, None] * north
    x, y, z = (unit_vectors(ra, dec) + motion * (years / MAS_PER_RADIAN)).T
    return np.degrees(np.arctan2(y, x)) % 360.0, np.degrees(np.arctan2(z, np.hypot(x, y)))


def _first_of_run(sorted_values: Ints) -> NDArray[np.bool_]:
    first = np.ones(len(sorted_values), dtype=bool)
    first[1:] = sorted_values[1:] != sorted_values[:-1]
    return first


def _chord(angle: float) -> float:
    """The straight distance between unit vectors `angle` apart, rounded up."""
    return float(2.0 * np.sin(angle / 2.0) * (1.0 + 1e-9))
