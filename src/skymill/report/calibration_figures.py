"""The plots of calibration in parts of the test set: by magnitude, by region of sky, by depth."""

from __future__ import annotations

import itertools
from typing import Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from skymill.report.figures import COLOURS, FEWEST_IN_BIN, MARKS, WIDTH, Labels, wilson
from skymill.report.local_calibration import Partition

MAGNITUDE_BINS = 4
RELIABILITY_BINS = 10
WRONG, RIGHT, CHANCE = "#d55e00", "#0072b2", "0.87"


class Curve(NamedTuple):
    """Share of right classes against the probability given, in bins of the highest probability."""

    name: str
    said: NDArray[np.float64]
    right: NDArray[np.float64]
    error: NDArray[np.float64]  # (2, bins)


def curves_by_magnitude(
    magnitude: NDArray[np.floating], label: Labels, probabilities: NDArray[np.floating]
) -> list[Curve]:
    """Give a reliability curve for each of four magnitude bins of equal count, bright to faint.

    Bins of the highest probability are of width 0.1; those of fewer than five sources are left out.
    """
    top, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == label
    finite = np.isfinite(magnitude)
    cuts: NDArray[np.floating] = (
        np.unique(np.quantile(magnitude[finite], np.linspace(0, 1, MAGNITUDE_BINS + 1)))
        if finite.any()
        else np.empty(0)
    )
    edges = np.linspace(0, 1, RELIABILITY_BINS + 1)
    curves = []
    for low, high in itertools.pairwise(cuts):
        rows = finite & (magnitude >= low) & ((magnitude < high) | (high == cuts[-1]))
        n, hits = np.histogram(top[rows], edges)[0], np.histogram(top[rows & right], edges)[0]
        total, kept = np.histogram(top[rows], edges, weights=top[rows])[0], n >= FEWEST_IN_BIN
        share, error = wilson(hits[kept], n[kept])
        curves.append(Curve(f"{low:.1f} – {high:.1f}", total[kept] / n[kept], share, error))
    return curves


def draw_reliability_by_magnitude(curves: list[Curve], *, axis: str) -> Figure:
    """Draw the curves over each other, bright ones light, faint ones dark."""
    figure = Figure(figsize=(WIDTH, 4.6), layout="constrained")
    axes = figure.add_subplot()
    axes.plot([0, 1], [0, 1], color="0.6", linewidth=1, linestyle="--")
    for number, curve in enumerate(curves):
        colour, mark = COLOURS[number % len(COLOURS)], MARKS[number % len(MARKS)]
        style: dict[str, Any] = {"color": colour, "marker": mark, "markersize": 5, "capsize": 2, "linewidth": 1.2}
        axes.errorbar(curve.said, curve.right, yerr=curve.error, label=curve.name, **style)
    filled = [curve for curve in curves if len(curve.said)]
    axes.set_xlim(max(min((float(curve.said.min()) for curve in filled), default=0.0) - 0.05, 0), 1.02)
    lowest = min((float((curve.right - curve.error[0]).min()) for curve in filled), default=0.0)
    axes.set_ylim(max(lowest - 0.05, -0.03), 1.03)
    axes.set_xlabel("probability of the most probable class")
    axes.set_ylabel("share that is right")
    figure.legend(loc="outside upper left", ncols=2, frameon=False, title=axis, fontsize=9, title_fontsize=9)
    return figure


def draw_local_calibration(partition: Partition) -> Figure:
    """Draw the calibration error of each part over the range that chance explains; what it does not is orange."""
    parts = partition.parts
    figure = Figure(figsize=(WIDTH, 1.2 + 0.3 * len(parts)), layout="constrained")
    axes = figure.add_subplot()
    for place, part in enumerate(parts):
        axes.barh(
            place, part.chance_high, height=0.62, color=CHANCE, label="explained by chance" if not place else None
        )
        axes.plot([part.chance] * 2, [place - 0.31, place + 0.31], color="0.55", linewidth=1.2)
        reach = np.nan_to_num([[part.ece - part.low], [part.high - part.ece]]).clip(min=0)
        style: dict[str, Any] = {"color": WRONG, "marker": "D"} if part.wrong else {"color": RIGHT, "marker": "o"}
        axes.errorbar(part.ece, place, xerr=reach, capsize=2, markersize=5, linewidth=1.2, **style)
    axes.set_yticks(range(len(parts)), [f"{part.name}\n{part.n:,} sources" for part in parts], fontsize=8)
    axes.invert_yaxis()
    axes.set_xlim(left=0)
    axes.set_xlabel("calibration error (ECE)")
    axes.legend(frameon=False, fontsize=8, loc="lower left", bbox_to_anchor=(0, 1.0), borderaxespad=0.1)
    return figure
