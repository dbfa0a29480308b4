"""Which columns of an unknown table are probably its ids, positions and fluxes, told from their names.

Only names are matched to roles; units are taken from where the table declares them and are never inferred.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

BANDS = ("fuv", "nuv", "u", "bp", "b", "g", "v", "r", "rp", "i", "z", "y", "j", "h", "k", "ks", "w1", "w2", "w3", "w4")
"""Known bands from blue to red."""
IDS = (
    "objectid", "object_id", "source_id", "sourceid", "objid", "coadd_object_id", "obj_id", "diaobjectid", "ls_id",
    "targetid", "specobjid", "uniqueid", "id",
)  # fmt: skip
RAS = ("ra", "coord_ra", "raj2000", "ra_icrs", "ramean", "ra_deg", "radeg", "alpha_j2000", "alphawin_j2000", "alpha")
DECS = (
    "dec", "coord_dec", "dej2000", "decj2000", "de_icrs", "dec_icrs", "decmean", "dec_deg", "decdeg", "delta_j2000",
    "deltawin_j2000", "delta", "decl", "de",
)  # fmt: skip
EBVS = ("ebv", "ebv_sfd98", "ebv_sfd", "e_bv", "mwebv", "mw_ebv", "ebmv")
PRIMARIES = ("detect_isprimary", "isprimary", "is_primary", "brick_primary", "primary", "mode")
PREFERRED = ("psf", "cmodel", "model", "auto", "kron", "petro", "mean", "")
"""Kinds of flux, the most useful first."""
SPELT = "|".join((*BANDS, *(band.upper() for band in BANDS)))
BAND = re.compile(rf"(?<![^\W_])({SPELT})(?=$|[\W_]|[A-Z]|mag|flux)")
"""A band that stands alone between separators, or begins a word: ``gMeanPSFMag``, ``umag``."""
ERROR = re.compile(r"_?(fluxerr|magerr|err(or)?|sigma|rms|unc)", re.IGNORECASE)
INVERSE_VARIANCE = re.compile(r"_?(ivar|invvar)", re.IGNORECASE)
NOT_A_FLUX = re.compile(r"flag|corr|_inner|radius|frac|depth|nobs|_n_obs|over_error|zp|zeropoint", re.IGNORECASE)


@dataclass(frozen=True)
class FluxColumns:
    """Columns of one flux or magnitude in several bands, with placeholders."""

    name: str
    column: str
    bands: tuple[str, ...]
    error: str | None = None
    inverse_variance: str | None = None

    @property
    def is_magnitude(self) -> bool:
        """Whether the name says magnitude."""
        return "mag" in self.column.lower() or self.column.lower() == "{band}"

    def columns(self, bands: Iterable[str]) -> Iterator[str]:
        """Every column of this flux in some bands."""
        for band in bands:
            for template in filter(None, (self.column, self.error, self.inverse_variance)):
                yield template.replace("{band}", band).replace("{BAND}", band.upper())


def first_named(columns: Collection[str], names: Iterable[str]) -> str | None:
    """Give the first column that has one of some names, in the order of the names and whatever its case."""
    by_lower = {column.lower(): column for column in reversed(list(columns))}
    return next((by_lower[name] for name in names if name in by_lower), None)


def flux_columns(columns: Iterable[str]) -> list[FluxColumns]:
    """Find what is measured in two bands or more and looks like a flux or a magnitude, the most useful first."""
    templates = {column: bands for column, bands in _templates(columns).items() if len(bands) > 1}
    measured = {_key(template): template for template in templates if _is_flux(template)}
    found = []
    for key, template in measured.items():
        errors = [other for other in templates if other not in measured.values() and _key(other) == key]
        error = next((other for other in errors if ERROR.search(other) or other.startswith("e")), None)
        inverse = next((other for other in errors if INVERSE_VARIANCE.search(other)), None)
        bands = tuple(band for band in BANDS if band in templates[template])
        found.append(FluxColumns(_name(template), template, bands, None if inverse else error, inverse))
    kinds: Counter[int] = Counter()
    turns = []
    for flux in sorted(found, key=_usefulness):
        turns.append((kinds[_kind(flux)], flux))  # the best of each kind before the second best of any
        kinds[_kind(flux)] += 1
    return [flux for _, flux in sorted(turns, key=lambda turn: (-len(turn[1].bands), turn[0]))]


def _templates(columns: Iterable[str]) -> dict[str, set[str]]:
    """Names with a placeholder for the band, and the bands that the table has."""
    found: dict[str, set[str]] = {}
    for column in columns:
        for template, band in _readings(column):
            found.setdefault(template, set()).add(band)
    return found


def _readings(column: str) -> Iterator[tuple[str, str]]:
    """Every way to read a band in a name."""
    for match in BAND.finditer(column):
        text = match[0]
        placeholder = "{BAND}" if text.isupper() else "{band}"
        yield column[: match.start()] + placeholder + column[match.end() :], text.lower()
    if re.fullmatch(rf"e({'|'.join(BANDS)})", column):
        yield "e{band}", column[1:]


def _is_flux(template: str) -> bool:
    lower = template.lower()
    looks = "flux" in lower or "mag" in lower or lower == "{band}" or lower.startswith("f_")
    others = (ERROR, INVERSE_VARIANCE, NOT_A_FLUX)
    return looks and not lower.startswith("e_") and not any(other.search(template) for other in others)


def _key(template: str) -> str:
    """What a flux and its error have in common."""
    plain = template.lower().removeprefix("e_").removeprefix("f_").replace("{band}", "*")
    plain = plain.removeprefix("e") if plain == "e*" else plain
    for word in ("fluxerr", "magerr"):
        plain = plain.replace(word, word.removesuffix("err"))
    return re.sub(r"[_\W]", "", INVERSE_VARIANCE.sub("", ERROR.sub("", plain)).replace("*", "band"))


def _name(template: str) -> str:
    plain = re.sub(r"\{\w+\}", "", template)
    plain = re.sub(r"\W+|_+", "_", plain).strip("_")
    return plain if re.fullmatch(r"[A-Za-z]\w*", plain) else f"mag_{plain}".strip("_")


def _kind(flux: FluxColumns) -> int:
    return next(place for place, word in enumerate(PREFERRED) if word in flux.column.lower())


def _usefulness(flux: FluxColumns) -> tuple[int | bool | str, ...]:
    lacks_errors = flux.error is None and flux.inverse_variance is None
    return (-len(flux.bands), lacks_errors, _kind(flux), flux.is_magnitude, len(flux.column), flux.column)


UNITS: Mapping[str, str] = {
    "deg": "deg", "degree": "deg", "degrees": "deg", "rad": "rad", "radian": "rad", "hourangle": "hourangle",
    "nJy": "nJy", "uJy": "uJy", "mJy": "mJy", "Jy": "Jy", "nanojansky": "nJy", "microjansky": "uJy",
    "nanomaggy": "nanomaggy", "nanomaggies": "nanomaggy", "nmgy": "nanomaggy",
}  # fmt: skip
"""Units as tables declare them, and as a map says them."""
