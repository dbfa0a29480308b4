"""Values that a survey may well hold but most likely does not: a wrong unit, swapped axes, a wrong zero point.

They warn and never stop a run: a small field near the origin looks like radians and may be just that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from skymill.config.survey import Photometry, SurveyConfig
from skymill.survey.flux import AB_FLUX_nJy, softening_nJy
from skymill.survey.summary import LIKE_MAGNITUDES, Brightness, Summary

FEWEST = 20
"""No verdict on fewer rows."""
BRIGHTEST, FAINTEST = 5.0, 35.0
"""Median AB magnitudes of any survey lie between."""
ALMOST_ALL = 0.99
SWAPPED_SHARE = 0.05
FAR = 4.0
"""Ratio of a faint source's error and the softening that is beyond what depth varies by."""
SOFTENING_OF_ERROR = 1.042
"""The choice of Lupton et al. 1999, section 3."""
HOURS_DEC_SPREAD, HOURS_RA_SPREAD = 45.0, 6.0
"""Extent in degrees of a survey whose right ascensions, all below 24, are probably hours."""


def suspicions(summary: Summary, config: SurveyConfig) -> list[str]:
    """Say what is suspicious about a survey's values, each with what to look at.

    Parameters
    ----------
    summary : Summary
        Of all its rows, or of the first ones.
    config : SurveyConfig
        What the values were declared to be.

    Returns
    -------
    list of str
        Nothing for fewer than `FEWEST` rows.
    """
    if summary.n_in < FEWEST:
        return []
    return [*_rows(summary), *_positions(summary, config), *_photometry(summary, config)]


def _rows(summary: Summary) -> Iterator[str]:
    if 2 * summary.quarantined > summary.n_in:
        yield (
            f"{summary.quarantined} of {summary.n_in} rows are quarantined; look at their reasons, and at the columns "
            "and units of the map"
        )


def _positions(summary: Summary, config: SurveyConfig) -> Iterator[str]:
    assert config.ra is not None and config.dec is not None  # the gate demands them
    ra, dec, n = summary.ra, summary.dec, summary.n_sources
    if summary.swapped >= SWAPPED_SHARE * summary.n_in and summary.far_ra == 0:
        yield (
            f"ra, dec: {summary.swapped} of {summary.n_in} rows have a declination beyond 90 degrees and no right "
            f"ascension is; columns '{config.ra.column}' and '{config.dec.column}' are probably swapped"
        )
    if n < FEWEST or config.ra.unit != "deg":
        return
    if summary.in_radians == n and config.dec.unit == "deg":
        yield (
            f"ra, dec: all {n} positions lie within the numbers that radians take, [-pi, 2 pi] and [-pi / 2, pi / 2]; "
            "if the table is in radians, declare unit 'rad'"
        )
    elif ra[1] < 24.0 and ra[1] - ra[0] > HOURS_RA_SPREAD and dec[1] - dec[0] > HOURS_DEC_SPREAD:
        yield (
            f"ra: all right ascensions lie in [{ra[0]:.2f}, {ra[1]:.2f}] while declinations spread over "
            f"{dec[1] - dec[0]:.0f} degrees; if the table is in hours, declare unit 'hourangle'"
        )


def _photometry(summary: Summary, config: SurveyConfig) -> Iterator[str]:
    """What is wrong with fluxes, each fault once with all bands that have it."""
    for name, photometry in config.photometry.items():
        bands = {band: summary.brightness[f"{name} {band}"] for band in config.bands}
        measured = {band: brightness for band, brightness in bands.items() if brightness.measured >= FEWEST}
        for is_wrong, text in FAULTS.items():
            wrong = {band: brightness for band, brightness in measured.items() if is_wrong(brightness, photometry)}
            if wrong:
                medians = ", ".join(f"{brightness.median() or float('nan'):.1f}" for brightness in wrong.values())
                where = f"photometry.{name}, {', '.join(wrong)}"
                yield f"{where}: {text.format(unit=photometry.unit, medians=medians)}"
        yield from _softening(name, photometry, measured)


def _softening(name: str, photometry: Photometry, bands: Mapping[str, Brightness]) -> Iterator[str]:
    """Say where asinh magnitudes would be mostly noise, or cut off what was measured."""
    soft = softening_nJy(photometry)
    errors = {band: error for band, brightness in bands.items() if (error := brightness.faint_error()) is not None}
    wrong = [band for band, error in errors.items() if band in soft and not 1 / FAR < error / soft[band] < FAR]
    if wrong:
        found = ", ".join(f"{band} {errors[band]:.3g} ({soft[band]:.3g})" for band in wrong)
        mend = ", ".join(f"{band}: {SOFTENING_OF_ERROR * error / AB_FLUX_nJy:.1e}" for band, error in errors.items())
        yield (
            f"photometry.{name}: the errors of faint sources are far from the softening of the asinh magnitudes, in "
            f"nJy: {found}; declare softening: {{{mend}}}, or features.softening_nJy in the run's file"
        )


def _is_dark(brightness: Brightness, photometry: Photometry) -> bool:
    return brightness.positive <= (1.0 - ALMOST_ALL) * brightness.measured


def _is_magnitude(brightness: Brightness, photometry: Photometry) -> bool:
    return brightness.like_magnitudes >= ALMOST_ALL * brightness.measured


def _is_absurd(brightness: Brightness, photometry: Photometry) -> bool:
    median = brightness.median()
    named = _is_dark(brightness, photometry) or _is_magnitude(brightness, photometry)
    return median is not None and not BRIGHTEST <= median <= FAINTEST and not named


def _lacks_errors(brightness: Brightness, photometry: Photometry) -> bool:
    return photometry.has_errors and brightness.with_error == 0


FAULTS: dict[Callable[[Brightness, Photometry], bool], str] = {
    _is_dark: "hardly any flux is above zero; look at the unit ('{unit}')",
    _is_magnitude: f"values lie between {LIKE_MAGNITUDES[0]:g} and {LIKE_MAGNITUDES[1]:g}, as magnitudes do, and are "
    "declared as '{unit}'; if they are magnitudes, declare them so",
    _is_absurd: f"the median AB magnitude ({{medians}}) is outside {BRIGHTEST:g} to {FAINTEST:g}; look at the unit "
    "('{unit}') and the zero point",
    _lacks_errors: "no flux has an error above zero; look at the column of errors",
}
