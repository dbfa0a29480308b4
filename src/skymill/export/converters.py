"""One dict from a kind's name to what makes its ONNX graph."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import onnx

from skymill.export import boosting, ensemble, forest, frozen, knn, linear_cut, mlp, oblivious, stamp_network, svm
from skymill.models import STAMP_NETWORKS

CONVERTERS: dict[str, Callable[[Any], onnx.ModelProto]] = {
    "boosting": boosting.convert,
    "ensemble": ensemble.convert,
    "forest": forest.convert,
    "frozen": frozen.convert,
    "knn": knn.convert,
    "linear_cut": linear_cut.convert,
    "mlp": mlp.convert,
    "oblivious": oblivious.convert,
    "svm": svm.convert,
    **dict.fromkeys(STAMP_NETWORKS, stamp_network.convert),
}
