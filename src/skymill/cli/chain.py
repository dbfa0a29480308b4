"""What the Snakefile needs to know of a run: its files, models and the digests that stand in paths.

It is built each time the Snakefile is read, so nothing here opens a table or imports torch.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from skymill import export, features, inference, tiling, training
from skymill.cli.check import RESERVED, SEGMENTATION, settings_faults
from skymill.config import ConfigError, ModelConfig, RunConfig, SurveyConfig, check_run, read_yaml
from skymill.features.pixels import pixels_digest
from skymill.models import THREADED, members_of
from skymill.store import short
from skymill.survey import Survey, inventory_digest, maps_digest, open_survey

if TYPE_CHECKING:
    from skymill.features.stamps import SourceImages

NO_IMAGES = "0" * 12
"""Stands in the names of files that a survey of tables never asks for."""
FIT_THREADS = 16
"""The most that a fit asks for."""
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
        named = {model.name: model for model in models}
        self.models = {name: model for name, model in named.items() if model.task != "segmentation"}
        self.segmenters = {name: model for name, model in named.items() if model.task == "segmentation"}

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
        survey = features.with_measured_columns(survey, run.features.measure)
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
    def fit_memory_mb(self) -> int:
        """What the fit of a model needs, however many threads it has."""
        return self.job_memory_mb(FIT_THREADS)

    def fit_threads(self, model: str) -> int:
        """CPU threads that the fit of a model has a use for."""
        return FIT_THREADS if self.models[model].kind in THREADED else 1

    @property
    def inference_gpus(self) -> int:
        """GPUs that each job of the inference needs."""
        return int(self.run.inference.provider != "cpu")

    @property
    def catalogues(self) -> list[str]:
        """Every catalogue the run makes."""
        return [*self.own_catalogues, *self.published]

    @property
    def own_catalogues(self) -> list[str]:
        """Those of them that no model gives."""
        return [*RESERVED, *self.image_catalogues]

    @property
    def image_catalogues(self) -> list[str]:
        """Those of image tiles: sources as they are detected, and as each segmenter finds them."""
        return [SEGMENTATION, *self.published_segmenters] if self.has_images else []

    @property
    def published(self) -> list[str]:
        """Models that are run over the survey's sources."""
        return [name for name, model in self.models.items() if model.catalogue]

    @property
    def published_segmenters(self) -> list[str]:
        """Models that find sources of their own on the survey's images."""
        return [name for name, model in self.segmenters.items() if model.catalogue]

    @property
    def trained_models(self) -> list[str]:
        """Models that are fitted here, as opposed to ONNX files from elsewhere."""
        return [name for name, model in self.models.items() if model.kind != "onnx"]

    @property
    def classifiers(self) -> list[str]:
        """Models that give classes and are run over the survey: those that the report compares."""
        return [name for name in self.published if self.models[name].task == "classification"]

    @property
    def structures(self) -> list[str]:
        """Models that give posteriors of sizes and shapes and are run over the survey."""
        return [name for name in self.published if self.models[name].task == "structure"]

    @property
    def trained_classifiers(self) -> list[str]:
        """Those of them that are fitted here."""
        return [name for name in self.trained_models if name in self.classifiers]

    @property
    def only_compared(self) -> list[str]:
        """Classifiers that are fitted here and have no catalogue."""
        return [name for name, model in self.models.items() if not model.catalogue and model.task == "classification"]

    @cached_property
    def survey_digest(self) -> str:
        """Digest of the bytes of the survey's tables; a touched file keeps it."""
        return inventory_digest(self.survey)

    @property
    def has_images(self) -> bool:
        """Whether sources are found on the survey's images, instead of read from its tables."""
        return self.survey.config.images is not None

    def is_of_images(self, catalogue: str) -> bool:
        """Whether a catalogue's tiles are those of images."""
        return catalogue in self.image_catalogues

    @cached_property
    def images_name(self) -> str:
        """Digest of all that decides the plan of the image tiles; stands in the name of its copy."""
        return tiling.image_plan_name(self.run, self.survey) if self.has_images else NO_IMAGES

    @cached_property
    def segmentation_settings(self) -> str:
        """The `settings12` of the segmentation catalogue."""
        return features.segmentation_settings(self.run, self.survey.config) if self.has_images else NO_IMAGES

    def segmenter_fit(self, segmenter: str) -> str:
        """Name of the folder of the fit of a segmenter to use: the pinned one, else the one that is asked for."""
        return self.segmenters[segmenter].pin or self.asked_segmenter_fit(segmenter)

    def asked_segmenter_fit(self, segmenter: str) -> str:
        """Digest of a segmenter's settings, seed and code; no survey has a part in it."""
        return short(training.segmenter_digest(self.segmenters[segmenter], seed=self.run.seed))

    def segmenter_export(self, segmenter: str) -> str:
        """Digest of what decides the export of a segmenter, besides its fit."""
        return export.settings_digest(self.segmenters[segmenter])

    def run_with(self, segmenter: str, onnx: str) -> RunConfig:
        """The run as it would be if an exported segmenter found its sources."""
        file = f"{self.output}/models/{segmenter}/{onnx}.onnx"
        measure = self.run.features.measure.model_copy(update={"segmenter": file, "positions": None})
        wanted = self.run.features.model_copy(update={"measure": measure})
        return self.run.model_copy(update={"features": wanted})

    def found_settings(self, segmenter: str, onnx: str) -> str:
        """The `settings12` of the catalogue of what a segmenter finds."""
        return features.segmentation_settings(self.run_with(segmenter, onnx), self.survey.config)

    def sources(self) -> Survey:
        """The survey as sources are read from it: its tables, or what was measured on its images."""
        if not self.has_images:
            return self.survey
        groups = json.loads((Path(self.output) / "tiling" / "images.json").read_text())["groups"]
        folder = Path(self.output) / "catalogues" / SEGMENTATION / "groups" / self.segmentation_settings
        return tiling.measured(self.survey, [str(folder / f"{group}.json") for group in sorted(groups)])

    @property
    def looks_at_pixels(self) -> bool:
        """Whether a model takes stamps of the survey's images."""
        return any(model.stamps is not None for model in self.models.values())

    def source_images(self, group_files: Sequence[str]) -> SourceImages | None:
        """Give the images that stamps are cut of; None where a job has no use for them, and so no files of groups."""
        if not group_files:
            return None
        from skymill.features.stamps import SourceImages

        return SourceImages.open(self.survey, group_files)

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

    @property
    def pinned(self) -> dict[str, str]:
        """Models, segmenters too, that keep to a fit, and the name of its folder."""
        return {name: model.pin for name, model in (self.models | self.segmenters).items() if model.pin}

    def fit_digest(self, model: str, training_set: Mapping[str, Any]) -> str:
        """Name of the folder of the fit to use: the pinned one, else the one that is asked for."""
        return self.pinned.get(model) or self.asked_fit(model, training_set)

    def asked_fit(self, model: str, training_set: Mapping[str, Any]) -> str:
        """Digest of a fit's training set, settings, seed, code and the fits it is made of, pinned or not.

        `training_set` is what `training/set.json` says: the set's SHA-256 and, where a model looks at pixels, the
        digest of the images that its rows lie on.
        """
        config = self.models[model]
        digest = training.fit_digest(
            config,
            set_sha256=training_set["sha256"],
            seed=self.run.seed,
            members=[self.fit_digest(member, training_set) for member in self.members(model)],
            images=pixels_digest(self.survey.config, training_set.get("images", "")) if config.stamps else "",
        )
        return short(digest)

    def learned_set(self, model: str, training_set: Mapping[str, Any]) -> str:
        """Give the file of the rows that a model learned from: of its own training set where it is pinned."""
        if model not in self.pinned:
            return f"{self.output}/training/{training_set['file']}"
        manifest = Path(self.output) / "training" / model / self.pinned[model] / "manifest.json"
        sha256 = json.loads(manifest.read_text())["training_set"]
        return f"{self.output}/training/sets/{short(sha256)}.parquet"

    def members(self, model: str) -> list[str]:
        """Models whose fits a model is made of; none but for an ensemble."""
        return members_of(self.models[model].kind, self.models[model].settings)

    def export_settings(self, model: str) -> str:
        """Digest of what decides the export of a model, besides its fit."""
        return export.settings_digest(self.models[model], provider=self.run.inference.provider)

    def inference_settings(self, model: str, onnx: str) -> str:
        """The `settings12` of a model's catalogue."""
        return inference.settings_digest(onnx, self.run.inference, self.looked_at(model))

    def looked_at(self, model: str) -> SurveyConfig | None:
        """The survey whose images a model looks at; None for a model of features.

        A file from elsewhere may also say so itself, which is known once it is exported.

        Raises
        ------
        ConfigError
            If it looks at images and the survey has none.
        """
        config, stamps = self.models[model], self.models[model].stamps
        manifest = Path(self.output) / "models" / model / "manifest.json"
        if stamps is None and config.kind == "onnx" and manifest.is_file():
            stamps = json.loads(manifest.read_text())["schema"].get("stamps")
        if stamps is None:
            return None
        if not self.has_images:
            raise ConfigError(
                f"{config.where}: path: {config.path} looks at stamps, survey '{self.survey.config.name}' has no "
                "images; take the model out, or describe the survey's `images`"
            )
        return self.survey.config

    def catalogue_settings(self, name: str) -> str:
        """The `settings12` of a catalogue; of a model's once it has been exported."""
        if name == "sources":
            return self.sources_settings
        if name == "features":
            return self.features_settings
        if name == SEGMENTATION:
            return self.segmentation_settings
        manifest = json.loads((Path(self.output) / "models" / name / "manifest.json").read_text())
        settings = self.found_settings if name in self.segmenters else self.inference_settings
        return settings(name, manifest["onnx"])


def with_release_named(config: Mapping[str, Any], files: Sequence[str | Path]) -> dict[str, Any]:
    """Give the section `release` its content again, where `--config release=DR2` put a name in its place."""
    from snakemake.utils import update_config

    named = config.get("release")
    if named is None or isinstance(named, Mapping):
        return {}
    if not isinstance(named, (str, date)):  # Snakemake makes 2026.1 of 2026.10
        raise ConfigError(f"release: expected a name, found {named!r}; begin it with a letter, like DR{named}")
    whole: dict[str, Any] = {}
    for file in files:
        update_config(whole, read_yaml(file))
    section = whole.get("release") or {}
    if not isinstance(section, Mapping):
        raise ConfigError(f"release: expected keys and values in the run's file, found {section!r}")
    return {"release": {**section, "name": str(named)}}


def _near(file: str | Path) -> str:
    """Name a file as a person in the working directory would."""
    file, here = Path(file), Path.cwd()
    return str(file.relative_to(here) if file.is_relative_to(here) else file)
