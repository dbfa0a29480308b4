"""The gate between a fitted model of structure and its ONNX file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from skymill.export.metadata import DISTANCE, FLUX, INVERSE_VARIANCE, POSTERIOR, PSF
from skymill.export.parity import ParityError, distance_differences
from skymill.export.stamp_parity import rounds_of
from skymill.models.mixture import LEVELS, Mixture
from skymill.training.stamp_set import HELD_OUT_STAMPS

if TYPE_CHECKING:
    from skymill.config import ParitySettings
    from skymill.training.structure import StructureFit


@dataclass(frozen=True)
class StructureParity:
    """How far an exported model of structure is from the fitted one."""

    rows: int
    rows_by_origin: dict[str, int]
    max_quantile_difference: float
    """In units of half the 68 % interval."""
    max_distance_difference: float
    worst: dict[str, float]
    """The largest difference of a quantile by origin of the stamps."""

    def summary(self) -> dict[str, Any]:
        """The figures that the limits are about."""
        return {
            "rows": self.rows,
            "max_quantile_difference": self.max_quantile_difference,
            "max_distance_difference": self.max_distance_difference,
        }

    def as_dict(self) -> dict[str, Any]:
        """Everything, for `parity.json`."""
        return {**self.summary(), "rows_by_origin": self.rows_by_origin, "worst": self.worst}

    def check(self, limits: ParitySettings, *, model: str) -> None:
        """Hold the comparison against its limits.

        Raises
        ------
        ParityError
            With what is over which limit, and the kind of stamps with the largest difference.
        """
        over = [
            f"{key} is {getattr(self, key):.3g}, the limit {getattr(limits, key):.3g}"
            for key in ("max_quantile_difference", "max_distance_difference")
            if not getattr(self, key) <= getattr(limits, key)
        ]
        if over:
            origin = max(self.worst, key=lambda name: self.worst[name])
            raise ParityError(
                f"model '{model}': the ONNX file does not agree with the fitted model on {self.rows} stamps: "
                f"{'; '.join(over)}. Quantiles differ most, by {self.worst[origin]:.3g}, where stamps are: {origin}. "
                "Nothing was written. Mend the export, or raise `parity` in the model's file."
            )


def measure_structure_parity(fit: StructureFit, session: Any, *, rows: int) -> StructureParity:
    """Compare a fitted model with its ONNX file on stamps that it has not learned from.

    The held-out stamps that the fit has kept, as they are and then again, turned and with more noise, until there are
    `rows`; after them what a survey may hold: no weight at all, single bands, fluxes beyond all others, no light, and
    PSFs that are not known. A NaN from either side counts as a difference of infinity.
    """
    with np.load(fit.folder / HELD_OUT_STAMPS) as held_out:
        stamps, psf = held_out["stamps"], held_out["psf"]
    counts: dict[str, int] = {}
    worst: dict[str, float] = {}
    farthest = 0.0
    for origin, some, blur in _with_psf(stamps, psf, rows):
        vectors = fit.model.encode(some, blur)
        flux, weight = (np.ascontiguousarray(some[:, layer]) for layer in (0, 1))
        packed, distance = session.run([POSTERIOR, DISTANCE], {FLUX: flux, INVERSE_VARIANCE: weight, PSF: blur})
        exported = Mixture.unpacked(packed, len(fit.quantities))
        difference = quantile_difference(fit.posteriors(vectors), exported)
        counts[origin] = counts.get(origin, 0) + len(some)
        worst[origin] = max(worst.get(origin, 0.0), difference)
        farthest = max(farthest, float(distance_differences(fit.distance(vectors), distance).max()))
    return StructureParity(sum(counts.values()), counts, max(worst.values()), farthest, worst)


def quantile_difference(fitted: Mixture, exported: Mixture) -> float:
    """Give the largest difference of any quantile of any marginal, in units of half the fitted 68 % interval."""
    here, there = fitted.quantiles(LEVELS), exported.quantiles(LEVELS)
    width = (here[..., 3] - here[..., 1]) / 2
    with np.errstate(invalid="ignore", divide="ignore"):
        difference = np.abs(here - there) / width[..., None]
    return float(np.where(np.isfinite(difference), difference, np.inf).max())


def _with_psf(
    stamps: NDArray[np.float32], psf: NDArray[np.float32], rows: int
) -> Iterator[tuple[str, NDArray[np.float32], NDArray[np.float32]]]:
    """Give origin, stamps and PSFs of each round."""
    yield from ((origin, some, psf) for origin, some in rounds_of(stamps, rows))
    yield "no psf", stamps, np.zeros_like(psf)
