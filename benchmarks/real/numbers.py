"""Numbers and plots that all comparisons share."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from skymill.report.images.residuals import centre

Array = NDArray[np.float64]


def by_bin(values: Array, along: Array, edges: Sequence[float]) -> list[dict[str, Any]]:
    """Give the number of finite values in each bin, their median, and half of what 68 % of them span."""
    told = []
    for low, high in pairwise(edges):
        inside = values[(along >= low) & (along < high) & np.isfinite(values)]
        found = centre(inside)
        spread = {} if found is None else {"median": found["median"], "scatter": (found["high"] - found["low"]) / 2}
        told.append({"from": float(low), "n": len(inside), **spread})
    return told


def plot_medians(axes: Axes, bins: list[dict[str, Any]], edges: Sequence[float], **style: Any) -> None:
    """Plot the medians that `by_bin` told, with the error of each: 1.25 scatter / sqrt(n)."""
    told = [one for one in bins if "median" in one]
    middle = {float(low): (low + high) / 2 for low, high in pairwise(edges)}
    x, median = [middle[one["from"]] for one in told], [one["median"] for one in told]
    error = [1.25 * one["scatter"] / np.sqrt(one["n"]) for one in told]
    axes.errorbar(x, median, yerr=error, capsize=2, linewidth=1.2, **style)


def rounded(told: Any, digits: int = 4) -> Any:
    """Give facts with their numbers rounded."""
    if isinstance(told, dict):
        return {key: rounded(value, digits) for key, value in told.items()}
    if isinstance(told, list):
        return [rounded(value, digits) for value in told]
    return round(float(told), digits) if isinstance(told, float | np.floating) else told


def save(figure: Figure, out: Path, name: str) -> None:
    """Write a figure as PNG."""
    figure.savefig(out / f"{name}.png", dpi=120)
