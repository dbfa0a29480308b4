"""ONNX inference over tiles."""

from skymill.inference.settings import settings_digest

__all__ = ["InferenceError", "MissingFeaturesError", "run", "settings_digest"]


def __getattr__(name: str) -> object:
    """Import the stage when it is used: the Snakefile only needs the digest."""
    if name not in __all__:
        raise AttributeError(f"module 'skymill.inference' has no attribute '{name}'")
    from skymill.inference.stage import InferenceError, run
    from skymill.inference.tiles import MissingFeaturesError

    return {"InferenceError": InferenceError, "MissingFeaturesError": MissingFeaturesError, "run": run}[name]
