"""The zoo: one dict from a kind's name to its class, and what such a class must offer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Protocol, Self, TypeVar, cast, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from skymill.config import base
from skymill.config.errors import ConfigError, explain
from skymill.models.calibration import Calibration


@dataclass(frozen=True)
class Examples:
    """Labelled rows a model learns from."""

    features: NDArray[np.float32]
    """(n, f), physical units, NaN = not measured."""
    labels: NDArray[np.int64]
    """(n,), index in the list of classes."""
    weights: NDArray[np.float32]
    """(n,), how much each row counts in the loss; mean 1."""
    n_classes: int
    names: tuple[str, ...] = ()
    """(f,), of the features; only a model whose settings name features needs them."""
    importance: NDArray[np.float32] | None = None
    """(n,), the part of the weights that does not go by class, where there is one."""
    votes: NDArray[np.float32] | None = None
    """(n, answers): how many volunteers gave each answer, where some were asked."""
    questions: tuple[int, ...] = ()
    """Answers of each question, in the order of the votes."""

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def class_weights(self) -> NDArray[np.float64]:
        """The part of the weights that goes by class, (classes,); 0 for a class without rows."""
        rows = np.ones(len(self.labels)) if self.importance is None else self.importance
        sums, all_rows = (np.bincount(self.labels, each, minlength=self.n_classes) for each in (self.weights, rows))
        return np.asarray(sums / np.where(all_rows > 0, all_rows, 1.0))


@dataclass(frozen=True)
class Watch:
    """How people follow a fit; no result depends on it."""

    logs: Path | None = None
    """Folder that gets the logs of a training with epochs; without, they stay in the fit's own, which goes with it."""
    progress: Callable[[Mapping[str, float], int], None] | None = None
    """Is told each epoch (number, training loss, log-loss on validation) and how many there are at most.

    What it raises ends the fit.
    """


@dataclass(frozen=True)
class Place:
    """Where a fit runs."""

    workdir: Path
    """Folder that keeps what a fit needs to go on after a kill."""
    device: str = "auto"
    """`cpu`, `cuda`, or `auto`: a GPU where there is one. A model that knows no GPU takes the CPU."""
    threads: int = 1
    """CPU threads; the result does not depend on them."""
    members: Mapping[str, Fitted] = field(default_factory=dict)
    """By name: the finished fits that an ensemble is made of, or that a network starts from."""
    watch: Watch = Watch()


@runtime_checkable
class Kind(Protocol):
    """A fitted model of the zoo, whatever its task."""

    kind: ClassVar[str]
    Settings: ClassVar[type[base.Settings]]

    def save(self, folder: Path) -> list[str]:
        """Write the model below `folder`, the same bytes for the same model, and give the names of the files."""

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote."""

    def history(self) -> list[dict[str, float]]:
        """One row per epoch (columns for `history.csv`); empty where a model has no epochs."""


@runtime_checkable
class Model(Kind, Protocol):
    """A fitted classifier of the zoo."""

    @classmethod
    def fit(cls, train: Examples, validation: Examples, settings: Any, *, seed: int, place: Place) -> Self:
        """Learn from `train`; `validation` may only choose when to stop."""

    def predict_probabilities(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Give probabilities (n, classes), not calibrated, of features (n, f); NaN and infinite: not measured."""


@dataclass(frozen=True)
class Fitted:
    """A finished fit as another model takes it up."""

    model: Model
    calibration: Calibration
    features: tuple[str, ...]
    """Names of what it takes, in order."""


@runtime_checkable
class Segmenter(Protocol):
    """A fitted model of the zoo that parts images into sources."""

    kind: ClassVar[str]
    Settings: ClassVar[type[base.Settings]]

    @classmethod
    def fit(cls, train: Any, validation: Any, settings: Any, *, seed: int, place: Place) -> Self:
        """Learn from scenes; `validation` may only choose when to stop."""

    def save(self, folder: Path) -> list[str]:
        """Write the model below `folder`, the same bytes for the same model, and give the names of the files."""

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote."""

    def history(self) -> list[dict[str, float]]:
        """One row per epoch."""


KINDS: dict[str, type[Kind]] = {}
OWN: dict[str, type[Model]] = {}
"""Kinds that the run's model files bring with them (`own.register_own`); never one of the zoo's names."""
SEGMENTERS: dict[str, type[Segmenter]] = {}
AnyModel = TypeVar("AnyModel", bound=type[Kind])
AnySegmenter = TypeVar("AnySegmenter", bound=type[Segmenter])


def register(kind: str) -> Callable[[AnyModel], AnyModel]:
    """Put a class into the zoo under the name that model files use."""

    def add(model: AnyModel) -> AnyModel:
        if kind in KINDS:
            raise ValueError(f"the kind '{kind}' is already taken by {KINDS[kind].__name__}; choose another name")
        model.kind = kind
        KINDS[kind] = model
        return model

    return add


def register_segmenter(kind: str) -> Callable[[AnySegmenter], AnySegmenter]:
    """Put a class that parts images into sources into the zoo."""

    def add(model: AnySegmenter) -> AnySegmenter:
        model.kind = kind
        SEGMENTERS[kind] = model
        return model

    return add


def find(kind: str) -> type[Kind]:
    """Look up a kind.

    Raises
    ------
    ValueError
        If the zoo has no such kind; the message lists those it has.
    """
    if kind not in KINDS and kind not in OWN:
        raise ValueError(f"kind '{kind}': not a model of the zoo; known: {', '.join(sorted(KINDS))}")
    return KINDS.get(kind) or OWN[kind]


def find_classifier(kind: str) -> type[Model]:
    """Look up a kind that gives class probabilities.

    Raises
    ------
    ValueError
        If the zoo has no such kind, or it gives something else.
    """
    found = find(kind)
    if not hasattr(found, "predict_probabilities"):
        raise ValueError(f"kind '{kind}': learns no classes; correct `kind` or `task` of the model's file")
    return cast(type[Model], found)


def read_settings(kind: str, values: dict[str, Any], *, source: str) -> base.Settings:
    """Check the `settings` of a model's file against its kind.

    Raises
    ------
    ConfigError
        Naming `source`, the key, the value and the mend.
    """
    zoo = {name: model.Settings for name, model in (*KINDS.items(), *OWN.items(), *SEGMENTERS.items())}
    if kind not in zoo:
        known = ", ".join(sorted({*KINDS, *SEGMENTERS}))
        raise ConfigError(
            f"{source}: kind: value '{kind}': not a model of the zoo; known: {known}, onnx; for one of your own name "
            "its file by `code`"
        )
    model = zoo[kind]
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise explain(error, source=f"{source}: settings", model=model) from None
