"""Votes of volunteers on a model's page: the fractions that it tells against those that were voted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from skymill.models.votes import by_question, fractions
from skymill.report.figures import COLOURS, WIDTH
from skymill.report.gallery import Gallery, Picture, embed
from skymill.report.gather import TestSet

METRICS = {
    "log_score": ("log score, nats a source ↓", "%.3f"),
    "gain": ("gain over who knows the mean alone, nats ↑", "%.3f"),
    "fraction_error": ("mean error of the fractions ↓", "%.4f"),
    "fraction_error_if_right": ("the same, were the model right", "%.4f"),
    "coverage_68": ("68 % intervals hold", "%.3f"),
    "coverage_95": ("95 % intervals hold", "%.3f"),
}
"""Metrics shown: in words, with an arrow to where better is, and how they are written."""
TEXT = (
    "Of the locked test set: each source by the fraction of volunteers that the model expects to give the answer, and "
    "the fraction that gave it; darker is more sources. Dots are means of sources of like expectation, with their 95 % "
    "intervals, and lie on the line where the model is right. A few volunteers scatter about any truth."
)
BINS = 8


@dataclass(frozen=True)
class Question:
    """What the page tells of one."""

    name: str
    n: int
    """Test sources that somebody was asked about."""
    votes: int
    rows: list[tuple[str, str, Any]]
    """Metrics in words, their form, and value and limits."""
    gallery: Gallery


def questions_of(test: TestSet) -> list[Question]:
    """Give what the page of a model shows of the votes for its test set; nothing for a model that tells none."""
    told: Mapping[str, Any] = test.metrics.get("votes", {})
    if test.votes is None or not told:
        return []
    sizes = [len(each["answers"]) for each in told.values()]
    parts = zip(by_question(test.votes.counts, sizes), by_question(test.votes.concentrations, sizes), strict=True)
    return [_question(name, each, *part) for (name, each), part in zip(told.items(), parts, strict=True)]


def _question(name: str, told: Mapping[str, Any], counts: NDArray[np.float64], alpha: NDArray[np.float64]) -> Question:
    asked = counts.sum(axis=1) > 0
    voted = counts[asked] / counts[asked].sum(axis=1, keepdims=True)
    expected, _ = fractions(alpha[asked], [alpha.shape[1]])
    answers: Sequence[str] = told["answers"] if told["n"] else []
    shown = answers[:1] if len(answers) == 2 else answers  # of two answers one says what the other does
    pictures = [_picture(answer, expected[:, number], voted[:, number]) for number, answer in enumerate(shown)]
    rows = [(words, form, told["overall"][metric]) for metric, (words, form) in METRICS.items()]
    return Question(name, told["n"], round(told["votes"]), rows, Gallery(f"votes-{name}", name, "", pictures))


def _picture(answer: str, expected: NDArray[np.float64], voted: NDArray[np.float64]) -> Picture:
    error = np.abs(voted - expected).mean()
    alt = f"Fractions voted for {answer} against those expected, of {len(voted)} sources; mean difference {error:.3f}."
    return embed(draw_votes(expected, voted, answer), answer, alt)


def draw_votes(expected: NDArray[np.floating], voted: NDArray[np.floating], answer: str) -> Figure:
    """Draw fractions voted against those expected, (n,) both, and means in bins of equally many sources."""
    figure = Figure(figsize=(WIDTH, 4.0), layout="constrained")
    axes = figure.add_subplot()
    axes.hexbin(expected, voted, gridsize=25, extent=(0, 1, 0, 1), mincnt=1, bins="log", cmap="Blues")
    axes.plot([0, 1], [0, 1], color="0.4", linewidth=1, linestyle="--")
    for rows in np.array_split(np.argsort(expected, kind="stable"), min(BINS, max(1, len(expected) // 5))):
        reach = 1.96 * voted[rows].std() / np.sqrt(len(rows))
        axes.errorbar(expected[rows].mean(), voted[rows].mean(), reach, color=COLOURS[1], marker="o", markersize=5)
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    axes.set_xlabel(f"expected fraction for {answer}")
    axes.set_ylabel("fraction voted")
    return figure
