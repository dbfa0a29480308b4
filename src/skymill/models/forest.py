"""Random forest (Breiman 2001, Machine Learning 45, 5) of scikit-learn, kept as plain arrays."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from skymill.config import base
from skymill.models.cleaning import impute, medians
from skymill.models.registry import Examples, Place, register
from skymill.models.trees import round_down

if TYPE_CHECKING:
    from sklearn.ensemble import RandomForestClassifier

FILE = "forest.npz"
BLOCK_ROWS = 65_536
NODE_FIELDS = ("left_child", "right_child", "feature", "threshold")


class ForestSettings(base.Settings):
    """Hyperparameters of a random forest."""

    trees: int = Field(200, ge=1, le=5000)
    """Trees whose class frequencies are averaged; more of them cost time at inference in proportion."""
    max_depth: int | None = Field(16, ge=1, le=64)
    """Deepest path from root to leaf; null grows until the leaves are small enough."""
    min_samples_leaf: int = Field(3, ge=1)
    """Fewest rows in a leaf; more gives smoother probabilities and a smaller file."""
    max_features: Literal["sqrt", "log2"] | float = "sqrt"
    """Features tried at each split: a rule, or a share of all."""


@register("forest")
class Forest:
    """A fitted forest. Export reads `estimator` and `imputation`."""

    kind: ClassVar[str]
    Settings: ClassVar[type[base.Settings]] = ForestSettings

    def __init__(self, estimator: RandomForestClassifier, imputation: NDArray[np.float32]) -> None:
        self.estimator = estimator
        self.imputation = imputation

    @classmethod
    def fit(cls, train: Examples, validation: Examples, settings: ForestSettings, *, seed: int, place: Place) -> Self:
        """Grow the trees; a forest has nothing to stop early, so `validation` is not looked at."""
        from sklearn.ensemble import RandomForestClassifier

        imputation = medians(train.features)
        estimator = RandomForestClassifier(
            n_estimators=settings.trees,
            max_depth=settings.max_depth,
            min_samples_leaf=settings.min_samples_leaf,
            max_features=settings.max_features,
            random_state=seed,
            n_jobs=place.threads,
        )
        estimator.fit(impute(train.features, imputation), train.labels, sample_weight=train.weights)
        return cls(_rebuild(_arrays(estimator), train.n_classes, train.features.shape[1]), imputation)

    def predict_probabilities(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Give the mean of the trees' class frequencies, float32 (n, classes)."""
        clean = impute(features, self.imputation)
        starts = range(0, max(len(clean), 1), BLOCK_ROWS)
        blocks = [clean[start : start + BLOCK_ROWS] for start in starts]
        parts = [
            np.mean([tree.tree_.predict(block) for tree in self.estimator.estimators_], axis=0) for block in blocks
        ]
        return np.concatenate(parts).astype(np.float32)

    def save(self, folder: Path) -> list[str]:
        """Write the trees as plain arrays."""
        arrays = _arrays(self.estimator)
        arrays |= {"imputation": self.imputation, "classes": np.array(self.estimator.n_classes_)}
        np.savez_compressed(folder / FILE, allow_pickle=False, **arrays)
        return [FILE]

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote."""
        with np.load(folder / FILE, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
        imputation, classes = arrays.pop("imputation"), int(arrays.pop("classes"))
        return cls(_rebuild(arrays, classes, len(imputation)), imputation)

    def history(self) -> list[dict[str, float]]:
        """A forest has no epochs."""
        return []


def _arrays(estimator: RandomForestClassifier) -> dict[str, NDArray[Any]]:
    """All trees end to end. Thresholds are rounded down to float32, which moves no float32 value to the other side."""
    trees = [tree.tree_ for tree in estimator.estimators_]
    nodes = np.concatenate([tree.__getstate__()["nodes"] for tree in trees])
    return {
        "left_child": nodes["left_child"].astype(np.int32),
        "right_child": nodes["right_child"].astype(np.int32),
        "feature": nodes["feature"].astype(np.int32),
        "threshold": round_down(nodes["threshold"]),
        "samples": nodes["n_node_samples"].astype(np.int32),
        "value": np.concatenate([tree.value[:, 0, :] for tree in trees]),
        "node_count": np.array([tree.node_count for tree in trees], dtype=np.int64),
        "depth": np.array([tree.max_depth for tree in trees], dtype=np.int64),
    }


def _rebuild(arrays: dict[str, NDArray[Any]], n_classes: int, n_features: int) -> RandomForestClassifier:
    """Make a scikit-learn forest of the arrays."""
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.tree import DecisionTreeClassifier
    from sklearn.tree._tree import NODE_DTYPE, Tree

    def shaped(estimator: RandomForestClassifier | DecisionTreeClassifier) -> None:
        estimator.n_classes_, estimator.n_outputs_ = n_classes, 1
        estimator.n_features_in_, estimator.classes_ = n_features, np.arange(n_classes)

    forest = RandomForestClassifier(n_estimators=len(arrays["depth"]))
    shaped(forest)
    forest.estimators_ = []
    stops = np.cumsum(arrays["node_count"])
    for start, stop, depth in zip(np.concatenate([[0], stops[:-1]]), stops, arrays["depth"]):
        nodes = np.zeros(stop - start, dtype=NODE_DTYPE)
        for field in NODE_FIELDS:
            nodes[field] = arrays[field][start:stop]
        nodes["n_node_samples"] = nodes["weighted_n_node_samples"] = arrays["samples"][start:stop]
        tree = Tree(n_features, np.array([n_classes], dtype=np.intp), 1)
        values = np.ascontiguousarray(arrays["value"][start:stop, None, :])
        tree.__setstate__({"max_depth": int(depth), "node_count": len(nodes), "nodes": nodes, "values": values})
        grown = DecisionTreeClassifier()
        shaped(grown)
        grown.tree_ = tree
        forest.estimators_.append(grown)
    return forest
