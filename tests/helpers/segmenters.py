"""Segmenters without training: the significance of a point source, worked out by an ONNX graph."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

from skymill.export.graph import IR_VERSION, OPSET, constant, node, to_bytes

CHANNELS = {"classes": 4, "centre": 1, "offset": 2}
RADIUS, TOP_RADIUS = 5, 3
"""Of the filter, and of the surroundings in which a pixel is the highest, or that its offset leads into."""
HALO = RADIUS + TOP_RADIUS


def card(bands: Sequence[str] = ("g", "r", "i"), **changes: Any) -> dict[str, Any]:
    """Metadata that are right; None takes a key out."""
    content = {
        "format": 1,
        "task": "segmentation",
        "model": "significance",
        "bands": list(bands),
        "pixel_scale_arcsec": 0.2,
        "halo_px": HALO,
        "window_px": 96,
        **changes,
    }
    return {key: value for key, value in content.items() if value is not None}


def significance_model(n_bands: int, *, threshold: float = 5.0, fwhm_px: float = 4.0) -> onnx.ModelProto:
    """Bands summed by weight and filtered; what is above `threshold` sigma is a source, around the highest pixels."""
    offsets = np.arange(-RADIUS, RADIUS + 1)
    line = np.exp(-0.5 * np.square(offsets * 2.3548 / fwhm_px))
    profile = np.outer(line, line)
    near = np.arange(-TOP_RADIUS, TOP_RADIUS + 1.0)
    down, right = np.meshgrid(near, near, indexing="ij")
    pads = {"pads": [RADIUS] * 4}, {"pads": [TOP_RADIUS] * 4}
    size = 2 * TOP_RADIUS + 1
    nodes = [
        node("Mul", ["flux", "inverse_variance"], "weighted"),
        node("Conv", ["weighted", "profile"], "signal", **pads[0]),
        node("Conv", ["inverse_variance", "squared_profile"], "information", **pads[0]),
        node("Add", ["information", "tiny"], "some_information"),
        node("Sqrt", ["some_information"], "root"),
        node("Div", ["signal", "root"], "significance"),
        node("Sub", ["significance", "threshold"], "above"),
        node("Mul", ["above", "steepness"], "logit"),
        node("Sigmoid", ["logit"], "source"),
        node("Sub", ["one", "source"], "sky"),
        node("Mul", ["source", "star_share"], "star"),
        node("Mul", ["source", "galaxy_share"], "galaxy"),
        node("Mul", ["source", "nothing"], "artefact"),
        node("Concat", ["sky", "star", "galaxy", "artefact"], "classes", axis=1),
        node("MaxPool", ["significance"], "highest", kernel_shape=[size, size], **pads[1]),
        node("Equal", ["significance", "highest"], "is_highest"),
        node("Cast", ["is_highest"], "peak", to=TensorProto.FLOAT),
        node("Mul", ["peak", "source"], "centre"),
        node("Relu", ["above"], "light"),
        node("Conv", ["light", "lever"], "moment", **pads[1]),
        node("Conv", ["light", "flat"], "total", **pads[1]),
        node("Add", ["total", "tiny"], "some_light"),
        node("Div", ["moment", "some_light"], "offset"),
    ]
    constants = [
        constant("profile", np.broadcast_to(profile, (1, n_bands, *profile.shape))),
        constant("squared_profile", np.broadcast_to(profile**2, (1, n_bands, *profile.shape))),
        constant("lever", np.stack([down, right])[:, None]),
        constant("flat", np.ones((1, 1, size, size))),
        *(constant(*each) for each in [("tiny", 1e-20), ("threshold", threshold), ("steepness", 4.0), ("one", 1.0)]),
        *(constant(*each) for each in [("star_share", 0.3), ("galaxy_share", 0.7), ("nothing", 0.0)]),
    ]
    return model(nodes, constants, n_bands)


def model(
    nodes: Sequence[onnx.NodeProto],
    constants: Sequence[onnx.TensorProto],
    n_bands: int,
    *,
    sides: Sequence[int | str] = ("h", "w"),
    batch: int | str = "n",
    dtype: int = TensorProto.FLOAT,
    inputs: Sequence[str] = ("flux", "inverse_variance"),
    outputs: Sequence[str] = ("classes", "centre", "offset"),
) -> onnx.ModelProto:
    """A graph with the tensors of the contract, or with others."""
    graph = helper.make_graph(
        nodes,
        "segmenter",
        [helper.make_tensor_value_info(name, dtype, [batch, n_bands, *sides]) for name in inputs],
        [helper.make_tensor_value_info(name, dtype, [batch, CHANNELS.get(name, 1), *sides]) for name in outputs],
        constants,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)


def constant_model(
    *,
    classes: Sequence[float] = (1, 0, 0, 0),
    centre: float = 0.0,
    offset: float = 0.0,
    blend: float | None = None,
    n_bands: int = 3,
    **more: Any,
) -> onnx.ModelProto:
    """A segmenter that says the same of all pixels, of blends too if asked to; the rest as `model` has it."""
    dtype = np.float64 if more.get("dtype") == TensorProto.DOUBLE else np.float32
    values = {"classes": classes, "centre": [centre], "offset": [offset] * 2}
    if blend is not None:
        values["blend"] = [blend]
        more["outputs"] = tuple(values)
    nodes = [
        node("Mul", ["flux", "inverse_variance"], "both"),
        node("ReduceMax", ["both", "bands"], "one_band"),
        node("IsNaN", ["one_band"], "is_nan"),
        node("Cast", ["is_nan"], "zero", to=more.get("dtype", TensorProto.FLOAT)),
        *(node("Add", ["zero", f"value_{name}"], name) for name in values),
    ]
    constants = [constant(f"value_{name}", np.reshape(each, (1, -1, 1, 1)), dtype) for name, each in values.items()]
    return model(nodes, [*constants, constant("bands", [1], np.int64)], n_bands, **more)


def write_segmenter(path: Path, n_bands: int = 3, *, threshold: float = 5.0, **changes: Any) -> str:
    """Write a segmenter's file; keyword arguments change its metadata."""
    content = card(**{"bands": ["g", "r", "i"][:n_bands], **changes})
    path.write_bytes(to_bytes(significance_model(n_bands, threshold=threshold), content))
    return str(path)
