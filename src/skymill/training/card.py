"""The model card (Mitchell et al. 2019, arXiv:1810.03993): what a model is, what it learned from, what it is worth."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jinja2 import Environment, PackageLoader

SHOWN = ("accuracy", "balanced_accuracy", "roc_auc", "brier", "log_loss", "ece", "ece_adaptive", "ece_if_calibrated")
SHOWN_OF_VOTES = ("log_score", "gain", "fraction_error", "fraction_error_if_right", "coverage_68", "coverage_95")
LIMITS = (
    "Probabilities are calibrated to the class fractions of the labelled sample; where the sky's fractions differ, "
    "they must be re-weighed.",
    "Labelled sources are usually brighter than the survey; at magnitudes without test rows the model extrapolates. "
    "The flag `outside_training` marks sources out of the range of the training rows; a source of an unknown kind can "
    "lie within it.",
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
        "training_distance": manifest["training_distance"],
        "rows": manifest["rows"],
        "unscorable": manifest["unscorable"],
        "metrics": {
            key: metrics[key]
            for key in (
                "n",
                "blocks",
                "resamples",
                "confidence",
                "overall",
                "by_magnitude",
                "confusion",
                "conformal",
                "votes",
                "importance_weighting",
            )
            if key in metrics
        },
        "limits": list(LIMITS),
        "licence": LICENCE,
        "versions": manifest["versions"],
    }


def card_markdown(card: Mapping[str, Any], *, shift: Mapping[str, Any] | None = None) -> str:
    """Write the card for a reader; with what `shift.json` holds, also how the survey differs from the training rows."""
    return render_card("card.md", card=card, shown=SHOWN, shown_of_votes=SHOWN_OF_VOTES, shift=shift)


def render_card(template: str, **content: Any) -> str:
    """Fill a card's template."""
    environment = Environment(  # noqa: S701 (the templates escape: they are Markdown)
        loader=PackageLoader("skymill.training"), trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )
    environment.filters |= {"value": _value, "interval": _interval, "number": _number}
    return environment.get_template(template).render(**content)


def _value(metric: Mapping[str, float | None]) -> str:
    return "not defined" if metric["value"] is None else f"{metric['value']:.4f}"


def _interval(metric: Mapping[str, float | None]) -> str:
    low, high = metric["low"], metric["high"]
    return "" if low is None else f"{low:.4f} to {high:.4f}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
