"""A network on stamps as ONNX graphs: its head, which calibration and distance follow, and its encoder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import onnx
from onnx import TensorProto, helper

from skymill.export.graph import new_model, node, set_apart
from skymill.export.metadata import DISAGREEMENT, EMBEDDING, FLUX, INPUT, INVERSE_VARIANCE, OUTPUT, VOTES
from skymill.export.torch_graph import prepend, torch_graph

if TYPE_CHECKING:
    from torch import nn

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
    from skymill.models.cnn_network import Disagreement, MeanHead

    assert isinstance(network.head, MeanHead)
    return _appended(Disagreement(network.head), network.length, model, DISAGREEMENT, ["n"])


def append_votes(network: StampNetwork, factors: Sequence[float], model: onnx.ModelProto) -> onnx.ModelProto:
    """Give a copy of a graph of a network's ``features`` that also has the output ``votes``, (n, answers).

    Parameters
    ----------
    network : StampNetwork
    factors : sequence of float, (q,)
        Of the concentrations of each question, by calibration.
    model : onnx.ModelProto
    """
    import torch

    from skymill.models.votes_network import Concentrations

    module = Concentrations(network.head, torch.tensor(factors, dtype=torch.float32))
    return _appended(module, network.length, model, VOTES, ["n", sum(network.questions)])


def _appended(
    module: nn.Module, length: int, model: onnx.ModelProto, output: str, shape: Sequence[str | int]
) -> onnx.ModelProto:
    """Give a copy of a graph that also has what a module makes of its ``features``, (n, length)."""
    import torch

    nodes, constants = torch_graph(module.eval(), [torch.zeros(2, length)], inputs=[INPUT], outputs=[output])
    set_apart(nodes, constants, prefix=f"{output}_", shared=(INPUT, output))
    extended = onnx.ModelProto()
    extended.CopyFrom(model)
    extended.graph.node.extend(nodes)
    extended.graph.initializer.extend(constants)
    extended.graph.output.append(helper.make_tensor_value_info(output, TensorProto.FLOAT, list(shape)))
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
