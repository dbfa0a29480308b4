"""Sources of the test split to look at: typical ones of each class, doubtful ones, and those the model gets wrong."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from skymill.report.gather import TestSet

EACH = 4
"""Sources of one kind and class."""
KINDS = {
    "typical": "Found, with a probability nearest to the median of those found",
    "least certain": "The highest entropy of the probabilities",
    "most confidently wrong": "The highest probability of another class",
}
MAGNITUDE, ERROR = "{band}_asinh_mag", "{band}_asinh_mag_err"
WIDTH, HEIGHT = 150.0, 96.0
LEFT, RIGHT, TOP, BOTTOM = 10.0, 32.0, 10.0, 20.0
"""Of a plot and the margins around its points, in CSS pixels."""
LEAST_SPAN = 1.0
"""Magnitudes that a plot spans at least."""
Floats = NDArray[np.float64]
Point = tuple[float, float]


@dataclass(frozen=True)
class Plot:
    """Magnitudes by band, placed in a box of WIDTH by HEIGHT: y grows downwards, as magnitudes do."""

    points: list[tuple[str, float, float, float, float]]
    """Band, x, y, half the length of the error bar, and the magnitude, of each that is measured."""
    usual: list[Point]
    """The same source, were its colours the median of its true class."""
    bands: list[tuple[str, float]]
    brightest: float
    faintest: float


@dataclass(frozen=True)
class Example:
    """One source; its id is text, for it exceeds 2^53."""

    object_id: str
    ra: float
    dec: float
    magnitude: float
    predicted: str
    probabilities: list[tuple[str, float]]
    plot: Plot


@dataclass(frozen=True)
class Examples:
    """Sources of one true class and kind."""

    name: str
    kind: str
    why: str
    sources: list[Example]

    @property
    def anchor(self) -> str:
        """Its place in the page."""
        return f"{self.name}-{self.kind}".replace(" ", "-")


def examples_of(test: TestSet, classes: list[str], bands: list[str]) -> list[Examples]:
    """Choose sources of each true class and lay out their magnitudes; none where the set has no magnitudes."""
    columns = [MAGNITUDE.format(band=band) for band in bands]
    known = pq.read_schema(test.set_path).names
    if not set(columns) <= set(known):
        return []
    with_errors = ERROR.format(band=bands[0]) in known
    errors = [ERROR.format(band=band) for band in bands] if with_errors else []
    rows = _rows(test, ["objectId", "coord_ra", "coord_dec", *columns, *errors])
    magnitudes = np.column_stack([rows[name] for name in columns]).astype(np.float64)
    spread = np.column_stack([rows[name] for name in errors]).astype(np.float64) if errors else 0 * magnitudes
    shown = []
    for number, name in enumerate(classes):
        usual = _usual(magnitudes[test.label == number])
        for (kind, why), chosen in zip(KINDS.items(), choose(test, number), strict=True):
            sources = [
                Example(
                    str(rows["objectId"][row]),
                    float(rows["coord_ra"][row]),
                    float(rows["coord_dec"][row]),
                    float(test.magnitude[row]),
                    classes[int(test.predicted[row])],
                    [(each, float(p)) for each, p in zip(classes, test.probabilities[row], strict=True)],
                    lay_out(magnitudes[row], spread[row], usual, bands),
                )
                for row in chosen
            ]
            shown.append(Examples(name, kind, why, sources))
    return [each for each in shown if each.sources]


def choose(test: TestSet, number: int) -> list[NDArray[np.int64]]:
    """Give the rows of a true class that are typical, least certain, and most confidently wrong; ties by row."""
    p = test.probabilities
    own = np.flatnonzero(test.label == number)
    found, missed = own[test.predicted[own] == number], own[test.predicted[own] != number]
    entropy = -(p * np.log(np.maximum(p, np.finfo(float).tiny))).sum(axis=1)
    middle = np.median(p[found, number]) if len(found) else 0.0
    ranked = (
        (found, np.abs(p[found, number] - middle)),
        (own, -entropy[own]),
        (missed, -p[missed].max(axis=1, initial=0.0)),
    )
    return [rows[np.argsort(by, kind="stable")[:EACH]] for rows, by in ranked]


def lay_out(magnitude: Floats, error: Floats, usual: Floats, bands: list[str]) -> Plot:
    """Place a source's magnitudes, and the usual ones of its class moved to the same brightness, in a plot."""
    usual = usual + _middle(magnitude - usual)
    both = np.concatenate([magnitude - np.nan_to_num(error), magnitude + np.nan_to_num(error), usual])
    both = both[np.isfinite(both)] if np.isfinite(both).any() else np.zeros(1)
    centre, span = (both.max() + both.min()) / 2, max(np.ptp(both), LEAST_SPAN)
    scale = (HEIGHT - TOP - BOTTOM) / span
    xs = np.linspace(LEFT, WIDTH - RIGHT, len(bands)) if len(bands) > 1 else np.array([WIDTH / 2])
    y = TOP + (magnitude - centre + span / 2) * scale
    usual_y = TOP + (usual - centre + span / 2) * scale
    return Plot(
        [
            (band, float(x), float(place), float(np.nan_to_num(half) * scale), float(value))
            for band, x, place, half, value in zip(bands, xs, y, error, magnitude, strict=True)
            if np.isfinite(place)
        ],
        [(float(x), float(place)) for x, place in zip(xs, usual_y, strict=True) if np.isfinite(place)],
        list(zip(bands, xs.tolist(), strict=True)),
        float(centre - span / 2),
        float(centre + span / 2),
    )


def _usual(magnitudes: Floats) -> Floats:
    """Median over sources of each band's magnitude, against the source's own middle one."""
    offsets = magnitudes - np.array([_middle(row) for row in magnitudes])[:, None]
    measured = np.isfinite(offsets).any(axis=0)
    middle = np.full(magnitudes.shape[1], np.nan)
    middle[measured] = np.nanmedian(offsets[:, measured], axis=0)
    return middle


def _middle(values: Floats) -> float:
    known = values[np.isfinite(values)]
    return float(np.median(known)) if len(known) else np.nan


def _rows(test: TestSet, names: list[str]) -> dict[str, NDArray[np.generic]]:
    """Read columns of the training set for the rows of the test split that the model scored, in its order."""
    table = pq.read_table(test.set_path, columns=names, filters=[("split", "==", "test")])
    ids = table["objectId"].to_numpy()
    order = np.argsort(ids)
    place = order[np.searchsorted(ids, test.object_id, sorter=order)]
    return {name: table[name].to_numpy()[place] for name in names}
