"""The embedded survey of any size, as dense as LSST's."""

from __future__ import annotations

from skymill.config import SurveyConfig

DENSITY = 55_000
"""Sources per square degree: that of LSST's gold sample, so a billion of them fill its main survey."""
WHOLE_SKY = 41_252
"""Square degrees."""


def embedded_survey(rows: int, *, bad_rows: float = 0.02) -> SurveyConfig:
    """Configure the embedded survey with so many rows, a share of them faulty."""
    simulation = {"rows": rows, "area_deg2": min(rows / DENSITY, WHOLE_SKY), "seed": 1, "bad_rows": bad_rows}
    return SurveyConfig.model_validate(
        {"name": "embedded", "format": "simulated", "bands": list("ugrizy"), "simulation": simulation}
    )
