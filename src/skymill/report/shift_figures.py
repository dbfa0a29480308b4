"""How the survey differs from the rows that a model learned from, in one figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from skymill.report.figures import COLOURS, WIDTH

SHOWN = 12
"""Features drawn, the most shifted."""
ROW_INCHES = 0.24


def draw_shift(shift: Mapping[str, Any], *, axis: str) -> Figure:
    """Draw whether survey and training rows can be told apart, by which features, and the share outside by magnitude.

    Parameters
    ----------
    shift : mapping
        What `shift.json` of rule `training_shift` holds.
    axis : str
        The magnitude.
    """
    features = shift["features"][:SHOWN]
    heights = [0.5, ROW_INCHES * len(features), 1.7]
    figure = Figure(figsize=(WIDTH, 2.0 + sum(heights)), layout="constrained")
    test, worst, outside = figure.subplots(3, 1, height_ratios=heights)
    _draw_test(test, shift["two_sample"])
    _draw_features(worst, features)
    _draw_outside(outside, shift["outside"]["by_magnitude"])
    outside.set_xlabel(axis)
    return figure


def _draw_test(axes: Axes, test: Mapping[str, float] | None) -> None:
    axes.set_xlim(0.4, 1.0)
    axes.set_yticks([])
    axes.set_xlabel("AUC of a classifier, survey against training rows")
    if test is None:
        axes.text(0.7, 0.5, "too few blocks of sky", ha="center", va="center", fontsize=9)
        return
    axes.set_xlim(min(0.4, test["low"], test["auc"] - 0.02), 1.0)
    axes.axvspan(test["low"], test["high"], color="0.85", linewidth=0)
    axes.axvline(0.5, color="0.5", linewidth=0.8, linestyle="--")
    axes.plot(test["auc"], 0, "o", color=COLOURS[1], markersize=7)


def _draw_features(axes: Axes, features: Sequence[Mapping[str, Any]]) -> None:
    place = np.arange(len(features))
    axes.barh(place, [one["ks"] or 0.0 for one in features], color=COLOURS[0], height=0.7)
    lost = [abs(one["measured"]["survey"] - one["measured"]["train"]) for one in features]
    axes.plot(lost, place, "|", color="black", markersize=9, markeredgewidth=1.5)
    axes.set_yticks(place, [one["name"] for one in features], fontsize=8)
    axes.set_ylim(len(features) - 0.4, -0.6)
    axes.set_xlim(left=0)
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel("KS statistic; line: change of measured share")


def _draw_outside(axes: Axes, bins: Sequence[Mapping[str, Any]]) -> None:
    middle = [0.5 * (one["low"] + one["high"]) for one in bins]
    value, low, high = (np.array([one["share"][key] for one in bins], float) for key in ("value", "low", "high"))
    axes.errorbar(middle, 100 * value, yerr=100 * np.abs([low - value, high - value]), **STYLE)
    axes.set_ylim(bottom=0)
    axes.set_ylabel("outside, %")


STYLE: Mapping[str, Any] = {"fmt": "o-", "color": COLOURS[1], "capsize": 2, "linewidth": 1.2, "markersize": 4}
