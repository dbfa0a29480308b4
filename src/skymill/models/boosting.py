"""Gradient boosting of trees (Friedman 2001, Annals of Statistics 29, 1189) by scikit-learn, kept as plain arrays."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from skymill.config import base
from skymill.models.cleaning import impute, medians, softmax
from skymill.models.registry import Examples, Place, register
from skymill.models.trees import Tree, Trees, pack

if TYPE_CHECKING:
    from sklearn.ensemble import HistGradientBoostingClassifier

FILE = "boosting.npz"


class BoostingSettings(base.Settings):
    """Hyperparameters of gradient boosting."""

    rounds: int = Field(200, ge=1, le=5000)
    """At most; each grows one tree per class (one tree in all for two classes)."""
    leaves: int = Field(31, ge=2, le=1000)
    """Of each tree at most."""
    max_depth: int = Field(6, ge=1, le=32)
    """Deepest path from root to leaf; inference takes time in proportion."""
    min_samples_leaf: int = Field(20, ge=1)
    """Fewest rows in a leaf."""
    learning_rate: float = Field(0.1, gt=0, le=1)
    """Share of each tree's step that is taken."""
    l2: float = Field(1.0, ge=0)
    """Pull of each leaf's value to zero."""
    patience: int = Field(20, ge=1)
    """Rounds without a lower log-loss on validation before growing stops; the best number of rounds is kept."""


@register("boosting")
class Boosting:
    """Fitted boosted trees. Export reads `trees`, `baseline` and `imputation`."""

    kind: ClassVar[str]
    Settings: ClassVar[type[base.Settings]] = BoostingSettings

    def __init__(
        self,
        trees: Trees,
        baseline: NDArray[np.float32],
        imputation: NDArray[np.float32],
        losses: NDArray[np.float64],
    ) -> None:
        self.trees = trees
        """Round by round, in each the trees of all scores."""
        self.baseline = baseline
        """(scores,): before any tree. Two classes have one score, the log-odds of the second."""
        self.imputation = imputation
        self.losses = losses
        """(rounds, 2): on train and on validation."""

    @classmethod
    def fit(cls, train: Examples, validation: Examples, settings: BoostingSettings, *, seed: int, place: Place) -> Self:
        """Grow trees until the log-loss on validation stays; the number of threads changes nothing."""
        from sklearn.ensemble import HistGradientBoostingClassifier
        from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

        imputation = medians(train.features)
        estimator = HistGradientBoostingClassifier(
            max_iter=settings.rounds,
            max_leaf_nodes=settings.leaves,
            max_depth=settings.max_depth,
            min_samples_leaf=settings.min_samples_leaf,
            learning_rate=settings.learning_rate,
            l2_regularization=settings.l2,
            early_stopping=True,
            n_iter_no_change=settings.patience,
            tol=0.0,
            random_state=seed,
        )
        with threadpool_limits(place.threads):
            estimator.fit(
                impute(train.features, imputation),
                train.labels,
                sample_weight=train.weights,
                X_val=impute(validation.features, imputation),
                y_val=validation.labels,
                sample_weight_val=validation.weights,
            )
        losses = -np.column_stack([estimator.train_score_, estimator.validation_score_])
        rounds = max(1, int(np.argmin(losses[:, 1])))  # the first row is that of no tree at all
        baseline = estimator._baseline_prediction.ravel().astype(np.float32)
        return cls(_read_trees(estimator, rounds), baseline, imputation, losses[1:])

    def predict_probabilities(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Give the softmax of the sum of all trees, float32 (n, classes)."""
        scores = np.tile(self.baseline.astype(np.float64), (len(features), 1))
        for number, value in enumerate(self.trees.predict(impute(features, self.imputation))):
            scores[:, number % len(self.baseline)] += value[:, 0]
        if len(self.baseline) == 1:
            scores = np.column_stack([np.zeros(len(scores)), scores])
        return softmax(scores).astype(np.float32)

    def save(self, folder: Path) -> list[str]:
        """Write the trees as plain arrays."""
        arrays: dict[str, NDArray[Any]] = {"baseline": self.baseline, "imputation": self.imputation}
        arrays |= {"losses": self.losses, **self.trees._asdict()}
        np.savez_compressed(folder / FILE, allow_pickle=False, **arrays)
        return [FILE]

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote."""
        with np.load(folder / FILE, allow_pickle=False) as stored:
            trees = Trees(*(stored[name] for name in Trees._fields))
            return cls(trees, stored["baseline"], stored["imputation"], stored["losses"])

    def history(self) -> list[dict[str, float]]:
        """Per round: number, log-loss on train and on validation."""
        return [
            {"epoch": number, "train_loss": train, "validation_log_loss": validation}
            for number, (train, validation) in enumerate(self.losses.tolist())
        ]


def _read_trees(estimator: HistGradientBoostingClassifier, rounds: int) -> Trees:
    """Take the trees of the first rounds from where scikit-learn keeps them."""
    nodes = [predictor.nodes for trees in estimator._predictors[:rounds] for predictor in trees]
    return pack(
        Tree(
            np.where(tree["is_leaf"], -1, tree["left"].astype(np.int64)),
            tree["right"].astype(np.int64),
            tree["feature_idx"],
            tree["num_threshold"],
            tree["value"][:, None],
        )
        for tree in nodes
    )
