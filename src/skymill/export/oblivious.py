"""Oblivious trees as an ONNX graph of plain tensor operators.

Rows lie along the last axis, so that every operator runs over long contiguous rows. ONNX Runtime's own tree operator
follows one row through one tree instead.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto

from skymill.export.graph import constant, imputation_nodes, new_model, node
from skymill.export.metadata import OUTPUT

if TYPE_CHECKING:
    from skymill.models.oblivious import Oblivious, ObliviousTrees

GROUP = 50
"""Trees of one pass: what a pass over 2,000 rows holds stays in a core's cache."""


def convert(oblivious: Oblivious) -> onnx.ModelProto:
    """Convert fitted oblivious trees to ``features`` -> ``probabilities``, not calibrated."""
    trees, bias = oblivious.trees, oblivious.trees.bias
    nodes, constants = imputation_nodes(oblivious.imputation, output="measured")
    nodes.append(node("Transpose", ["measured"], "columns", perm=[1, 0]))  # (f, n)
    constants += [constant("over_trees", [0], np.int64), constant("bias", bias[:, None])]
    scores = ["bias"]
    for number, start in enumerate(range(0, len(trees.feature), GROUP)):
        added, more = _group(trees.some(slice(start, start + GROUP)), f"group{number}")
        nodes, constants = nodes + added, constants + more
        scores.append(added[-1].output[0])
    nodes += [
        node("Sum", scores, "odds"),  # (classes - 1, n)
        node("Pad", ["odds", "one_row"], "scores", mode="constant"),  # the last class has the odds 0
        node("Transpose", ["scores"], "logits", perm=[1, 0]),
        node("Softmax", ["logits"], OUTPUT, axis=1),
    ]
    constants.append(constant("one_row", [0, 0, 1, 0], np.int64))
    return new_model(nodes, constants, n_features=len(oblivious.imputation), n_classes=len(bias) + 1)


def _group(trees: ObliviousTrees, name: str) -> tuple[list[onnx.NodeProto], list[onnx.TensorProto]]:
    """Sum some trees to ``{name}_score`` (classes - 1, n): ask, read the answers as a binary number, look it up.

    Questions are put level by level, so that the number of each tree's leaf is a product of (1, depth) with the
    answers (depth, trees * n).
    """
    n_trees, depth = trees.feature.shape

    def named(suffix: str) -> str:
        return f"{name}_{suffix}"

    def column(suffix: str, values: NDArray[np.generic], dtype: type = np.float32) -> onnx.TensorProto:
        return constant(named(suffix), values, dtype)

    nodes = [
        node("Gather", ["columns", named("feature")], named("asked"), axis=0),  # (depth * trees, n)
        node("Greater", [named("asked"), named("threshold")], named("answers")),
        node("Cast", [named("answers")], named("bits"), to=TensorProto.FLOAT),
        node("Reshape", [named("bits"), named("by_level")], named("levels")),  # (depth, trees * n)
        node("MatMul", [named("powers"), named("levels")], named("numbers")),
        node("Reshape", [named("numbers"), named("by_tree")], named("number")),  # (trees, n)
        node("Cast", [named("number")], named("leaf"), to=TensorProto.INT32),
    ]
    constants = [
        column("feature", trees.feature.T.ravel(), np.int64),
        column("threshold", trees.threshold.T.reshape(-1, 1)),
        column("powers", 2.0 ** np.arange(depth)[None]),
        column("by_level", np.array([depth, -1]), np.int64),
        column("by_tree", np.array([n_trees, -1]), np.int64),
    ]
    sums = []
    for k in range(len(trees.bias)):
        nodes += [
            node("GatherElements", [named(f"leaves{k}"), named("leaf")], named(f"values{k}"), axis=1),
            node("ReduceSum", [named(f"values{k}"), "over_trees"], named(f"sum{k}"), keepdims=1),  # (1, n)
        ]
        constants.append(column(f"leaves{k}", trees.leaves[:, :, k]))
        sums.append(named(f"sum{k}"))
    return [*nodes, node("Concat", sums, named("score"), axis=0)], constants
