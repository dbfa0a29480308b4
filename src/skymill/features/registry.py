"""Every feature, once: its name, unit, definition, group and the function that computes it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from skymill.features.magnitudes import asinh_magnitude
from skymill.features.measured import MOMENTS, Measured
from skymill.features.recipe import Recipe

GROUPS = ("photometric", "shape", "missing", "value")
"""`value` holds the survey's own columns; a model takes those by name only."""
Names = Iterator[dict[str, str]]


@dataclass(frozen=True)
class Feature:
    """One column of the feature catalogue."""

    name: str
    unit: str
    definition: str
    group: str
    indicator: bool
    """True where the value says whether something was measured, and is itself never missing."""


@dataclass(frozen=True)
class Family:
    """Features of one definition, one for each substitution in `name`."""

    name: str
    unit: str
    definition: str
    group: str
    over: Callable[[Recipe], Names]
    compute: Callable[[Measured], NDArray[np.float64]]
    """Gives (n, features of the family)."""

    def features(self, recipe: Recipe) -> list[Feature]:
        """The family's members for a recipe, in the order of `compute`'s columns."""
        indicator = self.group == "missing"
        return [
            Feature(
                self.name.format(**put), self.unit.format(**put), self.definition.format(**put), self.group, indicator
            )
            for put in self.over(recipe)
        ]


FAMILIES: list[Family] = []


def family(
    name: str, *, unit: str, definition: str, group: str, over: Callable[[Recipe], Names]
) -> Callable[[Callable[[Measured], NDArray[np.float64]]], Callable[[Measured], NDArray[np.float64]]]:
    """Enter the decorated function in the registry."""

    def enter(compute: Callable[[Measured], NDArray[np.float64]]) -> Callable[[Measured], NDArray[np.float64]]:
        FAMILIES.append(Family(name, unit, definition, group, over, compute))
        return compute

    return enter


def features_of(recipe: Recipe) -> list[Feature]:
    """Give the features of a recipe, in the order of the catalogue's columns.

    Raises
    ------
    ValueError
        If a column of the survey has the name of a feature.
    """
    features = [feature for each in FAMILIES for feature in each.features(recipe)]
    names = [feature.name for feature in features]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"survey.values: '{name}' is also the name of a feature; give the value another name")
    return features


def markdown() -> str:
    """Give the table of all families for the documentation page."""
    rows = ["| feature | group | unit | definition |", "|---|---|---|---|"]
    rows += [f"| `{each.name}` | {each.group} | {each.unit or '-'} | {each.definition} |" for each in FAMILIES]
    return "\n".join(rows) + "\n"


def each_band(recipe: Recipe) -> Names:
    """One feature per band, where there is photometry."""
    for band in recipe.bands if recipe.colour_flux else ():
        yield {"band": band}


def each_colour(recipe: Recipe) -> Names:
    """One feature per pair of neighbouring bands."""
    for blue, red in zip(recipe.bands[:-1], recipe.bands[1:]) if recipe.colour_flux else ():
        yield {"blue": blue, "red": red}


def each_band_with_error(recipe: Recipe) -> Names:
    """One feature per band, where the survey gives errors."""
    return each_band(recipe) if recipe.has_errors else iter(())


def each_colour_with_error(recipe: Recipe) -> Names:
    """One feature per colour, where the survey gives errors."""
    return each_colour(recipe) if recipe.has_errors else iter(())


def each_band_twice_measured(recipe: Recipe) -> Names:
    """One feature per band, where the survey has a second photometry."""
    for put in each_band(recipe) if recipe.size_flux else ():
        yield {**put, "size_flux": str(recipe.size_flux), "colour_flux": str(recipe.colour_flux)}


def where_moments(recipe: Recipe) -> Names:
    """One feature, where the survey gives second moments."""
    if recipe.radius_unit is not None:
        yield {"radius_unit": recipe.radius_unit}


def where_psf_moments(recipe: Recipe) -> Names:
    """One feature, where the survey gives second moments of the PSF too."""
    if recipe.radius_unit is not None and recipe.psf_band is not None:
        yield {"band": recipe.psf_band}


def each_value(recipe: Recipe) -> Names:
    """One feature per column of the survey's `values`."""
    for name, unit in recipe.values:
        yield {"value": name, "value_unit": unit}


@family(
    "{band}_asinh_mag",
    unit="mag",
    group="photometric",
    over=each_band,
    definition="asinh AB magnitude, corrected for Galactic extinction where the survey gives E(B-V)",
)
def magnitudes(measured: Measured) -> NDArray[np.float64]:
    """(n, bands)."""
    return measured.magnitude


@family(
    "{blue}_minus_{red}",
    unit="mag",
    group="photometric",
    over=each_colour,
    definition="colour: asinh magnitude of the bluer band minus that of the redder one",
)
def colours(measured: Measured) -> NDArray[np.float64]:
    """(n, bands - 1)."""
    return measured.magnitude[:, :-1] - measured.magnitude[:, 1:]


@family(
    "{band}_asinh_mag_err",
    unit="mag",
    group="photometric",
    over=each_band_with_error,
    definition="1-sigma error of the asinh magnitude, 1.0857 e / sqrt(f^2 + 4 b^2)",
)
def magnitude_errors(measured: Measured) -> NDArray[np.float64]:
    """(n, bands)."""
    return measured.magnitude_error


@family(
    "{blue}_minus_{red}_err",
    unit="mag",
    group="photometric",
    over=each_colour_with_error,
    definition="1-sigma error of the colour: the two magnitudes' errors added in quadrature",
)
def colour_errors(measured: Measured) -> NDArray[np.float64]:
    """(n, bands - 1)."""
    return np.hypot(measured.magnitude_error[:, :-1], measured.magnitude_error[:, 1:])


@family(
    "{band}_{size_flux}_minus_{colour_flux}",
    unit="mag",
    group="shape",
    over=each_band_twice_measured,
    definition="asinh magnitude of the second photometry minus that of the first, as observed: how extended it is",
)
def extents(measured: Measured) -> NDArray[np.float64]:
    """(n, bands)."""
    recipe = measured.recipe
    second, first = measured.observed(recipe.size_flux), measured.observed(recipe.colour_flux)
    return asinh_magnitude(second, recipe.softening_nJy) - asinh_magnitude(first, recipe.softening_nJy)


@family(
    "log_trace_radius",
    unit="dex({radius_unit})",
    group="shape",
    over=where_moments,
    definition="log10 of the trace radius, sqrt((shape_xx + shape_yy) / 2)",
)
def log_trace_radius(measured: Measured) -> NDArray[np.float64]:
    """(n, 1)."""
    xx, yy, _ = (measured.value(name) for name in MOMENTS)
    half_trace = (xx + yy) / 2.0
    return 0.5 * np.log10(np.where(half_trace > 0, half_trace, np.nan))[:, None]


@family(
    "log_size_over_psf",
    unit="dex",
    group="shape",
    over=where_psf_moments,
    definition="log10 of the trace radius over that of the PSF (in band {band}): 0 for a point source",
)
def log_size_over_psf(measured: Measured) -> NDArray[np.float64]:
    """(n, 1)."""
    band = measured.recipe.psf_band
    trace = measured.value("shape_xx") + measured.value("shape_yy")
    psf_trace = measured.value(f"{band}_ixxPSF") + measured.value(f"{band}_iyyPSF")
    valid = (trace > 0) & (psf_trace > 0)
    return 0.5 * np.log10(np.where(valid, trace, np.nan) / np.where(valid, psf_trace, np.nan))[:, None]


@family(
    "ellipticity",
    unit="",
    group="shape",
    over=where_moments,
    definition="modulus of the distortion e1 = (xx - yy) / (xx + yy), e2 = 2 xy / (xx + yy) (Bernstein & Jarvis 2002)",
)
def ellipticity(measured: Measured) -> NDArray[np.float64]:
    """(n, 1)."""
    xx, yy, xy = (measured.value(name) for name in MOMENTS)
    trace = np.where(xx + yy > 0, xx + yy, np.nan)
    return np.hypot((xx - yy) / trace, 2.0 * xy / trace)[:, None]


@family(
    "{band}_missing",
    unit="",
    group="missing",
    over=each_band,
    definition="1 where the band has no flux, else 0",
)
def missing(measured: Measured) -> NDArray[np.float64]:
    """(n, bands)."""
    return np.isnan(measured.observed(measured.recipe.colour_flux)).astype(np.float64)


@family(
    "{value}",
    unit="{value_unit}",
    group="value",
    over=each_value,
    definition="the survey's own column `{value}`",
)
def values(measured: Measured) -> NDArray[np.float64]:
    """(n, values)."""
    return measured.values()
