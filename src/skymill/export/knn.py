"""Nearest neighbours as an ONNX graph: distances to all reference points, then the best of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx
from onnx import helper

from skymill.export.graph import constant, new_model, node, scaling_nodes
from skymill.export.metadata import OUTPUT
from skymill.models.knn import SMALLEST_DISTANCE, SMALLEST_WEIGHT

if TYPE_CHECKING:
    from skymill.models import Knn


def convert(knn: Knn) -> onnx.ModelProto:
    """Convert reference points to ``features`` -> ``probabilities``, not calibrated."""
    references = knn.references.astype(np.float64)
    nodes, constants = scaling_nodes(knn.scaler, output="scaled")
    nodes += [
        node("Gemm", ["scaled", "references", "lengths"], "products"),  # (n, m): |r|^2 - 2 x.r
        node("ReduceSumSquare", ["scaled", "over_columns"], "length", keepdims=1),
        helper.make_node("TopK", ["products", "count"], ["shortest", "nearest"], name="nearest", axis=1, largest=0),
        node("Add", ["shortest", "length"], "distances"),  # (n, k + 1), squared
        node("Max", ["distances", "zero"], "squared"),
        node("Slice", ["squared", "last", "end", "over_columns"], "farthest"),  # (n, 1)
        node("Max", ["farthest", "smallest_distance"], "reach"),
        node("Div", ["squared", "reach"], "share"),
        node("Sub", ["one", "share"], "nearness"),
        node("Max", ["nearness", "smallest_weight"], "weight"),
        node("Unsqueeze", ["weight", "over_columns"], "row"),  # (n, 1, k + 1)
        node("Gather", ["votes", "nearest"], "ballots", axis=0),  # (n, k + 1, classes)
        node("MatMul", ["row", "ballots"], "counted"),
        node("Squeeze", ["counted", "over_columns"], "sums"),
        node("ReduceSum", ["sums", "over_columns"], "total", keepdims=1),
        node("Div", ["sums", "total"], OUTPUT),
    ]
    constants += [
        constant("references", -2 * references.T),
        constant("lengths", (references**2).sum(axis=1)),
        constant("over_columns", [1], np.int64),
        constant("count", [knn.neighbours + 1], np.int64),
        constant("last", [knn.neighbours], np.int64),
        constant("end", [knn.neighbours + 1], np.int64),
        constant("zero", 0.0),
        constant("one", 1.0),
        constant("smallest_distance", SMALLEST_DISTANCE),
        constant("smallest_weight", SMALLEST_WEIGHT),
        constant("votes", knn.votes),
    ]
    return new_model(nodes, constants, n_features=references.shape[1], n_classes=knn.votes.shape[1])
