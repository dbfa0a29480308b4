"""The perceptrons as an ONNX graph."""

from __future__ import annotations

from typing import TYPE_CHECKING

import onnx

from skymill.export.graph import new_model
from skymill.export.metadata import INPUT, OUTPUT
from skymill.export.torch_graph import torch_graph

if TYPE_CHECKING:
    from skymill.models import Mlp


def convert(mlp: Mlp) -> onnx.ModelProto:
    """Convert fitted perceptrons to ``features`` -> ``probabilities``, not calibrated."""
    import torch

    network = mlp.folded()
    example = torch.zeros(2, len(network.imputation))
    nodes, constants = torch_graph(network, [example], inputs=[INPUT], outputs=[OUTPUT])
    with torch.no_grad():
        n_classes = network(example).shape[1]
    return new_model(nodes, constants, n_features=example.shape[1], n_classes=n_classes)
