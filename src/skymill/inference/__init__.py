"""Running an ONNX model over tiles."""

from skymill.inference.settings import settings_digest
from skymill.inference.stage import InferenceError, run
from skymill.inference.tiles import MissingFeaturesError

__all__ = ["InferenceError", "MissingFeaturesError", "run", "settings_digest"]
