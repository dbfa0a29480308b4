"""Which features a survey gives: from its description to a recipe."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from skymill.config import FeatureSettings, RunConfig, SurveyConfig
from skymill.features.image_columns import with_measured_columns
from skymill.features.kernel import VERSION
from skymill.features.measured import MOMENTS
from skymill.features.recipe import Recipe
from skymill.features.registry import features_of
from skymill.store.algorithm import TILE_FILE, algorithm_digest
from skymill.store.keys import digest, short
from skymill.survey.blocks import SourceSchema
from skymill.survey.flux import softening_nJy
from skymill.survey.measurements import source_schema
from skymill.survey.reference import reference_band

KERNEL = ["skymill.features.kernel", TILE_FILE]


def make_recipe(survey: SurveyConfig, settings: FeatureSettings) -> Recipe:
    """Choose the features of a survey.

    Raises
    ------
    ValueError
        If the settings name a photometry or a band that the survey does not have, or a band has no softening.
    """
    if survey.format == "simulated":
        from skymill.survey.embedded import mapped

        survey = mapped(survey)
    survey = with_measured_columns(survey, settings.measure)
    schema = source_schema(survey)
    colour_flux = _photometry(schema, settings.colour_flux, "colour_flux", 0)
    size_flux = _photometry(schema, settings.size_flux, "size_flux", 1)
    described = survey.photometry.get(colour_flux or "")
    extinction = survey.extinction.coefficients if survey.extinction and settings.deredden and colour_flux else None
    return Recipe(
        bands=schema.bands,
        colour_flux=colour_flux,
        size_flux=size_flux if size_flux != colour_flux else None,
        has_errors=described is not None and described.has_errors,
        softening_nJy=_softening(survey, settings, colour_flux) if colour_flux else (),
        extinction=tuple(extinction[band] for band in schema.bands) if extinction else None,
        radius_unit=_radius_unit(schema),
        psf_band=_psf_band(schema),
        values=tuple(schema.values.items()),
    )


def names(run: RunConfig, survey: SurveyConfig) -> list[str]:
    """Give the names of all features, in the order of the catalogue's columns."""
    return [feature.name for feature in features_of(make_recipe(survey, run.features))]


def settings_digest(run: RunConfig, survey: SurveyConfig) -> str:
    """Give the settings12 of the feature catalogue: what all its tiles share; the data are not part of it."""
    return settings_of(make_recipe(survey, run.features))


def settings_of(recipe: Recipe) -> str:
    """Give the settings12 of a recipe."""
    return short(digest(ingredients(recipe)))


def ingredients(recipe: Recipe) -> dict[str, Any]:
    """What enters the key of every tile, besides the sources."""
    return {"recipe": asdict(recipe), "algorithm": algorithm_digest(VERSION, KERNEL)}


def magnitude_feature(bands: Sequence[str]) -> str:
    """Name the feature that results are binned by: the magnitude in the reference band."""
    return f"{reference_band(tuple(bands))}_asinh_mag"


def _photometry(schema: SourceSchema, wanted: str | None, key: str, place: int) -> str | None:
    if wanted is not None and wanted not in schema.fluxes:
        known = ", ".join(schema.fluxes) or "none"
        raise ValueError(f"features.{key}: expected a photometry of the survey ({known}), found '{wanted}'")
    return wanted or (schema.fluxes[place] if place < len(schema.fluxes) else None)


def _softening(survey: SurveyConfig, settings: FeatureSettings, colour_flux: str) -> tuple[float, ...]:
    """The settings' softenings, else the survey's own, else LSST's."""
    known = settings.softening_nJy or softening_nJy(survey.photometry[colour_flux])
    lacking = [band for band in survey.bands if not known.get(band, 0.0) > 0]
    if lacking:
        raise ValueError(
            f"features.softening_nJy: bands {', '.join(lacking)} have no positive softening; give one for every band, "
            f"about the 1-sigma flux error of a faint source in nJy (found {known})"
        )
    return tuple(float(known[band]) for band in survey.bands)


def _radius_unit(schema: SourceSchema) -> str | None:
    if not set(MOMENTS) <= set(schema.values):
        return None
    from astropy import units

    return str(units.Unit(schema.values[MOMENTS[0]]) ** 0.5)


def _psf_band(schema: SourceSchema) -> str | None:
    """The band of the PSF's moments nearest to the reference: it, else the first that has them."""
    order = [reference_band(schema.bands), *schema.bands]
    return next((band for band in order if {f"{band}_ixxPSF", f"{band}_iyyPSF"} <= set(schema.values)), None)
