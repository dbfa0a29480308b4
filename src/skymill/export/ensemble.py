"""Several fitted models as one ONNX graph: each with its calibration, then their weighted mean."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx
from onnx import compose

from skymill.export.calibrate import append_calibration
from skymill.export.graph import constant, new_model, node
from skymill.export.metadata import INPUT, OUTPUT

if TYPE_CHECKING:
    from skymill.models import Ensemble


def convert(ensemble: Ensemble) -> onnx.ModelProto:
    """Convert an ensemble to ``features`` -> ``probabilities``, its members' names before all inner names."""
    from skymill.export.converters import CONVERTERS

    nodes: list[onnx.NodeProto] = []
    constants: list[onnx.TensorProto] = []
    parts, n_classes = [], 0
    for number, member in enumerate(ensemble.members):
        alone = append_calibration(CONVERTERS[member.model.kind](member.model), member.calibration)
        n_classes = alone.graph.output[0].type.tensor_type.shape.dim[1].dim_value
        prefix = f"member{number}_"
        graph = compose.add_prefix(alone, prefix).graph
        nodes += [
            node("Gather", [INPUT, f"{prefix}columns_taken"], f"{prefix}{INPUT}", axis=1),
            *graph.node,
            node("Mul", [f"{prefix}{OUTPUT}", f"{prefix}share"], f"{prefix}part"),
        ]
        constants += [
            *graph.initializer,
            constant(f"{prefix}columns_taken", member.columns, np.int64),
            constant(f"{prefix}share", member.weight),
        ]
        parts.append(f"{prefix}part")
    nodes.append(node("Sum", parts, OUTPUT))
    return new_model(nodes, constants, n_features=ensemble.n_features, n_classes=n_classes)
