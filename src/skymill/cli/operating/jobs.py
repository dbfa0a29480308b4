"""The jobs of a run as the Snakefile makes them, and what each reads; `tests/cli/operating` holds both together."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from skymill.cli.chain import SEGMENTATION, Chain
from skymill.cli.operating.ingredients import (
    NOTHING,
    SHARED,
    Ingredients,
    export_onnx,
    inference_run,
    segmenter_export,
    segmenter_fit,
    segmenter_measure,
    training_fit,
)
from skymill.release.sealing import SEAL
from skymill.report import IMAGES_NUMBERS, IMAGES_PAGE, PLOTS_OF_MODELS, PLOTS_OF_SKY
from skymill.sky import AnyTile, ImageTile
from skymill.tiling.files import TilingFiles

MADE_BY = {SEGMENTATION: "features_measure", "sources": "tiling_partition", "features": "features_compute"}
STAGES = {
    "tiling_images": "tiling",
    "features_measure": "features",
    "segmenter_fit": "training",
    "segmenter_export": "export",
    "segmenter_measure": "features",
    "tiling_plan": "tiling",
    "tiling_partition": "tiling",
    "features_compute": "features",
    "training_set": "training",
    "training_fit": "training",
    "export_onnx": "export",
    "inference_run": "inference",
    "release_seal": "release",
    "training_shift": "training",
    "report_page": "report",
}
"""The stage of each rule, in the order of the chain."""
CHECKPOINTS = ("tiling_images", "segmenter_export", "tiling_plan", "training_set", "export_onnx")


@dataclass(frozen=True)
class Job:
    """One job of the workflow.

    Attributes
    ----------
    rule, subject, group : str
        The rule, the catalogue or model it works for, its group; empty where there is none.
    output : str
        The file it declares; empty while a checkpoint has to tell its name.
    beside : tuple of str
        Further files it declares.
    inputs : tuple of str
        Files it reads, without the survey's and the labels'.
    after : tuple of str
        Names of the jobs that make the inputs, or that tell which they are.
    ingredients : Ingredients
        What decides its output besides the inputs.
    """

    rule: str
    subject: str = ""
    group: str = ""
    output: str = ""
    beside: tuple[str, ...] = ()
    inputs: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    ingredients: Ingredients = NOTHING

    @property
    def name(self) -> str:
        """Rule, subject and group: unlike that of any other job."""
        return " ".join(word for word in (self.rule, self.subject, self.group) if word)

    @property
    def stage(self) -> str:
        """The stage it belongs to."""
        return STAGES[self.rule]

    @property
    def stem(self) -> str:
        """The name of its log and its benchmark, without folder and suffix."""
        folder = Path(self.output).parent.name
        if self.rule in ("inference_run", "segmenter_measure"):
            return f"{self.rule}/{self.subject}-{folder}/{self.group}"
        if self.rule in ("training_fit", "segmenter_fit"):
            return f"{self.rule}/{self.subject}-{folder}"
        return "/".join([self.rule, *([self.group or self.subject] if self.group or self.subject else [])])


class Workflow:
    """All jobs of a run, as far as the finished checkpoints tell them.

    Parameters
    ----------
    chain : Chain
    """

    def __init__(self, chain: Chain) -> None:
        self.chain = chain
        self.root = os.path.normpath(chain.output)
        self.results = Path(self.root)
        self._shared = cache(lambda rule: SHARED[rule](chain))

    @cached_property
    def groups(self) -> dict[str, dict[str, Any]] | None:
        """The plan's groups with digest, tiles and rows; None before the plan is made."""
        plan = _read(self.results / "tiling" / "plan.json")
        return None if plan is None else dict(sorted(plan["groups"].items()))

    @cached_property
    def image_groups(self) -> dict[str, dict[str, Any]]:
        """The groups of image tiles; none before they are planned, or where the survey has tables."""
        plan = _read(self.results / "tiling" / "images.json") if self.chain.has_images else None
        return dict(sorted(plan["groups"].items())) if plan else {}

    @cached_property
    def jobs(self) -> dict[str, Job]:
        """Every job by name, each after those it waits for."""
        seals = self._seals(self.chain.own_catalogues)
        found = [job for segmenter in self.chain.segmenters for job in self._segmenter(segmenter)]
        made = [*self._images(), *found, *self._tiling(), *self._features(), *seals, *self._training()]
        for model in self.chain.published:
            made += [self._export(model), *self._inference(model)]
        return {job.name: job for job in [*made, *self._seals(self.chain.published), *self._shifts(), self._report()]}

    def find(self, output: str | Path) -> Job | None:
        """Give the job that makes a file."""
        wanted = Path(output).absolute()
        return next((job for job in self.jobs.values() if job.output and Path(job.output).absolute() == wanted), None)

    def manifest(self, catalogue: str, settings: str, group: str) -> str:
        """Give a group's manifest, spelt as in the workflow."""
        return f"{self.root}/catalogues/{catalogue}/groups/{settings}/{group}.json"

    def manifests(self, catalogue: str) -> list[str]:
        """Give the manifests that the present settings ask for; none while it is not known which."""
        settings = self.settings(catalogue)
        groups = self._groups_of(catalogue)
        return [self.manifest(catalogue, settings, group) for group in groups] if settings else []

    def _groups_of(self, catalogue: str) -> Iterable[str]:
        """Name the groups whose jobs make a catalogue, as far as they are planned."""
        return self.image_groups if self.chain.is_of_images(catalogue) else self.groups or {}

    def settings(self, catalogue: str) -> str:
        """Give the settings12 that the present configuration asks for; empty while a model is not exported."""
        if catalogue == "sources":
            return self.chain.sources_settings
        if catalogue == "features":
            return self.chain.features_settings
        if catalogue == SEGMENTATION:
            return self.chain.segmentation_settings
        onnx = self.onnx(catalogue)
        known = self.chain.found_settings if catalogue in self.chain.segmenters else self.chain.inference_settings
        return known(catalogue, onnx) if onnx else ""

    def onnx(self, model: str) -> str:
        """Give the digest of the exported model; empty before the export."""
        manifest = _read(self.results / "models" / model / "manifest.json")
        return manifest["onnx"] if manifest else ""

    def group_of(self, tile: AnyTile) -> str:
        """Give the group that a tile belongs to; empty where the plan has none."""
        if isinstance(tile, ImageTile):
            return self._group_of_image.get(tile.name, "")
        for group in self.groups or {}:
            order, pixel = (int(number) for number in group[1:].split("p"))
            if tile.order >= order and tile.pixel >> 2 * (tile.order - order) == pixel:
                return group
        return ""

    @cached_property
    def _group_of_image(self) -> dict[str, str]:
        """The group of each image tile."""
        files = TilingFiles(self.results)
        planned = {group: files.image_group(group, about["digest"]) for group, about in self.image_groups.items()}
        return {
            tile["name"]: group for group, path in planned.items() for tile in (_read(path) or {"tiles": []})["tiles"]
        }

    @cached_property
    def training_set(self) -> dict[str, Any] | None:
        """What the training set says of itself; None before it is made."""
        return _read(self.results / "training" / "set.json")

    def _images(self) -> Iterator[Job]:
        if not self.chain.has_images:
            return
        root, settings = self.root, self.chain.segmentation_settings
        yield Job("tiling_images", output=f"{root}/tiling/images.json", ingredients=self._shared("tiling_images"))
        for group in self.image_groups:
            yield Job(
                "features_measure",
                SEGMENTATION,
                group,
                output=self.manifest(SEGMENTATION, settings, group),
                inputs=(self._image_group(group),),
                after=("tiling_images",),
                ingredients=self._shared("features_measure"),
            )

    def _segmenter(self, name: str) -> Iterator[Job]:
        root, onnx, settings = self.root, self.onnx(name), self.settings(name)
        fit = f"{root}/training/{name}/{self.chain.segmenter_fit(name)}/manifest.json"
        pinned = name in self.chain.pinned
        if not pinned:
            yield Job("segmenter_fit", name, output=fit, ingredients=segmenter_fit(self.chain, name))
        if name not in self.chain.published_segmenters:
            return
        yield Job(
            "segmenter_export",
            name,
            output=f"{root}/models/{name}/manifest.json",
            inputs=(fit,),
            after=() if pinned else (f"segmenter_fit {name}",),
            ingredients=segmenter_export(self.chain, name),
        )
        for group in self.image_groups:
            after = ("tiling_images", f"segmenter_export {name}")
            yield (
                Job("segmenter_measure", name, group, after=after)
                if not onnx
                else Job(
                    "segmenter_measure",
                    name,
                    group,
                    output=self.manifest(name, settings, group),
                    inputs=(self._image_group(group), f"{root}/models/{name}/{onnx}.onnx"),
                    after=after,
                    ingredients=segmenter_measure(self.chain, name, onnx),
                )
            )

    def _image_group(self, group: str) -> str:
        return f"{self.root}/tiling/images/{group}-{self.image_groups[group]['digest'][:12]}.json"

    def _pixels(self, needed: bool) -> tuple[str, ...]:
        """Name the files by which a job finds the images that stamps are cut of, if it needs them."""
        return tuple(map(self._image_group, sorted(self.image_groups))) if needed else ()

    def _tiling(self) -> Iterator[Job]:
        root, images = self.root, self.image_groups
        yield Job(
            "tiling_plan",
            output=f"{root}/tiling/plan.json",
            inputs=tuple(self.manifest(SEGMENTATION, self.chain.segmentation_settings, group) for group in images),
            after=(
                *(("tiling_images",) if self.chain.has_images else ()),
                *(f"features_measure {SEGMENTATION} {group}" for group in images),
            ),
            ingredients=self._shared("tiling_plan"),
        )
        for group, about in (self.groups or {}).items():
            yield Job(
                "tiling_partition",
                "sources",
                group,
                output=self.manifest("sources", self.chain.sources_settings, group),
                inputs=(f"{root}/tiling/groups/{group}-{about['digest'][:12]}.json",),
                after=("tiling_plan",),
                ingredients=self._shared("tiling_partition"),
            )

    def _features(self) -> Iterator[Job]:
        for group in self.groups or {}:
            yield Job(
                "features_compute",
                "features",
                group,
                output=self.manifest("features", self.chain.features_settings, group),
                inputs=(self.manifest("sources", self.chain.sources_settings, group),),
                after=("tiling_plan", f"tiling_partition sources {group}"),
                ingredients=self._shared("features_compute"),
            )

    def _training(self) -> Iterator[Job]:
        if not self.chain.trained_models:
            return
        root, made = f"{self.root}/training", self.training_set
        yield Job(
            "training_set",
            output=f"{root}/set.json",
            inputs=(*self.manifests("features"), *self._pixels(self.chain.looks_at_pixels)),
            after=("tiling_plan", *self._names("features")),
            ingredients=self._shared("training_set"),
        )
        for model in self.chain.trained_models:
            if model in self.chain.pinned:
                continue
            members = self.chain.members(model)
            fits = tuple(f"training_fit {member}" for member in members)
            weighs = self.chain.models[model].importance_weighting
            seals = ("release_seal features",) if weighs else ()
            waiting = Job("training_fit", model, after=("tiling_plan", "training_set", *fits, *seals))
            yield (
                waiting
                if made is None
                else Job(
                    "training_fit",
                    model,
                    output=self._fit_manifest(model, made),
                    inputs=(
                        f"{root}/{made['file']}",
                        *(self._fit_manifest(member, made) for member in members),
                        *([f"{self.root}/catalogues/features/{SEAL}"] if weighs else []),
                        *self._pixels(self.chain.models[model].stamps is not None),
                    ),
                    after=waiting.after,
                    ingredients=training_fit(self.chain, model, made),
                )
            )

    def _fit_manifest(self, model: str, training_set: Mapping[str, Any]) -> str:
        return f"{self.root}/training/{model}/{self.chain.fit_digest(model, training_set)}/manifest.json"

    def _export(self, model: str) -> Job:
        made, trained = self.training_set, model in self.chain.trained_models
        return Job(
            "export_onnx",
            model,
            output=f"{self.root}/models/{model}/manifest.json",
            inputs=(self._fit_manifest(model, made),) if made and trained else (),
            after=("tiling_plan", "training_set", f"training_fit {model}") if trained else (),
            ingredients=export_onnx(self.chain, model),
        )

    def _inference(self, model: str) -> Iterator[Job]:
        onnx, settings = self.onnx(model), self.settings(model)
        known = inference_run(self.chain, model, onnx) if onnx else NOTHING
        looks = self.chain.looked_at(model) is not None
        first = ("tiling_images",) if looks else ()
        for group in self.groups or {}:
            after = (*first, "tiling_plan", f"export_onnx {model}", f"features_compute features {group}")
            features = self.manifest("features", self.chain.features_settings, group)
            yield (
                Job("inference_run", model, group, after=after)
                if not onnx
                else Job(
                    "inference_run",
                    model,
                    group,
                    output=self.manifest(model, settings, group),
                    inputs=(features, f"{self.root}/models/{model}/{onnx}.onnx", *self._pixels(looks)),
                    after=after,
                    ingredients=known,
                )
            )

    def _seals(self, catalogues: Iterable[str]) -> Iterator[Job]:
        root = self.root
        for catalogue in catalogues:
            of_model = catalogue in self.chain.published or catalogue in self.chain.segmenters
            model = [f"{root}/models/{catalogue}/manifest.json"] if of_model else []
            features = self.manifests("features") if catalogue in self.chain.published else []
            plan = f"{root}/tiling/plan-{self.chain.plan_name}.json"
            files = {*self.manifests(catalogue), *self.manifests("sources"), *features, plan, *model}
            export = [f"export_onnx {catalogue}"] if catalogue in self.chain.published else []
            export = [f"segmenter_export {catalogue}"] if catalogue in self.chain.segmenters else export
            first = ["tiling_images"] if self.chain.is_of_images(catalogue) else []
            yield Job(
                "release_seal",
                catalogue,
                output=f"{root}/catalogues/{catalogue}/{SEAL}",
                inputs=tuple(sorted(files)),
                after=(*first, "tiling_plan", *export, *self._names("sources"), *self._names(catalogue)),
            )

    def _shifts(self) -> Iterator[Job]:
        root, made = self.root, self.training_set
        for model in self.chain.trained_classifiers:
            seals = [f"{root}/catalogues/{catalogue}/{SEAL}" for catalogue in ("features", model)]
            learned = (self._fit_manifest(model, made), self.chain.learned_set(model, made)) if made else ()
            yield Job(
                "training_shift",
                model,
                output=f"{root}/training/shift/{model}/shift.json",
                beside=(f"{root}/training/shift/{model}/card.md",),
                inputs=(*learned, *seals),
                after=(
                    *("tiling_plan", "training_set", f"training_fit {model}"),
                    *("release_seal features", f"release_seal {model}"),
                ),
                ingredients=self._shared("training_shift"),
            )

    def _report(self) -> Job:
        root, catalogues, models = self.root, self.chain.catalogues, self.chain.classifiers
        trained, compared, made = self.chain.trained_classifiers, self.chain.only_compared, self.training_set
        return Job(
            "report_page",
            output=f"{root}/report/index.html",
            beside=(
                *(f"{root}/report/model-{model}.html" for model in (*models, *self.chain.structures)),
                *(f"{root}/report/{name}" for name in (IMAGES_PAGE, IMAGES_NUMBERS) if self.chain.has_images),
                *(f"{root}/report/plots/{model}-{plot}.svg" for model in trained for plot in PLOTS_OF_MODELS),
                *(f"{root}/report/plots/sky-{plot}.svg" for plot in PLOTS_OF_SKY if models),
            ),
            inputs=(
                *(f"{root}/catalogues/{name}/{SEAL}" for name in catalogues),
                *(f"{root}/models/{model}/manifest.json" for model in self.chain.published),
                *(f"{root}/training/shift/{model}/{name}" for model in trained for name in ("shift.json", "card.md")),
                *(self._fit_manifest(model, made) for model in compared if made),
            ),
            after=(
                *(f"release_seal {name}" for name in catalogues),
                *(f"export_onnx {model}" for model in self.chain.published),
                *(f"training_shift {model}" for model in trained),
                *(f"training_fit {model}" for model in compared),
            ),
            ingredients=self._shared("report_page"),
        )

    def _names(self, catalogue: str) -> Iterable[str]:
        made_by = {**MADE_BY, **dict.fromkeys(self.chain.segmenters, "segmenter_measure")}
        rule = made_by.get(catalogue, "inference_run")
        return [f"{rule} {catalogue} {group}" for group in self._groups_of(catalogue)]


def _read(path: Path) -> dict[str, Any] | None:
    try:
        content: dict[str, Any] = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise ValueError(f"{path}: expected JSON, found {error}; delete it and run snakemake again") from error
    return content
