"""The report: an HTML page of a run, one of each of its models, and the plots that `snakemake --report` shows."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from skymill.config import RunConfig, SurveyConfig
from skymill.features import make_recipe
from skymill.report import IMAGES_NUMBERS, IMAGES_PAGE
from skymill.report.comparison import compare_models
from skymill.report.gallery import Gallery, Picture, embed, magnitude_axis, model_galleries, sky_galleries
from skymill.report.gather import ModelResult, Run, read_run
from skymill.report.local_calibration import Partition, partitions_of
from skymill.report.model_page import model_content
from skymill.report.plots import write_plots
from skymill.report.properties import Property, properties_of, shown, within
from skymill.report.structure_page import read_structure, structure_content
from skymill.report.survey_gallery import local_galleries, property_facts, survey_galleries
from skymill.report.tables import account_rows, class_rows, found_rows, metric_rows, quarantine_rows, segmenter_rows
from skymill.report.timeline import Job, Stage, draw_timeline, read_jobs, stages_of
from skymill.store import Accounting, short
from skymill.survey.reference import reference_band


def page(
    run: RunConfig,
    survey: SurveyConfig,
    models: list[str],
    output: Path,
    *,
    compared: Sequence[Path] = (),
    segmenters: Sequence[str] = (),
    structures: Sequence[str] = (),
) -> None:
    """Write `<output>/report/index.html`, `model-<name>.html` of each model, and `plots/`.

    Of a survey of images also `images.html`, and its numbers as `images.json`.

    Parameters
    ----------
    run : RunConfig
    survey : SurveyConfig
    models : list of str
        Names of the models whose catalogues are sealed.
    output : Path
        Folder of the run.
    compared : sequence of Path
        Folders of fits without a catalogue, which are compared with the models.
    segmenters : sequence of str
        Names of the models that find sources of their own, whose catalogues are sealed.
    structures : sequence of str
        Names of the models of sizes and shapes, whose catalogues are sealed.

    Raises
    ------
    FileNotFoundError
        If a part of the run is missing.
    TableError
        If one of the survey's maps cannot be read.
    """
    started = time.perf_counter()
    made = read_run(output, models, compared, has_images=survey.images is not None, segmenters=segmenters)
    bands = list(make_recipe(survey, run.features).bands)
    properties = properties_of(survey, made.catalogues["sources"], bands)
    best = best_model(made)
    if best is not None:
        properties = within(properties, best.sky)
    seen = shown(properties, reference_band(tuple(bands)))
    partitions = {model.name: partitions_of(test, seen, seed=run.seed) for model, test in made.trained}
    folder = output / "report"
    folder.mkdir(parents=True, exist_ok=True)
    maps = {model.name: sky_galleries(model) for model in made.models}
    content = content_of(made, maps, run, survey)
    content |= survey_content(made, properties, seen, partitions)
    content["pages"] |= {name: f"model-{name}.html" for name in structures}
    for name in structures:
        own = structure_content(read_structure(output, name), magnitude_axis(run, survey))
        write_page(folder / content["pages"][name], "structure.html", content | own)
    write_plots(folder / "plots", made, content["galleries"], content["maps"])
    for model in made.models:
        own = model_content(model, made, run, survey)
        own |= {"maps": maps[model.name], "partitions": partitions.get(model.name, [])}
        write_page(folder / content["pages"][model.name], "model.html", content | own)
    if survey.images is not None:
        write_images(folder, run, survey, output, made.accounts["sources"])
    content["stages"].append(Stage("report_page", 1, None, time.perf_counter() - started))
    write_page(folder / "index.html", "page.html", content)


def write_images(folder: Path, run: RunConfig, survey: SurveyConfig, output: Path, sources: Accounting) -> None:
    """Write the page of what was found on images, and its numbers; `sources` is the source catalogue's account."""
    from skymill.report.images.page import images_content

    content, facts = images_content(run, survey, output, sources)
    text = json.dumps(facts, indent=1, sort_keys=True, allow_nan=False)
    (folder / IMAGES_NUMBERS).write_text(text + "\n", encoding="utf-8")
    shared = {"run": run, "survey": survey, "version": version("skymill")}
    write_page(folder / IMAGES_PAGE, "images.html", shared | content)


def write_page(path: Path, template: str, content: Mapping[str, Any]) -> None:
    """Fill a template; what comes from data or configuration is escaped."""
    environment = Environment(
        loader=PackageLoader("skymill.report"),
        autoescape=select_autoescape(),
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    path.write_text(environment.get_template(template).render(content), encoding="utf-8")


def content_of(made: Run, maps: Mapping[str, list[Gallery]], run: RunConfig, survey: SurveyConfig) -> dict[str, Any]:
    """Give what the template shows of models, catalogues and jobs."""
    accounts = made.accounts
    best = best_model(made)
    jobs = read_jobs(made)
    return {
        "run": run,
        "survey": survey,
        "version": version("skymill"),
        "plan": made.plan,
        "sources": accounts["sources"],
        "n_tiles": len(made.catalogues["sources"].tiles),
        "trained": [model_facts(model, test.metrics) for model, test in made.trained],
        "exported": [
            {"name": one.name, "onnx": short(one.onnx), "parity": one.parity, "precision": one.precision}
            for one in made.models
        ],
        "metrics": metric_rows(made),
        "classes": class_rows(made),
        "only_compared": [test.model for test in made.only_compared],
        "comparison": compare_models(made.tests, seed=run.seed),
        "galleries": model_galleries(made, run, survey),
        "mapped": best.name if best else None,
        "maps": maps[best.name] if best else [],
        "models": [model.name for model in made.models],
        "segmenters": {name: segmenter_rows(metrics) for name, metrics in made.segmenters.items()},
        "images_page": IMAGES_PAGE if survey.images is not None else None,
        "pages": {model.name: f"model-{model.name}.html" for model in made.models},
        "found": found_rows(made.models),
        "catalogues": {name: one.version for name, one in made.catalogues.items()},
        "account": account_rows(accounts),
        "quarantine": quarantine_rows(made.catalogues["sources"]),
        "stages": stages_of(made, jobs),
        "timeline": timeline_of(jobs),
    }


def survey_content(
    made: Run, properties: list[Property], seen: list[Property], partitions: Mapping[str, Sequence[Partition]]
) -> dict[str, Any]:
    """Give what the template shows of the survey, and of calibration over it."""
    best = best_model(made)
    return {
        "local": local_galleries(partitions),
        "survey_maps": survey_galleries(best, seen),
        "properties": property_facts(properties, best.sky if best else None),
    }


def timeline_of(jobs: Mapping[str, Sequence[Job]]) -> Picture | None:
    """Draw when the jobs ran; nothing where none left a benchmark file."""
    if not jobs:
        return None
    every = [job for each in jobs.values() for job in each]
    alt = f"Gantt chart of {len(every)} jobs of {len(jobs)} rules, with the cores and the memory that they took."
    return embed(draw_timeline(jobs), "", alt)


def model_facts(model: ModelResult, metrics: dict[str, Any]) -> dict[str, Any]:
    """Give what is said of a trained model beside its metrics."""
    return {
        "name": model.name,
        "n": metrics["n"],
        "blocks": metrics["blocks"],
        "confidence": metrics["confidence"],
        "resamples": metrics["resamples"],
        "accuracy": metrics["overall"]["accuracy"]["value"],
        "card": f"../training/shift/{model.name}/card.md",
    }


def best_model(made: Run) -> ModelResult | None:
    """Give the model of the lowest log-loss, or the first one where none was trained here."""
    ranked = sorted(made.trained, key=lambda pair: pair[1].metrics["overall"]["log_loss"]["value"])
    return ranked[0][0] if ranked else next(iter(made.models), None)
