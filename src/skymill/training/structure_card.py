"""The card of a model of structure (Mitchell et al. 2019, arXiv:1810.03993)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from skymill.models.quantities import find_quantity
from skymill.training.card import LICENCE, render_card

METRICS = ("bias", "sigma_nmad", "r2", "coverage_68", "coverage_95", "pit_ks", "cde_loss")
LIMITS = (
    "Posteriors hold for galaxies like those that it learned from; every source is given one, stars too.",
    "Atoms of the truth (pure discs, pure bulges) lie at the ends of the shares' scale, where no Gaussian ends.",
    "With a PSF unlike those of the images that it learned from it extrapolates.",
)


def structure_card(
    manifest: Mapping[str, Any],
    metrics: Mapping[str, Any],
    calibration: Mapping[str, Any],
    training_set: Mapping[str, Any],
) -> dict[str, Any]:
    """Gather the card's content from what a fit wrote."""
    taken = (
        "name",
        "kind",
        "task",
        "settings",
        "seed",
        "stamps",
        "rows",
        "unscorable",
        "versions",
    )
    quantities = {name: find_quantity(name)._asdict() for name in manifest["quantities"]}
    return {
        **{name: manifest[name] for name in taken},
        "quantities": quantities,
        "calibration": dict(calibration),
        "training_set": {"sha256": manifest["training_set"], "description": dict(training_set)},
        "metrics": {name: value for name, value in metrics.items() if name not in ("pit", "quantities")},
        "limits": list(LIMITS),
        "licence": LICENCE,
    }


def structure_card_markdown(card: Mapping[str, Any]) -> str:
    """Write the card for a reader."""
    return render_card("structure_card.md", card=card, shown=METRICS)
