"""What runs again after each kind of change, and what does not: the workflow's main promise.

One story in one folder: the fixture makes the changes in turn and notes what each caused; the tests read the notes.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path

import changes
import pyarrow.parquet as pq
import pytest
from snakemake_run import Checkout, Outcome, run
from survey_files import CENTRES, TILING, edit_yaml, patch_table, write_survey
from typer.testing import CliRunner

import skymill
from skymill.cli.main import app
from skymill.store import verify

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]

GROUPS = len(CENTRES)
RAISES = """raise RuntimeError("told to fail")\n\n\ndef main(snakemake):"""
FAILING = ("scripts/inference_run.py", "scripts/release_seal.py")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a small survey."""
    folder = tmp_path_factory.mktemp("exact")
    write_survey(folder)
    return folder


@pytest.fixture(scope="module")
def story(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Outcome]:
    """Change one thing after the other, and run the workflow after each."""
    code = Checkout.copy(tmp_path_factory.mktemp("code"))
    told = {"first": run(folder, checkout=code)}

    for path in [*folder.glob("tables/*"), *folder.glob("*.yaml"), folder / "labels.parquet"]:
        os.utime(path)
    for path in code.root.glob("scripts/*.py"):
        os.utime(path)
    code.edit("src/skymill/features/kernel.py", "from __future__", "# a remark\nfrom __future__")
    code.edit("src/skymill/sky/healpix.py", "from __future__", "# a remark\nfrom __future__")
    told["touch and comment"] = run(folder, checkout=code)

    [manifest, _] = (folder / "results" / "catalogues" / "mlp" / "groups").rglob("*.json")
    manifest.rename(folder / "away.json")
    told["manifest gone"] = run(folder, checkout=code)
    assert manifest.read_bytes() == (folder / "away.json").read_bytes()

    edit_yaml(folder / "config.yaml", tiling={**TILING, "max_rows": 1000})
    told["tiling setting"] = run(folder, "-n", checkout=code)
    edit_yaml(folder / "config.yaml", tiling=TILING)

    told["retrain"] = run(folder, "--forcerun", "training_fit", checkout=code)

    edit_yaml(folder / "forest.yaml", settings={"trees": 12, "max_depth": 6})
    told["model"] = run(folder, checkout=code)

    # New sources in the patch without labels; inference and sealing fail at first.
    for script in FAILING:
        code.edit(script, "def main(snakemake):", RAISES)
    pq.write_table(patch_table("wrap", rows=3100).drop_columns(["class"]), folder / "tables" / "wrap.parquet")
    told["patch, inference fails"] = run(folder, checkout=code, check=False)
    shutil.copy(folder / "results/catalogues/sources/current.json", folder / "published.json")
    for script in FAILING:
        code.edit(script, RAISES, "def main(snakemake):")
    told["patch, inference mended"] = run(folder, checkout=code)

    changes.pinned_label(folder)
    told["label, forest pinned"] = run(folder, checkout=code)
    edit_yaml(folder / "forest.yaml", pin=None)
    told["label"] = run(folder, checkout=code)

    code.edit("src/skymill/features/kernel.py", "from __future__ import annotations\n", EDITED_CODE)
    told["code"] = run(folder, checkout=code)

    # A table changes, its time does not, and what Snakemake knew of the files is lost.
    table = folder / "tables" / "wrap.parquet"
    before = table.stat()
    pq.write_table(patch_table("wrap", rows=3100, seed=5).drop_columns(["class"]), table)
    os.utime(table, ns=(before.st_atime_ns, before.st_mtime_ns))
    shutil.rmtree(folder / ".snakemake")
    told["records lost"] = run(folder, "-n", checkout=code)
    return told


EDITED_CODE = "from __future__ import annotations\n\nA_CHANGE = 1\n"


def test_the_first_run_does_everything(story):
    assert story["first"].jobs == {
        "tiling_plan": 1,
        "tiling_partition": GROUPS,
        "features_compute": GROUPS,
        "training_set": 1,
        "training_fit": 2,
        "export_onnx": 2,
        "inference_run": 2 * GROUPS,
        "release_seal": 4,
        "training_shift": 2,
        "report_page": 1,
    }


def test_nothing_runs_when_no_content_changed(story):
    """Every input file, YAML file and script is touched, and comments stand in code that decides."""
    again = story["touch and comment"]
    assert not again.jobs
    assert again.pool == story["first"].pool
    assert "Nothing to be done" in again.text


def test_a_deleted_manifest_is_made_again_of_the_tiles_that_stand(story):
    jobs = story["manifest gone"].jobs
    assert jobs["inference_run"] == 1
    assert jobs.keys() <= {"inference_run", "release_seal", "training_shift", "report_page"}
    assert re.search(r"inference mlp .*: 0 of \d+ tiles to make", story["manifest gone"].text)
    assert story["manifest gone"].pool == story["first"].pool


def test_a_tiling_setting_plans_again_before_anything_else_is_known(story):
    assert story["tiling setting"].jobs["tiling_plan"] == 1


def test_retraining_to_the_same_bytes_stops_at_the_export(story):
    assert set(story["retrain"].jobs) <= {"training_fit", "export_onnx", "training_shift", "report_page"}
    assert story["retrain"].jobs["training_fit"] == 2


def test_changing_one_model_runs_its_own_jobs_only(story):
    assert story["model"].jobs == {
        "training_fit": 1,
        "export_onnx": 1,
        "inference_run": GROUPS,
        "release_seal": 1,
        "training_shift": 1,
        "report_page": 1,
    }
    assert "catalogue=mlp" not in story["model"].text


def test_a_patch_without_labels_trains_nothing_but_is_compared_with_the_training_rows(story):
    """The survey's section of the card is that of the new sky, the fit's own card stays."""
    mended, failed = story["patch, inference mended"].jobs, story["patch, inference fails"].jobs
    assert (failed["training_shift"], mended["training_shift"]) == (0, 2)
    assert failed["training_fit"] + mended["training_fit"] == 0


def test_a_patch_without_labels_trains_nothing_and_touches_no_other_group(story):
    both = story["patch, inference fails"].jobs + story["patch, inference mended"].jobs
    assert both["tiling_plan"] == both["tiling_partition"] == both["features_compute"] == both["training_set"] == 1
    assert both["training_fit"] == both["export_onnx"] == 0


def test_after_a_failure_exactly_what_is_missing_runs(story):
    assert story["patch, inference fails"].returncode != 0
    assert story["patch, inference fails"].jobs["inference_run"] == 2
    assert story["patch, inference mended"].jobs == {
        "inference_run": 2,
        "release_seal": 4,
        "training_shift": 2,
        "report_page": 1,
    }


def test_a_seal_that_fails_leaves_the_former_version_published(story, folder):
    assert story["patch, inference fails"].jobs["release_seal"] > 0
    version = json.loads((folder / "published.json").read_text())["version"]
    assert len(skymill.open_catalogue(folder / "results" / "catalogues" / "sources" / "versions" / version)) == 6000


def test_a_changed_label_trains_again_and_keeps_the_features(story):
    jobs = story["label, forest pinned"].jobs + story["label"].jobs
    assert jobs["training_set"] == 1
    assert jobs["training_fit"] == jobs["export_onnx"] == 2
    assert jobs["inference_run"] == 2 * GROUPS
    assert jobs["tiling_plan"] == jobs["tiling_partition"] == jobs["features_compute"] == 0


def test_a_pinned_model_keeps_to_its_fit_until_the_pin_is_taken_out(story):
    pinned, free = story["label, forest pinned"], story["label"]
    assert pinned.jobs["training_fit"] == free.jobs["training_fit"] == 1
    assert pinned.jobs["inference_run"] == free.jobs["inference_run"] == GROUPS
    new = {Path(tile).parts[2] for tile in pinned.pool.keys() - story["patch, inference mended"].pool.keys()}
    assert new == {"mlp"}


def test_changed_code_runs_its_stage_and_what_follows(story):
    jobs = story["code"].jobs
    assert jobs["features_compute"] == GROUPS
    assert jobs["inference_run"] == 2 * GROUPS
    assert jobs["tiling_plan"] == jobs["tiling_partition"] == 0
    # The features came out the same, so the training set did, so nothing was fitted.
    assert jobs["training_fit"] == 0


def test_a_changed_survey_is_planned_again_without_the_records_of_snakemake(story):
    assert story["records lost"].jobs["tiling_plan"] == 1


def test_changed_code_makes_its_tiles_anew_and_keeps_the_old(story):
    before, after = story["label"].pool, story["code"].pool
    assert before.items() < after.items()
    sky = [{Path(tile).parent for tile in tiles} for tiles in (before, after.keys() - before.keys())]
    assert sky[1] == {folder for folder in sky[0] if folder.parts[2] != "sources"}


def test_the_last_catalogue_is_whole(story, folder):
    catalogue = skymill.open_catalogue(folder / "results" / "catalogues" / "mlp")
    assert len(catalogue) == 3000 + 3100
    report = verify(folder / "results")
    assert report.ok, report.lines()


def test_where_names_the_catalogues_and_the_report_that_are_there(story, folder):
    told = CliRunner().invoke(app, ["where", str(folder / "results")]).stdout
    named = [Path(line.strip()) for line in told.splitlines() if line.strip().startswith(str(folder))]
    assert {path.name for path in named} == {"sources", "features", "forest", "mlp", "index.html"}
    assert all(path.exists() for path in named)
