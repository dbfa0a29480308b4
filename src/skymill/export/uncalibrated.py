"""What a model says before its calibration."""

from __future__ import annotations

import onnx
from onnx import TensorProto, helper

from skymill.export.calibrate import RAW


def with_uncalibrated(content: bytes) -> bytes | None:
    """Give the bytes of an ONNX file with one output more: the probabilities before calibration, as ``uncalibrated``.

    Returns
    -------
    bytes or None
        None if the graph does not calibrate.
    """
    model = onnx.load_from_string(content)
    if not any(RAW in node.output for node in model.graph.node):
        return None
    classes = model.graph.output[0].type.tensor_type.shape.dim[1].dim_value
    model.graph.output.append(helper.make_tensor_value_info(RAW, TensorProto.FLOAT, ["n", classes]))
    return bytes(model.SerializeToString(deterministic=True))
