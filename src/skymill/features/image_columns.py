"""What is measured on images, as the columns that any survey describes of its tables."""

from __future__ import annotations

from typing import Any

from skymill.config import SurveyConfig
from skymill.config.images import MeasureSettings
from skymill.features.measuring import flux_names, value_units
from skymill.survey.images.ownership import PRIMARY


def with_measured_columns(survey: SurveyConfig, settings: MeasureSettings) -> SurveyConfig:
    """Give a survey of images the map of the columns that are measured on it; any other survey is given back.

    Parameters
    ----------
    survey : SurveyConfig
    settings : MeasureSettings
        Its apertures have a flux each.
    """
    if survey.images is None or survey.id is not None:
        return survey
    fluxes: dict[str, Any] = {
        name: {"column": f"{{band}}_{name}", "error": f"{{band}}_{name}Err", "unit": "nJy"}
        for name in flux_names(settings.apertures_arcsec)
    }
    values = value_units(survey.bands, morphology=settings.morphology)
    columns = {
        "id": {"column": "objectId"},
        "ra": {"column": "coord_ra", "unit": "deg"},
        "dec": {"column": "coord_dec", "unit": "deg"},
        "photometry": fluxes,
        "values": {name: {"column": name, "unit": unit} for name, unit in values.items()},
        "primary": {"column": PRIMARY, "keep": True},
    }
    mapped = SurveyConfig.model_validate(survey.model_dump(exclude_unset=True) | columns)
    mapped._file = survey._file
    return mapped
