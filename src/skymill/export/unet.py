"""The U-Net as an ONNX graph that keeps the contract of a learned segmenter."""

from __future__ import annotations

from typing import TYPE_CHECKING

import onnx
from onnx import TensorProto, helper

from skymill.export.graph import IR_VERSION, OPSET
from skymill.export.torch_graph import torch_graph
from skymill.features.segmenting.contract import BLEND, CHANNELS, INPUTS, SegmenterCard

if TYPE_CHECKING:
    from skymill.models import Unet


def convert(unet: Unet, card: SegmenterCard) -> onnx.ModelProto:
    """Convert a fitted network: flux and inverse variance (n, bands, window, window) to the contract's maps."""
    import torch

    from skymill.models.unet_network import Maps

    outputs = {**CHANNELS, BLEND: 1}
    side = card.window_px
    shape = (len(card.bands), side, side)
    network = Maps(unet.network, torch.from_numpy(unet.blend)).eval()
    examples = [torch.zeros(2, *shape), torch.ones(2, *shape)]
    nodes, constants = torch_graph(network, examples, inputs=INPUTS, outputs=list(outputs))
    graph = helper.make_graph(
        nodes,
        "skymill",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", *shape]) for name in INPUTS],
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", channels, side, side])
            for name, channels in outputs.items()
        ],
        constants,
    )
    return helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", OPSET)], producer_name="skymill", ir_version=IR_VERSION
    )
