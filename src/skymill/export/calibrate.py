"""Calibration as the last nodes of a graph of probabilities."""

from __future__ import annotations

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto

from skymill.export.graph import constant, node, set_apart
from skymill.export.metadata import OUTPUT
from skymill.models.calibration import FLOOR, Calibration, Knots

RAW = "uncalibrated"


def append_calibration(model: onnx.ModelProto, calibration: Calibration) -> onnx.ModelProto:
    """Give a copy of `model` whose ``probabilities`` are calibrated.

    Parameters
    ----------
    model : onnx.ModelProto
        Its output ``probabilities`` is float32 (n, classes), rows summing to 1.
    calibration : Calibration
        The graph computes, in float32, what `Calibration.apply` says.
    """
    calibrated = onnx.ModelProto()
    calibrated.CopyFrom(model)
    if calibration.method == "none":
        return calibrated
    for each in calibrated.graph.node:
        each.output[:] = [RAW if name == OUTPUT else name for name in each.output]
    if calibration.method == "temperature":
        nodes, constants = _temperature(calibration)
    else:
        nodes, constants = _isotonic(calibration.knots)
    set_apart(nodes, constants, prefix="calibrate_", shared=(RAW, OUTPUT))
    calibrated.graph.node.extend(nodes)
    calibrated.graph.initializer.extend(constants)
    return calibrated


def _temperature(calibration: Calibration) -> tuple[list[onnx.NodeProto], list[onnx.TensorProto]]:
    nodes = [
        node("Max", [RAW, "floor"], "floored"),
        node("Log", ["floored"], "log"),
        node("Mul", ["log", "sharpness"], "scaled"),
    ]
    constants = [constant("floor", FLOOR), constant("sharpness", 1.0 / calibration.temperature)]
    if calibration.bias:
        nodes.append(node("Add", ["scaled", "bias"], "shifted"))
        constants.append(constant("bias", calibration.bias))
    nodes.append(node("Softmax", [nodes[-1].output[0]], OUTPUT, axis=1))
    return nodes, constants


def _isotonic(
    knots: tuple[Knots, ...],
) -> tuple[list[onnx.NodeProto], list[onnx.TensorProto]]:
    """Look up each probability's segment, then take base + slope * distance: exact to rounding however steep a step."""
    starts, bases, slopes = _segments(knots)
    n_classes, n_segments = starts.shape
    first = np.arange(n_classes) * n_segments - 1
    nodes = [
        node("Unsqueeze", [RAW, "last_axis"], "column"),  # (n, k, 1)
        node("GreaterOrEqual", ["column", "starts"], "reached"),  # (n, k, m)
        node("Cast", ["reached"], "ones", to=TensorProto.INT64),
        node("ReduceSum", ["ones", "last_axis"], "count", keepdims=0),  # (n, k), at least 1
        node("Add", ["count", "first"], "segment"),
        node("Gather", ["flat_starts", "segment"], "start"),
        node("Gather", ["flat_bases", "segment"], "base"),
        node("Gather", ["flat_slopes", "segment"], "slope"),
        node("Sub", [RAW, "start"], "distance"),
        node("Mul", ["slope", "distance"], "rise"),
        node("Add", ["base", "rise"], "fitted"),
        node("ReduceSum", ["fitted", "class_axis"], "total", keepdims=1),
        node("Div", ["fitted", "total"], OUTPUT),
    ]
    constants = [
        constant("starts", starts[None]),
        constant("flat_starts", starts.ravel()),
        constant("flat_bases", bases.ravel()),
        constant("flat_slopes", slopes.ravel()),
        constant("first", first, np.int64),
        constant("last_axis", [2], np.int64),
        constant("class_axis", [1], np.int64),
    ]
    return nodes, constants


def _segments(
    knots: tuple[Knots, ...],
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Give start, value there and slope of each class's segments, float64 (k, m); flat outside, as numpy.interp."""
    n_segments = max(len(x) for x, _ in knots) + 1
    starts = np.full((len(knots), n_segments), np.inf)
    bases, slopes = np.zeros_like(starts), np.zeros_like(starts)
    for row, (x, y) in enumerate(knots):
        used = len(x) + 1
        starts[row, :used] = [-1.0, *x]
        bases[row, :used] = [y[0], *y]
        slopes[row, :used] = [0.0, *(np.diff(y) / np.diff(x)), 0.0]
    return starts, bases, slopes
