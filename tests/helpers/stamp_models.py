"""ONNX files that look at stamps, made by hand: what they say can be worked out without them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

from skymill.config.model import StampSettings
from skymill.export.graph import IR_VERSION, OPSET, constant, node, to_bytes
from skymill.export.metadata import ModelInput, ModelSchema

CLASSES = ("BLUE", "RED")
SIZE = 48
MIDDLE = 4
"""Pixels along each side of the middle of a stamp, whose flux is summed."""
SCALE_nJy = 50.0
"""Difference of flux that turns the odds by a factor e^2."""
RATIO = 0.6
"""Flux of the first band over that of the second from which on a source is blue."""


def colour_model(n_bands: int, *, size: int = SIZE, batch: int | str = "n", distance: bool = False) -> onnx.ModelProto:
    """Blue where the middle of a stamp has more than `RATIO` times the flux of the second band in the first.

    The distance that it may tell is the mean of the weights of the first band.
    """
    first = (size - MIDDLE) // 2
    nodes = [
        node("Slice", ["flux", "from", "to", "axes"], "middle"),
        node("ReduceSum", ["middle", "sides"], "sums", keepdims=0),
        node("MatMul", ["sums", "colours"], "logits"),
        node("Softmax", ["logits"], "probabilities", axis=1),
        node("Gather", ["inverse_variance", "first"], "weights", axis=1),
        node("ReduceMean", ["weights", "later"], "training_distance", keepdims=0),
    ]
    colours = np.zeros((n_bands, len(CLASSES)))
    colours[:2] = np.array([[1, -1], [-RATIO, RATIO]]) / SCALE_nJy
    constants = [
        constant("from", [first, first], np.int64),
        constant("to", [first + MIDDLE] * 2, np.int64),
        *(constant(name, [2, 3], np.int64) for name in ("axes", "sides")),
        constant("first", 0, np.int64),
        constant("later", [1, 2], np.int64),
        constant("colours", colours),
    ]
    shape = [batch, n_bands, size, size]
    outputs = [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, [batch, len(CLASSES)])]
    if distance:
        outputs.append(helper.make_tensor_value_info("training_distance", TensorProto.FLOAT, [batch]))
    inputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in ("flux", "inverse_variance")]
    graph = helper.make_graph(nodes, "colour", inputs, outputs, constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)


def write_stamp_model(path: Path, bands: Sequence[str] = ("g", "r", "i"), **changes: Any) -> Path:
    """Write a model with its metadata; `stamps` changes what these say, other keywords the graph."""
    stamps = {"size_px": SIZE, "pixel_scale_arcsec": 0.2, "bands": list(bands), **changes.pop("stamps", {})}
    inner = tuple(ModelInput(f"inner_{number}", "", "made by the network") for number in range(2))
    schema = ModelSchema(
        "colour", "cnn", "classification", inner, CLASSES, None, {}, {}, stamps=StampSettings(**stamps)
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(to_bytes(colour_model(len(bands), **changes), schema.as_metadata()))
    return path


def answer(flux: NDArray[np.float32]) -> NDArray[np.float64]:
    """What `colour_model` says of stamps (n, bands, size, size), worked out by numpy: (n, classes)."""
    first = (flux.shape[-1] - MIDDLE) // 2
    middle = flux[:, :2, first : first + MIDDLE, first : first + MIDDLE].astype(np.float64)
    g, r = middle.sum(axis=(2, 3)).T
    blue = 1 / (1 + np.exp(-2 * (g - RATIO * r) / SCALE_nJy))
    return np.stack([blue, 1 - blue], axis=1)
