"""What runs again after each kind of change, and what does not: the workflow's main promise.

One story on one folder: the fixture does the changes in turn and notes the jobs each caused; the tests read the notes.
"""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from snakemake_run import REPOSITORY, Outcome, pool_digests, run
from survey_files import edit_yaml, patch_table, write_labels, write_survey

import skymill

pytestmark = pytest.mark.slow

PATCHES = 3


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a small survey."""
    folder = tmp_path_factory.mktemp("exact")
    write_survey(folder)
    return folder


@pytest.fixture(scope="module")
def story(folder: Path) -> dict[str, Outcome]:
    """Change one thing after the other and run the workflow after each."""
    events = {"first": run(folder)}
    events["nothing"] = run(folder)

    for path in [*folder.glob("tables/*"), *folder.glob("*.yaml"), folder / "labels.parquet"]:
        os.utime(path)
    events["touch"] = run(folder)

    events["retrain to the same bytes"] = run(folder, "--forcerun", "training_fit")

    edit_yaml(folder / "forest.yaml", settings={"trees": 12, "max_depth": 6})
    events["change one model"] = run(folder)

    before = pool_digests(folder)
    changed = patch_table("wrap", seed=1, rows=700)
    rest = patch_table("wrap").slice(700)
    table = changed.drop_columns(["class"])
    pq.write_table(table, folder / "tables" / "wrap.parquet")
    events["change an unlabelled patch"] = run(folder)
    events["pool before"] = before  # type: ignore[assignment]
    assert rest.num_rows > 0

    write_labels(folder, flip=7)
    events["change a label"] = run(folder)
    return events


def jobs(outcome: Outcome) -> Counter[str]:
    """The jobs without sealing and the report, which are cheap and follow every change."""
    return Counter({name: n for name, n in outcome.jobs.items() if name not in ("release_seal", "report_page")})


def test_the_first_run_does_everything(story, folder):
    assert jobs(story["first"]) == {
        "tiling_plan": 1,
        "tiling_partition": PATCHES + story_groups(folder) - PATCHES,
        "features_compute": story_groups(folder),
        "training_set": 1,
        "training_fit": 2,
        "export_onnx": 2,
        "inference_run": 2 * story_groups(folder),
    }
    assert story["first"].jobs["release_seal"] == 4
    assert story["first"].jobs["report_page"] == 1


def story_groups(folder: Path) -> int:
    """Groups of the first plan."""
    import json

    return len(json.loads((folder / "results/tiling/plan.json").read_text())["groups"])


def test_nothing_runs_when_nothing_changed(story):
    assert not story["nothing"].jobs
    assert "Nothing to be done" in story["nothing"].text


def test_touching_every_file_runs_nothing(story):
    assert not story["touch"].jobs


def test_retraining_to_the_same_bytes_infers_nothing(story):
    ran = jobs(story["retrain to the same bytes"])
    assert ran["training_fit"] == 2
    assert ran["inference_run"] == 0


def test_changing_one_model_runs_its_own_jobs_only(story, folder):
    groups = story_groups(folder)
    assert jobs(story["change one model"]) == {"training_fit": 1, "export_onnx": 1, "inference_run": groups}


def test_an_unlabelled_patch_does_not_retrain(story):
    ran = jobs(story["change an unlabelled patch"])
    assert ran["training_fit"] == 0
    assert ran["export_onnx"] == 0
    assert ran["tiling_partition"] >= 1


def test_a_changed_label_trains_again_but_keeps_features(story):
    ran = jobs(story["change a label"])
    assert ran["training_fit"] == 2
    assert ran["tiling_partition"] == ran["features_compute"] == 0


def test_the_catalogue_opens_and_holds_every_source(story, folder):
    catalogue = skymill.open_catalogue(folder / "results/catalogues/mlp")
    assert len(catalogue) > 0
    assert REPOSITORY.is_dir()
