"""Pages and plots a person reads."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lazy_loader import attach

if TYPE_CHECKING:
    from skymill.report.writing import page

__all__ = ["IMAGES_NUMBERS", "IMAGES_PAGE", "PLOTS_OF_MODELS", "PLOTS_OF_SKY", "page"]

PLOTS_OF_MODELS = ("confusion", "calibration", "magnitude", "thresholds", "importance")
"""Galleries with one figure of each trained model: `plots/<model>-<gallery>.svg`."""
PLOTS_OF_SKY = ("density", "entropy")
"""Maps: `plots/sky-<gallery>.svg`, the fields of a survey beside each other."""

IMAGES_PAGE, IMAGES_NUMBERS = "images.html", "images.json"
"""Of a survey of images."""

# The Snakefile only needs the names of files.
__getattr__ = attach(
    __name__,
    submod_attrs={
        "writing": ["page"],
    },
)[0]
