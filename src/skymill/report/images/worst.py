"""The sources that are worth a look: a few of each kind, chosen while tiles pass by."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from skymill.features.measuring.measured import KRON_FLUX, PSF_FLUX
from skymill.report.images.gather import Array, TileRows, magnitude
from skymill.report.images.truth import TrueSources, is_isolated, is_real
from skymill.survey.flags import MEASURE_FLAGS
from skymill.training.matching import NONE

KEPT = 60
"""Candidates of each kind: enough that some lie on tiles that are opened anyway."""
SYSTEMATIC = 0.03
"""Share of a flux by which no measurement is called wrong."""
TITLES = {
    "residual": (
        "Fluxes farthest from the truth",
        "Isolated sources without flags, in units of error and 3 % of flux.",
    ),
    "missed": ("Brightest not found", "True sources on usable pixels without a detection within the radius."),
    "false": ("Brightest that are nothing", "Detections without a true source within the radius."),
    "flagged": ("Most flags", "Of equally many flags the brightest first."),
}


@dataclass(frozen=True, order=True)
class Candidate:
    """A source to look at; `facts` is what is said of it."""

    score: float
    tile: str
    object_id: int
    x: float = field(compare=False)
    y: float = field(compare=False)
    facts: tuple[str, ...] = field(compare=False)


class Worst:
    """Keeps the candidates of the highest scores, kind by kind."""

    def __init__(self) -> None:
        self.kinds: dict[str, list[Candidate]] = {kind: [] for kind in TITLES}

    def offer(
        self,
        kind: str,
        tile: str,
        score: Array,
        ids: NDArray[np.int64],
        places: Array,
        facts: Callable[[int], tuple[str, ...]],
    ) -> None:
        """Offer sources of a tile; those whose score is not finite are none."""
        heap = self.kinds[kind]
        known = np.flatnonzero(np.isfinite(score))
        for row in known[np.argsort(-score[known], kind="stable")[:KEPT]]:
            x, y = places[row].tolist()
            heapq.heappush(heap, Candidate(float(score[row]), tile, int(ids[row]), x, y, facts(int(row))))
            if len(heap) > KEPT:
                heapq.heappop(heap)

    def chosen(self, opened: Sequence[str], most_tiles: int, each: int) -> dict[str, list[Candidate]]:
        """Choose the worst, `each` of a kind, on no more tiles in all than may be opened; `opened` are anyway."""
        tiles = list(opened)
        found: dict[str, list[Candidate]] = {kind: [] for kind in self.kinds}
        for kind, candidates in self.kinds.items():
            for one in sorted(candidates, reverse=True):
                if len(found[kind]) < each and (one.tile in tiles or len(tiles) < most_tiles):
                    tiles += [one.tile] if one.tile not in tiles else []
                    found[kind].append(one)
        return {kind: candidates for kind, candidates in found.items() if candidates}


def offer_flagged(worst: Worst, tile: TileRows, reference: int) -> None:
    """Offer the sources of a tile that have the most flags."""
    flags, flux = tile.rows["flags"], tile.flux[KRON_FLUX][:, reference]
    count = sum(((flags & flag.mask) != 0).astype(float) for flag in MEASURE_FLAGS)
    brightness = magnitude(flux)
    score = np.where(tile.primary & (count > 0), count + (40 - np.nan_to_num(brightness, nan=40)) / 40, np.nan)

    def facts(row: int) -> tuple[str, ...]:
        return (_mag(tile.bands[reference], brightness[row]), *flag_names(int(flags[row])))

    worst.offer("flagged", tile.name, score, tile.rows["objectId"], tile.positions, facts)


def offer_wrong(
    worst: Worst, tile: TileRows, truth: TrueSources, partner: NDArray[np.int64], bands: Sequence[str], reference: int
) -> None:
    """Offer what disagrees with the truth of a tile: fluxes, true sources not found, detections of nothing."""
    _offer_residuals(worst, tile, truth, partner, bands)
    true = truth.flux(bands)[:, reference]
    missed = np.where(truth.mine & truth.usable & (partner == NONE), true, np.nan)
    ids, band = np.asarray(truth.table["objectId"]), bands[reference]
    kinds = truth.table["class"]
    brightness = magnitude(true)
    worst.offer(
        "missed",
        tile.name,
        missed,
        ids,
        truth.positions,
        lambda row: (_mag(f"true {band}", brightness[row]), str(kinds[row])),
    )
    flux = tile.flux[KRON_FLUX][:, reference]
    false = np.where(truth.asked & ~is_real(tile, partner) & (flux > 0), flux, np.nan)
    measured, flags = magnitude(flux), tile.rows["flags"]
    worst.offer(
        "false",
        tile.name,
        false,
        tile.rows["objectId"],
        tile.positions,
        lambda row: (_mag(band, measured[row]), *flag_names(int(flags[row]))),
    )


def _offer_residuals(
    worst: Worst, tile: TileRows, truth: TrueSources, partner: NDArray[np.int64], bands: Sequence[str]
) -> None:
    rows = np.flatnonzero(is_isolated(tile, truth, partner))
    found, true = partner[rows], truth.flux(bands)[rows]
    point = truth.point[rows, None]
    flux = np.where(point, tile.flux[PSF_FLUX][found], tile.flux[KRON_FLUX][found])
    error = np.where(point, tile.error[PSF_FLUX][found], tile.error[KRON_FLUX][found])
    off = np.nan_to_num((flux - true) / np.hypot(error, SYSTEMATIC * true), nan=0.0)
    band = np.argmax(np.abs(off), axis=1)

    def facts(row: int) -> tuple[str, ...]:
        name, photometry = bands[band[row]], "PSF" if point[row, 0] else "Kron"
        pull, brightness = off[row, band[row]], magnitude(true[row, band[row] : band[row] + 1])[0]
        return (f"{name} {photometry}: {pull:+.1f}", _mag(f"true {name}", brightness))

    score = np.abs(off).max(axis=1, initial=0.0)
    worst.offer("residual", tile.name, score, tile.rows["objectId"][found], tile.positions[found], facts)


def by_tile(chosen: Mapping[str, Collection[Candidate]]) -> dict[str, list[Candidate]]:
    """Group candidates by the tile they lie on."""
    groups: dict[str, list[Candidate]] = {}
    for candidates in chosen.values():
        for one in candidates:
            groups.setdefault(one.tile, []).append(one)
    return groups


def flag_names(flags: int) -> tuple[str, ...]:
    """Name the flags that are set, in one text."""
    names = ", ".join(flag.name.replace("_", " ") for flag in MEASURE_FLAGS if flags & flag.mask)
    return (names,) if names else ()


def _mag(name: str, value: float) -> str:
    return f"{name} {value:.2f}" if np.isfinite(value) else f"{name} –"
