"""The plots of a model of structure on its test set: each takes arrays and gives a matplotlib figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from skymill.report.figures import COLOURS, MARKS, WIDTH

HELD = {"coverage_68": ("68 %", 0.68), "coverage_95": ("95 %", 0.95)}
"""Metrics of the intervals: their names, and what they should hold."""
SHOWN = (0.5, 99.5)
"""Percentiles of the truth that the axes reach to."""


def draw_medians(
    true: NDArray[np.floating], median: NDArray[np.floating], *, label: str, logarithmic: bool = False
) -> Figure:
    """Draw medians of posteriors against the truth, (n,) both, as a map of counts with the line of equality."""
    figure = Figure(figsize=(WIDTH, 4.2), layout="constrained")
    axes = figure.add_subplot()
    low, high = np.percentile(true, SHOWN)
    scale: Literal["log", "linear"] = "log" if logarithmic else "linear"
    inside = (median >= low) & (median <= high) & (true >= low) & (true <= high)
    axes.hexbin(
        true[inside], median[inside], gridsize=45, xscale=scale, yscale=scale, mincnt=1, bins="log", cmap="Blues"
    )
    axes.plot([low, high], [low, high], color=COLOURS[1], linewidth=1)
    axes.set_xlabel(f"true {label}")
    axes.set_ylabel("median of the posterior")
    return figure


def draw_held(bins: Sequence[Mapping[str, Any]], quantity: str, *, axis: str) -> Figure:
    """Draw the share of galaxies that the intervals of a quantity hold, by magnitude.

    Parameters
    ----------
    bins : sequence of mapping
        `low` and `high` magnitude, and `metrics`, {name: {value, low, high}}.
    quantity : str
    axis : str
        What the magnitude is.
    """
    figure = Figure(figsize=(WIDTH, 3.4), layout="constrained")
    axes = figure.add_subplot()
    middle = [(one["low"] + one["high"]) / 2 for one in bins]
    for number, (metric, (name, held)) in enumerate(HELD.items()):
        found = [one["metrics"][f"{quantity}_{metric}"] for one in bins]
        value = np.array([each["value"] for each in found], dtype=float)
        limits = np.array([[each["low"], each["high"]] for each in found], dtype=float).T  # NaN where there are none
        reach = np.nan_to_num(np.abs(limits - value))
        axes.errorbar(middle, value, reach, color=COLOURS[number], marker=MARKS[number], markersize=5, label=name)
        axes.axhline(held, color=COLOURS[number], linewidth=1, linestyle="--")
    axes.set_ylim(0.4, 1.02)
    axes.set_xlabel(axis)
    axes.set_ylabel("share of galaxies inside")
    axes.legend(title="interval", loc="lower left")
    return figure


def draw_pit(counts: Sequence[int]) -> Figure:
    """Draw how often the truth lies at each level of its posterior, with what chance makes of a flat one (95 %)."""
    figure = Figure(figsize=(WIDTH, 3.0), layout="constrained")
    axes = figure.add_subplot()
    n, bins = sum(counts), len(counts)
    axes.stairs(counts, np.linspace(0, 1, bins + 1), color=COLOURS[0], fill=True, alpha=0.6)
    flat, spread = n / bins, 1.96 * np.sqrt(n / bins * (1 - 1 / bins))
    axes.axhspan(flat - spread, flat + spread, color="0.87", zorder=0)
    axes.axhline(flat, color="0.4", linewidth=1, linestyle="--")
    axes.set_xlim(0, 1)
    axes.set_xlabel("level of the truth in its posterior (PIT)")
    axes.set_ylabel("galaxies")
    return figure
