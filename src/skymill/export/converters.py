"""One dict from a kind's name to what makes its ONNX graph."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import onnx

from skymill.export import boosting, cnn, ensemble, forest, frozen, knn, linear_cut, mlp, oblivious, svm

CONVERTERS: dict[str, Callable[[Any], onnx.ModelProto]] = {
    "boosting": boosting.convert,
    "cnn": cnn.convert,
    "ensemble": ensemble.convert,
    "forest": forest.convert,
    "frozen": frozen.convert,
    "knn": knn.convert,
    "linear_cut": linear_cut.convert,
    "mlp": mlp.convert,
    "oblivious": oblivious.convert,
    "svm": svm.convert,
}
