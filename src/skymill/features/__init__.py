"""Features of sources: one registry of names, units and definitions, and what computes them tile by tile."""

from skymill.features.plan import make_recipe, names, reference_band, settings_digest

__all__ = ["FeatureError", "compute", "make_recipe", "names", "reference_band", "settings_digest"]


def __getattr__(name: str) -> object:
    """Import the stage when it is used: the Snakefile only needs the digest."""
    from skymill.features import stage

    if name in ("FeatureError", "compute"):
        return getattr(stage, name)
    raise AttributeError(f"module 'skymill.features' has no attribute '{name}'")
