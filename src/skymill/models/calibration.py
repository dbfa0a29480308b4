"""What turns a model's scores into probabilities that mean frequencies; the last nodes of an exported graph."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

FLOOR = 1e-6
"""Probabilities enter the logarithm no lower; a forest gives exact zeros, which no finite sample can support."""
Knots = tuple[NDArray[np.float64], NDArray[np.float64]]


@dataclass(frozen=True)
class Calibration:
    """A map from probabilities (n, k) to calibrated probabilities (n, k)."""

    method: Literal["none", "temperature", "isotonic"] = "none"
    temperature: float = 1.0
    """For `temperature`: ``softmax(log(max(p, FLOOR)) / T + bias)`` (Guo et al. 2017, arXiv:1706.04599)."""
    bias: tuple[float, ...] = ()
    """For `temperature`: minus the log of each class's weight in fitting (Saerens et al. 2002); empty where equal."""
    knots: tuple[Knots, ...] = ()
    """For `isotonic`: per class x (strictly rising) and y (positive) of a piecewise-linear function, flat outside; the
    k values are then normalised (Zadrozny & Elkan 2002)."""

    def apply(self, probabilities: NDArray[np.floating]) -> NDArray[np.float64]:
        """Calibrate probabilities (n, k)."""
        raw = np.asarray(probabilities, dtype=np.float64)
        if self.method == "none":
            return raw
        if self.method == "temperature":
            logits = np.log(np.maximum(raw, FLOOR)) / self.temperature + (np.array(self.bias) if self.bias else 0.0)
            raised = np.exp(logits - logits.max(axis=1, keepdims=True))
        else:
            raised = np.stack([np.interp(raw[:, k], x, y) for k, (x, y) in enumerate(self.knots)], axis=1)
        return raised / raised.sum(axis=1, keepdims=True)

    def as_dict(self) -> dict[str, Any]:
        """Give what `calibration.json` holds."""
        content: dict[str, Any] = {"method": self.method}
        if self.method == "temperature":
            content |= {"temperature": self.temperature, "bias": list(self.bias)}
        if self.method == "isotonic":
            content["knots"] = [{"x": x.tolist(), "y": y.tolist()} for x, y in self.knots]
        return content

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> Calibration:
        """Read what `as_dict` gave."""
        return cls(
            method=content["method"],
            temperature=content.get("temperature", 1.0),
            bias=tuple(content.get("bias", ())),
            knots=tuple((np.array(knot["x"]), np.array(knot["y"])) for knot in content.get("knots", ())),
        )
