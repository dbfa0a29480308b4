"""The distance from the training rows as a second output of a graph."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from skymill.export.graph import constant, imputation_nodes, node, set_apart
from skymill.export.metadata import DISTANCE, INPUT
from skymill.models.distance import FARTHEST, TrainingDistance

Parts = tuple[list[onnx.NodeProto], list[onnx.TensorProto]]
HUGE = 1e20
"""Features are cut here, so that no sum in float32 overflows; so far out every distance is `FARTHEST`."""


def append_distance(model: onnx.ModelProto, distance: TrainingDistance) -> onnx.ModelProto:
    """Give a copy of `model` that also has the output ``training_distance`` float32 (n,).

    Parameters
    ----------
    model : onnx.ModelProto
        Its input is ``features`` float32 (n, f). Where it imputes them as `distance` does, that is not done twice: it
        would be a third of the cost.
    distance : TrainingDistance
        The graph computes, in float32, what calling it gives.
    """
    extended = onnx.ModelProto()
    extended.CopyFrom(model)
    imputed = _imputed(model, distance)
    finite, measured = imputed or ("finite", "measured")
    nodes, constants = ([], []) if imputed else imputation_nodes(distance.imputation, output=measured)
    parts = [_range(distance, measured), _patterns(distance, finite)]
    nodes += [each for part in parts for each in part[0]]
    constants += [each for part in parts for each in part[1]]
    set_apart(nodes, constants, prefix="distance_", shared=(INPUT, DISTANCE, *(imputed or ())))
    extended.graph.node.extend(nodes)
    extended.graph.initializer.extend(constants)
    extended.graph.output.append(helper.make_tensor_value_info(DISTANCE, TensorProto.FLOAT, ["n"]))
    return extended


def _imputed(model: onnx.ModelProto, distance: TrainingDistance) -> tuple[str, str] | None:
    """Find what is finite and the imputed features in a graph that puts the same values in."""
    values = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    for each in model.graph.node:
        if each.op_type == "Where" and each.input[1] == INPUT and each.input[2] in values:
            same = np.array_equal(values[each.input[2]].ravel(), distance.imputation)
            return (each.input[0], each.output[0]) if same else None
    return None


def _range(distance: TrainingDistance, measured: str) -> Parts:
    """The largest of ``|projection - centre| / half_width``, over the limit: one product from feature to this."""
    width = distance.half_width.astype(np.float64) * distance.limit
    scaling = distance.directions / distance.scale.astype(np.float64)  # (k, f)
    nodes = [
        node("Clip", [measured, "low", "high"], "cut"),
        node("Gemm", ["cut", "product", "shift"], "projections"),  # (n, k)
        node("Abs", ["projections"], "sizes"),
        node("ReduceMax", ["sizes", "last_axis"], "out_of_range", keepdims=0),
        node("Min", ["out_of_range", "farthest"], "bounded"),
    ]
    constants = [
        constant("low", -HUGE),
        constant("high", HUGE),
        constant("product", scaling.T / width),
        constant("shift", -(scaling @ distance.mean + distance.centre) / width),
        constant("last_axis", [1], np.int64),
        constant("farthest", FARTHEST),
    ]
    return nodes, constants


def _patterns(distance: TrainingDistance, finite: str) -> Parts:
    """Infinity where no pattern fits: measured * (2 pattern - 1) sums to the pattern's size only if both are equal."""
    if not len(distance.patterns):
        return [node("Identity", ["bounded"], DISTANCE)], []
    nodes = [
        node("Cast", [finite], "ones", to=TensorProto.FLOAT),
        node("Gemm", ["ones", "signs", "minus_sizes"], "lack"),  # (n, p), 0 where equal, else negative
        node("ReduceMax", ["lack", "last_axis"], "least_lack", keepdims=0),
        node("GreaterOrEqual", ["least_lack", "none"], "seen"),
        node("Where", ["seen", "bounded", "infinity"], DISTANCE),
    ]
    constants = [
        constant("signs", 2.0 * distance.patterns.T - 1.0),  # (f, p)
        constant("minus_sizes", -distance.patterns.sum(axis=1)),
        constant("none", 0.0),
        constant("infinity", np.inf),
    ]
    return nodes, constants
