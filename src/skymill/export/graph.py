"""What all exported graphs share: operator sets, imputation at the start, bytes that never vary."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from skymill.export.metadata import INPUT, OUTPUT
from skymill.models.cleaning import Scaler
from skymill.sessions.entry import ENTRY

OPSET = 20
IR_VERSION = 10
ENCODER = "encode_"
"""Begins the names of the nodes of a network that makes features of stamps."""


def constant(name: str, value: Any, dtype: type = np.float32) -> onnx.TensorProto:
    """Make a named constant of a graph."""
    return numpy_helper.from_array(np.asarray(value, dtype=dtype), name)


def node(operator: str, inputs: Sequence[str], output: str, **attributes: Any) -> onnx.NodeProto:
    """Make a node named after its one output."""
    return helper.make_node(operator, inputs, [output], name=output, **attributes)


def set_apart(
    nodes: Sequence[onnx.NodeProto], constants: Sequence[onnx.TensorProto], *, prefix: str, shared: Collection[str]
) -> None:
    """Put `prefix` before all names but the `shared` ones, so that they are not those of a model.

    An input without a name is one that a node may do without.
    """
    for each in nodes:
        for names in (each.input, each.output):
            names[:] = [prefix + name if name and name not in shared else name for name in names]
        each.name = prefix + each.name
    for tensor in constants:
        tensor.name = prefix + tensor.name


def put_before(
    model: onnx.ModelProto,
    nodes: Sequence[onnx.NodeProto],
    constants: Sequence[onnx.TensorProto],
    inputs: Mapping[str, Sequence[int]],
) -> onnx.ModelProto:
    """Give a copy of a graph with nodes before it that make its ``features`` of other inputs.

    Parameters
    ----------
    model : onnx.ModelProto
    nodes, constants : sequence
    inputs : mapping of str to sequence of int
        What the nodes take, float32, and its shape after the first axis.
    """
    whole = onnx.ModelProto()
    whole.CopyFrom(model)
    graph = whole.graph
    later, fixed = list(graph.node), list(graph.initializer)
    for field in ("node", "initializer", "input"):
        graph.ClearField(field)
    graph.node.extend([*nodes, *later])
    graph.initializer.extend([*constants, *fixed])
    graph.input.extend(
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", *shape]) for name, shape in inputs.items()
    )
    return whole


def imputation_nodes(
    imputation: NDArray[np.float32], *, output: str
) -> tuple[list[onnx.NodeProto], list[onnx.TensorProto]]:
    """Put `imputation` (f,) where a feature is NaN or infinite; ``|x| <= largest float32`` is false for both."""
    nodes = [
        node("Abs", [INPUT], "size"),
        node("LessOrEqual", ["size", "largest"], "finite"),
        node("Where", ["finite", INPUT, "imputation"], output),
    ]
    return nodes, [constant("largest", np.finfo(np.float32).max), constant("imputation", imputation)]


def cleaning_nodes(scaler: Scaler, *, output: str) -> tuple[list[onnx.NodeProto], list[onnx.TensorProto]]:
    """Impute and clip, as `Scaler.clean`."""
    nodes, constants = imputation_nodes(scaler.imputation, output="measured")
    nodes += [node("Max", ["measured", "low"], "raised"), node("Min", ["raised", "high"], output)]
    return nodes, [*constants, constant("low", scaler.low), constant("high", scaler.high)]


def scaling_nodes(scaler: Scaler, *, output: str) -> tuple[list[onnx.NodeProto], list[onnx.TensorProto]]:
    """Impute, clip and standardise, as `Scaler.scaled`."""
    nodes, constants = cleaning_nodes(scaler, output="clean")
    nodes += [node("Sub", ["clean", "mean"], "centred"), node("Div", ["centred", "scale"], output)]
    return nodes, [*constants, constant("mean", scaler.mean), constant("scale", scaler.scale)]


def new_model(
    nodes: Sequence[onnx.NodeProto],
    constants: Sequence[onnx.TensorProto],
    *,
    n_features: int,
    n_classes: int,
    output: str = OUTPUT,
) -> onnx.ModelProto:
    """Build a model of nothing but its graph: ``features`` float32 (n, f) -> ``probabilities`` float32 (n, classes).

    Of a model of another task `output` is the name of what it gives, and `n_classes` the numbers of a row.
    """
    graph = helper.make_graph(
        nodes,
        "skymill",
        [helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, ["n", n_features])],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, ["n", n_classes])],
        constants,
    )
    return helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", OPSET)], producer_name="skymill", ir_version=IR_VERSION
    )


def to_bytes(model: onnx.ModelProto, metadata: Mapping[str, Any]) -> bytes:
    """Check a model, give it `metadata` as its entry ``skymill`` and give its bytes, the same in every process."""
    described = onnx.ModelProto()
    described.CopyFrom(model)
    helper.set_model_props(described, {ENTRY: json.dumps(metadata, sort_keys=True, allow_nan=False)})
    onnx.checker.check_model(described, full_check=True)
    return bytes(described.SerializeToString(deterministic=True))
