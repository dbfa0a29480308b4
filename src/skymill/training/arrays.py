"""The training set as arrays for one model: its features chosen, its rows checked and split."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from skymill.features import deciding
from skymill.sky import at_order
from skymill.training.choosing import TrainingSetError, choose_features

METADATA = b"skymill"
TARGET, VOTE = "target_", "vote_"
"""Before the names of columns that hold true quantities, and votes."""
FEWEST = {"train": 10, "validation": 5, "test": 1}
"""Rows of each class a split must hold: to learn from, to calibrate in five folds, to be measured at all."""


@dataclass(frozen=True)
class Rows:
    """The scorable rows of one split."""

    object_id: NDArray[np.int64]
    features: NDArray[np.float32]
    """(n, f); NaN = not measured."""
    labels: NDArray[np.int64]
    magnitude: NDArray[np.float32]
    block: NDArray[np.int64]
    """HEALPix pixel, at the order of the split, that the source lies in."""
    votes: NDArray[np.float32] | None = None
    """(n, answers): how many gave each answer, where a set of stamps has votes."""


@dataclass(frozen=True)
class LabelledSet:
    """A training set's description and its table."""

    path: Path
    metadata: dict[str, Any]
    features: list[dict[str, Any]]
    """Name, unit, definition, group and `indicator` of the features the model takes, in order."""

    @property
    def classes(self) -> list[str]:
        return list(self.metadata["classes"])

    @property
    def questions(self) -> dict[str, list[str]]:
        """What volunteers were asked: of each question its answers."""
        return dict(self.metadata.get("votes", {}))

    def object_ids(self) -> NDArray[np.int64]:
        """Read the ids of all rows, (n,)."""
        ids: NDArray[np.int64] = pq.read_table(self.path, columns=["objectId"])["objectId"].to_numpy()
        return ids

    def rows(self, split: str) -> tuple[Rows, int]:
        """Read the rows of one split, and count those left out because nothing that matters was measured."""
        names = [feature["name"] for feature in self.features]
        columns = ["objectId", "_healpix_29", "label", "magnitude", *names]
        table = pq.read_table(self.path, columns=columns, filters=[("split", "==", split)])
        features = np.column_stack([table[name].to_numpy().astype(np.float32) for name in names])
        scorable = np.isfinite(features[:, deciding(self.features)]).any(axis=1)
        rows = Rows(
            table["objectId"].to_numpy()[scorable],
            features[scorable],
            table["label"].to_numpy().astype(np.int64)[scorable],
            table["magnitude"].to_numpy().astype(np.float32)[scorable],
            at_order(table["_healpix_29"].to_numpy()[scorable], self.metadata["split"]["order"]),
        )
        self._check_classes(rows, split)
        return rows, int((~scorable).sum())

    def seen_by(self, model: Any) -> LabelledSet:
        """Give the rows as a fitted model is judged by: these."""
        return self

    def extra_files(self) -> dict[str, bytes]:
        """Give what a fit keeps of the set besides itself: nothing."""
        return {}

    def described(self) -> dict[str, Any]:
        """Say what a fit's manifest says of the rows besides their features: nothing."""
        return {}

    def _check_classes(self, rows: Rows, split: str) -> None:
        counts = np.bincount(rows.labels, minlength=len(self.classes))
        thin = {name: int(count) for name, count in zip(self.classes, counts) if count < FEWEST[split]}
        if thin:
            raise TrainingSetError(
                f"{self.path}: split '{split}': expected at least {FEWEST[split]} labelled rows of each class, found "
                f"{', '.join(f'{count} of {name}' for name, count in thin.items())}; give more labels, drop the class "
                "from labels.classes, or change split.order or split.seed"
            )


def open_set(path: str | Path, wanted: Sequence[str]) -> LabelledSet:
    """Open a training set for a model that wants features, by name or by group.

    Raises
    ------
    TrainingSetError
        If the file is not a training set, or a name is no feature or group of it.
    """
    path = Path(path)
    try:
        schema = pq.read_schema(path)
    except (OSError, pa.ArrowInvalid) as error:
        raise TrainingSetError(f"{path}: not a readable Parquet file ({error}); make the training set again") from None
    if METADATA not in (schema.metadata or {}):
        raise TrainingSetError(
            f"{path}: no key-value metadata 'skymill'; expected a training set written by `training_set`"
        )
    metadata = json.loads(schema.metadata[METADATA])
    return LabelledSet(path, metadata, choose_features(metadata["features"], wanted, source=str(path)))
