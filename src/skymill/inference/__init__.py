"""ONNX inference over tiles."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from skymill.inference.settings import settings_digest

if TYPE_CHECKING:
    from skymill.inference.stage import InferenceError, run
    from skymill.inference.tiles import MissingFeaturesError

__all__ = ["InferenceError", "MissingFeaturesError", "run", "settings_digest"]


def __getattr__(name: str) -> Any:
    """Import the stage when it is used: the Snakefile only needs the digest."""
    from skymill.inference import stage, tiles

    for module in (stage, tiles):
        if name in __all__ and hasattr(module, name):
            return getattr(module, name)
    raise AttributeError(f"module 'skymill.inference' has no attribute '{name}'")
