"""Training sets, sky splits, fitting, calibration and metrics."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from skymill.training.identity import fit_digest
from skymill.training.settings import labels_digest, set_settings_digest, shift_settings_digest

if TYPE_CHECKING:
    from skymill.training.fitting import Fit, fit, load_fit
    from skymill.training.shift import measure_shift
    from skymill.training.training_set import make_set
    from skymill.training.weighting import weigh_rows

__all__ = [
    "Fit",
    "fit",
    "fit_digest",
    "labels_digest",
    "load_fit",
    "make_set",
    "measure_shift",
    "set_settings_digest",
    "shift_settings_digest",
    "weigh_rows",
]
LATE = {
    "Fit": "fitting",
    "fit": "fitting",
    "load_fit": "fitting",
    "make_set": "training_set",
    "measure_shift": "shift",
    "weigh_rows": "weighting",
}


def __getattr__(name: str) -> Any:
    """Import what works when it is used: the Snakefile only needs the digests."""
    if name not in LATE:
        raise AttributeError(f"module 'skymill.training' has no attribute '{name}'")
    return getattr(import_module(f"skymill.training.{LATE[name]}"), name)
