"""A frozen encoder and its probe as ONNX graphs: the probe, which calibration and distance follow, and the encoder."""

from __future__ import annotations

from typing import TYPE_CHECKING

import onnx
from onnx import compose, version_converter

from skymill.export.graph import ENCODER, OPSET, constant, new_model, node, put_before
from skymill.export.metadata import FLUX, INPUT, INVERSE_VARIANCE, OUTPUT
from skymill.models.frozen import BANDS_LAST
from skymill.sessions.entry import ModelFileError

if TYPE_CHECKING:
    from skymill.config.model import StampSettings
    from skymill.models import Frozen


def convert(probe: Frozen) -> onnx.ModelProto:
    """Convert the probe: ``features`` (the encoder's vectors) -> ``probabilities``, not calibrated."""
    nodes = [node("Gemm", [INPUT, "weights", "bias"], "scores"), node("Softmax", ["scores"], OUTPUT, axis=1)]
    constants = [constant("weights", probe.weights), constant("bias", probe.bias)]
    length, n_classes = probe.weights.shape
    return new_model(nodes, constants, n_features=length, n_classes=n_classes)


def prepend_encoder(probe: Frozen, model: onnx.ModelProto, stamps: StampSettings) -> onnx.ModelProto:
    """Give a copy of a probe's graph that takes ``flux`` and ``inverse_variance`` in place of ``features``.

    Raises
    ------
    ModelFileError
        If the encoder has operators that are not ONNX's own, or that the operator set of our files does not have.
    """
    encoder = compose.add_prefix(_same_operators(onnx.load_from_string(probe.content)), ENCODER)
    order = {"perm": list(BANDS_LAST)} if probe.form["layout"] == "bands_last" else {}
    inputs = [
        node("Transpose" if order else "Identity", [ours], ENCODER + probe.form[role], **order)
        for role, ours in (("flux", FLUX), ("inverse_variance", INVERSE_VARIANCE))
        if probe.form[role]
    ]
    nodes = [*inputs, *encoder.graph.node, node("Identity", [ENCODER + probe.form["output"]], INPUT)]
    shape = (len(stamps.bands), stamps.size_px, stamps.size_px)
    return put_before(model, nodes, list(encoder.graph.initializer), dict.fromkeys((FLUX, INVERSE_VARIANCE), shape))


def _same_operators(encoder: onnx.ModelProto) -> onnx.ModelProto:
    """Bring an encoder to the operator set of our files."""
    versions = {each.domain: each.version for each in encoder.opset_import}
    foreign = sorted(set(versions) - {"", "ai.onnx"})
    if foreign or encoder.functions:
        raise ModelFileError(
            f"the encoder has operators of {', '.join(foreign) or 'functions'}; export it with ONNX's own alone"
        )
    if versions.get("", OPSET) == OPSET:
        return encoder
    try:
        return version_converter.convert_version(encoder, OPSET)
    except Exception as error:  # it raises what it likes
        raise ModelFileError(
            f"the encoder is of operator set {versions.get('')} and cannot be brought to {OPSET}: {error}; export it "
            f"with opset {OPSET}"
        ) from error
