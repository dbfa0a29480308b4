"""Sources of an image tile: found, taken apart, and measured in all bands."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lazy_loader import attach

if TYPE_CHECKING:
    from skymill.features.measuring.flags import MEASURE_FLAGS
    from skymill.features.measuring.kernel import measure
    from skymill.features.measuring.measured import Measured, MeasureError, Positions, flux_names, value_units

__all__ = ["MEASURE_FLAGS", "MeasureError", "Measured", "Positions", "flux_names", "measure", "value_units"]

# Imported when used.
__getattr__ = attach(
    __name__,
    submod_attrs={
        "flags": ["MEASURE_FLAGS"],
        "kernel": ["measure"],
        "measured": ["MeasureError", "Measured", "Positions", "flux_names", "value_units"],
    },
)[0]
