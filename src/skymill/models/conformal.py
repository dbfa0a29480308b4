"""Sets of classes that hold the true one with a promised probability; the thresholds travel with an exported graph."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

MOST_CLASSES = 63
"""A set is an integer with one bit for each class."""


@dataclass(frozen=True)
class ConformalSets:
    """A class is in the set of a source if its calibrated probability is at least the class's threshold.

    Class-conditional split conformal prediction (Vovk 2012, arXiv:1209.2673; Sadinle et al. 2019, JASA 114, 223,
    arXiv:1609.00451): of the sources of each class, at least `coverage` have it in their set, as far as they are like
    the labelled ones. A set may be empty (typical of no class) or hold several classes.
    """

    coverage: float
    thresholds: tuple[float, ...]
    """One per class, each a float32; 0 puts the class into every set."""

    def contain(self, probabilities: NDArray[np.floating]) -> NDArray[np.bool_]:
        """Tell which classes (n, k) are in the sets of sources with calibrated probabilities (n, k).

        Both sides are compared as float32, the precision of a catalogue, so that a catalogue's sets follow from its
        probabilities.
        """
        return np.asarray(probabilities, np.float32) >= np.array(self.thresholds, np.float32)

    def as_dict(self, classes: Sequence[str]) -> dict[str, Any]:
        """Give what a fit's files and an exported graph hold."""
        return {"coverage": self.coverage, "thresholds": dict(zip(classes, self.thresholds, strict=True))}

    @classmethod
    def from_dict(cls, content: dict[str, Any], classes: Sequence[str]) -> ConformalSets:
        """Read what `as_dict` gave.

        Raises
        ------
        KeyError
            If a class has no threshold.
        """
        return cls(float(content["coverage"]), tuple(float(content["thresholds"][name]) for name in classes))
