"""Read configuration files and say everything that is wrong with them at once."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import ValidationError

from skymill.config.base import FileSettings
from skymill.config.describe import KINDS
from skymill.config.errors import ConfigError, explain
from skymill.config.model import ModelConfig
from skymill.config.run import RunConfig
from skymill.config.survey import SurveyConfig

Model = TypeVar("Model", bound=FileSettings)
UNDECIDED = "DECIDE"
"""Stands in a drafted file where a person has to decide."""


class _Loader(yaml.SafeLoader):
    """Refuses a key that stands twice in a block, of which YAML would take the last without a word."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        for number, key in enumerate(keys):
            if key.value in {other.value for other in keys[:number]}:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key '{key.value}' stands twice in one block; delete one", key.start_mark
                )
        return super().construct_mapping(node, deep)


VARIABLE = re.compile(r"\$\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(:-(?P<default>[^}]*))?\}")


def read_yaml(path: str | Path) -> dict[str, Any]:
    """Read a YAML mapping.

    Raises
    ------
    ConfigError
        If the file is absent, is not YAML or does not hold a mapping.
    """
    path = Path(path)
    try:
        content = yaml.load(path.read_text(), _Loader)  # noqa: S506 (it is a SafeLoader)
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file; check the path (relative to {Path.cwd()})") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: not valid YAML: {error}") from None
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: expected keys and values, found {type(content).__name__}")
    return content


def load_run(source: str | Path | Mapping[str, Any], *, name: str = "") -> RunConfig:
    """Load a run from a file, or from the mapping Snakemake made of its config files, which `name` tells."""
    return _load(RunConfig, source, name)


def load_survey(source: str | Path | Mapping[str, Any]) -> SurveyConfig:
    """Load a survey; environment variables in `path` are put in."""
    return _load(SurveyConfig, source)


def load_model(source: str | Path | Mapping[str, Any]) -> ModelConfig:
    """Load a model's file."""
    return _load(ModelConfig, source)


def check_run(
    source: str | Path | Mapping[str, Any], *, name: str = ""
) -> tuple[RunConfig, SurveyConfig, list[ModelConfig]]:
    """Load a run, from its file or from the mapping Snakemake made of it, and every file it names.

    Parameters
    ----------
    source : path or mapping
        A run's file, or what Snakemake made of its config files.
    name : str
        What messages call a mapping.

    Raises
    ------
    ConfigError
        With the faults of all files together.
    """
    run = load_run(source, name=name)
    where = run.where
    faults: list[str] = []
    survey: SurveyConfig | None = None
    models: list[ModelConfig] = []
    try:
        survey = load_survey(run.survey)
    except ConfigError as error:
        faults.append(str(error))
    for file in run.models:
        try:
            models.append(load_model(file))
        except ConfigError as error:
            faults.append(str(error))
    names = [model.name for model in models]
    for twice in sorted({each for each in names if names.count(each) > 1}):
        faults.append(f"{where}: models: two models are named '{twice}'; rename one")
    by_labels = [model.name for model in models if model.kind != "onnx" and model.task == "classification"]
    if run.labels is None and by_labels:
        faults.append(f"{where}: labels: needed to train {', '.join(by_labels)}; add the block `labels`")
    if survey is not None:
        faults += [f"{where}: {fault}" for fault in _feature_faults(run, survey)]
    if faults or survey is None:
        raise ConfigError("\n".join(faults))
    return run, survey, models


def _feature_faults(run: RunConfig, survey: SurveyConfig) -> list[str]:
    known = list(survey.photometry)
    return [
        f"features.{key}: value {value!r}: not a photometry of survey '{survey.name}'; known: {', '.join(known)}"
        for key in ("colour_flux", "size_flux")
        if survey.format != "simulated" and (value := getattr(run.features, key)) and value not in known
    ]


def json_schemas() -> dict[str, dict[str, Any]]:
    """JSON schema of each kind of file: `run`, `survey`, `model`."""
    return {name: kind.model_json_schema() for name, kind in KINDS.items()}


def _load(model: type[Model], source: str | Path | Mapping[str, Any], name: str = "") -> Model:
    if isinstance(source, str | Path):
        content, file = read_yaml(source), str(source)
    else:
        content, file = dict(source), name
    name = file or f"the {model.__name__.removesuffix('Config').lower()}'s configuration"
    if isinstance(content.get("path"), str):
        content["path"] = expand_variables(content["path"], source=name)
    if isinstance(content.get("labels"), dict):
        content["labels"] = _with_path(content["labels"], source=name)
    if isinstance(content.get("maps"), dict):
        content["maps"] = {key: _with_path(each, source=name) for key, each in content["maps"].items()}
    undecided = list(_undecided(content))
    if undecided:
        raise ConfigError("\n".join(f"{name}: {key}: still {UNDECIDED}; write what it is" for key in undecided))
    try:
        settings = model.model_validate(content)
    except ValidationError as error:
        raise explain(error, source=name, model=model) from None
    settings._file = file
    return settings


def _with_path(block: object, *, source: str) -> object:
    """Put the environment's variables into the path of a block; what is no such block is for pydantic to refuse."""
    if not isinstance(block, dict) or not isinstance(block.get("path"), str):
        return block
    return {**block, "path": expand_variables(block["path"], source=source)}


def _undecided(content: object, path: tuple[str, ...] = ()) -> Iterator[str]:
    """Name the keys at which nothing has been decided."""
    if content == UNDECIDED:
        yield ".".join(path)
    elif isinstance(content, Mapping):
        for key, value in content.items():
            yield from _undecided(value, (*path, str(key)))
    elif isinstance(content, list):
        for index, value in enumerate(content):
            yield from _undecided(value, (*path, str(index)))


def expand_variables(text: str, *, source: str) -> str:
    """Put in `${NAME}` and `${NAME:-default}` from the environment.

    Raises
    ------
    ConfigError
        If a variable without default is not set.
    """

    def value(match: re.Match[str]) -> str:
        found = os.environ.get(match["name"], match["default"])
        if found is None:
            raise ConfigError(f"{source}: path: {text}: the variable {match['name']} is not set; export it")
        return found

    return VARIABLE.sub(value, text)
