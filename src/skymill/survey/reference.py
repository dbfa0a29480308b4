"""Which band stands for a source's brightness."""

from __future__ import annotations

from collections.abc import Sequence

REFERENCE_BANDS = ("i", "r")


def reference_band(bands: Sequence[str]) -> str:
    """Give the band whose magnitude stands for a source's brightness: i, else r, else the middle one."""
    return next((band for band in REFERENCE_BANDS if band in bands), bands[len(bands) // 2])
