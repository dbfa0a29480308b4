"""The model zoo, one file a model."""

from skymill.models.boosting import Boosting
from skymill.models.calibration import FLOOR, Calibration
from skymill.models.forest import Forest
from skymill.models.knn import Knn
from skymill.models.linear_cut import LinearCut
from skymill.models.mlp import Mlp
from skymill.models.oblivious import Oblivious
from skymill.models.registry import KINDS, Examples, Model, Place, find, read_settings, register
from skymill.models.svm import Svm

__all__ = [
    "Boosting",
    "Calibration",
    "Examples",
    "FLOOR",
    "Forest",
    "KINDS",
    "Knn",
    "LinearCut",
    "Mlp",
    "Model",
    "Oblivious",
    "Place",
    "Svm",
    "find",
    "read_settings",
    "register",
]
