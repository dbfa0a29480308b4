"""What a survey's rows look like, in a few numbers that add up over blocks and parts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from skymill.survey.blocks import Gated
from skymill.survey.flux import AB_ZERO_POINT, unit_factor

if TYPE_CHECKING:
    from skymill.config.survey import SurveyConfig

BINS_PER_MAGNITUDE = 5
LIKE_MAGNITUDES = (5.0, 40.0)
"""Where a magnitude lies, whatever it was declared as."""


@dataclass(frozen=True)
class Brightness:
    """Fluxes of one band."""

    measured: int = 0
    positive: int = 0
    with_error: int = 0
    like_magnitudes: int = 0
    """Fluxes whose number, in the unit of the table, could be a magnitude."""
    histogram: Mapping[str, int] = field(default_factory=dict)
    """Positive fluxes by AB magnitude, in bins of a fifth: the bin's number as text, for JSON."""
    errors: Mapping[str, int] = field(default_factory=dict)
    """Errors, as AB magnitudes, in the same bins."""

    def __add__(self, other: Brightness) -> Brightness:
        return Brightness(
            self.measured + other.measured,
            self.positive + other.positive,
            self.with_error + other.with_error,
            self.like_magnitudes + other.like_magnitudes,
            _added(self.histogram, other.histogram),
            _added(self.errors, other.errors),
        )

    def median(self) -> float | None:
        """Median AB magnitude of the positive fluxes, to a tenth."""
        return _quantile(self.histogram, 0.5)

    def faint_error(self) -> float | None:
        """A faint source's 1-sigma error in nJy, to 10 %: the lower quartile, since bright sources have larger ones."""
        magnitude = _quantile(self.errors, 0.75)
        return None if magnitude is None else float(10 ** (0.4 * (AB_ZERO_POINT - magnitude)))


@dataclass(frozen=True)
class Summary:
    """Positions and brightnesses of a survey's rows."""

    n_in: int = 0
    n_sources: int = 0
    quarantined: int = 0
    in_radians: int = 0
    """Sources within [-pi, 2 pi] of right ascension and [-pi / 2, pi / 2] of declination, in degrees."""
    swapped: int = 0
    """Rejected rows whose declination is beyond 90 degrees and whose right ascension is not."""
    far_ra: int = 0
    """Rows whose right ascension is beyond 90 degrees on either side of 0."""
    ra: tuple[float, ...] = ()
    """Least and largest of the sources, deg; nothing where there are none."""
    dec: tuple[float, ...] = ()
    brightness: Mapping[str, Brightness] = field(default_factory=dict)
    """By flux and band: ``psfFlux g``."""

    def __add__(self, other: Summary) -> Summary:
        keys = [*self.brightness, *(key for key in other.brightness if key not in self.brightness)]
        nothing = Brightness()
        return Summary(
            self.n_in + other.n_in,
            self.n_sources + other.n_sources,
            self.quarantined + other.quarantined,
            self.in_radians + other.in_radians,
            self.swapped + other.swapped,
            self.far_ra + other.far_ra,
            _extent((*self.ra, *other.ra)),
            _extent((*self.dec, *other.dec)),
            {key: self.brightness.get(key, nothing) + other.brightness.get(key, nothing) for key in keys},
        )

    def as_dict(self) -> dict[str, Any]:
        """Give what JSON can hold."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Summary:
        """Read what `as_dict` gave."""
        brightness = {key: Brightness(**numbers) for key, numbers in values["brightness"].items()}
        extents = {name: tuple(values[name]) for name in ("ra", "dec")}
        return cls(**{**values, **extents, "brightness": brightness})


def summarise(gated: Gated, config: SurveyConfig) -> Summary:
    """Summarise a block of rows as they leave the gate."""
    block, rejected = gated
    ra, dec = block.ra, block.dec
    near_zero = (ra <= 2 * np.pi) | (ra >= 360.0 - np.pi)
    return Summary(
        n_in=len(block) + len(rejected),
        n_sources=len(block),
        quarantined=int(np.sum(rejected.kind == "quarantined")),
        in_radians=int(np.sum(near_zero & (np.abs(dec) <= np.pi / 2))),
        swapped=int(np.sum((np.abs(rejected.dec) > 90.0) & (np.abs(rejected.ra) <= 90.0))),
        far_ra=int(np.sum((ra > 90.0) & (ra < 270.0)) + np.sum(np.abs(rejected.ra) > 90.0)),
        ra=_extent(ra),
        dec=_extent(dec),
        brightness={
            f"{name} {band}": _brightness(
                np.ascontiguousarray(block.photometry[name][:, index]),
                block.photometry[f"{name}Err"][:, index],
                unit_factor(config.photometry[name], band),
            )
            for name in config.photometry
            for index, band in enumerate(config.bands)
        },
    )


def _brightness(flux: NDArray[np.float32], error: NDArray[np.float32], factor: float | None) -> Brightness:
    """In float32, and with as few passes as there are numbers, since every block of every survey comes here."""
    positive = flux[flux > 0]
    return Brightness(
        measured=int(np.count_nonzero(np.isfinite(flux))),
        positive=len(positive),
        with_error=int(np.count_nonzero(np.isfinite(error))),
        like_magnitudes=0 if factor is None else _count_within(positive, factor),
        histogram=_histogram(positive),
        errors=_histogram(error[error > 0]),
    )


def _histogram(flux: NDArray[np.float32]) -> dict[str, int]:
    """Positive fluxes by AB magnitude."""
    bins = np.floor((AB_ZERO_POINT - 2.5 * np.log10(flux)) * BINS_PER_MAGNITUDE).astype(np.int64)
    lowest = int(bins.min()) if len(bins) else 0
    return {str(number): count for number, count in enumerate(np.bincount(bins - lowest).tolist(), lowest) if count}


def _quantile(histogram: Mapping[str, int], share: float) -> float | None:
    """The magnitude that a share of the counted values is brighter than; None where nothing was counted."""
    total, seen = sum(histogram.values()), 0
    for number in sorted(map(int, histogram)):
        seen += histogram[str(number)]
        if seen >= share * total:
            return (number + 0.5) / BINS_PER_MAGNITUDE
    return None


def _added(one: Mapping[str, int], other: Mapping[str, int]) -> dict[str, int]:
    return dict(sorted((Counter(one) + Counter(other)).items()))


def _count_within(positive: NDArray[np.float32], factor: float) -> int:
    low, high = (np.float32(limit * factor) for limit in LIKE_MAGNITUDES)
    return int(np.count_nonzero((positive >= low) & (positive <= high)))


def _extent(values: NDArray[np.float64] | tuple[float, ...]) -> tuple[float, ...]:
    return (float(np.min(values)), float(np.max(values))) if len(values) else ()
