"""What can be said against a run before anything is computed."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from skymill.config import ModelConfig, RunConfig, SurveyConfig
from skymill.features import make_recipe
from skymill.features.registry import features_of
from skymill.models import members_of, read_settings
from skymill.survey import open_survey, read_map
from skymill.training.choosing import choose_features

RESERVED = ("sources", "features")
"""Catalogues that no model may be named after."""


def settings_faults(run: RunConfig, survey: SurveyConfig, models: list[ModelConfig]) -> list[str]:
    """Name what shows without opening a table: quick, since the Snakefile asks each time it is read."""
    faults = [f"{run.where}: {fault}" for fault in (*_output(run.output), *_label_path(run))]
    faults += [f"{survey.where}: {fault}" for fault in _map_paths(survey)]
    faults += _faults_of(open_survey, survey)
    try:
        features = [asdict(feature) for feature in features_of(make_recipe(survey, run.features))]
    except ValueError as error:
        return [*faults, f"{run.where}: {error}"]
    for model in models:
        faults += _model(model, features)
    return [*faults, *_members(models)]


def table_faults(run: RunConfig, survey: SurveyConfig, models: list[ModelConfig]) -> list[str]:
    """Name what the data show: every table's header, the label table, maps, models from elsewhere run on a few rows."""
    faults = [*_faults_of(open_survey(survey).check), *_faults_of(_check_labels, run, survey)]
    for name, each in survey.maps.items():
        faults += _faults_of(read_map, name, each)
    for model in models:
        if model.kind == "onnx":
            faults += _faults_of(_check_onnx, model, run, survey)
    return faults


def _faults_of(check: Callable[..., object], *arguments: object, **options: object) -> list[str]:
    try:
        check(*arguments, **options)
    except (ValueError, OSError) as error:
        return [str(error)]
    return []


def _output(output: str) -> Iterator[str]:
    """A folder has to be there and writable, or makeable."""
    folder = Path(output).absolute()
    nearest = next(parent for parent in (folder, *folder.parents) if parent.exists())
    if not nearest.is_dir():
        yield f"output: {output}: {nearest} is a file; name a folder"
    elif not os.access(nearest, os.W_OK | os.X_OK):
        yield f"output: {output}: no permission to write in {nearest}; name another folder, or ask for the permission"


def _label_path(run: RunConfig) -> Iterator[str]:
    path = run.labels.path if run.labels else None
    if path is not None and not Path(path).exists():
        yield f"labels.path: {path}: no such file or folder; correct it (relative to {Path.cwd()})"


def _map_paths(survey: SurveyConfig) -> Iterator[str]:
    for name, each in survey.maps.items():
        if not Path(each.path).exists():
            yield f"maps.{name}.path: {each.path}: no such file or folder; correct it (relative to {Path.cwd()})"


def _model(model: ModelConfig, features: list[dict[str, Any]]) -> Iterator[str]:
    if model.name in RESERVED:
        yield f"{model.where}: name: '{model.name}' is a catalogue of skymill's own; rename the model"
    yield from _faults_of(choose_features, features, model.features, source=model.where)
    if model.kind != "onnx":
        yield from _faults_of(read_settings, model.kind, model.settings, source=model.where)
    elif not Path(str(model.path)).is_file():
        yield f"{model.where}: path: {model.path}: no such file; correct it (relative to {Path.cwd()})"


def _members(models: list[ModelConfig]) -> Iterator[str]:
    """An ensemble is made of models that are fitted in the same run and are no ensembles themselves."""
    members = {model.name: members_of(model.kind, model.settings) for model in models if model.kind != "onnx"}
    single = [name for name, of in members.items() if not of]
    for model in models:
        for name in members.get(model.name, []):
            if name not in single:
                yield (
                    f"{model.where}: settings.members: '{name}' is no model fitted in this run, or an ensemble itself; "
                    f"choose from {', '.join(single)}, or add its file to `models`"
                )


def _check_labels(run: RunConfig, survey: SurveyConfig) -> None:
    from skymill.survey import check_classes, read_labels

    if run.labels is not None and run.labels.format != "simulated":
        check_classes(read_labels(run.labels, survey), run.labels)


def _check_onnx(model: ModelConfig, run: RunConfig, survey: SurveyConfig) -> None:
    from skymill.export.external import describe_external

    _, schema = describe_external(model)
    features = [asdict(feature) for feature in features_of(make_recipe(survey, run.features))]
    choose_features(features, [each.name for each in schema.inputs], source=str(model.path))
