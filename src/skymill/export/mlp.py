"""A torch network as an ONNX graph without a trace of the machine it was made on."""

from __future__ import annotations

import logging
import warnings
from typing import TYPE_CHECKING

import onnx

from skymill.export.graph import OPSET, new_model
from skymill.export.metadata import INPUT, OUTPUT

if TYPE_CHECKING:
    from skymill.models import Mlp


def convert(mlp: Mlp) -> onnx.ModelProto:
    """Convert fitted perceptrons to ``features`` -> ``probabilities``, not calibrated.

    The exporter of torch notes stack traces with paths, and its own version, beside each node; only the nodes and the
    weights are kept.
    """
    import torch

    # It warns of each operator of torchvision that is not installed; our networks have none.
    logging.getLogger("torch.onnx._internal.exporter._registration").setLevel(logging.ERROR)
    network = mlp.folded()
    n_features = len(network.imputation)
    example = torch.zeros(2, n_features)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore", FutureWarning)  # torch's own calls of its deprecated pytree API
        program = torch.onnx.export(
            network,
            (example,),
            input_names=[INPUT],
            output_names=[OUTPUT],
            dynamic_shapes=({0: torch.export.Dim("n", min=1)},),
            opset_version=OPSET,
            dynamo=True,
            external_data=False,
            verbose=False,
        )
        n_classes = network(example).shape[1]
    assert program is not None  # only with `f=`, the old form of the call
    exported = program.model_proto
    nodes = list(exported.graph.node)
    constants = list(exported.graph.initializer)
    for part in (*nodes, *constants):
        del part.metadata_props[:]
        part.doc_string = ""
    return new_model(nodes, constants, n_features=n_features, n_classes=n_classes)
