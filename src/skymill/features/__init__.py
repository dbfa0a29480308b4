"""Features of sources: one registry of names, units and definitions, and what computes them tile by tile."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from skymill.features.deciding import deciding

if TYPE_CHECKING:
    from skymill.features.negative import negative_flux_features
    from skymill.features.plan import magnitude_feature, make_recipe, names, reference_band, settings_digest
    from skymill.features.stage import FeatureError, compute

__all__ = [
    "FeatureError",
    "compute",
    "deciding",
    "make_recipe",
    "names",
    "negative_flux_features",
    "reference_band",
    "magnitude_feature",
    "settings_digest",
]

_LATE = {
    "negative": ("negative_flux_features",),
    "plan": ("magnitude_feature", "make_recipe", "names", "reference_band", "settings_digest"),
    "stage": ("FeatureError", "compute"),
}


def __getattr__(name: str) -> Any:
    """Import what is used: the Snakefile only needs the digest, and a worker neither that nor the stage."""
    for module, offered in _LATE.items():
        if name in offered:
            return getattr(import_module(f"skymill.features.{module}"), name)
    raise AttributeError(f"module 'skymill.features' has no attribute '{name}'")
