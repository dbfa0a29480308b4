"""A network on stamps as ONNX graphs: its head, which calibration and distance follow, and its encoder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import onnx
from onnx import TensorProto, helper

from skymill.export.graph import new_model, node, set_apart
from skymill.export.metadata import EMBEDDING, FLUX, INPUT, INVERSE_VARIANCE, OUTPUT
from skymill.export.torch_graph import torch_graph

if TYPE_CHECKING:
    from skymill.config.model import StampSettings
    from skymill.models.stamp_network import StampNetwork

ENCODER = "encode_"
"""Begins the names of the encoder's nodes."""


def convert(network: StampNetwork) -> onnx.ModelProto:
    """Convert the head of a fitted network: ``features`` (its vectors) -> ``probabilities``, not calibrated."""
    import torch

    from skymill.models.cnn_network import Probabilities

    length = network.shape["vector"]
    nodes, constants = torch_graph(
        Probabilities(network.head).eval(), [torch.zeros(2, length)], inputs=[INPUT], outputs=[OUTPUT]
    )
    return new_model(nodes, constants, n_features=length, n_classes=network.shape["classes"])


def prepend_encoder(
    network: StampNetwork, model: onnx.ModelProto, stamps: StampSettings, *, embedding: bool = False
) -> onnx.ModelProto:
    """Give a copy of a head's graph that takes ``flux`` and ``inverse_variance`` in place of ``features``.

    Parameters
    ----------
    network : StampNetwork
    model : onnx.ModelProto
        Of the network's head, with whatever was appended to it.
    stamps : StampSettings
        Size and bands of the stamps, (n, bands, size, size).
    embedding : bool
        Whether the vectors are an output too, ``embedding``.
    """
    import torch

    shape = (len(stamps.bands), stamps.size_px, stamps.size_px)
    examples = [torch.zeros(2, *shape), torch.ones(2, *shape)]
    names = (FLUX, INVERSE_VARIANCE)
    nodes, constants = torch_graph(network.encoder, examples, inputs=names, outputs=[INPUT])
    set_apart(nodes, constants, prefix=ENCODER, shared=(*names, INPUT))
    whole = put_before(model, nodes, constants, stamps)
    if embedding:
        whole.graph.node.append(node("Identity", [INPUT], EMBEDDING))
        length = network.shape["vector"]
        whole.graph.output.append(helper.make_tensor_value_info(EMBEDDING, TensorProto.FLOAT, ["n", length]))
    return whole


def put_before(
    model: onnx.ModelProto,
    nodes: Sequence[onnx.NodeProto],
    constants: Sequence[onnx.TensorProto],
    stamps: StampSettings,
) -> onnx.ModelProto:
    """Give a copy of a graph with nodes before it that make its ``features`` of ``flux`` and ``inverse_variance``."""
    shape = (len(stamps.bands), stamps.size_px, stamps.size_px)
    names = (FLUX, INVERSE_VARIANCE)
    whole = onnx.ModelProto()
    whole.CopyFrom(model)
    graph = whole.graph
    later, fixed = list(graph.node), list(graph.initializer)
    for field in ("node", "initializer", "input"):
        graph.ClearField(field)
    graph.node.extend([*nodes, *later])
    graph.initializer.extend([*constants, *fixed])
    graph.input.extend(helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", *shape]) for name in names)
    return whole
