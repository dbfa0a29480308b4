"""The model card (Mitchell et al. 2019, arXiv:1810.03993): what a model is, what it learned from, what it is worth."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

SHOWN = ("accuracy", "balanced_accuracy", "roc_auc", "brier", "log_loss", "ece", "ece_adaptive")
LIMITS = (
    "Probabilities are calibrated to the class fractions of the labelled sample; where the sky's fractions differ, "
    "they must be re-weighed.",
    "Labelled sources are usually brighter than the survey; at magnitudes without test rows the model extrapolates.",
    "A source of a class that is not listed is still given one of the listed classes.",
    "Features outside the range of the training rows count as its edge (mlp) or fall into outer leaves (forest).",
)
LICENCE = {"code": "BSD-3-Clause", "weights": "the terms of the data and labels they were learned from"}


def make_card(
    manifest: Mapping[str, Any], metrics: Mapping[str, Any], training_set: Mapping[str, Any]
) -> dict[str, Any]:
    """Gather the card's content from what a fit wrote."""
    return {
        "name": manifest["name"],
        "kind": manifest["kind"],
        "task": manifest["task"],
        "classes": manifest["classes"],
        "features": manifest["features"],
        "settings": manifest["settings"],
        "seed": manifest["seed"],
        "class_weight": manifest["model"]["class_weight"],
        "calibration": manifest["calibration"],
        "training_set": {"sha256": manifest["training_set"], "description": dict(training_set)},
        "rows": manifest["rows"],
        "unscorable": manifest["unscorable"],
        "metrics": {
            key: metrics[key] for key in ("n", "resamples", "confidence", "overall", "by_magnitude", "confusion")
        },
        "limits": list(LIMITS),
        "licence": LICENCE,
        "versions": manifest["versions"],
    }


def card_markdown(card: Mapping[str, Any]) -> str:
    """Write the card for a reader."""
    metrics, rows = card["metrics"], card["rows"]
    interval = f"{metrics['confidence']:.0%} interval"
    return "\n".join(
        [
            f"# Model card: {card['name']}",
            "",
            f"A `{card['kind']}` for {card['task']} into {', '.join(card['classes'])}.",
            "",
            "## Data",
            "",
            f"Training set SHA-256 `{card['training_set']['sha256']}`. Rows: {rows['train']} to learn from, "
            f"{rows['validation']} to stop and calibrate, {rows['test']} locked for this card; the splits are blocks "
            f"of sky. Left out because nothing was measured: {sum(card['unscorable'].values())}.",
            "",
            "## Inputs",
            "",
            *_table(
                ["feature", "unit", "definition"],
                [[f"`{each['name']}`", each["unit"] or "-", each["definition"]] for each in card["features"]],
            ),
            "",
            "## Settings",
            "",
            *_table(["setting", "value"], [[f"`{key}`", str(value)] for key, value in card["settings"].items()]),
            "",
            f"Class weight: {card['class_weight']}. Calibration: {card['calibration']}. Seed: {card['seed']}.",
            "",
            "## Metrics on the test split",
            "",
            *_table(["metric", "value", interval], [[name, *_cells(metrics["overall"][name])] for name in SHOWN]),
            "",
            *_table(
                ["class", "completeness", interval, "purity", interval],
                [
                    [
                        name,
                        *_cells(metrics["overall"][f"completeness_{name}"]),
                        *_cells(metrics["overall"][f"purity_{name}"]),
                    ]
                    for name in card["classes"]
                ],
            ),
            "",
            *_table(
                ["magnitude", "rows", "accuracy", interval, "log_loss", "ece"],
                [_magnitude_row(each) for each in metrics["by_magnitude"]],
            ),
            "",
            "## Limits",
            "",
            *[f"- {limit}" for limit in card["limits"]],
            "",
            "## Licence and versions",
            "",
            f"Code: {card['licence']['code']}. Weights: {card['licence']['weights']}.",
            ", ".join(f"{name} {number}" for name, number in card["versions"].items()) + ".",
            "",
        ]
    )


def _magnitude_row(each: Mapping[str, Any]) -> list[str]:
    values = each["metrics"]
    accuracy, interval = _cells(values["accuracy"])
    bounds = f"{each['low']:g} to {each['high']:g}"
    return [bounds, str(each["n"]), accuracy, interval, _cells(values["log_loss"])[0], _cells(values["ece"])[0]]


def _cells(metric: Mapping[str, float | None]) -> list[str]:
    value, low, high = (metric[key] for key in ("value", "low", "high"))
    if value is None:
        return ["not defined", ""]
    return [f"{value:.4f}", f"{low:.4f} to {high:.4f}" if low is not None else ""]


def _table(header: list[str], rows: list[list[str]]) -> list[str]:
    return ["| " + " | ".join(cells) + " |" for cells in (header, ["---"] * len(header), *rows)]
