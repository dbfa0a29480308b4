"""The card says what a reader must know."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from skymill.training.card import LIMITS, SHOWN, card_markdown, make_card
from skymill.training.metrics import evaluate

MANIFEST = {
    "name": "forest",
    "kind": "forest",
    "task": "classification",
    "classes": ["GALAXY", "STAR"],
    "features": [{"name": "r_asinh_mag", "unit": "mag", "definition": "asinh magnitude in r"}],
    "settings": {"trees": 15},
    "seed": 3,
    "model": {"class_weight": "balanced"},
    "calibration": "isotonic",
    "training_set": "0123abcd",
    "training_distance": {
        "quantile": 0.995,
        "validation": {"0.5": 0.41, "0.99": 0.9},
        "patterns": 7,
        "test_outside": 2,
    },
    "rows": {"train": 600, "validation": 200, "test": 201},
    "unscorable": {"train": 2, "validation": 1, "test": 0},
    "versions": {"skymill": "0.1.0"},
}


def card_of(labels: np.ndarray) -> tuple[dict, str]:
    p = np.random.default_rng(0).dirichlet([1, 1], size=len(labels))
    magnitude = np.linspace(19, 20.99, len(labels))
    metrics = evaluate(
        p, labels, magnitude, np.arange(len(labels)) % 40, classes=MANIFEST["classes"], seed=0, resamples=20
    )
    card = make_card(MANIFEST, metrics, {"split": {"order": 6}})
    return card, card_markdown(card)


def test_the_page_holds_data_inputs_metrics_with_intervals_limits_versions_and_licence() -> None:
    card, page = card_of(np.arange(201) % 2)
    for text in (
        "0123abcd",
        "600 to learn from",
        "measured: 3",
        "99.5 % of the validation rows are not (50 %: 0.41, 99 %: 0.90); of the test rows 2 are",
        "features that occurred: 7.",
        "`r_asinh_mag` | mag | asinh magnitude in r",
        "`trees` | 15",
    ):
        assert text in page
    for text in (
        "Class weight: balanced. Calibration: isotonic. Seed: 3.",
        "95% interval",
        "skymill 0.1.0",
        "BSD-3-Clause",
    ):
        assert text in page
    for name in SHOWN:
        metric = card["metrics"]["overall"][name]
        assert f"| {name} | {metric['value']:.4f} | {metric['low']:.4f} to {metric['high']:.4f} |" in page
    assert "| 19 to 20 | 101 |" in page and "| 20 to 21 | 100 |" in page
    assert all(limit in page for limit in LIMITS)


def test_tables_are_whole() -> None:
    """Each row of a table has as many cells as the one above it."""
    _, page = card_of(np.arange(201) % 2)
    for above, below in pairwise(page.splitlines()):
        if above.startswith("|") and below.startswith("|"):
            assert above.count("|") == below.count("|")


def test_what_is_not_defined_is_said_so() -> None:
    _, page = card_of(np.zeros(201, dtype=int))
    assert "| roc_auc | not defined |  |" in page


@pytest.mark.parametrize("key", ["features", "metrics", "licence", "limits", "versions", "training_set", "rows"])
def test_the_data_hold_the_same_as_the_page(key: str) -> None:
    assert card_of(np.arange(201) % 2)[0][key]


SHARE = {"value": 0.25, "low": 0.2, "high": 0.31}
SHIFT = {
    "catalogue": "0123456789ab",
    "rows": {"train": 600, "survey": 5000, "drawn": 5100},
    "survey": {"n_rows": 12_345, "outside": 67},
    "two_sample": {"auc": 0.71, "low": 0.47, "high": 0.53, "near_chance": False, "rows": 600},
    "outside": {
        "confidence": 0.95,
        "overall": SHARE,
        "by_magnitude": [{"low": 20, "high": 21, "n": 9, "share": SHARE}],
    },
    "features": [
        {"name": "r_asinh_mag", "ks": 0.4, "distance": None, "measured": {"train": 1.0, "survey": 0.875}},
    ],
}


def test_the_survey_is_told_of_only_where_it_was_compared() -> None:
    card, page = card_of(np.arange(201) % 2)
    told = card_markdown(card, shift=SHIFT)
    for text in (
        "5,000 sources drawn from the whole survey, of catalogue version `0123456789ab`, against the 600 rows",
        "with AUC 0.710; 0.5 is a coin's throw. Were they alike, it would seem to reach 0.470 to 0.530",
        "the survey is not like the training rows",
        "67 of the 12,345 sources of the survey",
        "| all | 5000 | 0.2500 | 0.2000 to 0.3100 |",
        "| 20 to 21 | 9 | 0.2500 | 0.2000 to 0.3100 |",
        "| `r_asinh_mag` | 0.400 | - | 1.000 | 0.875 |",
    ):
        assert text in told
    start, end = told.index("## The survey"), told.index("## Limits")
    assert told[:start] + told[end:] == page


def test_the_survey_is_said_to_be_like_the_training_rows_where_it_is() -> None:
    card, _ = card_of(np.arange(201) % 2)
    alike = {**SHIFT, "two_sample": {**SHIFT["two_sample"], "auc": 0.51, "near_chance": True}}
    assert "the training rows are like the survey" in card_markdown(card, shift=alike)
    assert "too few blocks of sky to tell" in card_markdown(card, shift={**SHIFT, "two_sample": None})
