"""What the Snakefile needs to know of a run: its files, models and the digests that stand in paths.

It is built each time the Snakefile is read, so nothing here opens a table or imports torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from skymill import export, features, inference, survey, tiling, training
from skymill.config import ConfigError, ModelConfig, RunConfig, SurveyConfig, load_model, load_run, load_survey

RESERVED = ("sources", "features")
"""Catalogues that no model may be named after."""


class Chain:
    """One run as the workflow sees it.

    Parameters
    ----------
    run : RunConfig
    survey_config : SurveyConfig
    models : sequence of ModelConfig
    """

    def __init__(self, run: RunConfig, survey_config: SurveyConfig, models: list[ModelConfig]) -> None:
        self.run = run
        self.survey = survey_config
        self.models: dict[str, ModelConfig] = {model.name: model for model in models}
        taken = [name for name in self.models if name in RESERVED]
        if taken:
            raise ConfigError(f"models: the name '{taken[0]}' is a catalogue of skymill's own; rename the model")

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Chain:
        """Check the mapping Snakemake made of its config files, and the files it names."""
        run = load_run(config)
        return cls(run, load_survey(run.survey), [load_model(path) for path in run.models])

    @property
    def output(self) -> str:
        """Folder of everything the run writes."""
        return self.run.output

    @property
    def catalogues(self) -> list[str]:
        """Every catalogue the run makes."""
        return [*RESERVED, *self.models]

    @property
    def trained_models(self) -> list[str]:
        """Models that are fitted here, as opposed to ONNX files from elsewhere."""
        return [name for name, model in self.models.items() if model.kind != "onnx"]
