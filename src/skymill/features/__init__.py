"""Features of sources: one registry of names, units and definitions, and what computes them tile by tile."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lazy_loader import attach

from skymill.features.deciding import deciding

if TYPE_CHECKING:
    from skymill.features.image_columns import with_measured_columns
    from skymill.features.image_settings import segmentation_settings
    from skymill.features.image_stage import MeasureGroupError, measure_group
    from skymill.features.negative import negative_flux_features
    from skymill.features.plan import magnitude_feature, make_recipe, names, settings_digest
    from skymill.features.stage import FeatureError, compute

__all__ = [
    "FeatureError",
    "MeasureGroupError",
    "compute",
    "deciding",
    "make_recipe",
    "measure_group",
    "names",
    "negative_flux_features",
    "magnitude_feature",
    "segmentation_settings",
    "settings_digest",
    "with_measured_columns",
]

# Imported when used: the Snakefile only needs the digests, and a worker neither these nor the stage.
__getattr__ = attach(
    __name__,
    submod_attrs={
        "image_columns": ["with_measured_columns"],
        "image_settings": ["segmentation_settings"],
        "image_stage": ["MeasureGroupError", "measure_group"],
        "negative": ["negative_flux_features"],
        "plan": ["magnitude_feature", "make_recipe", "names", "settings_digest"],
        "stage": ["FeatureError", "compute"],
    },
)[0]
