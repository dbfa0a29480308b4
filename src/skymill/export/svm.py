"""A support vector machine over landmarks as an ONNX graph of two matrix products."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx

from skymill.export.graph import constant, new_model, node, scaling_nodes
from skymill.export.metadata import OUTPUT

if TYPE_CHECKING:
    from skymill.models import Svm


def convert(svm: Svm) -> onnx.ModelProto:
    """Convert a fitted machine to ``features`` -> ``probabilities``, not calibrated.

    The kernel is ``exp(2 gamma x.l - gamma |l|^2 - gamma |x|^2)``.
    """
    landmarks = svm.landmarks.astype(np.float64)
    nodes, constants = scaling_nodes(svm.scaler, output="scaled")
    nodes += [
        node("Gemm", ["scaled", "landmarks", "lengths"], "products"),  # (n, m)
        node("ReduceSumSquare", ["scaled", "over_features"], "length", keepdims=1),
        node("Mul", ["length", "gamma"], "own"),
        node("Sub", ["products", "own"], "exponent"),
        node("Exp", ["exponent"], "kernel"),
        node("Gemm", ["kernel", "weights", "biases"], "logits"),
        node("Softmax", ["logits"], OUTPUT, axis=1),
    ]
    constants += [
        constant("landmarks", 2 * svm.gamma * landmarks.T),
        constant("lengths", -svm.gamma * (landmarks**2).sum(axis=1)),
        constant("over_features", [1], np.int64),
        constant("gamma", svm.gamma),
        constant("weights", svm.weights),
        constant("biases", svm.biases),
    ]
    return new_model(nodes, constants, n_features=landmarks.shape[1], n_classes=len(svm.biases))
