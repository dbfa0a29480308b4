"""The model zoo, one file a model."""

from skymill.models.boosting import Boosting
from skymill.models.calibration import FLOOR, Calibration
from skymill.models.cnn import Cnn
from skymill.models.ensemble import Ensemble, members_of
from skymill.models.forest import Forest
from skymill.models.frozen import Frozen
from skymill.models.knn import Knn
from skymill.models.linear_cut import LinearCut
from skymill.models.mlp import Mlp
from skymill.models.oblivious import Oblivious
from skymill.models.own import own_class, register_own
from skymill.models.registry import KINDS, OWN, Examples, Fitted, Model, Place, Watch, find, read_settings, register
from skymill.models.svm import Svm

LOOK = ("cnn", "frozen")
"""Kinds whose features are made of stamps of the survey's images."""


def looks_at_pixels(kind: str) -> bool:
    """Say whether a kind's features are made of stamps; one of one's own says so by `looks = True`."""
    return kind in LOOK or bool(getattr(OWN.get(kind), "looks", False))


__all__ = [
    "Boosting",
    "Calibration",
    "Cnn",
    "Ensemble",
    "Examples",
    "FLOOR",
    "Fitted",
    "Forest",
    "Frozen",
    "KINDS",
    "Knn",
    "LOOK",
    "LinearCut",
    "Mlp",
    "Model",
    "Oblivious",
    "Place",
    "Svm",
    "Watch",
    "find",
    "looks_at_pixels",
    "members_of",
    "own_class",
    "read_settings",
    "register",
    "register_own",
]
