"""What the Snakefile needs to know of a run: its files, models and the digests that stand in paths.

It is built each time the Snakefile is read, so nothing here opens a table or imports torch.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from skymill import export, features, inference, tiling, training
from skymill.cli.check import RESERVED, settings_faults
from skymill.config import ConfigError, ModelConfig, RunConfig, SurveyConfig, check_run, read_yaml
from skymill.models import members_of
from skymill.store import short
from skymill.survey import Survey, inventory_digest, maps_digest, open_survey

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

    @classmethod
    def from_config(cls, config: Mapping[str, Any], files: Sequence[str | Path] = ()) -> Chain:
        """Check the mapping Snakemake made of its config files, and the files it names.

        Parameters
        ----------
        config : mapping
        files : sequence of path
            The config files, for messages; Snakemake does not see a key that stands twice in one of them.

        Raises
        ------
        ConfigError
            Naming every fault that shows without opening a table.
        """
        for file in files:
            read_yaml(file)
        run, survey, models = check_run(config, name=" with ".join(_near(file) for file in files))
        faults = settings_faults(run, survey, models)
        if faults:
            raise ConfigError("\n".join(faults))
        return cls(run, survey, models)

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
        return [*RESERVED, *self.published]

    @property
    def published(self) -> list[str]:
        """Models that are run over the survey."""
        return [name for name, model in self.models.items() if model.catalogue]

    @property
    def trained_models(self) -> list[str]:
        """Models that are fitted here, as opposed to ONNX files from elsewhere."""
        return [name for name, model in self.models.items() if model.kind != "onnx"]

    @property
    def trained_and_published(self) -> list[str]:
        """Models that are fitted here and run over the survey."""
        return [name for name in self.trained_models if name in self.published]

    @property
    def only_compared(self) -> list[str]:
        """Models that are fitted here and have no catalogue."""
        return [name for name in self.trained_models if name not in self.published]

    @cached_property
    def survey_digest(self) -> str:
        """Digest of the bytes of the survey's tables; a touched file keeps it."""
        return inventory_digest(self.survey)

    @cached_property
    def plan_settings(self) -> str:
        """Digest of what decides the plan, besides the data."""
        return short(tiling.plan_digest(self.run, self.survey.config))

    @cached_property
    def plan_name(self) -> str:
        """Digest of all that decides the plan; stands in the name of its copy."""
        return tiling.plan_name(self.run, self.survey.config, self.survey_digest)

    @cached_property
    def sources_settings(self) -> str:
        """The `settings12` of the source catalogue."""
        return tiling.settings_digest(self.run, self.survey.config)

    @cached_property
    def features_settings(self) -> str:
        """The `settings12` of the feature catalogue."""
        return features.settings_digest(self.run, self.survey.config)

    @cached_property
    def labels_digest(self) -> str:
        """Digest of the bytes of the label table."""
        return training.labels_digest(self.run, self.survey)

    @cached_property
    def training_set_settings(self) -> str:
        """Digest of what decides the training set, besides features and labels."""
        return short(training.set_settings_digest(self.run))

    @cached_property
    def shift_settings(self) -> str:
        """Digest of what decides the comparison of training rows with the survey, besides both."""
        return short(training.shift_settings_digest(self.run, self.survey))

    @cached_property
    def maps_digest(self) -> str:
        """Digest of the survey's maps, which the report draws."""
        return maps_digest(self.survey.config.maps, self.survey.cache)

    def fit_digest(self, model: str, training_set: str) -> str:
        """Name of a fit's folder: its training set (SHA-256), settings, seed, code and the fits it is made of."""
        members = [self.fit_digest(member, training_set) for member in self.members(model)]
        return short(
            training.fit_digest(self.models[model], set_sha256=training_set, seed=self.run.seed, members=members)
        )

    def members(self, model: str) -> list[str]:
        """Models whose fits a model is made of; none but for an ensemble."""
        return members_of(self.models[model].kind, self.models[model].settings)

    def export_settings(self, model: str) -> str:
        """Digest of what decides the export of a model, besides its fit."""
        return export.settings_digest(self.models[model])

    def inference_settings(self, model: str, onnx: str) -> str:
        """The `settings12` of a model's catalogue."""
        return inference.settings_digest(onnx, self.run.inference)

    def catalogue_settings(self, name: str) -> str:
        """The `settings12` of a catalogue; of a model's once it has been exported."""
        if name == "sources":
            return self.sources_settings
        if name == "features":
            return self.features_settings
        manifest = json.loads((Path(self.output) / "models" / name / "manifest.json").read_text())
        return self.inference_settings(name, manifest["onnx"])


def _near(file: str | Path) -> str:
    """Name a file as a person in the working directory would."""
    file, here = Path(file), Path.cwd()
    return str(file.relative_to(here) if file.is_relative_to(here) else file)
