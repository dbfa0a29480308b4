"""Training sets, sky splits, fitting, calibration and metrics."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lazy_loader import attach

from skymill.training.identity import fit_digest
from skymill.training.segmenter_identity import segmenter_digest
from skymill.training.settings import labels_digest, set_settings_digest, shift_settings_digest

if TYPE_CHECKING:
    from skymill.training.fitting import Fit, fit, load_fit
    from skymill.training.segmenting import fit_segmenter
    from skymill.training.shift import measure_shift
    from skymill.training.structure import StructureFit, fit_structure, load_structure
    from skymill.training.training_set import make_set
    from skymill.training.weighting import weigh_rows

__all__ = [
    "Fit",
    "StructureFit",
    "fit",
    "fit_digest",
    "fit_segmenter",
    "fit_structure",
    "labels_digest",
    "load_fit",
    "load_structure",
    "make_set",
    "measure_shift",
    "segmenter_digest",
    "set_settings_digest",
    "shift_settings_digest",
    "weigh_rows",
]

# What works is imported when it is used: the Snakefile only needs the digests.
__getattr__ = attach(
    __name__,
    submod_attrs={
        "fitting": ["Fit", "fit", "load_fit"],
        "segmenting": ["fit_segmenter"],
        "shift": ["measure_shift"],
        "structure": ["StructureFit", "fit_structure", "load_structure"],
        "training_set": ["make_set"],
        "weighting": ["weigh_rows"],
    },
)[0]
