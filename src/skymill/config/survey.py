"""A survey: where its tables lie and what their columns mean."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from skymill.config.base import FileSettings, Settings
from skymill.config.images import ImageSettings

TableFormat = Literal["parquet", "hats", "fits", "csv", "hdf5", "votable"]
PerBand = dict[str, float]
Name = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_]*$")]
PLACEHOLDERS = ("{band}", "{BAND}", "{index}")
"""In the name of a column: a band, the same in capitals, its place among the survey's bands."""


def has_band(template: str) -> bool:
    """Tell whether a column's name differs from band to band."""
    return any(placeholder in template for placeholder in PLACEHOLDERS)


def known_unit(text: str) -> str:
    """Refuse a unit that astropy does not know."""
    from astropy import units

    try:
        units.Unit(text)
    except ValueError as error:
        raise ValueError(f"astropy does not know this unit: {error}") from None
    return text


class IdColumn(Settings):
    """How `objectId` (int64) is made. Give exactly one of the three."""

    column: str | None = None
    """An integer column, taken as it is."""
    pack: dict[str, int] | None = None
    """Integer columns and the bits each takes, most significant first; 63 bits at most. Exact and reversible."""
    hash: list[str] | None = None
    """Columns of any type, hashed to 63 bits (BLAKE2b of their text), for ids that are names."""

    @model_validator(mode="after")
    def _one_way(self) -> IdColumn:
        given = [name for name in ("column", "pack", "hash") if getattr(self, name)]
        if len(given) != 1:
            raise ValueError(f"give exactly one of column, pack, hash; found {given or 'none'}")
        if self.pack and not (all(bits > 0 for bits in self.pack.values()) and sum(self.pack.values()) <= 63):
            raise ValueError(f"pack must use 1 to 63 bits in all, found {sum(self.pack.values())}")
        return self

    @property
    def sources(self) -> list[str]:
        """The table columns that are read."""
        return [self.column] if self.column else list(self.pack or self.hash or [])


class AngleColumn(Settings):
    """A column of right ascension or declination."""

    column: str
    """Its name in the table."""
    unit: Literal["deg", "hourangle", "rad"]
    """Unit of the column; it is never guessed."""


class Photometry(Settings):
    """One flux (or magnitude) per band: becomes an array (source, band) in nJy.

    `{band}` in the names of columns stands for each of the survey's bands, `{BAND}` for the same in capitals, and
    `{index}` for its place, from 0, which names the element of a column of vectors: `PSFMAG[{index}]`.
    """

    column: str
    """Column of the flux or magnitude, with `{band}` in its name."""
    error: str | None = None
    """Column of the 1-sigma error, same unit; null where the survey gives none (the error is then NaN)."""
    inverse_variance: str | None = None
    """In place of `error`: column of 1/error^2 of a flux. Where it is 0 the band was not observed: both become NaN."""
    unit: Literal["nJy", "uJy", "mJy", "Jy", "nanomaggy", "count", "mag_ab", "mag_asinh"]
    """`count` needs `zero_point`; `mag_asinh` (luptitude) needs `softening`."""
    zero_point: float | PerBand | None = None
    """AB magnitude of one count."""
    softening: PerBand | None = None
    """Dimensionless softening b per band of an asinh magnitude (Lupton, Gunn & Szalay 1999). With any other unit it
    is that of the features' magnitudes: about the error of a faint source over 3631 Jy."""
    ab_offset: PerBand = {}
    """Added to a magnitude to bring it to AB, per band (SDSS: u -0.04, z +0.02)."""
    not_detected: list[float] = []
    """Codes that mean observed but not detected (RAIL: 99.0): flux becomes 0, its error NaN, and a flag is set."""
    missing: list[float] = []
    """Codes that mean not measured (-9999, -99.0): flux and error become NaN."""

    @property
    def has_errors(self) -> bool:
        """Whether the survey gives errors, in either way."""
        return self.error is not None or self.inverse_variance is not None

    @property
    def columns(self) -> list[str]:
        """Every column named, with its placeholder."""
        return [name for name in (self.column, self.error, self.inverse_variance) if name is not None]

    @field_validator("column", "error", "inverse_variance")
    @classmethod
    def _has_band(cls, value: str | None) -> str | None:
        if value is not None and not has_band(value):
            raise ValueError("must contain '{band}', which stands for each band of the survey, '{BAND}' or '{index}'")
        return value

    @model_validator(mode="after")
    def _unit_complete(self) -> Photometry:
        if self.unit == "count" and self.zero_point is None:
            raise ValueError("unit 'count' needs zero_point, the AB magnitude of one count (27.0 for HSC and DP0.2)")
        if self.unit == "mag_asinh" and self.softening is None:
            raise ValueError("unit 'mag_asinh' needs softening, the b of each band")
        if self.inverse_variance and (self.error or self.unit.startswith("mag")):
            raise ValueError("inverse_variance is that of a flux and stands in place of error; leave one of them out")
        if self.unit != "count" and self.zero_point is not None:
            raise ValueError(f"zero_point is only for unit 'count', found unit '{self.unit}'")
        if self.ab_offset and self.unit.endswith("Jy"):
            raise ValueError(f"unit '{self.unit}' is absolute; ab_offset is for magnitudes, nanomaggies and counts")
        return self

    @field_validator("softening")
    @classmethod
    def _positive(cls, softening: PerBand | None) -> PerBand | None:
        if softening and not all(b > 0 for b in softening.values()):
            raise ValueError("softening must be positive in every band")
        return softening


class ValueColumn(Settings):
    """Any other number per source, float32. `{band}` in name and column expands over the bands."""

    column: str
    """Its name in the table, with `{band}` if that stands in the value's name too."""
    unit: str
    """As astropy writes it (`pixel2`, `arcsec`, `mas / yr`), or '' for a pure number."""
    missing: list[float] = []
    """Codes that mean not measured: the value becomes NaN."""

    @field_validator("unit")
    @classmethod
    def _astropy_knows(cls, value: str) -> str:
        return known_unit(value)


class NestedValue(Settings):
    """A value of each observation of a source, from a table that nests light curves (Parquet, HATS)."""

    column: str
    """`lc.mjd` for the field `mjd` of a nested column `lc`, or the name of a column of lists."""
    unit: str | None = None
    """As astropy writes it (`d`, `mag`), or '' for a pure number; categories have none."""
    dtype: Literal["float64", "float32", "int64", "int32", "int16", "int8"] = "float64"
    """In which it is kept; float32 holds a modified Julian date to 6 minutes only."""
    missing: list[float] = []
    """Codes that mean not measured: the value becomes NaN."""
    categories: list[str] = Field([], max_length=127)
    """Of a text (a band, a filter): kept as its place in this list, from 0, and as -1 where it is none of them."""

    @field_validator("unit")
    @classmethod
    def _astropy_knows(cls, value: str | None) -> str | None:
        return value if value is None else known_unit(value)

    @model_validator(mode="after")
    def _number_or_text(self) -> NestedValue:
        if bool(self.categories) == (self.unit is not None):
            raise ValueError("give a number its unit ('' for a pure number), a text its categories, not both")
        if len(set(self.categories)) < len(self.categories):
            raise ValueError(f"each category may stand only once, found {self.categories}")
        if self.missing and (self.categories or self.dtype.startswith("int")):
            raise ValueError("missing is for floats, which become NaN; keep integers and categories as they are")
        return self


class Extinction(Settings):
    """Galactic reddening per source."""

    column: str
    """E(B-V) in mag (SFD98), or another measure of the same dust (see `per_ebv`)."""
    per_ebv: float = Field(1.0, gt=0)
    """What the column gives for E(B-V) = 1: 1 for E(B-V) itself, A_g / E(B-V) for an absorption in g (HSC: 3.24)."""
    coefficients: PerBand
    """A_band / E(B-V)."""


class Primary(Settings):
    """Rows of a survey that also lists duplicates: only primary detections are catalogued, the others are excluded."""

    column: str
    """The table's mark of a primary detection."""
    keep: bool | int = True
    """The column's value for a primary detection: true or false, or a number (SDSS: `mode` 1)."""


class SkyMap(Settings):
    """A map of a property of the survey, for the report: a HEALPix table in FITS, or HealSparse (FITS or Parquet)."""

    path: str
    """The file, relative to the working directory; `${VARIABLE}` and `${VARIABLE:-default}` are put in."""
    unit: str
    """Of the values, as astropy writes it (`mag`, `arcsec`), or '' for a pure number."""
    column: str | None = None
    """Column of a FITS table; may be left out where there is only one beside that of the pixels."""
    ordering: Literal["RING", "NESTED"] | None = None
    """Of the pixels, where the file's header has no `ORDERING`."""
    frame: Literal["icrs", "galactic"] | None = None
    """In which the pixels lie, where the file's header has no `COORDSYS`; HealSparse is icrs unless this says other."""

    @field_validator("unit")
    @classmethod
    def _astropy_knows(cls, value: str) -> str:
        return known_unit(value)


QUANTITIES = {"depth": "mag", "seeing": "arcsec"}
"""Maps `depth_<band>` (AB magnitude of 5 sigma) and `seeing_<band>` (FWHM) have a meaning of their own, and a unit."""


class SimulationSettings(Settings):
    """The embedded simulated survey."""

    rows: int = Field(200_000, ge=10_000)
    """Sources in all, to within Poisson noise."""
    area_deg2: float = Field(60.0, gt=0, le=41_252)
    """Area of the footprint before holes; rows / area is the mean density."""
    seed: int = Field(1, ge=0)
    """Another seed gives another sky."""
    bad_rows: float = Field(0.02, ge=0, le=0.2)
    """Share of rows with a fault: no position, absurd coordinates, NaN fluxes, duplicates."""
    stars: float = Field(0.25, ge=0, le=0.9)
    """Share of stars among all sources at a Galactic latitude of about 40 degrees; it grows towards the plane."""
    quasars: float = Field(0.06, ge=0, le=0.09)
    """Share of quasars, far more than in the sky, so that a small survey can teach the class."""
    labelled: float = Field(0.5, gt=0, le=1)
    """Share of sources of known class down to i = 20; beyond, it falls by 0.2 dex per magnitude."""


class SurveyConfig(FileSettings):
    """One survey: its tables, its bands and the meaning of its columns."""

    name: Name
    """Of the survey: letters, digits and _, beginning with a letter."""
    format: TableFormat | Literal["simulated", "images"]
    """Of the tables; `images`: sources are found and measured on the survey's images."""
    path: str | None = None
    """File or folder, relative to the working directory; `${VARIABLE}` and `${VARIABLE:-default}` are put in."""
    bands: list[str] = Field(min_length=1)
    """From blue to red; colours are made of neighbours. Lower-case letters and digits (see `band_names`)."""
    band_names: dict[str, str] = {}
    """How the columns spell a band where that differs (`{j: J, ks: Ks, w1: W1}`): put in for `{band}`."""
    id: IdColumn | None = None
    ra: AngleColumn | None = None
    dec: AngleColumn | None = None
    epoch: float | None = None
    """Julian year of the positions, for matching labels by proper motion."""
    photometry: dict[Name, Photometry] = {}
    """Name of each flux (`psfFlux`, `cModelFlux`) and its columns."""
    values: dict[str, ValueColumn] = {}
    """Name of each other number per source, and its column."""
    nested: dict[Name, dict[Name, NestedValue]] = {}
    """Name of each nested column (`lc`) and of the values of its observations (`mjd`), carried along unchanged."""
    extinction: Extinction | None = None
    primary: Primary | None = None
    simulation: SimulationSettings | None = None
    images: ImageSettings | None = None
    """Needed by format `images`: which files make a tile, and what their pixels mean."""
    maps: dict[Name, SkyMap] = {}
    """Maps that the report draws, `depth_<band>`, `seeing_<band>` or of another name; they decide no tile."""

    @model_validator(mode="after")
    def _complete(self) -> SurveyConfig:
        if self.nested and self.format not in ("parquet", "hats"):
            raise ValueError(f"nested columns are read from parquet and hats, not from format '{self.format}'")
        if self.format == "simulated":
            if self.simulation is None:
                raise ValueError("format 'simulated' needs a block `simulation` (it may be {})")
            return self
        if not all(self.nested.values()):
            raise ValueError("each nested column needs a value or more")
        if (self.format == "images") != (self.images is not None):
            raise ValueError("format 'images' and a block `images` go together: give both or none")
        needed = ["path", "id", "ra", "dec"] if self.images is None else [] if self.images.render else ["path"]
        missing = [key for key in needed if getattr(self, key) is None]
        if missing:
            raise ValueError(f"format '{self.format}' needs {', '.join(missing)}")
        if self.simulation is not None:
            raise ValueError("the block `simulation` is only for format 'simulated'")
        return self

    @field_validator("bands")
    @classmethod
    def _bands_differ(cls, bands: list[str]) -> list[str]:
        if len(set(bands)) < len(bands):
            raise ValueError("each band may stand only once")
        for band in bands:
            if not re.fullmatch(r"[a-z][a-z0-9]*", band):
                raise ValueError(
                    f"'{band}': features are named by bands, which are lower-case letters and digits; where columns "
                    f"spell it '{band}', write '{band.lower()}' here and add band_names: {{{band.lower()}: {band}}}"
                )
        return bands

    @model_validator(mode="after")
    def _bands_known(self) -> SurveyConfig:
        tables: dict[str, Any] = {}
        for name, photometry in self.photometry.items():
            tables[f"photometry.{name}.softening"] = photometry.softening
            unknown = sorted(set(photometry.ab_offset) - set(self.bands))
            if unknown:  # it would change nothing: bands without an offset have none
                raise ValueError(f"photometry.{name}.ab_offset names the bands {unknown}; known: {self.bands}")
            if isinstance(photometry.zero_point, dict):
                tables[f"photometry.{name}.zero_point"] = photometry.zero_point
        if self.extinction:
            tables["extinction.coefficients"] = self.extinction.coefficients
        if not set(self.band_names) <= set(self.bands):
            raise ValueError(f"band_names has {sorted(set(self.band_names) - set(self.bands))}; known: {self.bands}")
        for key, table in tables.items():
            if table is not None and not set(self.bands) <= set(table):
                raise ValueError(f"{key} lacks the bands {sorted(set(self.bands) - set(table))}")
        return self

    @field_validator("maps")
    @classmethod
    def _map_units(cls, maps: dict[str, SkyMap]) -> dict[str, SkyMap]:
        from astropy import units

        for name, each in maps.items():
            wanted = QUANTITIES.get(name.partition("_")[0])
            if wanted and not units.Unit(each.unit).is_equivalent(wanted):
                raise ValueError(
                    f"{name}: expected a unit like {wanted}, found '{each.unit}'; convert the map, or rename it"
                )
        return maps

    @model_validator(mode="after")
    def _map_bands(self) -> SurveyConfig:
        for name in self.maps:
            quantity, _, band = name.partition("_")
            if quantity in QUANTITIES and band not in self.bands:
                raise ValueError(
                    f"maps.{name}: '{band}' is no band of the survey; name it {quantity}_<one of {self.bands}>"
                )
        return self

    def in_band(self, template: str, band: str) -> str:
        """Name a column in one of the survey's bands."""
        name = self.band_names.get(band, band)
        for placeholder, text in zip(PLACEHOLDERS, (name, name.upper(), str(self.bands.index(band))), strict=True):
            template = template.replace(placeholder, text)
        return template

    def expanded_values(self) -> dict[str, ValueColumn]:
        """`values` with `{band}` written out, in the order of the file."""
        expanded: dict[str, ValueColumn] = {}
        for name, value in self.values.items():
            if "{band}" not in name:
                expanded[name] = value
                continue
            for band in self.bands:
                column = self.in_band(value.column, band)
                expanded[name.replace("{band}", band)] = value.model_copy(update={"column": column})
        return expanded

    @field_validator("values")
    @classmethod
    def _value_names(cls, values: dict[str, ValueColumn]) -> dict[str, ValueColumn]:
        for name, value in values.items():
            if not re.fullmatch(r"(\{band\}_)?[A-Za-z][A-Za-z0-9_]*", name):
                raise ValueError(f"'{name}' is not a name: letters, digits and _, or '{{band}}_' before them")
            if ("{band}" in name) != has_band(value.column):
                raise ValueError(f"'{name}': '{{band}}' must stand in both the name and the column, or in neither")
        return values
