"""A forest as an ONNX graph that takes the same branches for every float32 row."""

from __future__ import annotations

from typing import TYPE_CHECKING

import onnx

from skymill.export.graph import imputation_nodes, new_model, node
from skymill.export.metadata import OUTPUT
from skymill.export.walk import walk
from skymill.models.trees import Tree, pack

if TYPE_CHECKING:
    from skymill.models import Forest


def convert(forest: Forest) -> onnx.ModelProto:
    """Convert a fitted forest to ``features`` -> ``probabilities``, not calibrated.

    The thresholds of a skymill forest are float32 numbers already, rounded down when it was fitted, so ONNX Runtime and
    scikit-learn compare the same values; only the order of the sum over trees differs.
    """
    grown = [estimator.tree_ for estimator in forest.estimator.estimators_]
    trees = pack(
        Tree(tree.children_left, tree.children_right, tree.feature, tree.threshold, tree.value[:, 0] / len(grown))
        for tree in grown
    )
    nodes, constants = imputation_nodes(forest.imputation, output="measured")
    walked, tables = walk(trees, "columns", "means")  # (classes, n)
    nodes += [
        node("Transpose", ["measured"], "columns", perm=[1, 0]),
        *walked,
        node("Transpose", ["means"], OUTPUT, perm=[1, 0]),
    ]
    n_features, n_classes = len(forest.imputation), trees.value.shape[2]
    return new_model(nodes, [*constants, *tables], n_features=n_features, n_classes=n_classes)
