"""The gate between a fitted model and its ONNX file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skymill.config import ParitySettings
from skymill.export.probe import Probe
from skymill.training.metrics import expected_calibration_error

WORST = 10
SHOWN = 5
SHOWN_FEATURES = 4


class ParityError(ValueError):
    """An exported model does not give what the fitted one gives."""


@dataclass(frozen=True)
class Parity:
    """How far an exported model is from the fitted one."""

    rows: int
    rows_by_origin: dict[str, int]
    max_probability_difference: float
    flip_rate: float
    ece_fitted: float
    ece_onnx: float
    max_distance_difference: float
    worst: list[dict[str, Any]]
    max_fraction_difference: float | None = None
    """Of votes; None for a model that tells none."""

    @property
    def ece_shift(self) -> float:
        """Absolute change of the expected calibration error."""
        return abs(self.ece_onnx - self.ece_fitted)

    def summary(self) -> dict[str, Any]:
        """The figures that the limits are about."""
        return {
            "rows": self.rows,
            "max_probability_difference": self.max_probability_difference,
            "flip_rate": self.flip_rate,
            "ece_fitted": self.ece_fitted,
            "ece_onnx": self.ece_onnx,
            "ece_shift": self.ece_shift,
            "max_distance_difference": self.max_distance_difference,
            **self._of_votes(),
        }

    def _of_votes(self) -> dict[str, float]:
        return {} if self.max_fraction_difference is None else {"max_fraction_difference": self.max_fraction_difference}

    def as_dict(self) -> dict[str, Any]:
        """Everything, for `parity.json`; numbers that JSON does not know are written as text."""
        return {
            **self.summary(),
            "rows_by_origin": self.rows_by_origin,
            "worst": [
                {**row, "features": {name: _json_number(value) for name, value in row["features"].items()}}
                for row in self.worst
            ],
        }

    def check(self, limits: ParitySettings, *, model: str) -> None:
        """Hold the comparison against its limits.

        Raises
        ------
        ParityError
            With what is over which limit, and the worst rows.
        """
        measured = {
            "max_probability_difference": self.max_probability_difference,
            "max_flip_rate": self.flip_rate,
            "max_ece_shift": self.ece_shift,
            "max_distance_difference": self.max_distance_difference,
            **self._of_votes(),
        }
        over = [
            f"{key} is {value:.3g}, the limit {getattr(limits, key):.3g}"
            for key, value in measured.items()
            if not value <= getattr(limits, key)
        ]
        if over:
            rows = "\n".join(_line(row) for row in self.worst[:SHOWN])
            raise ParityError(
                f"model '{model}': the ONNX file does not agree with the fitted model on {self.rows} rows: "
                f"{'; '.join(over)}.\nWorst rows:\n{rows}\n"
                "Nothing was written. Mend the export, or raise `parity` in the model's file."
            )


def compare(
    probe: Probe,
    fitted: NDArray[np.float64],
    exported: NDArray[np.float32],
    *,
    distances: tuple[NDArray[np.float64], NDArray[np.float32]],
    features: list[str],
) -> Parity:
    """Compare class probabilities (n, k) and distances (n,) of the fitted and the exported model on a probe's rows.

    A NaN from either side counts as a difference of infinity and as a flip, and so does one infinite distance.
    """
    difference = np.abs(fitted - exported).max(axis=1)
    failed = ~np.isfinite(difference)
    difference[failed] = np.inf
    flipped = failed | (fitted.argmax(axis=1) != exported.argmax(axis=1))
    labelled = probe.labels >= 0
    ece = [
        expected_calibration_error(side[labelled & ~failed], probe.labels[labelled & ~failed])
        for side in (fitted, exported.astype(np.float64))
    ]
    origins, counts = np.unique(probe.origin, return_counts=True)
    order = np.argsort(-difference, kind="stable")[:WORST]
    return Parity(
        rows=len(difference),
        rows_by_origin=dict(zip(origins.tolist(), counts.tolist())),
        max_probability_difference=float(difference.max()),
        flip_rate=float(flipped.mean()),
        ece_fitted=ece[0],
        ece_onnx=ece[1],
        max_distance_difference=float(distance_differences(*distances).max()),
        worst=[
            {
                "row": int(row),
                "origin": str(probe.origin[row]),
                "difference": float(difference[row]),
                "fitted": fitted[row].tolist(),
                "onnx": exported[row].tolist(),
                "features": dict(zip(features, probe.features[row].tolist())),
            }
            for row in order
        ],
    )


def distance_differences(fitted: NDArray[np.float64], exported: NDArray[np.float32]) -> NDArray[np.float64]:
    """Give relative differences, of distances below 1 the absolute ones; 0 where both are infinite."""
    with np.errstate(invalid="ignore"):
        difference = np.abs(fitted - exported) / np.maximum(fitted, 1.0)
    same = np.isposinf(fitted) & np.isposinf(exported)
    return np.where(same, 0.0, np.where(np.isfinite(difference), difference, np.inf))


def _json_number(value: float) -> float | str:
    return value if np.isfinite(value) else str(value)


def _line(row: dict[str, Any]) -> str:
    values = [f"{name}={value:.6g}" for name, value in row["features"].items()]
    more = f", and {len(values) - SHOWN_FEATURES} more" if len(values) > SHOWN_FEATURES else ""
    fitted, exported = (" ".join(f"{p:.6f}" for p in row[side]) for side in ("fitted", "onnx"))
    return (
        f"  row {row['row']} ({row['origin']}): fitted [{fitted}], ONNX [{exported}], "
        f"difference {row['difference']:.3g}; {', '.join(values[:SHOWN_FEATURES])}{more}"
    )
