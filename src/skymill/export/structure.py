"""A model of structure as one ONNX graph: encoder, mixture, calibration and the distance from the training rows."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import numpy as np
import onnx

from skymill.config.model import PSF_PX
from skymill.export.distance import append_distance
from skymill.export.graph import new_model
from skymill.export.metadata import FLUX, INPUT, INVERSE_VARIANCE, POSTERIOR, PSF
from skymill.export.torch_graph import prepend, torch_graph
from skymill.models.mixture import Widths, packed_width

if TYPE_CHECKING:
    from skymill.config.model import StampSettings
    from skymill.models import Structure
    from skymill.models.distance import TrainingDistance


def convert(model: Structure, widths: Widths, distance: TrainingDistance, stamps: StampSettings) -> onnx.ModelProto:
    """Convert a fitted network.

    Parameters
    ----------
    model : Structure
    widths : Widths
        Of the posteriors, as the calibration settled them.
    distance : TrainingDistance
        Among the vectors.
    stamps : StampSettings
        Size and bands of the stamps.

    Returns
    -------
    onnx.ModelProto
        ``flux``, ``inverse_variance`` (n, bands, k, k), ``psf`` (n, bands, p, p) -> ``posterior`` (n, `packed_width`),
        ``training_distance`` (n,).
    """
    import torch

    from skymill.models.structure_network import MixtureHead

    head, length = copy.deepcopy(model.head), model.shape["vector"]
    assert isinstance(head, MixtureHead)
    head.calibrate(*(torch.from_numpy(each.astype(np.float32)) for each in widths))
    nodes, constants = torch_graph(head, [torch.zeros(2, length)], inputs=[INPUT], outputs=[POSTERIOR])
    width = packed_width(model.shape["components"], len(widths.factors))
    graph = new_model(nodes, constants, n_features=length, n_classes=width, output=POSTERIOR)
    shape = (2, len(stamps.bands), stamps.size_px, stamps.size_px)
    psf = torch.full((2, len(stamps.bands), PSF_PX, PSF_PX), PSF_PX**-2.0)
    examples = {FLUX: torch.zeros(shape), INVERSE_VARIANCE: torch.ones(shape), PSF: psf}
    return prepend(model.encoder, append_distance(graph, distance), examples)
