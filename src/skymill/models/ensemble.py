"""A weighted mean of other fitted models' calibrated probabilities: a linear pool (Stone 1961)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Literal, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from skymill.config import base
from skymill.models.calibration import Calibration
from skymill.models.registry import Examples, Fitted, Model, Place, find_classifier, register
from skymill.models.starting import is_checkpoint

FILE = "ensemble.json"
STEPS = 500
SMALLEST = 1e-12


class EnsembleSettings(base.Settings):
    """What is averaged, and how."""

    members: list[str] = []
    """Names of other models of the run; the ensemble's `features` must hold all of theirs."""
    combine: Literal["mean", "stack"] = "stack"
    """Equal weights, or those of the lowest log-loss on validation."""


class Member(NamedTuple):
    """One of the averaged models."""

    name: str
    model: Model
    calibration: Calibration
    columns: NDArray[np.int64]
    """Which of the ensemble's features it takes, in its order."""
    weight: float

    def predict(self, features: NDArray[np.float32]) -> NDArray[np.float64]:
        """Give calibrated probabilities (n, classes) of the ensemble's features (n, f)."""
        return self.calibration.apply(self.model.predict_probabilities(features[:, self.columns]))


@register("ensemble")
class Ensemble:
    """Fitted models and their weights. Export reads `members` and `n_features`."""

    kind: ClassVar[str]
    Settings: ClassVar[type[base.Settings]] = EnsembleSettings

    def __init__(self, members: list[Member], n_features: int) -> None:
        self.members = members
        self.n_features = n_features

    @classmethod
    def fit(cls, train: Examples, validation: Examples, settings: EnsembleSettings, *, seed: int, place: Place) -> Self:
        """Take the members as they are; only their weights are fitted, on `validation`.

        Raises
        ------
        ValueError
            If there are no members, or the ensemble lacks a feature of theirs.
        """
        if len(settings.members) < 2:
            raise ValueError(f"settings.members: expected two models of the run or more, found {settings.members}")
        members = [_member(name, place.members[name], train.names) for name in settings.members]
        weights = np.full(len(members), 1 / len(members))
        if settings.combine == "stack":
            rows = np.arange(len(validation.labels))
            weights = _stack(np.stack([m.predict(validation.features)[rows, validation.labels] for m in members]))
        weighted = [member._replace(weight=float(weight)) for member, weight in zip(members, weights)]
        return cls(weighted, train.features.shape[1])

    def predict_probabilities(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Give the weighted mean of the members' probabilities, float32 (n, classes)."""
        total = np.sum([member.weight * member.predict(features) for member in self.members], axis=0)
        return np.asarray(total, dtype=np.float32)

    def save(self, folder: Path) -> list[str]:
        """Write each member into a folder of its name, so that the ensemble stands alone."""
        names = []
        for member in self.members:
            (folder / member.name).mkdir(exist_ok=True)
            names += [f"{member.name}/{name}" for name in member.model.save(folder / member.name)]
        described = [
            {
                "name": member.name,
                "kind": member.model.kind,
                "calibration": member.calibration.as_dict(),
                "columns": member.columns.tolist(),
                "weight": member.weight,
            }
            for member in self.members
        ]
        content = {"members": described, "n_features": self.n_features}
        (folder / FILE).write_text(json.dumps(content, sort_keys=True, indent=1) + "\n")
        return [*names, FILE]

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote."""
        content = json.loads((folder / FILE).read_text())
        members = [
            Member(
                described["name"],
                find_classifier(described["kind"]).load(folder / described["name"]),
                Calibration.from_dict(described["calibration"]),
                np.array(described["columns"], dtype=np.int64),
                described["weight"],
            )
            for described in content["members"]
        ]
        return cls(members, content["n_features"])

    def history(self) -> list[dict[str, float]]:
        """An ensemble has no epochs."""
        return []


def members_of(kind: str, settings: Mapping[str, object]) -> list[str]:
    """Name the models whose fits a model needs: the members of an ensemble, or the network that another starts from."""
    start = str(settings.get("start") or "")
    if start and not is_checkpoint(start):
        return [start]
    named = settings.get("members", []) if kind == Ensemble.kind else []
    return [str(name) for name in named] if isinstance(named, list) else []


def _member(name: str, fitted: Fitted, features: tuple[str, ...]) -> Member:
    missing = [feature for feature in fitted.features if feature not in features]
    if missing:
        raise ValueError(
            f"settings.members: '{name}' takes {', '.join(missing)}, which the ensemble does not; add to its `features`"
        )
    columns = np.array([features.index(feature) for feature in fitted.features], dtype=np.int64)
    return Member(name, fitted.model, fitted.calibration, columns, 0.0)


def _stack(likelihoods: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weights (m,) of a mixture that give the true classes' probabilities (m, n) the highest likelihood.

    By expectation maximisation (Dempster, Laird & Rubin 1977): the problem is convex, each step raises the likelihood,
    and the weights stay positive and sum to 1.
    """
    weights = np.full(len(likelihoods), 1 / len(likelihoods))
    for _ in range(STEPS):
        shares = weights[:, None] * np.maximum(likelihoods, SMALLEST)
        weights = (shares / shares.sum(axis=0)).mean(axis=1)
    return weights
