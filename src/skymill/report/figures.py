"""The plots of a model on its test set: each takes arrays and gives a matplotlib figure, one column wide.

A class has the same colour and mark in all of them, so that figures of several models compare side by side.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
"""Okabe and Ito's palette, told apart by colour-blind readers."""
MARKS = "osD^vP*X"
WIDTH = 4.6
"""Inches: at 96 px an inch, the column of the page and all of a phone."""
FEWEST_IN_BIN = 5
Labels = NDArray[np.int64]


def style_of(number: int) -> dict[str, Any]:
    """Give colour and mark of a class by its number."""
    return {"color": COLOURS[number % len(COLOURS)], "marker": MARKS[number % len(MARKS)], "markersize": 5}


def wilson(hits: NDArray[np.floating], n: NDArray[np.floating]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Give the share of hits and how far its 68 % interval reaches below and above it, (2, bins), for n > 0.

    E. B. Wilson 1927, JASA 22, 209, with z = 1: unlike the normal one, not empty where all or none are hits.
    """
    share = hits / n
    middle = (share + 1 / (2 * n)) / (1 + 1 / n)
    half = np.sqrt(share * (1 - share) / n + 1 / (4 * n**2)) / (1 + 1 / n)
    return share, np.maximum([share - (middle - half), middle + half - share], 0)


def draw_confusion(confusion: Sequence[Sequence[int]], classes: Sequence[str]) -> Figure:
    """Draw the share of each true class (row) given to each class (column), with counts."""
    counts = np.asarray(confusion)
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    figure = Figure(figsize=(WIDTH, 3.4), layout="constrained")
    axes = figure.add_subplot()
    axes.imshow(share, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for row, column in np.ndindex(counts.shape) if len(classes) <= 6 else ():
        ink = "white" if share[row, column] > 0.55 else "black"
        text = f"{100 * share[row, column]:.1f} %\n{counts[row, column]:,}"
        axes.text(column, row, text, ha="center", va="center", color=ink, fontsize=11)
    axes.set_xticks(range(len(classes)), classes)
    axes.set_yticks(range(len(classes)), classes, rotation=90, va="center")
    axes.tick_params(length=0)
    axes.set_xlabel("predicted class")
    axes.set_ylabel("true class")
    return figure


def draw_reliability(label: Labels, probabilities: NDArray[np.floating], classes: Sequence[str]) -> Figure:
    """Draw, for each class, how often it is true against how probable it was said to be, over the sources in each bin.

    Bins are of width 0.1; those of fewer than five sources have no point.
    """
    edges = np.linspace(0, 1, 11)
    figure = Figure(figsize=(WIDTH, 4.6), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    upper.plot([0, 1], [0, 1], color="0.6", linewidth=1, linestyle="--")
    for number, name in enumerate(classes):
        said, true = probabilities[:, number], label == number
        n, hits = np.histogram(said, edges)[0], np.histogram(said[true], edges)[0]
        total = np.histogram(said, edges, weights=said)[0]
        kept = n >= FEWEST_IN_BIN
        share, error = wilson(hits[kept], n[kept])
        style = style_of(number)
        upper.errorbar(total[kept] / n[kept], share, yerr=error, capsize=2, linewidth=1.2, label=name, **style)
        lower.stairs(n, edges, color=style["color"], linewidth=1.5)
    upper.set_ylabel("share that is true")
    upper.set_ylim(-0.03, 1.03)
    upper.legend(frameon=False)
    lower.set_yscale("log")
    lower.set_ylim(bottom=0.8)
    lower.set_ylabel("sources")
    lower.set_xlabel("probability given to the class")
    return figure


def draw_by_magnitude(
    magnitude: NDArray[np.floating], label: Labels, predicted: Labels, classes: Sequence[str], *, axis: str
) -> Figure:
    """Draw completeness and purity of each class in eight magnitude bins of equal count."""
    figure = Figure(figsize=(WIDTH, 4.8), layout="constrained")
    panels = figure.subplots(2, 1, sharex=True)
    finite = np.isfinite(magnitude)
    edges = np.unique(np.quantile(magnitude[finite], np.linspace(0, 1, 9))) if finite.any() else np.array([0.0, 1.0])
    for axes, title, given in zip(panels, ("completeness", "purity"), (label, predicted), strict=True):
        for number, name in enumerate(classes):
            chosen = finite & (given == number)
            n = np.histogram(magnitude[chosen], edges)[0]
            hits = np.histogram(magnitude[chosen & (label == predicted)], edges)[0]
            kept = n >= FEWEST_IN_BIN
            share, error = wilson(hits[kept], n[kept])
            middle = 0.5 * (edges[1:] + edges[:-1])[kept]
            axes.errorbar(middle, share, yerr=error, capsize=2, linewidth=1.2, label=name, **style_of(number))
        axes.set_ylabel(title)
        axes.set_ylim(-0.03, 1.03)
    panels[0].legend(frameon=False, loc="lower left")
    panels[1].set_xlabel(axis)
    return figure


def draw_thresholds(label: Labels, probabilities: NDArray[np.floating], classes: Sequence[str]) -> Figure:
    """Draw what a cut on the probability of each class gives: its ROC curve, and purity against completeness."""
    from sklearn.metrics import precision_recall_curve, roc_curve

    figure = Figure(figsize=(WIDTH, 5.4), layout="constrained")
    roc, purity = figure.subplots(2, 1)
    for number, name in enumerate(classes):
        true = label == number
        if true.all() or not true.any():
            continue
        wrong, right, _ = roc_curve(true, probabilities[:, number])
        precision, recall, _ = precision_recall_curve(true, probabilities[:, number])
        style: dict[str, Any] = {"color": COLOURS[number % len(COLOURS)], "label": name, "linewidth": 1.5}
        roc.plot(wrong, right, drawstyle="steps-post", **style)
        purity.plot(recall[:-1], precision[:-1], **style)  # the last point is a convention, not a cut
    _label(roc, "share of the others taken in", "completeness")
    roc.set_xscale("log")
    roc.set_xlim(0.5 / max(len(label), 1), 1)
    _label(purity, "completeness", "purity")
    roc.legend(frameon=False, loc="lower right")
    return figure


def draw_coverage(conformal: Mapping[str, Any], classes: Sequence[str], *, axis: str) -> Figure:
    """Draw the share of each class that its conformal sets hold, by magnitude, and below how many classes a set has.

    `conformal` is that of a fit's metrics; bars are its intervals, cells of few sources have no point.
    """
    figure = Figure(figsize=(WIDTH, 4.8), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    bins = conformal["by_magnitude"]
    upper.axhline(conformal["coverage"], color="0.6", linewidth=1, linestyle="--")
    for number, name in enumerate(classes):
        cells = [(one, one["by_class"][name]["covered"]) for one in bins if name in one["by_class"]]
        middle = np.array([0.5 * (one["low"] + one["high"]) for one, _ in cells])
        value, low, high = ([cell[key] for _, cell in cells] for key in ("value", "low", "high"))
        error = np.abs(np.array([low, high], float).reshape(2, -1) - np.array(value, float))
        shift = 0.06 * (number - 0.5 * (len(classes) - 1))  # bars side by side
        upper.errorbar(middle + shift, value, yerr=error, capsize=2, linewidth=1.2, label=name, **style_of(number))
    edges = [one["low"] for one in bins] + [one["high"] for one in bins[-1:]]
    if bins:
        lower.stairs([one["size"]["value"] for one in bins], edges, color="0.3", linewidth=1.5)
    upper.set_ylabel("share whose set holds it")
    upper.set_ylim(-0.03, 1.03)
    upper.legend(frameon=False, loc="lower left")
    lower.set_ylabel("classes\nin a set")
    lower.set_ylim(bottom=0)
    lower.set_xlabel(axis)
    return figure


def _label(axes: Axes, x: str, y: str) -> None:
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.set_ylim(-0.03, 1.03)


def draw_history(history: Mapping[str, Sequence[float]]) -> Figure:
    """Draw each column of a learning history against the epoch, and mark the best of the last one."""
    figure = Figure(figsize=(WIDTH, 3.0), layout="constrained")
    axes = figure.add_subplot()
    columns = {name: values for name, values in history.items() if name != "epoch"}
    for number, (name, values) in enumerate(columns.items()):
        axes.plot(history["epoch"], values, color=COLOURS[number], label=name.replace("_", " "))
    name, values = list(columns.items())[-1]
    best = int(np.nanargmin(values))
    axes.plot(
        history["epoch"][best], values[best], "o", color=COLOURS[len(columns) - 1], label=f"lowest: {values[best]:.4f}"
    )
    axes.set_xlabel("epoch")
    axes.legend(frameon=False)
    return figure
