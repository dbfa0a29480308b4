"""Which features a model takes; read while the Snakefile is parsed, so nothing here opens a table."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import Any

EMPTY_GROUPS = ("photometric", "shape", "missing")
"""Groups a survey may have no feature of; asking for them is no mistake."""


class TrainingSetError(ValueError):
    """A training set does not hold what a model needs."""


def choose_features(known: list[dict[str, Any]], wanted: Sequence[str], *, source: str) -> list[dict[str, Any]]:
    """Write out groups, in the order of the training set, each feature once.

    Raises
    ------
    TrainingSetError
        Naming what is unknown, and what is known.
    """
    names = {feature["name"] for feature in known}
    groups = {feature["group"] for feature in known}
    unknown = [name for name in wanted if name not in names | groups | set(EMPTY_GROUPS)]
    if unknown:
        close = difflib.get_close_matches(unknown[0], [*sorted(groups), *sorted(names)], n=1)
        hint = f" (did you mean '{close[0]}'?)" if close else ""
        raise TrainingSetError(
            f"{source}: features {', '.join(unknown)}: not among those of the survey{hint}; "
            f"groups: {', '.join(sorted(groups))}; features: {', '.join(sorted(names))}"
        )
    chosen = [feature for feature in known if feature["name"] in wanted or feature["group"] in wanted]
    if not any(not feature["indicator"] for feature in chosen):
        raise TrainingSetError(
            f"{source}: features {', '.join(wanted)}: none of them measures anything; known: {', '.join(sorted(names))}"
        )
    return chosen
