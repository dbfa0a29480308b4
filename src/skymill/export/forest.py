"""A scikit-learn forest as an ONNX graph that takes the same branches for every float32 row."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx

from skymill.export.graph import ML_DOMAIN, OPSETS, imputation_nodes, new_model
from skymill.export.metadata import INPUT, OUTPUT

if TYPE_CHECKING:
    from skymill.models import Forest


def convert(forest: Forest) -> onnx.ModelProto:
    """Convert a fitted forest to ``features`` -> ``probabilities``, not calibrated.

    The thresholds of a skymill forest are float32 numbers already, rounded down when it was fitted, so ONNX Runtime and
    scikit-learn compare the same values; only the order of the sum over trees differs.
    """
    from skl2onnx import to_onnx
    from skl2onnx.common.data_types import FloatTensorType

    estimator = forest.estimator
    n_features, n_classes = len(forest.imputation), len(estimator.classes_)
    with np.errstate(
        invalid="ignore"
    ):  # it asks for feature importances, which a forest read from a file no longer has
        converted = to_onnx(
            estimator,
            initial_types=[(INPUT, FloatTensorType([None, n_features]))],
            options={id(estimator): {"zipmap": False}},
            target_opset=OPSETS,
        )
    trees = next(node for node in converted.graph.node if node.domain == ML_DOMAIN)
    trees.name = "trees"
    trees.input[:] = ["measured"]
    trees.output[:] = ["label", OUTPUT]
    nodes, constants = imputation_nodes(forest.imputation, output="measured")
    return new_model([*nodes, trees], constants, n_features=n_features, n_classes=n_classes)
