"""What the Snakefile needs to know of a run: its files, models and the digests that stand in paths.

It is built each time the Snakefile is read, so nothing here opens a table or imports torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from skymill import export, features, inference, tiling, training
from skymill.config import ConfigError, ModelConfig, RunConfig, SurveyConfig, load_model, load_run, load_survey
from skymill.models import read_settings
from skymill.store import short
from skymill.store.paths import CURRENT
from skymill.survey import Survey, inventory_digest, open_survey

RESERVED = ("sources", "features")
"""Catalogues that no model may be named after."""
COORDINATOR_MB = 1000
"""For the process of a job itself, beside its workers."""


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
        cache = Path(run.output) / ".cache"
        self.survey: Survey = open_survey(survey_config, part_rows=run.tiling.part_rows, cache=cache)
        self.models: dict[str, ModelConfig] = {model.name: model for model in models}
        taken = [name for name in self.models if name in RESERVED]
        for name in self.trained_models:
            read_settings(self.models[name].kind, self.models[name].settings, source=f"model '{name}'")
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

    def job_memory_mb(self, threads: int) -> int:
        """What a job with so many workers needs, its coordinator included."""
        return COORDINATOR_MB + threads * self.run.compute.worker_bytes // 1_000_000

    @property
    def inference_gpus(self) -> int:
        """GPUs that each job of the inference needs."""
        return int(self.run.inference.provider != "cpu")

    @property
    def catalogues(self) -> list[str]:
        """Every catalogue the run makes."""
        return [*RESERVED, *self.models]

    @property
    def is_sealed(self) -> bool:
        """Whether there is a catalogue to open; a run may be asked for less."""
        return any(Path(self.output).glob(f"catalogues/*/{CURRENT}"))

    @property
    def trained_models(self) -> list[str]:
        """Models that are fitted here, as opposed to ONNX files from elsewhere."""
        return [name for name, model in self.models.items() if model.kind != "onnx"]

    @cached_property
    def survey_digest(self) -> str:
        """Digest of the bytes of the survey's tables; a touched file keeps it."""
        return inventory_digest(self.survey)

    @cached_property
    def plan_settings(self) -> str:
        """Digest of what decides the plan, besides the data."""
        return short(tiling.plan_digest(self.run, self.survey.config))

    @cached_property
    def sources_settings(self) -> str:
        """The `settings12` of the source catalogue."""
        return short(tiling.settings_digest(self.run, self.survey.config))

    @cached_property
    def features_settings(self) -> str:
        """The `settings12` of the feature catalogue."""
        return short(features.settings_digest(self.run, self.survey.config))

    @cached_property
    def labels_digest(self) -> str:
        """Digest of the bytes of the label table."""
        return training.labels_digest(self.run, self.survey)

    @cached_property
    def training_set_settings(self) -> str:
        """Digest of what decides the training set, besides features and labels."""
        return short(training.set_settings_digest(self.run))

    def fit_digest(self, model: str, training_set: str) -> str:
        """Name of a fit's folder: its training set (SHA-256), settings, seed and code."""
        return short(training.fit_digest(self.models[model], set_sha256=training_set, seed=self.run.seed))

    def export_settings(self, model: str) -> str:
        """Digest of what decides the export of a model, besides its fit."""
        return export.settings_digest(self.models[model])

    def inference_settings(self, model: str, onnx: str) -> str:
        """The `settings12` of a model's catalogue."""
        return short(inference.settings_digest(onnx, self.run.inference))
