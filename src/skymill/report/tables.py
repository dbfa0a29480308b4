"""The tables of the report, as plain values for its template."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from skymill.report.gather import ModelResult, Run
from skymill.store import Accounting, Catalogue
from skymill.store.paths import ROW_TABLE

QUARANTINE_ROWS = 20
"""Quarantined rows shown by name."""
METRICS = {
    "accuracy": "accuracy ↑",
    "balanced_accuracy": "balanced accuracy ↑",
    "roc_auc": "ROC-AUC ↑",
    "brier": "Brier score ↓",
    "log_loss": "log-loss ↓",
    "ece": "calibration error (ECE) ↓",
    "ece_if_calibrated": "ECE if calibrated",
}
"""Metrics shown, with an arrow to where better is."""
Cells = list[Any]


def metric_rows(run: Run) -> list[tuple[str, Cells]]:
    """Give each metric with its value and interval for each trained model."""
    overall = [test.metrics["overall"] for _, test in run.trained]
    return [(shown, [values[metric] for values in overall]) for metric, shown in METRICS.items()]


def class_rows(run: Run) -> list[tuple[str, Cells]]:
    """Give completeness and purity of each class for each trained model; `None` where a model has no such class."""
    overall = [test.metrics["overall"] for _, test in run.trained]
    classes = dict.fromkeys(name for model, _ in run.trained for name in model.classes)
    return [
        (f"{kind} of {name}", [values.get(f"{kind}_{name}") for values in overall])
        for name in classes
        for kind in ("completeness", "purity")
    ]


def found_rows(models: list[ModelResult]) -> list[tuple[str, Cells]]:
    """Give how many sources of the survey each model gives to each class, and their share of all."""
    columns = []
    for model in models:
        n = model.sky.counts.sum(axis=0).tolist()
        columns.append(dict(zip(["not scored", *model.classes], n, strict=True)))
    names = list(dict.fromkeys(name for model in models for name in model.classes)) + ["not scored"]
    return [
        (
            name,
            [
                (column[name], column[name] / max(sum(column.values()), 1)) if name in column else None
                for column in columns
            ],
        )
        for name in names
    ]


def account_rows(accounts: dict[str, Accounting]) -> list[tuple[str, str, Cells]]:
    """Give what became of the rows of each catalogue: totals (kind `total`), each with its reasons (`reason`) below."""
    every = accounts.values()
    rows: list[tuple[str, str, Cells]] = [
        ("total", "in", [one.n_in for one in every]),
        ("total", "ok", [one.n_ok for one in every]),
    ]
    for kind in ("flagged", "quarantined", "excluded"):
        rows.append(("total", kind, [getattr(one, f"n_{kind}") for one in every]))
        reasons = sorted({reason for one in every for reason in getattr(one, kind)})
        rows += [("reason", reason, [getattr(one, kind).get(reason, 0) for one in every]) for reason in reasons]
    return rows


SEGMENTER_METRICS = {
    "ap": "AP of masks ↑",
    "ap50": "AP at an overlap of 0.5 ↑",
    "median_iou": "median overlap of matched masks ↑",
    "recall_of_places": "sources found, by position ↑",
    "precision_of_places": "of what is found, real ↑",
    "pairs_parted": "pairs within a seeing disc, both found ↑",
    "blended_share": "of what is found, unrecognised blends ↓",
    "blend_auc": "area under the ROC of the blend probability ↑",
}
"""Words for what a segmenter is judged by."""


def segmenter_rows(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Give what a segmenter's metrics say: how many scenes, names of methods, and a row of each metric."""
    methods = metrics["methods"]
    rows = [(words, [told[name] for told in methods.values()]) for name, words in SEGMENTER_METRICS.items()]
    return {"scenes": metrics["scenes"], "methods": list(methods), "rows": rows}


def quarantine_rows(sources: Catalogue) -> dict[str, Any]:
    """Give the first quarantined rows, as text, and how many there are."""
    table = pq.read_table(Path(sources.location) / ROW_TABLE)
    # Ids exceed 2^53: as text, no browser rounds them.
    rows = [[_text(value) for value in row.values()] for row in table.slice(0, QUARANTINE_ROWS).to_pylist()]
    return {"total": table.num_rows, "columns": table.column_names, "rows": rows}


def _text(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.10g}" if isinstance(value, float) else str(value)
