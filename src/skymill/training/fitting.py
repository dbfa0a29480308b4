"""Fit, calibrate and measure one model on one training set."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from skymill.config import ModelConfig
from skymill.features.pixels import pixels_digest
from skymill.models import Examples, Fitted, Model, Place, Watch, find_classifier, own, own_class, read_settings
from skymill.models.calibration import Calibration
from skymill.models.conformal import ConformalSets
from skymill.models.distance import TrainingDistance
from skymill.store.keys import digest, file_sha256, short
from skymill.training.arrays import LabelledSet, Rows, TrainingSetError, open_set
from skymill.training.attribution import sample_background
from skymill.training.calibration import fit_calibration
from skymill.training.card import card_markdown, make_card
from skymill.training.conformal import fit_sets
from skymill.training.distance import fit_distance
from skymill.training.fit_files import FORMAT, RESUME, as_csv, as_json, read_manifest, versions, write_fit
from skymill.training.identity import STAMPS, VOTES, identity
from skymill.training.judging import JudgeVotes, judge
from skymill.training.leaks import refuse_leaks

if TYPE_CHECKING:
    from skymill.features.stamps import SourceImages
    from skymill.training.votes import TellsVotes, Votes
    from skymill.training.weighting import Importance

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Fit:
    """A finished fit, read from its folder."""

    folder: Path
    model: Model
    calibration: Calibration
    sets: ConformalSets | None
    distance: TrainingDistance
    manifest: dict[str, Any]
    votes: Votes | None = None
    """None for a model that tells none."""

    @property
    def features(self) -> list[dict[str, Any]]:
        """Name, unit, definition, group and `indicator` of each input, in order."""
        return list(self.manifest["features"])

    def predict_probabilities(self, features: NDArray[np.float32]) -> NDArray[np.float64]:
        """Give calibrated probabilities (n, classes): what an exported file must equal."""
        return self.calibration.apply(self.model.predict_probabilities(features))

    def tell_votes(self, features: NDArray[np.float32]) -> NDArray[np.float64]:
        """Give calibrated concentrations (n, answers) where there are votes: what an exported file must equal."""
        assert self.votes is not None
        return self.votes.told(cast("TellsVotes", self.model), features)


def fit(
    set_path: str | Path,
    model: ModelConfig,
    *,
    seed: int,
    output_folder: str | Path,
    device: str = "auto",
    threads: int = 1,
    members: Mapping[str, Path] | None = None,
    importance: Importance | None = None,
    images: SourceImages | None = None,
    watch: Watch | None = None,
) -> None:
    """Fit a model of the zoo and write everything about it.

    The test split is read once, after the model and its calibration are settled.

    Parameters
    ----------
    set_path : path
        A training set (Parquet).
    model : ModelConfig
    seed : int
        With the same seed, the same machine gives the same bytes.
    output_folder : path
        Gets the model's files, `calibration.json`, `distance.json`, `metrics.json`, `importance.json`,
        `predictions.parquet`, `attributions.parquet`, `history.csv`, `card.json`, `card.md` and, last, `manifest.json`.
        A killed fit that keeps epochs goes on from its `.resume`.
    device : {'auto', 'cpu', 'cuda'}
    threads : int
        CPU threads; no result depends on them.
    members : mapping of str to path, optional
        Folders of the finished fits, on the same training set, that an ensemble is made of, or that a network starts
        from.
    importance : Importance, optional
        By `weigh_rows` of the same training set and model: how much each row of the train split counts in the loss.
        What decides when to stop, calibrates and judges stays as it is.
    images : SourceImages, optional
        Needed by a model that looks at stamps. What is settled and judged after its fit (calibration, distance,
        importance, attributions) goes by the vectors that it makes of them.
    watch : Watch, optional
        Where a training logs, and whom it tells of its epochs.

    Raises
    ------
    TrainingSetError
        If the set cannot teach the model: a class missing or too thin, a feature unknown or never measured; or if
        `importance` is not of this set and model.
    LeakageError
        If the audit suspects one of its features and `allow_features` does not vouch for it.
    ConfigError
        If the model's settings are wrong.
    """
    folder = Path(output_folder)
    if model.importance_weighting != (importance is not None):
        raise TrainingSetError(
            f"model '{model.name}': importance_weighting is {model.importance_weighting}, but weights were "
            f"{'given' if importance else 'not given'}; get them of `weigh_rows`"
        )
    data = open_set(set_path, model.features)
    if (model.stamps is not None) != (images is not None):
        raise TrainingSetError(f"model '{model.name}': `images` are needed by a model with `stamps`, and by no other")
    refuse_leaks(
        data.metadata["suspects"],
        [feature["name"] for feature in data.features] if model.stamps is None else [],
        model.allow_features,
        where=f"model '{model.name}'",
    )
    fits = {name: load_fit(path) for name, path in (members or {}).items()}
    names = [fitted.folder.name for fitted in fits.values()]
    survey = importance.survey if importance else ""
    pixels = pixels_digest(images.survey, images.digest(images.numbers(data.object_ids()).tolist())) if images else ""
    known = identity(model, set_sha256=file_sha256(data.path), seed=seed, members=names, survey=survey, images=pixels)
    taken = {name: _taken(fitted, known["training_set"]) for name, fitted in fits.items()}
    place = Place(folder / RESUME / short(digest(known)), device, threads, taken, watch or Watch())
    place.workdir.mkdir(parents=True, exist_ok=True)
    if images is not None and model.stamps is not None:
        check = getattr(find_classifier(model.kind), "check_stamps", None)
        if check is not None:
            bands = model.stamps.bands or list(images.tiles[next(iter(images.tiles))].bands)
            settings = read_settings(model.kind, model.settings, source=model.where)
            check(settings, model.stamps.model_copy(update={"bands": bands}), source=model.where)
        data = import_module(STAMPS).StampSet.of(data, images, model.stamps, place.workdir / "stamps")
    learned = learn(data, model, known["settings"], importance, seed=seed, place=place)
    data = learned.data

    judged = judge(
        data,
        learned.predict_probabilities,
        learned.sets,
        learned.distance,
        learned.background,
        judge_votes=learned.judge_votes,
        seed=seed,
    )
    metrics = judged.metrics | ({"importance_weighting": importance.as_dict()} if importance else {})
    overall = metrics["overall"]
    logger.info("%s: %s", model.name, {name: overall[name]["value"] for name in ("accuracy", "log_loss", "ece")})
    manifest = {
        "format": FORMAT,
        "name": model.name,
        "kind": model.kind,
        "task": model.task,
        "classes": data.classes,
        "features": data.features,
        **({"votes": learned.votes.questions} if learned.votes else {}),
        **data.described(),
        **known,
        "rows": learned.rows | {"test": judged.rows},
        "unscorable": learned.left_out | {"test": judged.left_out},
        "calibration": learned.calibration.method,
        "training_distance": {**learned.distance_told, "test_outside": judged.outside},
        "versions": versions(),
    }
    card = make_card(manifest, metrics, data.metadata)
    calibration = {**learned.calibration.as_dict(), "cross_validated_log_loss": learned.calibrations_tried}
    if learned.sets is not None:
        calibration["conformal"] = learned.sets.as_dict(data.classes)
    if learned.votes is not None:
        calibration["votes"] = dict(learned.votes.factors)
    files = {
        "calibration.json": as_json(calibration),
        "distance.json": as_json(learned.distance.as_dict()),
        "metrics.json": as_json(metrics),
        "importance.json": as_json(judged.importance),
        "predictions.parquet": judged.predictions,
        "attributions.parquet": judged.attributions,
        "history.csv": as_csv(learned.model.history()),
        "card.json": as_json(card),
        "card.md": card_markdown(card).encode(),
        **data.extra_files(),
        **({own.FILE: Path(model.code).read_bytes()} if model.code else {}),
    }
    write_fit(folder, learned.model, files, manifest)
    shutil.rmtree(folder / RESUME)


def _taken(member: Fit, training_set: str) -> Fitted:
    """A fit as another model takes it up; rows that one learned from must be held out from no other."""
    if member.manifest["training_set"] != training_set:
        raise TrainingSetError(
            f"{member.folder}: fitted on the training set {short(member.manifest['training_set'])}, the model that "
            f"needs it on {short(training_set)}; fit both on one"
        )
    return Fitted(member.model, member.calibration, tuple(feature["name"] for feature in member.features))


@dataclass(frozen=True)
class _Learned:
    """A model and its calibration, settled without a look at the test split."""

    data: LabelledSet
    """The training set as the fitted model is judged by it."""
    model: Model
    calibration: Calibration
    calibrations_tried: Mapping[str, Any]
    sets: ConformalSets | None
    distance: TrainingDistance
    distance_told: Mapping[str, Any]
    background: NDArray[np.float32]
    rows: dict[str, int]
    left_out: dict[str, int]
    votes: Votes | None = None
    judge_votes: JudgeVotes | None = None
    """None where the model tells no votes."""

    def predict_probabilities(self, features: NDArray[np.float32]) -> NDArray[np.float64]:
        """Give calibrated probabilities (n, classes)."""
        return self.calibration.apply(self.model.predict_probabilities(features))


def learn(
    data: LabelledSet,
    model: ModelConfig,
    settings: dict[str, Any],
    importance: Importance | None,
    *,
    seed: int,
    place: Place,
) -> _Learned:
    """Fit on the train split; stop, calibrate and say what is far from training on the validation split."""
    train, train_left_out = data.rows("train")
    validation, validation_left_out = data.rows("validation")
    _check_measured(data, train)
    class_weights = _class_weights(train.labels, len(data.classes), model.class_weight)
    names = tuple(feature["name"] for feature in data.features)
    fitted = find_classifier(model.kind).fit(
        _weighed(_examples(train, class_weights, names, data), importance),
        _examples(validation, class_weights, names, data),
        read_settings(model.kind, settings, source=model.where),
        seed=seed,
        place=place,
    )
    judged_by = data.seen_by(fitted)
    if judged_by is not data:
        train, validation = judged_by.rows("train")[0], judged_by.rows("validation")[0]
    given = fitted.predict_probabilities(validation.features)
    calibration, tried = fit_calibration(
        given, validation.labels, method=model.calibration, class_weights=class_weights, seed=seed
    )
    sets = fit_sets(
        given,
        validation.labels,
        validation.block,
        coverage=model.conformal_coverage,
        method="none" if model.calibration == "none" else calibration.method,
        class_weights=class_weights,
        seed=seed,
    )
    distance, told = fit_distance(
        train.features,
        validation.features,
        indicator=np.array([feature["indicator"] for feature in judged_by.features]),
        quantile=model.training_distance.quantile,
    )
    rows = {"train": len(train.labels), "validation": len(validation.labels)}
    left_out = {"train": train_left_out, "validation": validation_left_out}
    background = sample_background(train.features, seed=seed)
    learned = _Learned(judged_by, fitted, calibration, tried, sets, distance, told, background, rows, left_out)
    if not getattr(fitted, "questions", ()):
        return learned
    votes = import_module(VOTES)
    settled = votes.settle(fitted, validation.features, validation.votes, data.questions, method=model.calibration)
    usual = votes.usual_concentrations(train.votes, settled.sizes)
    judge_votes = partial(votes.judge_votes, model=fitted, votes=settled, usual=usual, seed=seed)
    return replace(learned, votes=settled, judge_votes=judge_votes)


def load_fit(folder: str | Path) -> Fit:
    """Read a finished fit.

    Raises
    ------
    FileNotFoundError
        If the folder holds no manifest.
    TrainingSetError
        If a file is missing or its digest is not the manifest's.
    """
    folder = Path(folder)
    manifest = read_manifest(folder)
    settled = json.loads((folder / "calibration.json").read_text())
    sets = ConformalSets.from_dict(settled["conformal"], manifest["classes"]) if "conformal" in settled else None
    distance = TrainingDistance.from_dict(json.loads((folder / "distance.json").read_text()))
    kind = manifest["kind"]
    file = folder / own.FILE
    model = own_class(kind, file, source=str(folder)) if own.FILE in manifest["files"] else find_classifier(kind)
    questions = manifest.get("votes")
    votes = import_module(VOTES).Votes(questions, settled["votes"]) if questions else None
    return Fit(folder, model.load(folder), Calibration.from_dict(settled), sets, distance, manifest, votes)


def _examples(rows: Rows, class_weights: NDArray[np.float32], names: tuple[str, ...], data: LabelledSet) -> Examples:
    questions = () if rows.votes is None else tuple(len(answers) for answers in data.questions.values())
    weights = class_weights[rows.labels]
    return Examples(
        rows.features, rows.labels, weights, len(class_weights), names, votes=rows.votes, questions=questions
    )


def _weighed(train: Examples, importance: Importance | None) -> Examples:
    """Let each row count by its importance too."""
    if importance is None:
        return train
    if len(importance.weights) != len(train.labels):
        raise TrainingSetError(
            f"importance: expected a weight of each of {len(train.labels)} rows of the train split, found "
            f"{len(importance.weights)}; weigh the rows of this set and model (`weigh_rows`)"
        )
    weights = importance.weights.astype(np.float32)
    return replace(train, weights=train.weights * weights, importance=weights)


def _class_weights(labels: NDArray[np.int64], n_classes: int, rule: str) -> NDArray[np.float32]:
    """One weight per class; the mean over the rows is 1."""
    counts = np.bincount(labels, minlength=n_classes)
    weights = len(labels) / (n_classes * counts) if rule == "balanced" else np.ones(n_classes)
    return weights.astype(np.float32)


def _check_measured(data: LabelledSet, train: Rows) -> None:
    measured = np.isfinite(train.features)
    names = [feature["name"] for number, feature in enumerate(data.features) if not measured[:, number].any()]
    if names:
        raise TrainingSetError(
            f"{data.path}: features {', '.join(names)}: not measured in any row of the train split; leave them out of "
            "the model's `features`, or see why the survey has no value there"
        )
