"""The page of a model of structure: how near its medians are to the truth, and what its intervals hold."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from skymill.models.quantities import find_quantity
from skymill.report.gallery import Gallery, Picture, embed
from skymill.report.gather import read_json
from skymill.report.structure_figures import draw_held, draw_medians, draw_pit

METRICS = {
    "bias": ("median error", "%.4f"),
    "sigma_nmad": ("scatter (sigma_nmad) ↓", "%.4f"),
    "r2": ("R² ↑", "%.3f"),
    "coverage_68": ("68 % intervals hold", "%.3f"),
    "coverage_95": ("95 % intervals hold", "%.3f"),
    "pit_ks": ("PIT, distance from flat (KS) ↓", "%.3f"),
    "cde_loss": ("CDE loss ↓", "%.3f"),
}
"""Metrics shown: in words, with an arrow to where better is, and how they are written."""
MEDIANS = (
    "Medians of the posteriors of the locked test set against the truth; darker is more galaxies, and on the line the "
    "two agree."
)
HELD = (
    "The share of galaxies whose truth lies in the central 68 and 95 % of its posterior; dashed is what they promise. "
    "Bars are 95 % intervals over blocks of sky."
)
PIT = (
    "Were the posteriors right, the truth would lie at every level of them equally often: the dashed line, and in grey "
    "what chance makes of it (95 %). A heap in the middle says that posteriors are too wide, heaps at both ends that "
    "they are too narrow."
)


@dataclass(frozen=True)
class StructureTest:
    """What a model of structure said about its locked test set."""

    name: str
    fit: str
    metrics: dict[str, Any]
    true: dict[str, NDArray[np.float64]]
    """By quantity, (n,), in its unit."""
    median: dict[str, NDArray[np.float64]]

    @property
    def quantities(self) -> list[str]:
        """What its posteriors are of."""
        return list(self.metrics["quantities"])


def read_structure(output: Path, name: str) -> StructureTest:
    """Read the metrics and predictions of an exported model's fit.

    Raises
    ------
    FileNotFoundError
        If a part of the run is missing.
    """
    fit = str(read_json(output / "models" / name / "manifest.json")["fit"])
    folder = output / "training" / name / fit
    metrics = read_json(folder / "metrics.json")
    table = pq.read_table(folder / "predictions.parquet")

    def column(quantity: str, which: str) -> NDArray[np.float64]:
        scaled = table[f"{quantity}_{which}"].to_numpy().astype(np.float64)
        return find_quantity(quantity).unscaled(scaled)

    quantities = metrics["quantities"]
    true, median = ({each: column(each, which) for each in quantities} for which in ("true", "q0.5"))
    return StructureTest(name, fit, metrics, true, median)


def structure_content(test: StructureTest, axis: str) -> dict[str, Any]:
    """Give what the template shows; `axis` says which magnitude the results are binned by."""
    return {
        "name": test.name,
        "card": f"../training/{test.name}/{test.fit}/card.md",
        "test": test.metrics,
        "labels": [_label(quantity) for quantity in test.quantities],
        "rows": _rows(test, test.metrics["overall"]),
        "bins": [(one, _rows(test, one["metrics"])) for one in test.metrics["by_magnitude"]],
        "galleries": [
            Gallery("medians", "Medians", MEDIANS, [_medians(test, each) for each in test.quantities]),
            Gallery("held", "What the intervals hold", HELD, [_held(test, each, axis) for each in test.quantities]),
            Gallery("pit", "Where the truth lies", PIT, [_pit(test, each) for each in test.quantities]),
        ],
    }


def _rows(test: StructureTest, metrics: dict[str, Any]) -> list[tuple[str, str, list[Any]]]:
    """Give each metric in words, its form, and its values by quantity."""
    return [
        (words, form, [metrics[f"{quantity}_{metric}"] for quantity in test.quantities])
        for metric, (words, form) in METRICS.items()
    ]


def _label(quantity: str) -> str:
    unit = find_quantity(quantity).unit
    return quantity if unit == "1" else f"{quantity} ({unit})"


def _medians(test: StructureTest, quantity: str) -> Picture:
    scale, label = find_quantity(quantity).scale, _label(quantity)
    figure = draw_medians(test.true[quantity], test.median[quantity], label=label, logarithmic=scale == "log")
    return embed(figure, label, f"Medians against the truth of {quantity}, R² {_overall(test, quantity, 'r2')}.")


def _held(test: StructureTest, quantity: str, axis: str) -> Picture:
    shares = " and ".join(_overall(test, quantity, metric) for metric in ("coverage_68", "coverage_95"))
    alt = f"Intervals of {quantity} by magnitude; over all, {shares} of the galaxies are inside."
    return embed(draw_held(test.metrics["by_magnitude"], quantity, axis=axis), _label(quantity), alt)


def _pit(test: StructureTest, quantity: str) -> Picture:
    alt = f"Histogram of the PIT of {quantity}, {_overall(test, quantity, 'pit_ks')} from flat."
    return embed(draw_pit(test.metrics["pit"][quantity]), _label(quantity), alt)


def _overall(test: StructureTest, quantity: str, metric: str) -> str:
    value = test.metrics["overall"][f"{quantity}_{metric}"]["value"]
    return "unknown" if value is None else f"{value:.3f}"
