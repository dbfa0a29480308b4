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
from skymill.models.registry import KINDS, SEGMENTERS, Examples, Fitted, Model, Place, find, read_settings, register
from skymill.models.svm import Svm
from skymill.models.unet import Scenes, Unet

LOOK = ("cnn",)
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
    "KINDS",
    "Knn",
    "LOOK",
    "LinearCut",
    "Mlp",
    "Model",
    "Oblivious",
    "Place",
    "SEGMENTERS",
    "Scenes",
    "Svm",
    "Unet",
    "find",
    "members_of",
    "read_settings",
    "register",
]
