"""The page of a model of structure: what it reads of a fit, and that it shows what the metrics say."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from html_pages import Page

from skymill.models.mixture import LEVELS, Mixture
from skymill.report.structure_figures import draw_held
from skymill.report.structure_page import StructureTest, read_structure, structure_content
from skymill.report.writing import write_page
from skymill.training.structure_metrics import evaluate, judged

QUANTITIES = ["mag_i", "half_light_radius"]
N, SIGMA = 600, np.array([0.1, 0.3])


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run's folder with what an exported model and its fit leave, as far as the page reads it."""
    random = np.random.default_rng(3)
    true = np.column_stack([random.uniform(20, 25, N), random.normal(-1, 0.5, N)])
    cholesky = np.broadcast_to(np.diag(SIGMA), (N, 1, 2, 2)).copy()
    mixture = Mixture(np.ones((N, 1)), (true + SIGMA * random.normal(size=(N, 2)))[:, None], cholesky)
    rows = judged(mixture, true, QUANTITIES)
    metrics = evaluate(rows, true[:, 0], np.arange(N) % 20, quantities=QUANTITIES, seed=1, resamples=50)
    columns = {f"{name}_true": true[:, number] for number, name in enumerate(QUANTITIES)}
    for number, name in enumerate(QUANTITIES):
        columns |= {f"{name}_q{level:g}": rows.quantiles[:, number, place] for place, level in enumerate(LEVELS)}
    output = tmp_path_factory.mktemp("run")
    fit = output / "training" / "shape" / "abc"
    (output / "models" / "shape").mkdir(parents=True)
    fit.mkdir(parents=True)
    (output / "models" / "shape" / "manifest.json").write_text(json.dumps({"fit": "abc"}))
    (fit / "metrics.json").write_text(json.dumps(metrics))
    pq.write_table(pa.table(columns), fit / "predictions.parquet")
    return output


@pytest.fixture(scope="module")
def test(output: Path) -> StructureTest:
    return read_structure(output, "shape")


test.__test__ = False  # a fixture


def test_truth_and_medians_are_in_their_units(output: Path, test: StructureTest) -> None:
    table = pq.read_table(output / "training" / "shape" / "abc" / "predictions.parquet")
    np.testing.assert_allclose(test.true["mag_i"], table["mag_i_true"])
    np.testing.assert_allclose(np.log(test.median["half_light_radius"]), table["half_light_radius_q0.5"])


def test_the_page_shows_each_metric_with_its_interval(output: Path, test: StructureTest, tmp_path: Path) -> None:
    content = structure_content(test, "i magnitude")
    shared = {"run": {"name": "a run"}, "version": "1", "pages": {"shape": "model-shape.html"}}
    write_page(tmp_path / "model-shape.html", "structure.html", shared | content)
    page = Page((tmp_path / "model-shape.html").read_text())
    told = test.metrics["overall"]["half_light_radius_coverage_68"]
    overall, *bins = ({row[0]: row[1:] for row in table} for table in page.tables)
    assert overall[""] == ["mag_i (mag)", "half_light_radius (arcsec)"]
    assert overall["68 % intervals hold"][1] == f"{told['value']:.3f} {told['low']:.3f}–{told['high']:.3f}"
    assert len(bins) == len(test.metrics["by_magnitude"])
    assert len(page.images) == 3 * len(QUANTITIES) and all(image["alt"] for image in page.images)
    assert all(source.startswith("data:") for source in page.loads)
    assert {link[1:] for link in page.links if link.startswith("#")} <= set(page.ids)


def test_what_intervals_hold_is_drawn_as_it_was_measured(test: StructureTest) -> None:
    bins = test.metrics["by_magnitude"]
    axes = draw_held(bins, "mag_i", axis="i").axes[0]
    for bars, metric in zip(axes.containers, ("mag_i_coverage_68", "mag_i_coverage_95"), strict=True):
        x, y = bars.lines[0].get_data(orig=False)
        np.testing.assert_allclose(x, [(one["low"] + one["high"]) / 2 for one in bins])
        np.testing.assert_allclose(y, np.array([one["metrics"][metric]["value"] for one in bins], dtype=float))
