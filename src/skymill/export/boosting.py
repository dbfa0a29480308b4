"""Boosted trees as an ONNX graph that takes the same branches for every float32 row."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx

from skymill.export.graph import constant, imputation_nodes, new_model, node
from skymill.export.metadata import OUTPUT
from skymill.export.walk import walk

if TYPE_CHECKING:
    from skymill.models import Boosting


def convert(boosting: Boosting) -> onnx.ModelProto:
    """Convert fitted boosted trees to ``features`` -> ``probabilities``, not calibrated."""
    n_scores = len(boosting.baseline)
    nodes, constants = imputation_nodes(boosting.imputation, output="measured")
    nodes.append(node("Transpose", ["measured"], "columns", perm=[1, 0]))
    for k in range(n_scores):
        added, more = walk(boosting.trees.some(slice(k, None, n_scores)), "columns", f"class{k}")
        nodes, constants = nodes + added, constants + more
    nodes += [
        node("Concat", [f"class{k}" for k in range(n_scores)], "sums", axis=0),
        node("Add", ["sums", "baseline"], "scores"),  # (scores, n)
    ]
    constants.append(constant("baseline", boosting.baseline[:, None]))
    if n_scores == 1:
        nodes.append(node("Pad", ["scores", "one_row"], "all_scores", mode="constant"))  # the first of two classes: 0
        constants.append(constant("one_row", [1, 0, 0, 0], np.int64))
    nodes += [
        node("Transpose", [nodes[-1].output[0]], "logits", perm=[1, 0]),
        node("Softmax", ["logits"], OUTPUT, axis=1),
    ]
    return new_model(nodes, constants, n_features=len(boosting.imputation), n_classes=max(2, n_scores))
