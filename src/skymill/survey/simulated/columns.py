"""How the raw columns of the simulated survey are to be read: the same description any survey gives of its own."""

from __future__ import annotations

from typing import Any

from skymill.survey.simulated.generate import EXTINCTION


def column_map() -> dict[str, Any]:
    """Give the keys id, ra, dec, photometry, values and extinction of a `SurveyConfig`."""
    moments = ("shape_xx", "shape_yy", "shape_xy", "i_ixxPSF", "i_iyyPSF", "i_ixyPSF")
    return {
        "id": {"column": "objectId"},
        "ra": {"column": "coord_ra", "unit": "deg"},
        "dec": {"column": "coord_dec", "unit": "deg"},
        "photometry": {
            name: {"column": f"{{band}}_{name}", "error": f"{{band}}_{name}Err", "unit": "nJy"}
            for name in ("psfFlux", "cModelFlux")
        },
        "values": {name: {"column": name, "unit": "pixel2"} for name in moments},
        "extinction": {"column": "ebv", "coefficients": dict(EXTINCTION)},
    }
