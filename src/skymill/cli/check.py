"""What can be said against a run before anything is computed."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from skymill.config import ConfigError, ModelConfig, RunConfig, SurveyConfig
from skymill.features import make_recipe
from skymill.features.registry import features_of
from skymill.models import LOOK, SEGMENTERS, STAMP_NETWORKS, looks_at_pixels, members_of, read_settings, register_own
from skymill.models.quantities import find_quantity
from skymill.models.starting import is_checkpoint
from skymill.store import short
from skymill.survey import open_survey, read_map
from skymill.training.choosing import choose_features

RESERVED = ("sources", "features")
"""Catalogues that no model may be named after."""
SEGMENTATION = "segmentation"
"""The catalogue of image tiles, another of them where the survey has images."""


def settings_faults(run: RunConfig, survey: SurveyConfig, models: list[ModelConfig]) -> list[str]:
    """Name what shows without opening a table: quick, since the Snakefile asks each time it is read."""
    faults = [f"{run.where}: {fault}" for fault in (*_output(run.output), *_label_path(run), *_measure_paths(run))]
    faults += [f"{survey.where}: {fault}" for fault in _map_paths(survey)]
    faults += _faults_of(open_survey, survey)
    try:
        features = [asdict(feature) for feature in features_of(make_recipe(survey, run.features))]
    except ValueError as error:
        return [*faults, f"{run.where}: {error}"]
    for model in models:
        if model.code:
            faults += _faults_of(register_own, model.kind, model.code, source=model.where)
        faults += [*_model(model, features, survey), *_segmenter(model, survey), *_targets(model, run)]
        faults += _pin(model, Path(run.output) / "training")
        if model.task != "segmentation":
            faults += _stamps(model, run, survey)
    return [*faults, *_own_kinds(models), *_members(models), *_starts(models)]


def table_faults(run: RunConfig, survey: SurveyConfig, models: list[ModelConfig]) -> list[str]:
    """Name what the data show: every table's header, the label table, a segmenter, maps, models run on a few rows."""
    faults = [*_faults_of(open_survey(survey).check), *_faults_of(_check_labels, run, survey)]
    faults += _faults_of(_check_segmenter, run, survey)
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


def _measure_paths(run: RunConfig) -> Iterator[str]:
    for name in ("positions", "segmenter"):
        path = getattr(run.features.measure, name)
        if path is not None and not Path(path).is_file():
            yield f"features.measure.{name}: {path}: no such file; correct it (relative to {Path.cwd()})"


def _map_paths(survey: SurveyConfig) -> Iterator[str]:
    for name, each in survey.maps.items():
        if not Path(each.path).exists():
            yield f"maps.{name}.path: {each.path}: no such file or folder; correct it (relative to {Path.cwd()})"


def _model(model: ModelConfig, features: list[dict[str, Any]], survey: SurveyConfig) -> Iterator[str]:
    if model.name in RESERVED or (model.name == SEGMENTATION and survey.images is not None):
        yield f"{model.where}: name: '{model.name}' is a catalogue of skymill's own; rename the model"
    yield from _faults_of(choose_features, features, model.features, source=model.where)
    if model.kind != "onnx":
        yield from _faults_of(read_settings, model.kind, model.settings, source=model.where)
    elif not Path(str(model.path)).is_file():
        yield f"{model.where}: path: {model.path}: no such file; correct it (relative to {Path.cwd()})"


def _segmenter(model: ModelConfig, survey: SurveyConfig) -> Iterator[str]:
    """A segmenter needs images in its bands, and learns from no sky that it is run on."""
    if (model.task == "segmentation") != (model.kind in SEGMENTERS):
        wanted = "segmentation" if model.kind in SEGMENTERS else "classification"
        yield f"{model.where}: task: kind '{model.kind}' is for {wanted}, found '{model.task}'; write `task: {wanted}`"
        return
    if model.task != "segmentation":
        return
    if model.stamps is not None:
        yield f"{model.where}: stamps: a model of task 'segmentation' has none; take it out"
    if survey.images is None:
        yield (
            f"{model.where}: task: survey '{survey.name}' ({survey.where}) has no images to find sources on; take the "
            "model out, or describe the survey's `images`"
        )
        return
    try:
        settings: Any = read_settings(model.kind, model.settings, source=model.where)
    except ConfigError:
        return  # told by `_model`
    unknown = [band for band in settings.bands if band not in survey.bands]
    if unknown:
        yield (
            f"{model.where}: settings.bands: {', '.join(unknown)}: no band of survey '{survey.name}'; choose from "
            f"{', '.join(survey.bands)}"
        )
    render = survey.images.render
    if render is not None and render.seed in settings.seeds:
        yield (
            f"{model.where}: settings.first_seed: the survey's own sky, seed {render.seed}, is among what the model "
            f"learns from, seeds {settings.seeds.start} to {settings.seeds.stop - 1}; choose another first_seed"
        )


def _stamps(model: ModelConfig, run: RunConfig, survey: SurveyConfig) -> Iterator[str]:
    """A model of pixels needs images on which skymill itself has found the sources."""
    if model.kind != "onnx" and looks_at_pixels(model.kind) != (model.stamps is not None):
        yield f"{model.where}: stamps: needed by kinds that look at pixels ({', '.join(LOOK)}), and by no other kind"
    if model.stamps is None:
        return
    if survey.images is None:
        yield (
            f"{model.where}: stamps: survey '{survey.name}' ({survey.where}) has no images; take `stamps` out, or "
            "describe the survey's `images`"
        )
        return
    side = model.stamps.size_px * model.stamps.pixel_scale_arcsec
    if run.labels is not None and model.kind != "onnx" and run.split.guard_arcsec < side:
        yield (
            f"{run.where}: split.guard_arcsec: {run.split.guard_arcsec:g} is less than a stamp of model '{model.name}' "
            f"({model.where}), {side:g} arcsec: it would be judged by sky that it has learned from; set "
            f"guard_arcsec to {side:g} or more, or make the stamps smaller"
        )
    unknown = [band for band in model.stamps.bands if band not in survey.bands]
    if unknown:
        yield (
            f"{model.where}: stamps.bands: {', '.join(unknown)}: no band of survey '{survey.name}'; choose from "
            f"{', '.join(survey.bands)}"
        )
    if run.features.measure.positions is not None:
        yield (
            f"{run.where}: features.measure.positions: sources of a table do not tell on which image they are, which "
            f"model '{model.name}' has to know; take the positions out, or the model"
        )


def _targets(model: ModelConfig, run: RunConfig) -> Iterator[str]:
    """A model of structure needs true quantities that it knows."""
    if model.task != "structure" or run.labels is None:
        return
    if not run.labels.targets:
        yield (
            f"{run.where}: labels.targets: model '{model.name}' ({model.where}) learns sizes and shapes; name the "
            "columns of the label table that hold true ones"
        )
    for name in run.labels.targets:
        yield from _faults_of(find_quantity, name, source=f"{run.where}: labels.targets")


def _pin(model: ModelConfig, training: Path) -> Iterator[str]:
    """A fit to keep to has to be there whole, and of the kind that the model's file says."""
    if model.pin is None:
        return
    told, folder = f"{model.where}: pin: {model.pin}", training / model.name
    if not (folder / model.pin / "manifest.json").is_file():
        fits = ", ".join(sorted(path.parent.name for path in folder.glob("*/manifest.json"))) or "none yet"
        yield f"{told}: no such fit in {folder}, there are: {fits}; choose one, or take the pin out"
        return
    fit = json.loads((folder / model.pin / "manifest.json").read_bytes())
    if fit["kind"] != model.kind:
        yield f"{told}: expected a fit of kind '{model.kind}', found '{fit['kind']}'; correct `kind`"
    if model.task == "segmentation":  # learned from sky that can be rendered again
        return
    learned = training / "sets" / f"{short(fit['training_set'])}.parquet"
    if not learned.is_file():
        yield f"{told}: the rows that it learned from, {learned}, are gone; restore them, or take the pin out"


def _own_kinds(models: list[ModelConfig]) -> Iterator[str]:
    """A kind is one class."""
    for model in models:
        for other in models[: models.index(model)]:
            if model.code and other.kind == model.kind and other.code != model.code:
                yield f"{model.where}: code: {model.code}: kind '{model.kind}' is {other.code} in {other.where}"


def _members(models: list[ModelConfig]) -> Iterator[str]:
    """An ensemble is made of models that are fitted in the same run and are no ensembles themselves."""
    members = {model.name: members_of(model.kind, model.settings) for model in models if model.kind == "ensemble"}
    single = [model.name for model in models if model.kind not in ("onnx", "ensemble")]
    kinds = {model.name: model.kind for model in models}
    own = {model.name for model in models if model.code}
    suited = [
        name
        for name in single
        if name not in own and kinds[name] not in SEGMENTERS and not looks_at_pixels(kinds[name])
    ]
    for model in models:
        for name in members.get(model.name, []):
            if name not in single:
                yield (
                    f"{model.where}: settings.members: '{name}' is no model fitted in this run, or an ensemble itself; "
                    f"choose from {', '.join(suited)}, or add its file to `models`"
                )
            elif name in own:
                yield f"{model.where}: settings.members: '{name}' is of a kind of your own; take it out"
            elif looks_at_pixels(kinds[name]):
                yield f"{model.where}: settings.members: '{name}' looks at pixels, an ensemble at features; take it out"


def _starts(models: list[ModelConfig]) -> Iterator[str]:
    """What a network starts from is another one on like stamps that is fitted in the same run, or a file."""
    networks = {model.name: model for model in models if model.stamps is not None and model.kind in STAMP_NETWORKS}
    for model in models:
        start = str(model.settings.get("start") or "") if model.kind not in ("onnx", "ensemble") else ""
        told = f"{model.where}: settings.start: '{start}'"
        if not start:
            continue
        if is_checkpoint(start):
            if not Path(start).is_file():
                yield f"{told}: no such file; correct it (relative to {Path.cwd()})"
        elif start not in networks or start == model.name:
            others = ", ".join(name for name in networks if name != model.name) or "none"
            yield (
                f"{told}: no other network on stamps of the run; choose from {others}, add its file to `models`, or "
                "name the checkpoint.pt of a fit"
            )
        elif networks[start].settings.get("start"):
            yield f"{told}: starts from another one itself; take out one `start` of the two"
        elif networks[start].stamps != model.stamps:
            yield f"{told}: looks at other stamps; make `stamps` of both alike"


def _check_labels(run: RunConfig, survey: SurveyConfig) -> None:
    from skymill.survey import check_classes, read_labels

    if run.labels is not None and run.labels.format != "simulated":
        check_classes(read_labels(run.labels, survey), run.labels)


def _check_segmenter(run: RunConfig, survey: SurveyConfig) -> None:
    from skymill.features.segmenting.segmenter import Segmenter

    path = run.features.measure.segmenter
    if path is not None and survey.images is not None:
        Segmenter(Path(path).read_bytes(), source=path).card.places(survey.bands, source=path)


def _check_onnx(model: ModelConfig, run: RunConfig, survey: SurveyConfig) -> None:
    from skymill.export.external import describe_external

    _, schema = describe_external(model)
    if schema.stamps is not None:
        faults = list(_stamps(model.model_copy(update={"stamps": schema.stamps}), run, survey))
        if faults:
            raise ConfigError("\n".join(faults))
        return
    features = [asdict(feature) for feature in features_of(make_recipe(survey, run.features))]
    choose_features(features, [each.name for each in schema.inputs], source=str(model.path))
