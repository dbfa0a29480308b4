"""Training sets, sky splits, fitting, calibration and metrics; fitting is `skymill.training.fit.fit`."""

from skymill.training.identity import fit_digest
from skymill.training.settings import labels_digest, set_settings_digest

__all__ = ["fit_digest", "labels_digest", "make_set", "set_settings_digest"]


def __getattr__(name: str) -> object:
    """Import the entry when it is used: the Snakefile only needs the digests."""
    if name != "make_set":
        raise AttributeError(f"module 'skymill.training' has no attribute '{name}'")
    from skymill.training.training_set import make_set

    return make_set
