"""Features that come from the labels: found by name, by unit, and by predicting the class implausibly well."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
SUSPICIOUS_NAME = re.compile(
    r"redshift|z_?spec|spec_?z|z_?true|true_?z|z_?best|z_?warn|z_?cosmo|spec_?obj|spec_?type|sp_?type|sub_?class|fib(er|re)_?id|(^|_)plate"
    r"|(^|_)(fib(er|re)|class|label|truth|target)$",
    re.IGNORECASE,
)
"""Names of what comes out of spectra, or of the labels; `class_star`, which SExtractor measures, is not one."""
SUSPICIOUS_UNITS = ("km / s", "km/s", "km s-1", "m / s")
RATIO = 0.75
"""A column that alone explains this share of what all measured features together explain is suspicious."""
FLOOR = 0.3
"""... provided that it explains at least this share of the classes' entropy."""
MOST_ROWS = 20_000
BINS = 64


class LeakageError(ValueError):
    """The training set, or a feature, holds the answer."""


@dataclass(frozen=True)
class Suspect:
    """A feature that seems to come from the labels."""

    name: str
    reason: str
    """`name`, `unit` or `score`."""
    score: float
    """Share of the classes' entropy that the feature alone explains."""
    reference: float
    """The same for all features measured from fluxes and shapes together."""

    def as_dict(self) -> dict[str, Any]:
        """Give plain values."""
        return asdict(self)


def find_suspects(
    features: Floats, described: Sequence[Mapping[str, Any]], labels: NDArray[np.integer]
) -> tuple[list[Suspect], dict[str, float]]:
    """Look for features that come from the labels among the survey's own columns (group `value`).

    What skymill computes from fluxes and shapes cannot hold the label; it serves as the measure of what is plausible.

    Parameters
    ----------
    features : ndarray of float32, (n, features)
        Rows of the train split.
    described : sequence of mappings
        Name, unit, group of each feature.
    labels : ndarray of int, (n,)

    Returns
    -------
    suspects : list of Suspect
    scores : dict of str to float
        What each column of group `value` explains alone, and under `measured` what all others explain together.
    """
    rows = np.linspace(0, len(labels) - 1, min(len(labels), MOST_ROWS)).astype(int)
    features, labels = features[rows], labels[rows]
    values = [number for number, feature in enumerate(described) if feature["group"] == "value"]
    if not values:
        return [], {}
    alone = {number: explained_alone(features[:, number], labels) for number in values}
    flaws = {number: _flaw(described[number]) for number in values}
    measured = [number for number in range(len(described)) if number not in values]
    rest = measured or [number for number in values if not flaws[number]]

    def reference(number: int) -> float:
        others = [other for other in rest if other != number]
        return explained_together(features[:, others], labels) if others else 0.0

    common = reference(-1) if measured else None
    suspects = []
    for number in values:
        if not flaws[number] and alone[number] <= FLOOR:
            continue  # whatever the others explain
        expected = common if common is not None else reference(number)
        reason = flaws[number] or ("score" if alone[number] > max(FLOOR, RATIO * expected) else "")
        if reason:
            suspects.append(Suspect(described[number]["name"], reason, round(alone[number], 4), round(expected, 4)))
    scores = {described[number]["name"]: round(score, 4) for number, score in alone.items()}
    return suspects, scores | ({"measured": round(common, 4)} if common is not None else {})


def refuse_leaks(
    suspects: Sequence[Mapping[str, Any]], wanted: Collection[str], allowed: Collection[str], *, where: str
) -> None:
    """Refuse a model's features that the audit suspects and nobody vouches for.

    Parameters
    ----------
    suspects : sequence of mappings
        `audit.suspects` of a training set.
    wanted : collection of str
        Names of the model's features.
    allowed : collection of str
        Its `allow_features`.
    where : str
        Said in front of the message.

    Raises
    ------
    LeakageError
        Naming each feature, why, its score and the mend.
    """
    leaks = [suspect for suspect in suspects if suspect["name"] in wanted and suspect["name"] not in allowed]
    if not leaks:
        return
    lines = [
        f"  {leak['name']} ({REASONS[leak['reason']]}): alone explains {leak['score']:.0%} of the classes, "
        f"all fluxes and shapes together {leak['reference']:.0%}"
        for leak in leaks
    ]
    names = ", ".join(leak["name"] for leak in leaks)
    raise LeakageError(
        f"{where}: features that seem to come from the labels, and will be missing or wrong where there are none:\n"
        + "\n".join(lines)
        + f"\ntake them out of the model's `features`; if you vouch for them, add to it: allow_features: [{names}]"
    )


REASONS = {
    "name": "named like a result of spectroscopy or a label",
    "unit": "a velocity",
    "score": "predicts the class implausibly well",
}


def explained_alone(feature: Floats, labels: NDArray[np.integer]) -> float:
    """Give the share of the classes' entropy that one feature explains, out of sample.

    The feature is cut into equally filled bins, NaN being one more; class frequencies of one half of the rows predict
    the other half.
    """
    known = feature[~np.isnan(feature)]
    edges = np.unique(np.quantile(known, np.linspace(0, 1, BINS + 1)[1:-1])) if len(known) else known
    binned = np.where(np.isnan(feature), BINS, np.searchsorted(edges, feature, side="right"))
    n_classes = int(labels.max()) + 1
    loss = 0.0
    for learn, judge in _halves(len(labels)):
        prior = np.bincount(labels[learn], minlength=n_classes) / len(labels[learn])
        counts = np.zeros((BINS + 1, n_classes))
        np.add.at(counts, (binned[learn], labels[learn]), 1.0)
        shares = (counts + prior) / (counts.sum(axis=1, keepdims=True) + 1.0)
        loss -= np.log(np.clip(shares[binned[judge], labels[judge]], 1e-6, 1.0)).sum()
    return _explained(loss / len(labels), labels)


def explained_together(features: Floats, labels: NDArray[np.integer]) -> float:
    """Give the share of the classes' entropy that boosted trees explain with many features, out of sample."""
    from sklearn.ensemble import HistGradientBoostingClassifier
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    loss = 0.0
    for learn, judge in _halves(len(labels)):
        if len(np.unique(labels[learn])) < 2:
            return 0.0
        model = HistGradientBoostingClassifier(
            max_iter=40, learning_rate=0.2, max_leaf_nodes=15, early_stopping=False, random_state=0
        )
        shares = np.full((len(labels[judge]), int(labels.max()) + 1), 1e-6)
        with threadpool_limits(1, user_api="openmp"):  # for so few rows threads only wait for each other
            model.fit(features[learn], labels[learn])
            shares[:, model.classes_] = model.predict_proba(features[judge])
        loss -= np.log(np.clip(shares[np.arange(len(shares)), labels[judge]], 1e-6, 1.0)).sum()
    return _explained(loss / len(labels), labels)


def _flaw(feature: Mapping[str, Any]) -> str:
    if SUSPICIOUS_NAME.search(feature["name"]):
        return "name"
    return "unit" if feature["unit"] in SUSPICIOUS_UNITS else ""


def _halves(n: int) -> list[tuple[slice, slice]]:
    """Every other row: neighbours on the sky, which the rows are sorted by, fall on both sides."""
    even, odd = slice(0, n, 2), slice(1, n, 2)
    return [(even, odd), (odd, even)]


def _explained(loss: float, labels: NDArray[np.integer]) -> float:
    shares = np.bincount(labels) / len(labels)
    entropy = -(shares[shares > 0] * np.log(shares[shares > 0])).sum()
    return float(1.0 - loss / entropy) if entropy > 0 else 0.0
