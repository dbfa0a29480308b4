"""The convolutional network as ONNX graphs: its head, which calibration and distance follow, and its encoder."""

from __future__ import annotations

from typing import TYPE_CHECKING

import onnx

from skymill.export.graph import new_model
from skymill.export.metadata import FLUX, INPUT, INVERSE_VARIANCE, OUTPUT
from skymill.export.torch_graph import prepend, torch_graph

if TYPE_CHECKING:
    from skymill.config.model import StampSettings
    from skymill.models import Cnn


def convert(cnn: Cnn) -> onnx.ModelProto:
    """Convert the head of a fitted network: ``features`` (its vectors) -> ``probabilities``, not calibrated."""
    import torch

    from skymill.models.cnn_network import Probabilities

    length = cnn.shape["vector"]
    nodes, constants = torch_graph(
        Probabilities(cnn.head).eval(), [torch.zeros(2, length)], inputs=[INPUT], output=OUTPUT
    )
    return new_model(nodes, constants, n_features=length, n_classes=cnn.shape["classes"])


def prepend_encoder(cnn: Cnn, model: onnx.ModelProto, stamps: StampSettings) -> onnx.ModelProto:
    """Give a copy of a head's graph that takes ``flux`` and ``inverse_variance`` in place of ``features``.

    Parameters
    ----------
    cnn : Cnn
    model : onnx.ModelProto
        Of the network's head, with whatever was appended to it.
    stamps : StampSettings
        Size and bands of the stamps, (n, bands, size, size).
    """
    import torch

    shape = (len(stamps.bands), stamps.size_px, stamps.size_px)
    examples = {FLUX: torch.zeros(2, *shape), INVERSE_VARIANCE: torch.ones(2, *shape)}
    return prepend(cnn.encoder, model, examples)
