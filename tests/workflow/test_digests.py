"""What decides a result is in its digest, and what does not is not: the ground on which everything else is reused."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from skymill import export, features, inference, tiling, training
from skymill.config import ModelConfig, RunConfig, SurveyConfig
from skymill.features.plan import ingredients, make_recipe
from skymill.features.tile import FeatureRun
from skymill.features.tile import TileJob as FeatureJob
from skymill.inference.settings import algorithm
from skymill.inference.tiles import ModelRun
from skymill.sky import Tile
from skymill.store.algorithm import ROOT, algorithm_digest
from skymill.tiling.settings import part_key, tile_algorithm

SURVEY: dict[str, Any] = {
    "name": "toy", "format": "parquet", "path": "toy.parquet", "bands": ["g", "r"],
    "id": {"column": "id"}, "ra": {"column": "ra", "unit": "deg"}, "dec": {"column": "dec", "unit": "deg"},
    "photometry": {"psfFlux": {"column": "{band}_flux", "error": "{band}_err", "unit": "nJy"}},
    "values": {"size": {"column": "size", "unit": "arcsec"}},
}  # fmt: skip
LABELS = {"path": "labels.parquet", "column": "class", "classes": ["STAR", "GALAXY"], "id": {"column": "id"}}
RUN: dict[str, Any] = {"name": "toy", "survey": "toy.yaml", "labels": LABELS}
MODEL: dict[str, Any] = {"name": "m", "kind": "forest"}
DATA = "0" * 64
FEATURES = {"features", "feature tile"}
INFERENCE = {"inference", "inference tile"}


def digests(*, data: str = DATA, **changes: dict[str, Any]) -> dict[str, str]:
    """Every digest of a run, some settings of whose `run`, `survey` or `model`, or whose data, are changed."""
    the_run = RunConfig.model_validate(RUN | changes.get("run", {}))
    the_survey = SurveyConfig.model_validate(SURVEY | changes.get("survey", {}))
    the_model = ModelConfig.model_validate(MODEL | changes.get("model", {}))
    recipe = make_recipe(the_survey, the_run.features)
    return {
        "part": part_key(data, the_survey, the_run.tiling),
        "plan": tiling.plan_digest(the_run, the_survey),
        "sources": tiling.settings_digest(the_run, the_survey),
        "source tile": tile_algorithm(),
        "features": features.settings_digest(the_run, the_survey),
        "feature tile": FeatureRun("", recipe, ingredients(recipe)).key(FeatureJob(Tile(0, 0), "", data)),
        "set": training.set_settings_digest(the_run),
        "fit": training.fit_digest(the_model, set_sha256=data, seed=the_run.seed),
        "export": export.settings_digest(the_model),
        "inference": inference.settings_digest(data, the_run.inference),
        "inference tile": model_run(the_run, onnx=data).key(data),
    }


def model_run(run: RunConfig, *, onnx: str) -> ModelRun:
    return ModelRun("", "m", "m.onnx", onnx, run.inference.provider, run.inference.block_rows, algorithm())


def changed(**change: Any) -> set[str]:
    """The digests that a change changes."""
    before, after = digests(), digests(**change)
    return {name for name in before if before[name] != after[name]}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"data": "1" * 64}, {"part", "feature tile", "fit", *INFERENCE}),
        ({"survey": {"path": "elsewhere.parquet"}}, set()),
        ({"survey": {"id": {"column": "number"}}}, {"part", "plan", "sources"}),
        ({"survey": {"values": {"radius": SURVEY["values"]["size"]}}}, {"part", "plan", "sources", *FEATURES}),
        ({"run": {"name": "other", "output": "elsewhere", "compute": {"retries": 3, "batch_rows": 9}}}, set()),
        ({"run": {"tiling": {"part_rows": 5000}}}, set()),
        ({"run": {"tiling": {"max_rows": 1000}}}, {"plan", "sources"}),
        ({"run": {"tiling": {"group_order": 0}}}, {"part", "plan", "sources"}),
        ({"run": {"features": {"softening_nJy": {"g": 1, "r": 2}}}}, FEATURES),
        ({"run": {"labels": {**LABELS, "path": "elsewhere.parquet"}}}, set()),
        ({"run": {"labels": {**LABELS, "classes": ["GALAXY", "STAR"]}}}, {"set"}),
        ({"run": {"labels": None}}, {"set"}),
        ({"run": {"split": {"guard_arcsec": 31}}}, {"set"}),
        ({"run": {"seed": 43}}, {"set", "fit"}),
        ({"run": {"inference": {"block_rows": 512}}}, INFERENCE),
        ({"run": {"inference": {"provider": "cuda"}}}, INFERENCE),
        ({"model": {"settings": {"trees": 7}}}, {"fit"}),
        ({"model": {"calibration": "none"}}, {"fit"}),
        ({"model": {"class_weight": "balanced"}}, {"fit"}),
        ({"model": {"features": ["shape"]}}, {"fit"}),
        ({"model": {"parity": {"rows": 20_000}}}, {"export"}),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else ", ".join(sorted(value)),
)
def test_settings_and_data_change_what_they_decide_and_no_other(change: dict[str, Any], expected: set[str]):
    assert changed(**change) == expected


@pytest.mark.parametrize("field", ["onnx_sha256", "provider", "block_rows", "algorithm"])
def test_each_ingredient_of_a_classified_tile_changes_its_key(field: str):
    run = model_run(RunConfig.model_validate(RUN), onnx=DATA)
    assert replace(run, **{field: "another"}).key(DATA) != run.key(DATA)


def test_another_precision_makes_other_classified_tiles(monkeypatch: pytest.MonkeyPatch):
    before = digests()
    monkeypatch.setattr("skymill.inference.tiles.PRECISION", "float16")
    monkeypatch.setattr("skymill.inference.settings.PRECISION", "float16")
    after = digests()
    assert {name for name in before if before[name] != after[name]} == INFERENCE


@pytest.fixture(scope="module")
def copied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the package."""
    copy = tmp_path_factory.mktemp("src") / "skymill"
    shutil.copytree(ROOT / "skymill", copy, ignore=shutil.ignore_patterns("__pycache__"))
    return copy


@pytest.fixture
def edit(copied: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """Add a line to a module of the copy, which is what the digests of algorithms then look at."""
    monkeypatch.setitem(algorithm_digest.__kwdefaults__, "root", copied.parent)

    def edit(module: str, line: str) -> None:
        with (copied / module).open("a") as file:
            file.write(line + "\n")

    return edit


@pytest.mark.parametrize(
    ("module", "expected"),
    [
        ("survey/gate.py", {"part", "plan", "sources"}),
        ("survey/readers/parquet.py", {"part", "plan", "sources"}),
        ("survey/readers/fits.py", {"part", "plan", "sources"}),
        ("survey/readers/hats.py", {"part", "plan", "sources"}),
        ("tiling/rows.py", {"part", "plan", "sources", "source tile"}),
        ("tiling/crowding.py", {"plan", "sources"}),
        ("tiling/form.py", {"plan", "sources", "source tile"}),
        ("features/kernel.py", FEATURES),
        ("training/join.py", {"set"}),
        ("training/split.py", {"set"}),
        ("training/fitting.py", {"fit"}),
        ("models/forest.py", {"fit"}),
        ("export/forest.py", {"export"}),
        ("export/parity.py", {"export"}),
        ("inference/kernel.py", INFERENCE),
    ],
)
def test_code_changes_the_digests_of_what_it_decides(edit: Callable[[str, str], None], module: str, expected: set[str]):
    survey = {"format": Path(module).stem} if "readers" in module else {}  # its tables are read by that reader
    before = digests(survey=survey)
    edit(module, "# A remark.")
    assert digests(survey=survey) == before
    edit(module, "A_CHANGE = 1")
    after = digests(survey=survey)
    assert {name for name in before if before[name] != after[name]} >= expected
