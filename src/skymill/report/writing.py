"""The report: one self-contained HTML page of a run."""

from __future__ import annotations

import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from skymill.config import RunConfig, SurveyConfig
from skymill.report.gallery import model_galleries, sky_galleries
from skymill.report.gather import ModelResult, Run, Stage, read_run, read_stages
from skymill.report.tables import account_rows, class_rows, found_rows, metric_rows, quarantine_rows
from skymill.store import short


def page(run: RunConfig, survey: SurveyConfig, models: list[str], output: Path) -> None:
    """Write `<output>/report/index.html`.

    Parameters
    ----------
    run : RunConfig
    survey : SurveyConfig
    models : list of str
        Names of the models whose catalogues are sealed.
    output : Path
        Folder of the run.

    Raises
    ------
    FileNotFoundError
        If a part of the run is missing.
    """
    started = time.perf_counter()
    content = content_of(read_run(output, models), run, survey)
    content["stages"].append(Stage("report_page", 1, None, time.perf_counter() - started))
    environment = Environment(
        loader=PackageLoader("skymill.report"),
        autoescape=select_autoescape(),
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    path = output / "report" / "index.html"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(environment.get_template("page.html").render(content), encoding="utf-8")


def content_of(made: Run, run: RunConfig, survey: SurveyConfig) -> dict[str, Any]:
    """Give what the template shows."""
    accounts = made.accounts
    shown = best_model(made)
    return {
        "run": run,
        "survey": survey,
        "version": version("skymill"),
        "plan": made.plan,
        "sources": accounts["sources"],
        "n_tiles": len(made.catalogues["sources"].tiles),
        "trained": [model_facts(model, test.metrics, test.fit) for model, test in made.trained],
        "exported": [{"name": one.name, "onnx": short(one.onnx), "parity": one.parity} for one in made.models],
        "metrics": metric_rows(made),
        "classes": class_rows(made),
        "galleries": model_galleries(made, run, survey),
        "mapped": shown.name if shown else None,
        "maps": sky_galleries(shown) if shown else [],
        "models": [model.name for model in made.models],
        "found": found_rows(made.models),
        "catalogues": {name: one.version for name, one in made.catalogues.items()},
        "account": account_rows(accounts),
        "quarantine": quarantine_rows(made.catalogues["sources"]),
        "stages": read_stages(made),
    }


def model_facts(model: ModelResult, metrics: dict[str, Any], fit: str) -> dict[str, Any]:
    """Give what is said of a trained model beside its metrics."""
    return {
        "name": model.name,
        "n": metrics["n"],
        "blocks": metrics["blocks"],
        "confidence": metrics["confidence"],
        "resamples": metrics["resamples"],
        "accuracy": metrics["overall"]["accuracy"]["value"],
        "card": f"../training/{model.name}/{fit}/card.md",
    }


def best_model(made: Run) -> ModelResult | None:
    """Give the model of the lowest log-loss, or the first one where none was trained here."""
    ranked = sorted(made.trained, key=lambda pair: pair[1].metrics["overall"]["log_loss"]["value"])
    return ranked[0][0] if ranked else next(iter(made.models), None)
