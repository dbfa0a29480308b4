"""The plots of a classification: each takes arrays and gives a matplotlib figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
"""Okabe and Ito's palette, told apart by colour-blind readers."""


def draw_confusion(label: NDArray[np.int64], predicted: NDArray[np.int64], classes: Sequence[str]) -> Figure:
    """Draw the share of each true class (row) given to each class (column), with counts."""
    counts = np.zeros((len(classes), len(classes)), dtype=np.int64)
    scored = predicted >= 0
    np.add.at(counts, (label[scored], predicted[scored]), 1)
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    figure = Figure(figsize=(4.6, 4.0), layout="constrained")
    axes = figure.add_subplot()
    image = axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    for row, column in np.ndindex(counts.shape):
        ink = "white" if share[row, column] > 0.55 else "black"
        text = f"{share[row, column]:.1%}\n{counts[row, column]:,}"
        axes.text(column, row, text, ha="center", va="center", color=ink, fontsize=9)
    axes.set_xticks(range(len(classes)), classes)
    axes.set_yticks(range(len(classes)), classes)
    axes.set_xlabel("predicted class")
    axes.set_ylabel("true class")
    figure.colorbar(image, ax=axes, label="share of the true class", shrink=0.8)
    return figure


def draw_reliability(label: NDArray[np.int64], probabilities: NDArray[np.floating], classes: Sequence[str]) -> Figure:
    """Draw, for each class, how often it is true against how probable it was said to be (10 equal-count bins)."""
    figure = Figure(figsize=(4.8, 4.0), layout="constrained")
    axes = figure.add_subplot()
    axes.plot([0, 1], [0, 1], color="0.6", linewidth=1, linestyle="--")
    for number, name in enumerate(classes):
        said = probabilities[:, number]
        true = label == number
        edges = np.unique(np.quantile(said, np.linspace(0, 1, 11)))
        place = np.clip(np.searchsorted(edges, said, side="right") - 1, 0, max(len(edges) - 2, 0))
        n = np.bincount(place, minlength=1)
        kept = n > 0
        mean = np.bincount(place, weights=said)[kept] / n[kept]
        rate = np.bincount(place, weights=true)[kept] / n[kept]
        error = np.sqrt(np.maximum(rate * (1 - rate), 1e-12) / n[kept])
        colour = COLOURS[number % len(COLOURS)]
        axes.errorbar(mean, rate, yerr=error, fmt="o-", markersize=4, capsize=2, color=colour, label=name)
    axes.set_xlabel("probability given")
    axes.set_ylabel("share that is true")
    axes.set_aspect("equal")
    axes.legend(frameon=False)
    return figure


def draw_by_magnitude(
    magnitude: NDArray[np.floating],
    label: NDArray[np.int64],
    predicted: NDArray[np.int64],
    classes: Sequence[str],
    *,
    axis: str,
) -> Figure:
    """Draw completeness and purity of each class in magnitude bins of equal count, with binomial errors."""
    figure = Figure(figsize=(8.4, 3.6), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    finite = np.isfinite(magnitude)
    edges = np.unique(np.quantile(magnitude[finite], np.linspace(0, 1, 9))) if finite.any() else np.array([0.0, 1.0])
    for axes, title, given in ((panels[0], "completeness", label), (panels[1], "purity", predicted)):
        for number, name in enumerate(classes):
            chosen = finite & (given == number)
            right = chosen & (label == predicted)
            n = np.histogram(magnitude[chosen], edges)[0]
            rate = np.histogram(magnitude[right], edges)[0] / np.maximum(n, 1)
            kept = n >= 5
            middle = 0.5 * (edges[1:] + edges[:-1])[kept]
            error = np.sqrt(rate[kept] * (1 - rate[kept]) / n[kept])
            colour = COLOURS[number % len(COLOURS)]
            axes.errorbar(middle, rate[kept], yerr=error, fmt="o-", markersize=4, capsize=2, color=colour, label=name)
        axes.set_xlabel(axis)
        axes.set_ylabel(title)
        axes.set_ylim(-0.02, 1.02)
    panels[0].legend(frameon=False)
    return figure


def draw_accounting(account: Mapping[str, Mapping[str, int]]) -> Figure:
    """Draw where the rows of each catalogue went: ok, flagged, quarantined, excluded."""
    parts = ("ok", "flagged", "quarantined", "excluded")
    figure = Figure(figsize=(8.4, 0.8 + 0.45 * len(account)), layout="constrained")
    axes = figure.add_subplot()
    left = np.zeros(len(account))
    for part, colour in zip(parts, ("#009e73", "#e69f00", "#d55e00", "0.6"), strict=True):
        width = np.array([float(rows[part]) for rows in account.values()])
        axes.barh(list(account), width, left=left, color=colour, label=part)
        left += width
    axes.invert_yaxis()
    axes.set_xlabel("rows")
    axes.legend(frameon=False, ncols=4, loc="lower right", bbox_to_anchor=(1, 1))
    return figure


def draw_class_counts(counts: Mapping[str, Mapping[str, int]], classes: Sequence[str]) -> Figure:
    """Draw how many sources of the survey each model gives to each class; the last bar is `not scored`."""
    names = [*classes, "not scored"]
    figure = Figure(figsize=(6.0, 3.4), layout="constrained")
    axes = figure.add_subplot()
    width = 0.8 / max(len(counts), 1)
    for number, (model, rows) in enumerate(counts.items()):
        place = np.arange(len(names)) + (number - (len(counts) - 1) / 2) * width
        axes.bar(place, [rows.get(name, 0) for name in names], width, color=COLOURS[number], label=model)
    axes.set_xticks(range(len(names)), names)
    axes.set_ylabel("sources")
    axes.legend(frameon=False)
    return figure
