"""A torch network as the nodes of an ONNX graph, without a trace of the machine it was made on."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import onnx

from skymill.export.graph import ENCODER, OPSET, put_before, set_apart
from skymill.export.metadata import INPUT

if TYPE_CHECKING:
    from torch import Tensor, nn


def torch_graph(
    network: nn.Module, examples: Sequence[Tensor], *, inputs: Sequence[str], outputs: Sequence[str]
) -> tuple[list[onnx.NodeProto], list[onnx.TensorProto]]:
    """Give nodes and constants of a network; the first axis of every input is free.

    The exporter of torch notes stack traces with paths, and its own version, beside each node; only the nodes and the
    weights are kept.

    Parameters
    ----------
    network : nn.Module
    examples : sequence of Tensor
        One of each input, of at least two rows.
    inputs : sequence of str
    outputs : sequence of str
        Names of the tensors.
    """
    import torch

    # It warns of each operator of torchvision that is not installed; our networks have none.
    logging.getLogger("torch.onnx._internal.exporter._registration").setLevel(logging.ERROR)
    for name in ("onnxscript", "onnx_ir"):  # they tell of every constant that they share
        logging.getLogger(name).setLevel(logging.WARNING)
    free = torch.export.Dim("n", min=1)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore", FutureWarning)  # torch's own calls of its deprecated pytree API
        warnings.filterwarnings("ignore", "# The axis name: n will not be used")  # it is one axis of all inputs
        program = torch.onnx.export(
            network,
            tuple(examples),
            input_names=list(inputs),
            output_names=list(outputs),
            dynamic_shapes=tuple({0: free} for _ in inputs),
            opset_version=OPSET,
            dynamo=True,
            external_data=False,
            verbose=False,
        )
    assert program is not None  # only with `f=`, the old form of the call
    exported = program.model_proto
    nodes, constants = list(exported.graph.node), list(exported.graph.initializer)
    for part in (*nodes, *constants):
        del part.metadata_props[:]
        part.doc_string = ""
    return nodes, constants


def prepend(encoder: nn.Module, model: onnx.ModelProto, examples: Mapping[str, Tensor]) -> onnx.ModelProto:
    """Give a copy of a graph that takes what an encoder takes in place of ``features``, which the encoder makes of it.

    Parameters
    ----------
    encoder : nn.Module
        In evaluation mode.
    model : onnx.ModelProto
        Its first input is ``features``, which the encoder gives.
    examples : mapping of str to Tensor
        By name, in the order of the encoder's arguments; of at least two rows.
    """
    nodes, constants = torch_graph(encoder, list(examples.values()), inputs=list(examples), outputs=[INPUT])
    set_apart(nodes, constants, prefix=ENCODER, shared=(*examples, INPUT))
    return put_before(model, nodes, constants, {name: tuple(each.shape[1:]) for name, each in examples.items()})
