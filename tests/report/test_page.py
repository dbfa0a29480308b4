"""The page says what the seals, the metrics and the benchmarks say, and stands alone."""

from __future__ import annotations

import base64
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import hpgeom
import numpy as np
import pyarrow.parquet as pq
import pytest
from astropy.io import fits
from html_pages import Page

from skymill.report import PLOTS_OF_MODELS, PLOTS_OF_SKY
from skymill.store import Accounting, open_catalogue
from skymill.store.paths import ROW_TABLE


def without_figures(text: str) -> str:
    return re.sub(r"base64,[A-Za-z0-9+/=]+", "", text)


@pytest.fixture(scope="module")
def text(made):
    return made.page()


@pytest.fixture(scope="module")
def page(text):
    return Page(text)


def edit(path: Path, change) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def copy_of(made, folder):
    """The same run in a folder of its own, to be changed."""
    shutil.copytree(made.output, folder / "results", symlinks=True)
    return replace(made, output=folder / "results")


FIT = "0123456789ab"
WARNINGS = ["band g: flux < 0 & odd", "twice"]


@pytest.fixture(scope="module")
def strange(made, tmp_path_factory):
    """A run with suspicious values, a test set in one block of sky, and benchmarks, some of an earlier state."""
    run = copy_of(made, tmp_path_factory.mktemp("strange"))
    edit(run.output / "tiling" / "plan.json", lambda plan: plan.update(warnings=WARNINGS))

    def in_one_block(metrics):
        metrics["blocks"] = 1
        for value in metrics["overall"].values():
            value.update(low=None, high=None)
        metrics["overall"]["purity_QSO"]["value"] = None

    for name in run.models:
        edit(run.output / "training" / name / FIT / "metrics.json", in_one_block)
    groups = run.read("tiling/plan.json")["groups"]
    settings = {name: open_catalogue(run.output / "catalogues" / name).manifest["settings"] for name in run.models}
    seconds = {"tiling_plan": 2.0, "training_set": 4.0, f"training_fit/mlp-{FIT}": 3.0}
    seconds |= {f"features_compute/{group}": 1.5 for group in groups}
    seconds |= {f"inference_run/{name}-{settings[name]}/{group}": 2.5 for name in run.models for group in groups}
    gone = ["inference_run/mlp-ffffffffffff/o0p1", "features_compute/o9p9", "training_fit/mlp-ffffffffffff"]
    for name, taken in (seconds | dict.fromkeys(gone, 1000.0)).items():
        path = run.output / "benchmarks" / f"{name}.tsv"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"s\th:m:s\n{taken}\t0:00:00\n")
    return run


@pytest.fixture(scope="module")
def strange_text(strange):
    return strange.page()


def test_rows_equal_the_accounts_of_the_seals(made, page):
    table = page.table("quarantined")
    names = ["sources", "features", *made.models]
    assert table[""] == names
    for place, name in enumerate(names):
        account = Accounting.from_dict(open_catalogue(made.output / "catalogues" / name).manifest["accounting"])
        shown = {row: int(values[place].replace(",", "")) for row, values in table.items() if row}
        assert shown["in"] == shown["ok"] + shown["flagged"] + shown["quarantined"] + shown["excluded"]
        assert (shown["in"], shown["ok"], shown["flagged"]) == (account.n_in, account.n_ok, account.n_flagged)
        assert (shown["quarantined"], shown["excluded"]) == (account.n_quarantined, account.n_excluded)
        assert account.n_quarantined > 0
        for reasons in (account.flagged, account.quarantined, account.excluded):
            assert {reason: shown[reason] for reason in reasons} == dict(reasons)


def test_each_reason_has_one_line(page):
    rows = next(rows for rows in page.tables if "quarantined" in [row[0] for row in rows])
    names = [row[0] for row in rows]
    assert len(names) == len(set(names)) < 25


def test_metrics_equal_those_of_the_fits(made, page):
    table = page.table("log-loss ↓")
    assert table[""] == made.models
    shown = {"accuracy ↑": "accuracy", "log-loss ↓": "log_loss", "ROC-AUC ↑": "roc_auc"}
    shown |= {"calibration error (ECE) ↓": "ece", "ECE if calibrated": "ece_if_calibrated"}
    for place, name in enumerate(made.models):
        metrics = made.read(f"training/{name}/*/metrics.json")
        assert table["test sources"][place] == f"{metrics['n']:,}"
        assert table["blocks of sky"][place] == str(metrics["blocks"])
        for row, metric in shown.items():
            value = metrics["overall"][metric]
            assert table[row][place] == f"{value['value']:.4f} {value['low']:.4f}–{value['high']:.4f}"
        value = metrics["overall"]["completeness_QSO"]
        assert table["completeness of QSO"][place].startswith(f"{value['value']:.4f} ")


def test_a_model_without_catalogue_stands_in_the_comparison_and_nowhere_else(made, text, page):
    rows = next(rows for rows in page.tables if "line" in [row[0] for row in rows])
    table = {row[0]: dict(zip(rows[0][1:], row[1:], strict=True)) for row in rows[1:]}
    assert table.keys() == {*made.models, "line"}
    metrics = made.read("training/line/*/metrics.json")
    assert table["line"]["kind"] == "linear_cut"
    assert table["line"]["accuracy"] == f"{metrics['overall']['accuracy']['value']:.4f}"
    assert "line stands here alone" in text
    assert len([rows for rows in page.tables if any("line" in row for row in rows)]) == 1
    assert sorted(path.name for path in (made.output / "report").glob("*.html")) == [
        "index.html",
        *(f"model-{name}.html" for name in sorted(made.models)),
    ]


def test_sources_by_class_add_up_to_the_catalogue(made, page):
    table = page.table("not scored")
    for place, name in enumerate(made.models):
        catalogue = open_catalogue(made.output / "catalogues" / name)
        classes = catalogue.to_xarray(["class"])["class"].to_numpy().tolist()
        for number, kind in enumerate(("not scored", "GALAXY", "QSO", "STAR"), start=-1):
            assert table[kind][place].split()[0] == f"{classes.count(number):,}"


def test_the_page_stands_alone(text, page):
    assert page.loads and all(source.startswith("data:image/") for source in page.loads)
    assert not re.search(r"(https?:)?//[a-z]", without_figures(text))
    assert "<script" not in text and "@import" not in text and "url(" not in text


def test_every_figure_says_what_it_shows(page):
    assert all(len(image["alt"]) > 20 and int(image["width"]) <= 600 for image in page.images)
    assert len({image["alt"] for image in page.images}) == len(page.images)


def test_links_lead_somewhere(made, page):
    assert len(page.ids) == len(set(page.ids))
    inside = [link[1:] for link in page.links if link.startswith("#")]
    assert set(inside) <= set(page.ids)
    assert {"models", "sky", "rows", "quarantine", "speed", "versions", "confusion", "learning", "entropy"} <= set(
        inside
    )
    files = [made.output / "report" / link for link in page.links if not link.startswith("#")]
    assert len(files) >= 9 and all(file.is_file() for file in files)


def test_equal_numbers_give_equal_figures(page, strange_text):
    of_jobs = [image["src"] for image in Page(strange_text).images if "Gantt" in image["alt"]]
    assert len(of_jobs) == 1  # the strange run has benchmarks
    assert [source for source in Page(strange_text).loads if source not in of_jobs] == page.loads


def test_the_first_quarantined_rows_stand_there_with_their_ids_whole(made, page):
    folder = Path(open_catalogue(made.output / "catalogues" / "sources").location)
    table = pq.read_table(folder / ROW_TABLE)
    shown = next(rows for rows in page.tables if "objectId" in rows[0])
    assert shown[0] == table.column_names
    assert len(shown) - 1 == min(20, table.num_rows) == 20
    place = shown[0].index("objectId")
    ids = [row[place] for row in shown[1:]]
    assert ids == [str(value) for value in table["objectId"].to_pylist()[:20]]
    assert max(map(int, ids)) > 2**53
    assert any(int(float(value)) != int(value) for value in ids)


def test_suspicious_values_stand_before_everything_else(text, strange_text):
    assert "No suspicious values" in text
    assert "No suspicious values" not in strange_text
    places = [strange_text.index(part) for part in ("band g: flux &lt; 0 &amp; odd", "twice", 'href="#models"')]
    assert places == sorted(places)


def test_a_test_set_in_one_block_has_no_intervals(strange_text):
    table = Page(strange_text).table("log-loss ↓")
    assert re.fullmatch(r"\d\.\d{4}", table["accuracy ↑"][0])
    assert table["purity of QSO"] == ["–", "–"]
    assert "within one block has none" in strange_text
    assert "None" not in without_figures(strange_text)


def test_a_model_from_elsewhere_shows_its_sky(made, tmp_path):
    run = copy_of(made, tmp_path)
    for name in run.models:
        edit(run.output / "models" / name / "manifest.json", lambda manifest: manifest.update(fit=None, parity={}))
    text = run.page()
    page = Page(text)
    assert "No model with a catalogue was trained in this run" in text
    assert page.table("not scored")[""] == run.models
    assert "came from elsewhere" in text and "entropy" in page.ids


def test_speed_counts_each_job_of_the_present_run_once(strange, strange_text):
    table = Page(strange_text).table("training_set")
    n_groups = len(strange.read("tiling/plan.json")["groups"])
    n_rows = open_catalogue(strange.output / "catalogues" / "features").n_rows
    seconds = 1.5 * n_groups
    assert table["features_compute"] == [f"{n_groups}", f"{seconds:.1f}", f"{n_rows:,}", f"{n_rows / seconds:,.0f}"]
    assert table["inference_run"][:3] == [f"{2 * n_groups}", f"{5 * n_groups:.1f}", f"{2 * n_rows:,}"]
    assert table["training_fit"] == ["1", "3.0", "", ""]
    assert table["training_set"][1] == "4.0"
    assert float(table["report_page"][1]) > 0
    assert "release_seal" not in table


def test_a_run_without_a_seal_is_refused(made, tmp_path):
    run = copy_of(made, tmp_path)
    (run.output / "catalogues" / "mlp" / "current.json").unlink()
    with pytest.raises(FileNotFoundError, match="mlp"):
        run.page()


@pytest.fixture(scope="module")
def model_text(made, text):
    return (made.output / "report" / "model-mlp.html").read_text()


def test_pages_lead_to_each_other(made, page, model_text):
    assert {f"model-{name}.html" for name in made.models} <= set(page.links)
    of_model = Page(model_text)
    assert {"index.html", "model-forest.html"} <= set(of_model.links)
    assert {link[1:] for link in of_model.links if link.startswith("#")} <= set(of_model.ids)
    assert len(of_model.ids) == len(set(of_model.ids))
    files = [made.output / "report" / link for link in of_model.links if not link.startswith("#")]
    assert all(file.is_file() for file in files)


def test_a_models_page_stands_alone(model_text):
    page = Page(model_text)
    assert page.loads and all(source.startswith("data:image/") for source in page.loads)
    assert "<script" not in model_text and not re.search(r"(https?:)?//[a-z]", without_figures(model_text))
    assert all(len(image["alt"]) > 20 and int(image["width"]) <= 600 for image in page.images)
    assert "None" not in without_figures(model_text) and "nan" not in without_figures(model_text)


def test_every_test_source_is_in_a_region_and_in_a_bin_of_depth(made, model_text):
    n = made.read("training/mlp/*/metrics.json")["n"]
    tables = [rows for rows in Page(model_text).tables if rows[0][1:4] == ["sources", "blocks", "says"]]
    assert len(tables) == 2  # by region, by depth: the survey declares no map of the seeing
    for rows in tables:
        assert sum(int(row[1].replace(",", "")) for row in rows[1:]) == n
    right = sum(int(row[1].replace(",", "")) * float(row[4].split()[0]) / 100 for row in tables[0][1:]) / n
    assert right == pytest.approx(made.read("training/mlp/*/metrics.json")["overall"]["accuracy"]["value"], abs=6e-4)


def test_the_findings_stand_in_words_under_the_figures(made, text):
    assert text.count("is the error larger than chance allows") + text.count("Significantly miscalibrated in") >= 4
    for name in made.models:
        assert re.search(rf"<b>{name}</b>: (In none of the|Significantly miscalibrated in)", text)


def test_depth_stands_there_for_each_band(page):
    table = page.table("depth_i")
    assert [f"depth_{band}" in table for band in "ugrizy"] == [True] * 6
    assert float(table["depth_i"][1]) == pytest.approx(26.74, abs=0.05)
    assert float(table["depth_y"][1]) == pytest.approx(25.18, abs=0.05)


def test_declared_maps_are_drawn_and_divide_the_test_set(made, tmp_path):
    for name, unit, values in (("depth", "mag", np.linspace(24, 26, 3072)), ("seeing", "arcsec", np.full(3072, 0.7))):
        table = fits.BinTableHDU.from_columns([fits.Column("V", "E", unit=unit, array=values)])
        table.header.update({"PIXTYPE": "HEALPIX", "NSIDE": 16, "ORDERING": "NESTED", "COORDSYS": "C"})
        table.writeto(tmp_path / f"{name}.fits")
    maps = {"depth_r": {"path": str(tmp_path / "depth.fits"), "unit": "mag"}}
    maps["seeing_i"] = {"path": str(tmp_path / "seeing.fits"), "unit": "arcsec"}
    run = copy_of(made, tmp_path)
    run = replace(run, survey=type(run.survey).model_validate(run.survey.model_dump() | {"maps": maps}))
    page = Page(run.page())
    assert {"depth_r", "seeing_i", "local-depth_r"} <= set(page.ids)
    assert "depth_i" not in page.ids and "local-seeing_i" not in page.ids  # one value divides nothing
    assert page.table("depth_r")["seeing_i"][:2] == ["arcsec", "0.70"]
    assert page.table("depth_r")["seeing_i"][3] == "100.0 %"
    fields = len([image for image in page.images if "sources per square degree" in image["alt"]])
    assert len([image for image in page.images if "seeing" in image["alt"]]) == fields  # not the whole sky


def test_a_map_of_another_part_of_the_sky_is_told_from_one_of_the_survey(made, tmp_path):
    pixels = hpgeom.angle_to_pixel(16, np.linspace(150, 250, 50), np.full(50, 40.0), lonlat=True)
    columns = [fits.Column("PIXEL", "K", array=pixels), fits.Column("V", "E", array=np.full(50, 26.0))]
    table = fits.BinTableHDU.from_columns(columns)
    table.header.update({"PIXTYPE": "HEALPIX", "NSIDE": 16, "ORDERING": "NESTED", "COORDSYS": "C"})
    table.writeto(tmp_path / "depth.fits")
    maps = {"depth_i": {"path": str(tmp_path / "depth.fits"), "unit": "mag"}}
    run = copy_of(made, tmp_path)
    run = replace(run, survey=type(run.survey).model_validate(run.survey.model_dump() | {"maps": maps}))
    text = run.page()
    assert Page(text).table("depth_i")["depth_i"][:4] == ["mag", "–", "–", "0.0 %"]
    assert "depth_i covers 0.0 % of the sources: are the ordering and the frame of" in text
    assert "depth_i" not in Page(text).ids


def test_a_map_that_cannot_be_read_is_named(made, tmp_path):
    maps = {"depth_i": {"path": str(tmp_path / "gone.fits"), "unit": "mag"}}
    run = replace(made, survey=type(made.survey).model_validate(made.survey.model_dump() | {"maps": maps}))
    with pytest.raises(ValueError, match=r"gone\.fits: no such file; correct maps\.depth_i\.path"):
        run.page()


def test_the_plots_are_the_figures_of_the_page(made, page):
    folder = made.output / "report" / "plots"
    wanted = {f"{name}-{plot}.svg" for name in made.models for plot in PLOTS_OF_MODELS} | {
        f"sky-{plot}.svg" for plot in PLOTS_OF_SKY
    }
    assert {path.name for path in folder.iterdir()} == wanted
    shown = {base64.b64decode(source.partition(",")[2]) for source in page.loads}
    for path in folder.iterdir():
        root = ElementTree.fromstring(path.read_bytes())
        assert root.tag.endswith("svg")
        assert path.name.startswith("sky-") or path.read_bytes() in shown
    fields = ElementTree.parse(folder / "sky-density.svg").getroot()
    assert len(fields) == len([image for image in page.images if "sources per square degree" in image["alt"]])
    assert len({field.get("x") for field in fields}) == len(fields)
