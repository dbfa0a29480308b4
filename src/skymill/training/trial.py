"""One trial of a sweep: a model's worth on the validation split, of a set that has lost its test split."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow.parquet as pq

from skymill.config import ModelConfig
from skymill.models import Fitted, Place, Watch, read_settings
from skymill.training.arrays import open_set
from skymill.training.fitting import learn, load_fit
from skymill.training.leaks import refuse_leaks
from skymill.training.stamp_set import StampSet

if TYPE_CHECKING:
    from collections.abc import Mapping

    from skymill.features.stamps import SourceImages
    from skymill.training.weighting import Importance


def write_without_test(set_path: Path, target: Path) -> None:
    """Copy a training set without the rows of its test split, which nothing that reads the copy can then see."""
    table = pq.read_table(set_path, filters=[("split", "!=", "test")])
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_suffix(".part")
    pq.write_table(table, part)
    part.rename(target)


def validation_log_loss(
    set_path: Path,
    model: ModelConfig,
    *,
    seed: int,
    folder: Path,
    device: str = "auto",
    threads: int = 1,
    members: Mapping[str, Path] | None = None,
    importance: Importance | None = None,
    images: SourceImages | None = None,
    watch: Watch | None = None,
) -> float:
    """Fit on the train split and give the log-loss on the validation split.

    The probabilities are calibrated as a fit's are, each fifth of the split by what the others teach (the method of the
    model's `calibration` or, for `auto` and `none`, the better one), so that a model is not preferred for being timid.

    Parameters
    ----------
    set_path : Path
        A training set, by `write_without_test`.
    model : ModelConfig
    seed : int
    folder : Path
        Keeps stamps and epochs.
    device, threads, members, importance, images, watch
        As `fit` takes them.

    Raises
    ------
    TrainingSetError, LeakageError, ConfigError
        As `fit` raises them.
    """
    data = open_set(set_path, model.features)
    if model.stamps is None:
        names = [feature["name"] for feature in data.features]
        refuse_leaks(data.metadata["suspects"], names, model.allow_features, where=f"model '{model.name}'")
    fits = [load_fit(path) for path in (members or {}).values()]
    taken = {
        name: Fitted(each.model, each.calibration, tuple(feature["name"] for feature in each.features))
        for name, each in zip(members or {}, fits)
    }
    folder.mkdir(parents=True, exist_ok=True)
    if images is not None and model.stamps is not None:
        data = StampSet.of(data, images, model.stamps, folder.parent / "stamps")
    settings = read_settings(model.kind, model.settings, source=model.where).model_dump(mode="json")
    learned = learn(
        data,
        model.model_copy(update={"calibration": "auto"}),
        settings,
        importance,
        seed=seed,
        place=Place(folder, device, threads, taken, watch or Watch()),
    )
    tried = learned.calibrations_tried
    return float(tried.get(model.calibration, min(tried.values())))
