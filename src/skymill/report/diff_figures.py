"""The figures of a comparison of two versions; every source is counted, so nothing has an interval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure

from skymill.report.figures import COLOURS, WIDTH

Entries = Sequence[Mapping[str, Any]]


def draw_flips_by_magnitude(entries: Entries, *, axis: str) -> Figure:
    """Draw the share of flips in each magnitude bin, and below quantiles of |Δp|; sources without one are left out."""
    known = [one for one in entries if one["known"] and one["low"] is not None and one["high"] is not None]
    figure = Figure(figsize=(WIDTH, 4.6), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True)
    middle = [0.5 * (one["low"] + one["high"]) for one in known]
    upper.plot(middle, [100 * one["flips"]["value"] for one in known], color=COLOURS[0], marker="o", markersize=4)
    upper.set_ylabel("flips (%)")
    upper.set_ylim(bottom=0)
    for number, (quantile, name) in enumerate((("0.5", "median"), ("0.9", "90 %"), ("0.99", "99 %"))):
        values = [one["change"][quantile] for one in known]
        lower.plot(middle, values, color=COLOURS[number], marker="osD"[number], markersize=4, label=name)
    lower.set_ylabel("|Δp|")
    lower.set_ylim(-0.03, 1.03)
    lower.set_xlabel(axis)
    lower.legend(frameon=False, ncols=3, loc="upper left")
    return figure


def draw_flips_against_stated(stated: Entries) -> Figure:
    """Draw the share of flips by the highest probability before, beside what the models' own probabilities allow."""
    figure = Figure(figsize=(WIDTH, 4.6), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    middle = [0.5 * (one["low"] + one["high"]) for one in stated]
    for number, (name, values) in enumerate(
        {
            "flips": [one["flips"]["value"] for one in stated],
            "two draws differ": [one["disagree"] for one in stated],
            "class before is wrong": [one["error"] for one in stated],
        }.items()
    ):
        upper.plot(middle, values, color=COLOURS[number], marker="osD"[number], markersize=4, label=name)
    upper.set_ylabel("share of the sources")
    upper.set_ylim(-0.03, 1.03)
    upper.legend(frameon=False)
    width = stated[0]["high"] - stated[0]["low"] if stated else 1.0
    lower.bar(middle, [one["flips"]["n"] for one in stated], width, color=COLOURS[0])
    lower.set_yscale("log")
    lower.set_ylabel("sources")
    lower.set_xlabel("highest probability before")
    return figure
