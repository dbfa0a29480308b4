"""Linear cuts as an ONNX graph."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx
from onnx import TensorProto

from skymill.export.graph import cleaning_nodes, constant, new_model, node
from skymill.export.metadata import OUTPUT

if TYPE_CHECKING:
    from skymill.models import LinearCut


def convert(model: LinearCut) -> onnx.ModelProto:
    """Convert fitted lines to ``features`` -> ``probabilities``, not calibrated."""
    nodes, constants = cleaning_nodes(model.scaler, output="clean")
    n_features, n_classes = model.lines.normals.shape
    nodes.append(node("Gemm", ["clean", "normals", "offsets"], "margins"))  # (n, lines)
    constants += [constant("normals", model.lines.normals), constant("offsets", -model.lines.offsets)]
    if model.curve is not None:
        n_classes = len(model.curve.slope)
        nodes.append(node("ReduceMin", ["margins", "over_lines"], "smallest", keepdims=1))  # (n, 1)
        constants += [constant("over_lines", [1], np.int64), constant("zero", 0.0)]
        if model.hard:
            nodes += [
                node("Greater", ["smallest", "zero"], "inside"),
                node("Cast", ["inside"], "side", to=TensorProto.FLOAT),
            ]
        nodes.append(node("Gemm", [nodes[-1].output[0], "slope", "intercept"], "logits"))
        constants += [constant("slope", model.curve.slope[None]), constant("intercept", model.curve.intercept)]
    nodes.append(node("Softmax", [nodes[-1].output[0]], OUTPUT, axis=1))
    return new_model(nodes, constants, n_features=n_features, n_classes=n_classes)
