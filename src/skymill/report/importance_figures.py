"""What a model goes by: the figures of its features' importance and of what they did to single sources."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from skymill.report.figures import COLOURS, WIDTH

SHOWN = 12
"""Features drawn, those of the highest cost."""
SHOWN_OF_CLASS = 6
ROW_INCHES = 0.24
VALUES = "cividis"
"""Of low to high values of a feature; told apart by colour-blind readers and in grey."""


def draw_importance(importance: Mapping[str, Any]) -> Figure:
    """Draw what shuffling a group, and below what shuffling a feature, adds to the log-loss, with 95 % intervals."""
    features = sorted(importance["features"], key=lambda one: -one["log_loss"]["value"])[:SHOWN]
    panels = [importance["groups"], features]
    heights = [len(panel) for panel in panels]
    figure = Figure(figsize=(WIDTH, 1.1 + ROW_INCHES * sum(heights)), layout="constrained")
    for axes, panel in zip(figure.subplots(2, 1, height_ratios=heights), panels, strict=True):
        value, low, high = (
            np.array([one["log_loss"][key] for one in panel], float) for key in ("value", "low", "high")
        )
        place = np.arange(len(panel))
        axes.barh(place, value, color=COLOURS[0], height=0.7)
        axes.hlines(place, low, high, color="black", linewidth=1.2)
        axes.axvline(0, color="0.3", linewidth=0.8)
        axes.set_yticks(place, [one["name"] for one in panel], fontsize=8)
        axes.set_ylim(len(panel) - 0.4, -0.6)
        axes.tick_params(axis="y", length=0)
    axes.set_xlabel("log-loss added by shuffling it")
    return figure


def draw_attributions(
    effect: NDArray[np.floating], values: NDArray[np.floating], names: Sequence[str], classes: Sequence[str]
) -> Figure:
    """Draw, for each class, what its most moving features did to its probability, a dot per source.

    Parameters
    ----------
    effect : ndarray, (n, f, k)
        By how much each feature raised the probability of each class.
    values : ndarray, (n, f)
        Of the features: dots are coloured by their rank; grey where not measured.
    names, classes : sequence of str
    """
    shown = min(SHOWN_OF_CLASS, len(names))
    height = 0.8 + len(classes) * (0.35 + ROW_INCHES * shown)
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    panels = figure.subplots(len(classes), 1, sharex=True, squeeze=False)[:, 0]
    ranks = np.apply_along_axis(_rank, 0, values)
    for number, (axes, name) in enumerate(zip(panels, classes, strict=True)):
        moved = np.abs(effect[:, :, number]).mean(axis=0)
        top = np.argsort(-moved, kind="stable")[:shown]
        for place, feature in enumerate(top):
            x = effect[:, feature, number]
            measured = np.isfinite(ranks[:, feature])
            y = place + _spread(x)
            axes.scatter(x[~measured], y[~measured], s=5, color="0.7", linewidths=0)
            axes.scatter(
                x[measured], y[measured], s=5, c=ranks[measured, feature], cmap=VALUES, vmin=0, vmax=1, linewidths=0
            )
        axes.axvline(0, color="0.3", linewidth=0.8)
        axes.set_yticks(range(shown), [names[feature] for feature in top], fontsize=8)
        axes.set_ylim(shown - 0.4, -0.6)
        axes.tick_params(axis="y", length=0)
        axes.set_title(name, fontsize=9, loc="left")
    panels[-1].set_xlabel("change of the class's probability")
    return figure


def _rank(values: NDArray[np.floating]) -> NDArray[np.float64]:
    """The rank of each finite value, 0 to 1; NaN elsewhere."""
    ranks = np.full(len(values), np.nan)
    finite = np.isfinite(values)
    order = np.argsort(np.argsort(values[finite], kind="stable"), kind="stable")
    ranks[finite] = order / max(len(order) - 1, 1)
    return ranks


def _spread(x: NDArray[np.floating]) -> NDArray[np.float64]:
    """Shift dots that would lie on each other up and down, the more the denser they are; the same on every run."""
    bins = np.digitize(x, np.linspace(x.min(), x.max() + 1e-12, 60))
    shift = np.zeros(len(x))
    crowd = max(np.bincount(bins).max(), 1)
    for one in np.unique(bins):
        rows = np.flatnonzero(bins == one)
        shift[rows] = (np.arange(len(rows)) - (len(rows) - 1) / 2) / crowd * 0.8
    return shift
