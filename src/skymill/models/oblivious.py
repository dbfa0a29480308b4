"""Boosted oblivious trees (CatBoost, Prokhorenkova et al. 2018, arXiv:1706.09516), kept as plain arrays."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from skymill.config import base
from skymill.models.cleaning import impute, medians, softmax
from skymill.models.registry import Examples, Place, register

if TYPE_CHECKING:
    from catboost import CatBoostClassifier, Pool

FILE = "oblivious.npz"
TREES_FILE = "trees.json"
LOSS = "MultiClass"


class ObliviousSettings(base.Settings):
    """Hyperparameters of boosted oblivious trees."""

    trees: int = Field(200, ge=1, le=5000)
    """At most; inference takes time in proportion."""
    depth: int = Field(7, ge=1, le=10)
    """Questions each tree asks, the same ones of every row; a tree has two to this power leaves."""
    learning_rate: float = Field(0.15, gt=0, le=1)
    """Share of each tree's step that is taken."""
    l2: float = Field(10.0, ge=0)
    """Pull of each leaf's value to zero; more of it smooths the probabilities."""
    subsample: float = Field(0.8, gt=0, le=1)
    """Share of the rows each tree sees, those with large gradients first (Ibragimov & Gusev 2019, arXiv:1910.13204)."""
    patience: int = Field(50, ge=1)
    """Trees without a lower log-loss on validation before growing stops; the best number of trees is kept."""


class ObliviousTrees(NamedTuple):
    """The trees: row by row, level d adds ``2**d`` to a tree's leaf number where a feature exceeds a threshold."""

    feature: NDArray[np.int32]
    """(trees, depth)"""
    threshold: NDArray[np.float32]
    """(trees, depth); infinite where a tree asks fewer questions."""
    leaves: NDArray[np.float32]
    """(trees, 2**depth, classes - 1): logarithm of the odds against the last class."""
    bias: NDArray[np.float32]
    """(classes - 1,)"""

    def some(self, rows: slice) -> ObliviousTrees:
        """Some of the trees."""
        return ObliviousTrees(self.feature[rows], self.threshold[rows], self.leaves[rows], self.bias)


@register("oblivious")
class Oblivious:
    """Fitted oblivious trees. Export reads `trees` and `imputation`."""

    kind: ClassVar[str]
    Settings: ClassVar[type[base.Settings]] = ObliviousSettings

    def __init__(self, trees: ObliviousTrees, imputation: NDArray[np.float32], losses: NDArray[np.float64]) -> None:
        self.trees = trees
        self.imputation = imputation
        self.losses = losses
        """(trees, 2): on train and on validation."""

    @classmethod
    def fit(
        cls, train: Examples, validation: Examples, settings: ObliviousSettings, *, seed: int, place: Place
    ) -> Self:
        """Grow trees until the log-loss on validation stays; the number of threads changes nothing."""
        from catboost import CatBoostClassifier, Pool

        imputation = medians(train.features)

        def pool(examples: Examples) -> Pool:
            return Pool(impute(examples.features, imputation), examples.labels, weight=examples.weights)

        estimator = CatBoostClassifier(
            loss_function=LOSS,
            classes_count=train.n_classes,
            iterations=settings.trees,
            depth=settings.depth,
            learning_rate=settings.learning_rate,
            l2_leaf_reg=settings.l2,
            bootstrap_type="MVS",
            subsample=settings.subsample,
            boosting_type="Plain",
            random_seed=seed,
            thread_count=place.threads,
            allow_writing_files=False,
            verbose=False,
        )
        estimator.fit(pool(train), eval_set=pool(validation), early_stopping_rounds=settings.patience)
        losses = [estimator.evals_result_[name][LOSS] for name in ("learn", "validation")]
        return cls(_read_trees(estimator, place.workdir, settings.depth), imputation, np.array(losses).T)

    def predict_probabilities(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Give the softmax of the sum of all leaves, float32 (n, classes)."""
        columns = np.ascontiguousarray(impute(features, self.imputation).T)  # (f, n)
        odds = np.zeros((len(features), len(self.trees.bias) + 1))
        odds[:, :-1] = self.trees.bias
        for feature, threshold, leaves in zip(self.trees.feature, self.trees.threshold, self.trees.leaves):
            leaf = np.zeros(len(features), dtype=np.intp)
            for level, (column, border) in enumerate(zip(columns[feature], threshold)):
                leaf += (column > border).astype(np.intp) << level
            odds[:, :-1] += leaves[leaf]
        return softmax(odds).astype(np.float32)

    def save(self, folder: Path) -> list[str]:
        """Write the trees as plain arrays."""
        arrays = {**self.trees._asdict(), "imputation": self.imputation, "losses": self.losses}
        np.savez_compressed(folder / FILE, allow_pickle=False, **arrays)
        return [FILE]

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote."""
        with np.load(folder / FILE, allow_pickle=False) as stored:
            trees = ObliviousTrees(*(stored[name] for name in ObliviousTrees._fields))
            return cls(trees, stored["imputation"], stored["losses"])

    def history(self) -> list[dict[str, float]]:
        """Per tree: number, log-loss on train and on validation."""
        return [
            {"epoch": number, "train_loss": train, "validation_log_loss": validation}
            for number, (train, validation) in enumerate(self.losses.tolist())
        ]


def _read_trees(estimator: CatBoostClassifier, workdir: Path, depth: int) -> ObliviousTrees:
    """Take the trees from CatBoost's JSON form, the only one it documents."""
    estimator.save_model(str(workdir / TREES_FILE), format="json")
    content = json.loads((workdir / TREES_FILE).read_text())
    scale, bias = content["scale_and_bias"]
    trees = [_read_tree(tree, depth, len(bias)) for tree in content["oblivious_trees"]]
    feature, threshold, leaves = (np.stack(arrays) for arrays in zip(*trees))
    return ObliviousTrees(
        feature.astype(np.int32),
        threshold.astype(np.float32),
        (scale * _against_last(leaves)).astype(np.float32),
        _against_last(np.array(bias)).astype(np.float32),
    )


def _read_tree(
    tree: Mapping[str, Any], depth: int, n_classes: int
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """Give feature (depth,), threshold (depth,) and leaves (2**depth, classes) of one tree, filled up."""
    asked = len(tree["splits"])
    feature, threshold = np.zeros(depth, dtype=np.int64), np.full(depth, np.inf)
    feature[:asked] = [split["float_feature_index"] for split in tree["splits"]]
    threshold[:asked] = [split["border"] for split in tree["splits"]]
    leaves = np.zeros((2**depth, n_classes))
    leaves[: 2**asked] = np.reshape(tree["leaf_values"], (2**asked, n_classes))
    return feature, threshold, leaves


def _against_last(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Subtract the last class, which a softmax does not notice and which leaves one class less to look up."""
    return values[..., :-1] - values[..., -1:]
