"""Configuration of a run, a survey and a model: pydantic models and their JSON schema."""

from skymill.config.describe import describe
from skymill.config.errors import ConfigError
from skymill.config.load import check_run, json_schemas, load_model, load_run, load_survey, read_yaml
from skymill.config.model import ModelConfig, ParitySettings
from skymill.config.run import (
    ComputeSettings,
    FeatureSettings,
    LabelSettings,
    RunConfig,
    SplitSettings,
    TilingSettings,
)
from skymill.config.survey import Photometry, SimulationSettings, SurveyConfig, ValueColumn

__all__ = [
    "ComputeSettings",
    "ConfigError",
    "FeatureSettings",
    "LabelSettings",
    "ModelConfig",
    "ParitySettings",
    "Photometry",
    "RunConfig",
    "SimulationSettings",
    "SplitSettings",
    "SurveyConfig",
    "TilingSettings",
    "ValueColumn",
    "check_run",
    "describe",
    "json_schemas",
    "load_model",
    "load_run",
    "load_survey",
    "read_yaml",
]
