"""Features of sources: one registry of names, units and definitions, and what computes them tile by tile."""

from skymill.features.plan import make_recipe, names, reference_band, settings_digest

__all__ = ["FeatureError", "compute", "make_recipe", "names", "reference_band", "settings_digest"]


def __getattr__(name: str) -> object:
    """Import the stage when it is used: the Snakefile only needs the digest."""
    if name not in ("FeatureError", "compute"):
        raise AttributeError(f"module 'skymill.features' has no attribute '{name}'")
    from skymill.features.stage import FeatureError, compute

    return {"FeatureError": FeatureError, "compute": compute}[name]
