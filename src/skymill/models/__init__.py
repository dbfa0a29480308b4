"""The model zoo, one file a model."""

from skymill.models.autoencoder import Autoencoder
from skymill.models.boosting import Boosting
from skymill.models.calibration import FLOOR, Calibration
from skymill.models.cnn import Cnn
from skymill.models.contrastive import Contrastive
from skymill.models.ensemble import Ensemble, members_of
from skymill.models.forest import Forest
from skymill.models.knn import Knn
from skymill.models.linear_cut import LinearCut
from skymill.models.mlp import Mlp
from skymill.models.oblivious import Oblivious
from skymill.models.registry import KINDS, Examples, Fitted, Model, Place, find, read_settings, register
from skymill.models.svm import Svm
from skymill.models.vae import Vae

EMBED = ("autoencoder", "contrastive", "vae")
"""Kinds that give an embedding of each stamp, learned without labels."""
LOOK = ("cnn", *EMBED)
"""Kinds whose features are made of stamps of the survey's images."""
THREADED = ("boosting", "forest", "oblivious")
"""Kinds whose fit can use more than one thread of the CPU."""

__all__ = [
    "Autoencoder",
    "Boosting",
    "Calibration",
    "Cnn",
    "Contrastive",
    "EMBED",
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
    "Svm",
    "THREADED",
    "Vae",
    "find",
    "members_of",
    "read_settings",
    "register",
]
