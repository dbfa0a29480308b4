"""Are probabilities right everywhere? Calibration of the test split by region of sky, by local depth and by seeing."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from skymill.report.gather import TestSet
from skymill.report.properties import Property
from skymill.sky import at_order, unit_vectors
from skymill.sky.healpix import tile_centres
from skymill.training.metrics import BINS, CONFIDENCE, calibrated_errors, expected_calibration_error

FINEST_REGIONS, COARSEST_REGIONS = 3, 0
"""HEALPix orders of regions: 7 to 59 degrees wide."""
MOST_REGIONS = 12
FEWEST_ROWS = 100
"""Test sources of a region; smaller ones are taken together."""
FEWEST_BLOCKS = 5
"""Resamples of fewer blocks say little of what other blocks would give."""
QUANTILE_BINS = 4
RESAMPLES = 1000
FEWEST_DRAWS, MOST_DRAWS, NUMBERS_DRAWN = 1000, 10_000, 20_000_000
"""Of right probabilities: many where rows are few, since a small p stands on few of the draws."""
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Part:
    """Calibration of the test sources in one part of the survey.

    Attributes
    ----------
    name : str
    n, blocks : int
        Sources, and blocks of sky they lie in.
    said, right : float
        Mean of the highest probability, and share of right classes.
    ece, low, high : float
        Calibration error (15 bins) with its 95 % interval from resampled blocks of sky; NaN limits where these are few.
    chance, chance_high : float
        Mean and 97.5 % limit of the error that right probabilities would show in so many rows.
    p : float
        Share of the draws of right probabilities with at least this error.
    wrong : bool
        Whether that is less than chance among all parts tested together allows.
    """

    name: str
    n: int
    blocks: int
    said: float
    right: float
    ece: float
    low: float
    high: float
    chance: float
    chance_high: float
    p: float
    wrong: bool = False


@dataclass(frozen=True)
class Partition:
    """The test split in parts, by one thing; `left_out` counts the sources of which that thing is not known."""

    anchor: str
    title: str
    parts: list[Part]
    left_out: int

    @property
    def told(self) -> str:
        """The finding in words."""
        wrong = [part for part in self.parts if part.wrong]
        if not wrong:
            return f"In none of the {len(self.parts)} parts is the error larger than chance allows among so many."
        said = [
            f"{part.name} (ECE {part.ece:.3f}; says {100 * part.said:.1f} %, is right {100 * part.right:.1f} %)"
            for part in wrong
        ]
        return f"Significantly miscalibrated in {len(wrong)} of the {len(self.parts)} parts: {'; '.join(said)}."


def partitions_of(test: TestSet, properties: Sequence[Property], *, seed: int) -> list[Partition]:
    """Give the calibration of a model's test split by region of sky and by each property of the survey.

    Whether a part is miscalibrated is judged among the parts of one partition together (Holm 1979, at 5 %): its error
    is compared with those of right probabilities, drawn for its own rows.
    """
    regions, names = regions_of(test.healpix29)
    divided = [_partition(test, "region", "Region of sky", regions, names, seed)]
    for each in properties:
        bins, names = bins_of(each.sky.at(test.healpix29), _decimals(each))
        if len(names) > 1:
            divided.append(_partition(test, each.name, each.label[0].upper() + each.label[1:], bins, names, seed))
    return divided


def _partition(
    test: TestSet, anchor: str, title: str, number: NDArray[np.int64], names: Sequence[str], seed: int
) -> Partition:
    parts = [
        calibration_of(name, test.probabilities[rows], test.label[rows], test.block[rows], seed=seed)
        for name, rows in ((name, number == place) for place, name in enumerate(names))
    ]
    return Partition(anchor, title, judged(parts), int((number < 0).sum()))


def calibration_of(
    name: str, probabilities: Floats, label: NDArray[np.int64], block: NDArray[np.int64], *, seed: int
) -> Part:
    """Measure the calibration of some rows as `training.metrics` does: the same error, limits and chance."""
    top, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == label
    ece = expected_calibration_error(probabilities, label)
    draws = int(np.clip(NUMBERS_DRAWN / len(label), FEWEST_DRAWS, MOST_DRAWS))
    chance = calibrated_errors(probabilities, seed=seed, resamples=draws)
    tails = 50 * (1 - CONFIDENCE), 50 * (1 + CONFIDENCE)
    chance_high = float(np.percentile(chance, tails[1]))
    drawn = resampled_errors(top, right, block, seed=seed)
    # The basic bootstrap's limits (Davison & Hinkley 1997, eq. 5.6), down to 0 where chance explains the error.
    high, low = np.maximum(2 * ece - np.percentile(drawn, tails), 0) if len(drawn) else (np.nan, np.nan)
    return Part(
        name,
        n=len(label),
        blocks=len(np.unique(block)),
        said=float(top.mean()),
        right=float(right.mean()),
        ece=ece,
        low=float(low if ece > chance_high or not len(drawn) else 0.0),
        high=float(high),
        chance=float(chance.mean()),
        chance_high=chance_high,
        p=float((1 + np.count_nonzero(chance >= ece)) / (1 + draws)),
    )


def resampled_errors(top: Floats, right: NDArray[np.bool_], block: NDArray[np.int64], *, seed: int) -> Floats:
    """Give the calibration error of resamples of the blocks of sky, (1000,); none of fewer than five blocks."""
    blocks, place = np.unique(block, return_inverse=True)
    if len(blocks) < FEWEST_BLOCKS:
        return np.empty(0)
    bins = np.searchsorted(np.arange(1, BINS) / BINS, top)
    gaps = np.bincount(place * BINS + bins, top - right, len(blocks) * BINS).reshape(-1, BINS)
    drawn = np.random.default_rng(seed).multinomial(len(blocks), np.full(len(blocks), 1 / len(blocks)), RESAMPLES)
    return np.asarray(np.abs(drawn @ gaps).sum(axis=1) / (drawn @ np.bincount(place)))


def judged(parts: Sequence[Part]) -> list[Part]:
    """Mark the parts whose error chance does not explain: Holm's step-down procedure (1979, Scand. J. Stat. 6, 65)."""
    order = sorted(range(len(parts)), key=lambda place: parts[place].p)
    wrong: set[int] = set()
    for rank, place in enumerate(order):
        if parts[place].p > (1 - CONFIDENCE) / (len(parts) - rank):
            break
        wrong.add(place)
    return [Part(**{**vars(part), "wrong": place in wrong}) for place, part in enumerate(parts)]


def regions_of(healpix29: NDArray[np.int64]) -> tuple[NDArray[np.int64], list[str]]:
    """Cut the sky into regions: give the number of each row's, and what each is called.

    They are HEALPix pixels of the finest order, 3 to 0, that gives at most 12. Those of fewer than 100 rows are one
    together, the last.
    """
    order = FINEST_REGIONS
    while order > COARSEST_REGIONS and len(np.unique(at_order(healpix29, order))) > MOST_REGIONS:
        order -= 1
    pixels, place, n = np.unique(at_order(healpix29, order), return_inverse=True, return_counts=True)
    large = np.flatnonzero(n >= FEWEST_ROWS)
    number = np.full(len(pixels), len(large))
    number[large] = np.arange(len(large))
    names = [_name(healpix29[place == each]) for each in large]
    few = len(pixels) - len(large)
    return number[place], names + ([f"{few} regions of few sources"] if few > 1 else ["elsewhere"] if few else [])


def _name(healpix29: NDArray[np.int64]) -> str:
    """Say where rows lie, in the mean."""
    x, y, z = unit_vectors(*tile_centres(29, healpix29)).mean(axis=0)
    dec = np.degrees(np.arctan2(z, np.hypot(x, y)))
    return f"RA {round(np.degrees(np.arctan2(y, x))) % 360}°, Dec {dec:+.0f}°"


def bins_of(values: Floats, decimals: int) -> tuple[NDArray[np.int64], list[str]]:
    """Cut values into four bins of equal counts: give the number of each row's, -1 without a value, and their names."""
    known = np.isfinite(values)
    if not known.any():
        return np.full(len(values), -1), []
    edges = np.unique(np.quantile(values[known], np.linspace(0, 1, QUANTILE_BINS + 1)))
    number = np.clip(np.searchsorted(edges, values, side="right") - 1, 0, max(len(edges) - 2, 0))
    names = [f"{low:.{decimals}f} – {high:.{decimals}f}" for low, high in itertools.pairwise(edges)]
    return np.where(known, number, -1), names


def _decimals(each: Property) -> int:
    """Digits that tell the edges of bins apart: hundredths of depth and seeing, else three of the spread."""
    known = each.sky.values[np.isfinite(each.sky.values)]
    spread = float(np.ptp(known)) if len(known) else 0.0
    return int(np.clip(2 - np.floor(np.log10(spread)), 2, 6)) if spread > 0 else 2
