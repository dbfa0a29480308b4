"""ONNX inference over tiles."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lazy_loader import attach

from skymill.inference.settings import settings_digest

if TYPE_CHECKING:
    from skymill.inference.stage import InferenceError, run
    from skymill.inference.tiles import MissingFeaturesError

__all__ = ["InferenceError", "MissingFeaturesError", "run", "settings_digest"]

# The stage is imported when it is used: the Snakefile only needs the digest.
__getattr__ = attach(
    __name__,
    submod_attrs={
        "stage": ["InferenceError", "run"],
        "tiles": ["MissingFeaturesError"],
    },
)[0]
