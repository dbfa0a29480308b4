"""Straight lines in feature space: cuts that are given, such as a colour-colour selection, or learned ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from skymill.config import base
from skymill.models.cleaning import Scaler, softmax
from skymill.models.registry import Examples, Place, register

FILE = "linear_cut.npz"
RIDGE = 1.0


class Cut(base.Settings):
    """A half-space: the sum of coefficients times features lies above a number."""

    coefficients: dict[str, float] = Field(min_length=1)
    """By the name of the feature, in its own unit."""
    above: float
    """What the sum must exceed; change all signs for `below`."""


class LinearCutSettings(base.Settings):
    """Given cuts, or none to learn them."""

    cuts: list[Cut] = []
    """A row is inside where all of them hold; with none, a line for each class is learned from all features."""
    probability: Literal["distance", "side"] = "distance"
    """Of given cuts: a logistic curve over the distance to the cut, or the class frequencies on its two sides."""


class Lines(NamedTuple):
    """Margins are ``clean features @ normals - offsets``."""

    normals: NDArray[np.float64]
    """(f, lines)"""
    offsets: NDArray[np.float64]
    """(lines,)"""


class Curve(NamedTuple):
    """Logits of the classes are ``score * slope + intercept``; (classes,) each."""

    slope: NDArray[np.float64]
    intercept: NDArray[np.float64]


@register("linear_cut")
class LinearCut:
    """Fitted lines. Export reads `scaler` (of which lines use no mean and scale), `lines`, `curve` and `hard`."""

    kind: ClassVar[str]
    Settings: ClassVar[type[base.Settings]] = LinearCutSettings

    def __init__(self, scaler: Scaler, lines: Lines, curve: Curve | None, *, hard: bool) -> None:
        self.scaler = scaler
        self.lines = lines
        self.curve = curve
        """None for learned lines, whose margins are the logits."""
        self.hard = hard
        """Whether the score is 1 inside and 0 outside, not the smallest margin."""

    @classmethod
    def fit(cls, train: Examples, validation: Examples, settings: Any, *, seed: int, place: Place) -> Self:
        """Learn lines, or the probabilities beside given ones; `validation` is not looked at.

        Raises
        ------
        ValueError
            If a cut names a feature that the model does not take.
        """
        scaler = Scaler.measure(train.features, clip_quantile=0.0)
        if not settings.cuts:
            return cls(scaler, _learn(scaler, train), None, hard=False)
        lines = _given(settings.cuts, train.names)
        hard = settings.probability == "side"
        score = _score(lines, scaler.clean(train.features), hard=hard)
        weight, bias = _logistic(score[:, None], train)
        return cls(scaler, lines, Curve(weight[0], bias), hard=hard)

    def predict_probabilities(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Give probabilities, float32 (n, classes)."""
        clean = self.scaler.clean(features)
        if self.curve is None:
            return softmax(clean @ self.lines.normals - self.lines.offsets).astype(np.float32)
        score = _score(self.lines, clean, hard=self.hard)
        return softmax(score[:, None] * self.curve.slope + self.curve.intercept).astype(np.float32)

    def save(self, folder: Path) -> list[str]:
        """Write the lines as plain arrays."""
        arrays: dict[str, NDArray[Any]] = {**self.scaler._asdict(), **self.lines._asdict(), "hard": np.array(self.hard)}
        arrays |= self.curve._asdict() if self.curve else {}
        np.savez_compressed(folder / FILE, allow_pickle=False, **arrays)
        return [FILE]

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote."""
        with np.load(folder / FILE, allow_pickle=False) as stored:
            scaler = Scaler(*(stored[name] for name in Scaler._fields))
            lines = Lines(stored["normals"], stored["offsets"])
            curve = Curve(stored["slope"], stored["intercept"]) if "slope" in stored else None
            return cls(scaler, lines, curve, hard=bool(stored["hard"]))

    def history(self) -> list[dict[str, float]]:
        """Lines have no epochs."""
        return []


def _given(cuts: list[Cut], names: tuple[str, ...]) -> Lines:
    unknown = sorted({name for cut in cuts for name in cut.coefficients} - set(names))
    if unknown:
        raise ValueError(
            f"settings.cuts: {', '.join(unknown)}: no feature of this model; it takes {', '.join(names)}; "
            "add it to the model's `features`"
        )
    normals = np.array([[cut.coefficients.get(name, 0.0) for cut in cuts] for name in names])
    return Lines(normals, np.array([cut.above for cut in cuts]))


def _score(lines: Lines, clean: NDArray[np.float64], *, hard: bool) -> NDArray[np.float64]:
    """The smallest margin (n,), positive inside all cuts; or 1 inside and 0 outside."""
    smallest = (clean @ lines.normals - lines.offsets).min(axis=1)
    return (smallest > 0).astype(np.float64) if hard else smallest


def _learn(scaler: Scaler, train: Examples) -> Lines:
    """Multinomial logistic regression on standardised features, written for clean ones."""
    weight, bias = _logistic(scaler.scaled(train.features), train)
    normals = weight / scaler.scale.astype(np.float64)[:, None]
    return Lines(normals, scaler.mean.astype(np.float64) @ normals - bias)


def _logistic(scores: NDArray[np.float64], train: Examples) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Give weight (s, classes) and bias (classes,) of a softmax over scores (n, s)."""
    from sklearn.linear_model import LogisticRegression

    fitted = LogisticRegression(C=1 / RIDGE, max_iter=1000).fit(scores, train.labels, sample_weight=train.weights)
    weight, bias = fitted.coef_.T, fitted.intercept_
    if train.n_classes == 2:  # scikit-learn keeps the log-odds of the second class alone
        weight, bias = np.column_stack([0 * weight, weight]), np.append(0.0, bias)
    return weight, bias
