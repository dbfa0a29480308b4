"""The model zoo, one file a model."""

from skymill.models import boosting, forest, mlp, oblivious
from skymill.models.boosting import Boosting
from skymill.models.calibration import FLOOR, Calibration
from skymill.models.forest import Forest
from skymill.models.mlp import Mlp
from skymill.models.oblivious import Oblivious
from skymill.models.registry import KINDS, Examples, Model, Place, find, read_settings, register

__all__ = [
    "Boosting",
    "Calibration",
    "Examples",
    "FLOOR",
    "Forest",
    "KINDS",
    "Mlp",
    "Model",
    "Oblivious",
    "Place",
    "boosting",
    "find",
    "forest",
    "mlp",
    "oblivious",
    "read_settings",
    "register",
]
