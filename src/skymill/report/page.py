"""The report: one self-contained HTML page of a run."""

from __future__ import annotations

import base64
import io
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from jinja2 import Environment, PackageLoader, select_autoescape
from matplotlib.figure import Figure

from skymill.config import RunConfig, SurveyConfig
from skymill.features import make_recipe, reference_band
from skymill.report.figures import (
    draw_accounting,
    draw_by_magnitude,
    draw_class_counts,
    draw_confusion,
    draw_reliability,
)
from skymill.report.gather import QUARANTINE_ROWS, ModelResult, Stage, read_json, read_model, read_stages
from skymill.report.sky_map import draw_sky_map
from skymill.store import Accounting, Catalogue, open_catalogue, short
from skymill.store.paths import ROW_TABLE

SHOWN_METRICS = ("accuracy", "balanced_accuracy", "roc_auc", "brier", "log_loss", "ece", "ece_if_calibrated")


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
    results = [read_model(output, name) for name in models]
    catalogues = {name: open_catalogue(output / "catalogues" / name) for name in ("sources", "features", *models)}
    accounts = {name: Accounting.from_dict(catalogue.manifest["accounting"]) for name, catalogue in catalogues.items()}
    plan = read_json(output / "tiling" / "plan.json")
    content = {
        "run": run,
        "survey": survey,
        "version": version("skymill"),
        "n_tiles": len(catalogues["sources"].tiles),
        "n_groups": len(plan["groups"]),
        "n_rows": accounts["sources"].n_rows,
        "versions": {name: catalogue.version for name, catalogue in catalogues.items()},
        "accounts": {name: account_row(account) for name, account in accounts.items()},
        "reasons": reasons(accounts),
        "accounting_plot": embed(draw_accounting({name: account_row(account) for name, account in accounts.items()})),
        "models": [model_section(result, run, survey) for result in results],
        "comparison": comparison_table(results),
        "class_plot": class_plot(results),
        "density_plot": density_plot(results),
        "stages": [stage_row(stage) for stage in stages_of(output, accounts, models)],
        "quarantine": quarantine_rows(catalogues["sources"]),
    }
    environment = Environment(
        loader=PackageLoader("skymill.report"), autoescape=select_autoescape(), trim_blocks=True, lstrip_blocks=True
    )
    path = output / "report" / "index.html"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(environment.get_template("page.html").render(content))


def embed(figure: Figure) -> str:
    """Give a figure as a data URI, so that the page is one file."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=130, metadata={"Software": None})
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def account_row(account: Accounting) -> dict[str, int]:
    """Give the five numbers of an accounting."""
    return {
        "in": account.n_in,
        "ok": account.n_ok,
        "flagged": account.n_flagged,
        "quarantined": account.n_quarantined,
        "excluded": account.n_excluded,
    }


def reasons(accounts: dict[str, Accounting]) -> list[tuple[str, str, str, int]]:
    """List catalogue, kind, reason and rows of everything that is not simply ok."""
    return [
        (name, kind, reason, rows)
        for name, account in accounts.items()
        for kind in ("flagged", "quarantined", "excluded")
        for reason, rows in sorted(getattr(account, kind).items())
    ]


def model_section(result: ModelResult, run: RunConfig, survey: SurveyConfig) -> dict[str, Any]:
    """Give what the template shows of one model."""
    section: dict[str, Any] = {
        "name": result.name,
        "onnx": short(result.onnx),
        "parity": result.parity,
        "trained": result.metrics is not None,
        "plots": [],
    }
    if result.metrics is not None:
        section["n_test"] = result.metrics["n"]
        section["per_class"] = per_class_rows(result)
        axis = magnitude_axis(run, survey)
        by_magnitude = draw_by_magnitude(result.magnitude, result.label, result.predicted, result.classes, axis=axis)
        section["plots"] += [
            ("Confusion matrix", embed(draw_confusion(result.label, result.predicted, result.classes))),
            ("Reliability", embed(draw_reliability(result.label, result.probabilities, result.classes))),
            ("Completeness and purity by magnitude", embed(by_magnitude)),
        ]
    if result.sky is not None:
        total = result.sky.counts[:, 1:].sum(axis=1)
        for number, name in enumerate(result.classes):
            share = np.where(total > 0, result.sky.counts[:, number + 1] / np.maximum(total, 1), np.nan)
            figure = draw_sky_map(result.sky.pixels, share, result.sky.order, label=f"share of {name}")
            section["plots"].append((f"Share of {name} on the sky", embed(figure)))
    return section


def magnitude_axis(run: RunConfig, survey: SurveyConfig) -> str:
    """Say which magnitude the results are binned by: the feature of the reference band."""
    recipe = make_recipe(survey, run.features)
    dust = ", dereddened" if recipe.extinction else ""
    return f"{reference_band(recipe.bands)} asinh AB magnitude of {recipe.colour_flux}{dust}"


def per_class_rows(result: ModelResult) -> list[dict[str, Any]]:
    """Give completeness and purity of each class with their intervals."""
    assert result.metrics is not None
    overall = result.metrics["overall"]
    return [
        {"name": name, "completeness": overall[f"completeness_{name}"], "purity": overall[f"purity_{name}"]}
        for name in result.classes
    ]


def comparison_table(results: list[ModelResult]) -> list[dict[str, Any]]:
    """Give one row a metric, one entry a trained model."""
    trained = [result for result in results if result.metrics is not None]
    return [
        {
            "metric": metric,
            "blocks": trained[0].metrics["blocks"],  # type: ignore[index]
            "values": [(result.name, result.metrics["overall"][metric]) for result in trained],  # type: ignore[index]
        }
        for metric in SHOWN_METRICS
        if trained
    ]


def class_plot(results: list[ModelResult]) -> str | None:
    """Draw how many sources each model gives to each class."""
    counted = [result for result in results if result.sky is not None]
    if not counted:
        return None
    counts = {
        result.name: dict(zip(["not scored", *result.classes], result.sky.counts.sum(axis=0).tolist(), strict=True))  # type: ignore[union-attr]
        for result in counted
    }
    return embed(draw_class_counts(counts, counted[0].classes))


def density_plot(results: list[ModelResult]) -> str | None:
    """Draw sources per square degree, from the first catalogue."""
    for result in results:
        if result.sky is not None and len(result.sky.pixels):
            area = 41252.96125 / (12 * 4**result.sky.order)
            density = result.sky.counts.sum(axis=1) / area
            label = "sources per square degree"
            return embed(draw_sky_map(result.sky.pixels, density, result.sky.order, label=label, log=True))
    return None


def stages_of(output: Path, accounts: dict[str, Accounting], models: list[str]) -> list[Stage]:
    """Give rows and seconds of each rule, as Snakemake's benchmarks tell."""
    rows = {
        "tiling_plan": accounts["sources"].n_in,
        "tiling_partition": accounts["sources"].n_in,
        "features_compute": accounts["features"].n_in,
        "training_fit": 0,
        "export_onnx": 0,
        "inference_run": sum(accounts[name].n_in for name in models),
        "release_seal": 0,
    }
    return read_stages(output, rows)


def stage_row(stage: Stage) -> dict[str, Any]:
    """Give a stage with its rate, where it handles rows."""
    rate = stage.rows / stage.seconds if stage.rows and stage.seconds else None
    return {"name": stage.name, "jobs": stage.jobs, "seconds": stage.seconds, "rows": stage.rows, "rate": rate}


def quarantine_rows(catalogue: Catalogue) -> dict[str, Any]:
    """Give the first quarantined rows and how many there are."""
    table = pq.read_table(Path(catalogue.location) / ROW_TABLE)
    # Ids exceed 2^53: as text, no browser rounds them.
    rows = [[str(value) for value in row.values()] for row in table.slice(0, QUARANTINE_ROWS).to_pylist()]
    return {"total": table.num_rows, "columns": table.column_names, "rows": rows}
