"""The model zoo, one file a model."""

from skymill.models.boosting import Boosting
from skymill.models.calibration import FLOOR, Calibration
from skymill.models.cnn import Cnn
from skymill.models.ensemble import Ensemble, members_of
from skymill.models.forest import Forest
from skymill.models.knn import Knn
from skymill.models.linear_cut import LinearCut
from skymill.models.mlp import Mlp
from skymill.models.oblivious import Oblivious
from skymill.models.registry import (
    KINDS,
    Examples,
    Fitted,
    Kind,
    Model,
    Place,
    find,
    find_classifier,
    read_settings,
    register,
)
from skymill.models.structure import Galaxies, Structure
from skymill.models.svm import Svm

LOOK = ("cnn", "structure")
"""Kinds whose features are made of stamps of the survey's images."""

__all__ = [
    "Boosting",
    "Calibration",
    "Cnn",
    "Ensemble",
    "Examples",
    "FLOOR",
    "Fitted",
    "Forest",
    "Galaxies",
    "KINDS",
    "Kind",
    "Knn",
    "LOOK",
    "LinearCut",
    "Mlp",
    "Model",
    "Oblivious",
    "Place",
    "Structure",
    "Svm",
    "find",
    "find_classifier",
    "members_of",
    "read_settings",
    "register",
]
