"""The model zoo, one file a model."""

from skymill.models.autoencoder import Autoencoder
from skymill.models.boosting import Boosting
from skymill.models.calibration import FLOOR, Calibration
from skymill.models.cnn import Cnn
from skymill.models.contrastive import Contrastive
from skymill.models.ensemble import Ensemble, members_of
from skymill.models.forest import Forest
from skymill.models.frozen import Frozen
from skymill.models.knn import Knn
from skymill.models.linear_cut import LinearCut
from skymill.models.mlp import Mlp
from skymill.models.oblivious import Oblivious
from skymill.models.own import own_class, register_own
from skymill.models.registry import (
    KINDS,
    OWN,
    SEGMENTERS,
    Examples,
    Fitted,
    Kind,
    Model,
    Place,
    Watch,
    find,
    find_classifier,
    read_settings,
    register,
)
from skymill.models.structure import Galaxies, Structure
from skymill.models.svm import Svm
from skymill.models.unet import Scenes, Unet
from skymill.models.vae import Vae

EMBED = ("autoencoder", "contrastive", "vae")
"""Kinds that give an embedding of each stamp, learned without labels."""
STAMP_NETWORKS = ("cnn", *EMBED)
"""Kinds with a network of our own on stamps that tells classes."""
LOOK = (*STAMP_NETWORKS, "frozen", "structure")
"""Kinds whose features are made of stamps of the survey's images."""
THREADED = ("boosting", "forest", "oblivious")
"""Kinds whose fit can use more than one thread of the CPU."""


def looks_at_pixels(kind: str) -> bool:
    """Say whether a kind's features are made of stamps; one of one's own says so by `looks = True`."""
    return kind in LOOK or bool(getattr(OWN.get(kind), "looks", False))


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
    "Frozen",
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
    "SEGMENTERS",
    "STAMP_NETWORKS",
    "Scenes",
    "Structure",
    "Svm",
    "THREADED",
    "Unet",
    "Vae",
    "Watch",
    "find",
    "looks_at_pixels",
    "find_classifier",
    "members_of",
    "own_class",
    "read_settings",
    "register",
    "register_own",
]
