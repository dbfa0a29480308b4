"""What may be odd about a source that is kept, and why a row is not kept."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from skymill.config.survey import SurveyConfig

Kind = Literal["excluded", "quarantined"]


class Flag(NamedTuple):
    """One bit of `SourceBlock.flags`."""

    bit: int
    name: str
    meaning: str

    @property
    def mask(self) -> int:
        """The bit as a number."""
        return 1 << self.bit


class Reason(NamedTuple):
    """Why a row does not become a source."""

    kind: Kind
    meaning: str


RA_WRAPPED = Flag(0, "ra_wrapped", "right ascension was outside [0, 360) by less than a turn and was brought inside")
FLUX_MISSING = Flag(1, "flux_missing", "a flux is not measured (NaN) in one band or more")
ALL_FLUX_MISSING = Flag(2, "all_flux_missing", "no flux is measured in any band")
FLUX_NOT_DETECTED = Flag(3, "flux_not_detected", "observed but not detected in one band or more: flux 0, error NaN")
FLUX_ERR_MISSING = Flag(4, "flux_err_missing", "a measured flux lacks a positive, finite error")
VALUE_MISSING = Flag(5, "value_missing", "a column of `values` is not measured (NaN)")
EBV_MISSING = Flag(6, "ebv_missing", "E(B-V) is not given (NaN)")
CATEGORY_UNKNOWN = Flag(7, "category_unknown", "a text in a nested column is none of the declared categories (-1)")

SOURCE_FLAGS: tuple[Flag, ...] = (
    RA_WRAPPED,
    FLUX_MISSING,
    ALL_FLUX_MISSING,
    FLUX_NOT_DETECTED,
    FLUX_ERR_MISSING,
    VALUE_MISSING,
    EBV_MISSING,
    CATEGORY_UNKNOWN,
)
"""The bits of `SourceBlock.flags` (int32); bits 0 to 15 and 24 to 30 are the survey's, the others of later stages."""

SATURATED = Flag(8, "saturated", "the footprint holds a saturated pixel, in one band or more")
EDGE = Flag(
    9, "edge", "the largest aperture leaves the image, or the footprint holds a pixel at the edge of an exposure"
)
BAD_PIXEL = Flag(10, "bad_pixel", "the footprint holds a pixel that is bad or has no value, in one band or more")
COSMIC_RAY = Flag(11, "cosmic_ray", "the footprint holds a pixel hit by a cosmic ray, in one band or more")
INTERPOLATED = Flag(12, "interpolated", "the footprint holds an interpolated pixel, in one band or more")
DEBLENDED = Flag(13, "deblended", "the source was taken apart from others with which it shares a footprint")
PSF_FAILED = Flag(14, "psf_failed", "no PSF flux in a band that the tile has: no PSF, or hardly a pixel to fit")
SHAPE_FAILED = Flag(15, "shape_failed", "no second moments, and the position is that of the brightest pixel")

CROWDED = Flag(
    24,
    "crowded",
    "one of more than 100 sources that share a footprint: its fainter neighbours are not found, its own "
    "fluxes hold their light",
)

MEASURE_FLAGS: tuple[Flag, ...] = (
    SATURATED,
    EDGE,
    BAD_PIXEL,
    COSMIC_RAY,
    INTERPOLATED,
    DEBLENDED,
    PSF_FAILED,
    SHAPE_FAILED,
    CROWDED,
)
"""The bits of sources that were measured on images: they follow those of `SOURCE_FLAGS`, and go on after the bits of
features (16 to 19) and of inference (20 to 23)."""


def possible(survey: SurveyConfig) -> tuple[Flag, ...]:
    """Give the flags that sources of a survey may have."""
    return (*SOURCE_FLAGS, *MEASURE_FLAGS) if survey.images is not None else SOURCE_FLAGS


REASONS: dict[str, Reason] = {
    "not_primary": Reason("excluded", "the survey marks the row as not primary: another row is this source"),
    "primary_missing": Reason("quarantined", "the survey does not say whether the row is primary"),
    "id_missing": Reason("quarantined", "a column of the identifier is empty"),
    "id_out_of_range": Reason(
        "quarantined", "the identifier is above 2^63 - 1 or no whole number, or a packed part is over its bits"
    ),
    "position_missing": Reason("quarantined", "right ascension or declination is empty, NaN or infinite"),
    "ra_out_of_range": Reason("quarantined", "right ascension is more than one turn outside [0, 360)"),
    "dec_out_of_range": Reason("quarantined", "declination is outside [-90, 90]"),
    "outside_tile": Reason("quarantined", "the position is not inside the HATS tile that holds the row"),
    "nested_misfit": Reason(
        "quarantined", "lists of a nested column differ in length, or an integer among them is empty or too large"
    ),
}
"""Reasons of `Rejected`, in the order of precedence: a row has the first that applies."""
