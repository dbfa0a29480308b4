"""Which of a model's inputs a source needs for the model to be asked about it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def deciding(features: Sequence[Mapping[str, Any]]) -> list[int]:
    """Give the places of the features of which a row needs at least one.

    The photometric ones where a model has any: from sizes alone it would guess, since no source it learned from came
    without a flux. Else all but indicators, which say what was measured and are always there.

    Parameters
    ----------
    features : sequence of mappings
        `group` and `indicator` of each input.
    """
    photometric = [number for number, feature in enumerate(features) if feature["group"] == "photometric"]
    return photometric or [number for number, feature in enumerate(features) if not feature["indicator"]]
