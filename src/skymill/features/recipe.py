"""What the features of one run are made of: plain values, all of which enter a tile's key."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Recipe:
    """Which features exist and the constants they are computed with.

    Tuples per band are in the order of `bands`.
    """

    bands: tuple[str, ...]
    colour_flux: str | None
    """Photometry of magnitudes and colours; None where the survey has no photometry at all."""
    size_flux: str | None
    """Photometry compared with `colour_flux`; None where the survey has only one."""
    has_errors: bool
    """Whether the survey gives errors of `colour_flux`, found under `<colour_flux>Err`."""
    softening_nJy: tuple[float, ...]
    """Softening b of the asinh magnitude per band."""
    extinction: tuple[float, ...] | None
    """A_band / E(B-V), or None where colours are not dereddened."""
    radius_unit: str | None
    """Unit of the square root of the second moments; None where the survey gives no moments."""
    psf_band: str | None
    """Band of the PSF moments `<band>_ixxPSF`, `<band>_iyyPSF`; None where the survey gives none."""
    values: tuple[tuple[str, str], ...]
    """Name and unit of each column of the survey's `values`, in order."""

    @property
    def value_names(self) -> tuple[str, ...]:
        """The names alone."""
        return tuple(name for name, _ in self.values)
