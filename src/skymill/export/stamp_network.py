"""A network on stamps as ONNX graphs: its head, which calibration and distance follow, and its encoder."""

from __future__ import annotations

from typing import TYPE_CHECKING

import onnx
from onnx import TensorProto, helper

from skymill.export.graph import new_model, node, set_apart
from skymill.export.metadata import DISAGREEMENT, EMBEDDING, FLUX, INPUT, INVERSE_VARIANCE, OUTPUT
from skymill.export.torch_graph import prepend, torch_graph

if TYPE_CHECKING:
    from skymill.config.model import StampSettings
    from skymill.models.stamp_network import StampNetwork


def convert(network: StampNetwork) -> onnx.ModelProto:
    """Convert the head of a fitted network: ``features`` (its vectors) -> ``probabilities``, not calibrated."""
    import torch

    from skymill.models.cnn_network import Probabilities

    length = network.length
    nodes, constants = torch_graph(
        Probabilities(network.head).eval(), [torch.zeros(2, length)], inputs=[INPUT], outputs=[OUTPUT]
    )
    return new_model(nodes, constants, n_features=length, n_classes=network.shape["classes"])


def append_disagreement(network: StampNetwork, model: onnx.ModelProto) -> onnx.ModelProto:
    """Give a copy of a graph of several networks' ``features`` that also has the output ``disagreement``, (n,)."""
    import torch

    from skymill.models.cnn_network import Disagreement, MeanHead

    assert isinstance(network.head, MeanHead)
    module, example = Disagreement(network.head).eval(), torch.zeros(2, network.length)
    nodes, constants = torch_graph(module, [example], inputs=[INPUT], outputs=[DISAGREEMENT])
    set_apart(nodes, constants, prefix="disagreement_", shared=(INPUT, DISAGREEMENT))
    extended = onnx.ModelProto()
    extended.CopyFrom(model)
    extended.graph.node.extend(nodes)
    extended.graph.initializer.extend(constants)
    extended.graph.output.append(helper.make_tensor_value_info(DISAGREEMENT, TensorProto.FLOAT, ["n"]))
    return extended


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

    shape = (2, len(stamps.bands), stamps.size_px, stamps.size_px)
    whole = prepend(network.encoder, model, {FLUX: torch.zeros(shape), INVERSE_VARIANCE: torch.ones(shape)})
    if embedding:
        whole.graph.node.append(node("Identity", [INPUT], EMBEDDING))
        whole.graph.output.append(helper.make_tensor_value_info(EMBEDDING, TensorProto.FLOAT, ["n", network.length]))
    return whole
