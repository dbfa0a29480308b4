"""A fit from a training set to its manifest: same bytes, a locked test split, errors that say what to do."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from skymill import training
from skymill.config import ModelConfig
from skymill.training.arrays import TrainingSetError, open_set
from skymill.training.identity import fit_digest
from skymill.training.leaks import LeakageError
from skymill.training.weighting import Importance

CLASSES = ["GALAXY", "STAR", "QSO"]
FEATURES = {
    "r_asinh_mag": "photometric",
    "g_minus_r": "photometric",
    "log_trace_radius": "shape",
    "g_missing": "missing",
}
KINDS = {
    "forest": {"trees": 15, "max_depth": 8},
    "mlp": {"members": 2, "width": 16, "depth": 2, "epochs": 4, "batch_size": 128},
}
SCRIPT = """
import sys
from skymill import training
from skymill.config import ModelConfig
path, folder, *models = sys.argv[1:]
for model in map(ModelConfig.model_validate_json, models):
    training.fit(path, model, seed=3, output_folder=f"{folder}/{model.kind}", device="cpu")
"""


def table(n: int = 1600) -> pa.Table:
    """Three overlapping classes; 60 % train, 20 % validation, 20 % test; row 0 has nothing measured."""
    generator = np.random.default_rng(6)
    labels = generator.choice(3, size=n, p=[0.5, 0.3, 0.2])
    centres = np.array([[20.0, 0.5, 0.3], [21.0, 1.5, 0.0], [19.0, 0.1, 0.0]])
    features = centres[labels] + generator.normal(scale=0.5, size=(n, 3))
    features[generator.random((n, 3)) < 0.05] = np.nan
    features[0] = np.nan
    columns: dict[str, Any] = {
        "objectId": np.arange(n) + 2**60,
        "_healpix_29": np.arange(n) << 42,
        "label": labels.astype(np.int8),
        "split": np.array(["train", "train", "train", "validation", "test"])[np.arange(n) % 5],
        "magnitude": features[:, 0].astype(np.float32),
    }
    columns |= {name: features[:, k].astype(np.float32) for k, name in enumerate(list(FEATURES)[:3])}
    columns["g_missing"] = np.isnan(features[:, 1]).astype(np.float32)
    return pa.table(columns)


def write(path: Path, rows: pa.Table, suspects: list[dict[str, Any]] | None = None) -> Path:
    described = [
        {"name": name, "unit": "mag", "definition": f"the {name}", "group": group, "indicator": group == "missing"}
        for name, group in FEATURES.items()
    ]
    metadata = {"classes": CLASSES, "features": described, "suspects": suspects or [], "split": {"order": 6}}
    pq.write_table(rows.replace_schema_metadata({"skymill": json.dumps(metadata)}), path)
    return path


def config(kind: str, **changes: Any) -> ModelConfig:
    return ModelConfig(**{"name": kind, "kind": kind, "settings": KINDS.get(kind, {}), **changes})


def fit(path: Path, folder: Path, kind: str = "forest", **changes: Any) -> training.Fit:
    training.fit(path, config(kind, **changes), seed=3, output_folder=folder, device="cpu")
    return training.load_fit(folder)


@pytest.fixture(scope="module")
def training_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("sets") / "set.parquet", table())


@pytest.fixture(scope="module", params=list(KINDS))
def finished(
    request: pytest.FixtureRequest, training_set: Path, tmp_path_factory: pytest.TempPathFactory
) -> training.Fit:
    return fit(training_set, tmp_path_factory.mktemp(request.param), request.param)


def test_a_fit_writes_all_of_its_files_and_nothing_else(finished: training.Fit, training_set: Path) -> None:
    weights = {"forest": "forest.npz", "mlp": "checkpoint.pt"}[finished.manifest["kind"]]
    described = MEASURED | {"calibration.json", "distance.json", "history.csv"}
    assert set(finished.manifest["files"]) == described | {weights}
    assert {path.name for path in finished.folder.iterdir() if path.is_file()} == described | {weights, "manifest.json"}
    rows = table()
    test = open_set(training_set, FEATURES).rows("test")[0].features
    assert finished.manifest["training_distance"]["test_outside"] == (finished.distance(test) > 1).sum()
    blind = np.isnan(rows["r_asinh_mag"].to_numpy()) & np.isnan(rows["g_minus_r"].to_numpy())
    assert blind.sum() > 1  # row 0, and others that have a size alone
    for split in ("train", "validation", "test"):
        inside = rows["split"].to_numpy(zero_copy_only=False) == split
        assert finished.manifest["unscorable"][split] == (blind & inside).sum()
        assert finished.manifest["rows"][split] == (~blind & inside).sum()
    history = (finished.folder / "history.csv").read_text().splitlines()
    assert history[0] == "epoch,train_loss,validation_log_loss"
    assert len(history) == {"forest": 1, "mlp": 5}[finished.manifest["kind"]]


def test_predictions_and_metrics_are_those_of_the_model_that_is_kept(
    finished: training.Fit, training_set: Path
) -> None:
    rows = pq.read_table(training_set, filters=[("split", "==", "test")])
    rows = rows.filter(pa.array(np.isfinite(rows["r_asinh_mag"]) | np.isfinite(rows["g_minus_r"])))
    features = np.column_stack([rows[name].to_numpy() for name in FEATURES])
    p = finished.predict_probabilities(features)
    written = pq.read_table(finished.folder / "predictions.parquet")
    assert written.column_names == ["objectId", "label", "magnitude", *[f"p_{name}" for name in CLASSES]]
    np.testing.assert_array_equal(written["objectId"], rows["objectId"])
    np.testing.assert_allclose(np.column_stack([written[f"p_{name}"] for name in CLASSES]), p, atol=1e-7)
    metrics = json.loads((finished.folder / "metrics.json").read_text())
    assert metrics["overall"]["accuracy"]["value"] == (p.argmax(axis=1) == rows["label"].to_numpy()).mean() > 0.8


def importance_of(path: Path, kind: str) -> Importance:
    """Weights that favour bright rows."""
    rows, _ = open_set(path, config(kind).features).rows("train")
    weights = np.where(np.nan_to_num(rows.magnitude, nan=20.0) < 20, 3.0, 0.5)
    return Importance(weights / weights.mean(), 10.0, 0, "0123456789ab")


def test_importance_enters_the_fit_and_is_told_in_metrics_card_and_manifest(
    finished: training.Fit, training_set: Path, tmp_path: Path
) -> None:
    kind = finished.manifest["kind"]
    importance = importance_of(training_set, kind)
    model = config(kind, importance_weighting=True)
    training.fit(training_set, model, seed=3, output_folder=tmp_path, device="cpu", importance=importance)
    weighed = training.load_fit(tmp_path)
    assert weighed.manifest["survey"] == "0123456789ab" and "survey" not in finished.manifest
    assert json.loads((tmp_path / "metrics.json").read_text())["importance_weighting"] == importance.as_dict()
    assert f"count as {importance.effective_rows:.0f} of equal weight" in (tmp_path / "card.md").read_text()
    features = open_set(training_set, model.features).rows("test")[0].features
    assert not np.allclose(weighed.predict_probabilities(features), finished.predict_probabilities(features))


def test_weights_have_to_be_asked_for_and_to_be_of_the_set(training_set: Path, tmp_path: Path) -> None:
    importance = importance_of(training_set, "forest")
    with pytest.raises(TrainingSetError, match="importance_weighting is True, but weights were not given"):
        fit(training_set, tmp_path, importance_weighting=True)
    with pytest.raises(TrainingSetError, match="importance_weighting is False, but weights were given"):
        training.fit(training_set, config("forest"), seed=3, output_folder=tmp_path, importance=importance)
    short = Importance(importance.weights[:-1], 10.0, 0, "")
    model = config("forest", importance_weighting=True)
    with pytest.raises(TrainingSetError, match="expected a weight of each of"):
        training.fit(training_set, model, seed=3, output_folder=tmp_path, importance=short)


@pytest.mark.slow
def test_two_processes_write_the_same_bytes(training_set: Path, tmp_path: Path) -> None:
    models = [config(kind).model_dump_json() for kind in KINDS]
    runs = [
        subprocess.Popen(
            [sys.executable, "-c", SCRIPT, str(training_set), str(tmp_path / seed), *models],
            env={**os.environ, "PYTHONHASHSEED": seed},
        )
        for seed in ("1", "2")
    ]
    assert [run.wait() for run in runs] == [0, 0]
    for kind in KINDS:
        one, two = (tmp_path / seed / kind for seed in ("1", "2"))
        for name in ["manifest.json", *training.load_fit(one).manifest["files"]]:
            assert (one / name).read_bytes() == (two / name).read_bytes(), name


def scrambled(clean: training.Fit, folder: Path, *, split: str, columns: list[str]) -> training.Fit:
    """Fit again after some columns were permuted among the rows of a split."""
    rows = table()
    inside = rows["split"].to_numpy(zero_copy_only=False) == split
    for name in columns:
        values = rows[name].to_numpy().copy()
        values[inside] = np.random.default_rng(0).permutation(values[inside])
        rows = rows.set_column(rows.column_names.index(name), name, pa.array(values))
    return fit(write(folder / "scrambled.parquet", rows), folder / "fit", clean.manifest["kind"])


MEASURED = {
    "metrics.json",
    "importance.json",
    "predictions.parquet",
    "attributions.parquet",
    "card.json",
    "card.md",
}
"""Files that say what the test split has shown."""


def changed(one: training.Fit, other: training.Fit) -> set[str]:
    """The files that differ."""
    return {name for name, digest in one.manifest["files"].items() if digest != other.manifest["files"][name]}


def test_the_test_split_touches_neither_weights_nor_calibration(finished: training.Fit, tmp_path: Path) -> None:
    """Scramble every label and feature of the test rows: only what is measured on them changes."""
    other = scrambled(finished, tmp_path, split="test", columns=["label", *FEATURES])
    assert changed(finished, other) == MEASURED


def test_the_validation_split_calibrates_and_stops_but_does_not_teach(finished: training.Fit, tmp_path: Path) -> None:
    """Scramble its labels: a forest stays the same, an MLP sees the same losses and keeps another epoch."""
    other = scrambled(finished, tmp_path, split="validation", columns=["label"])
    weights = {"forest": set(), "mlp": {"checkpoint.pt", "history.csv"}}[finished.manifest["kind"]]
    measured = {"calibration.json", "metrics.json", "predictions.parquet", "card.json", "card.md"}
    measured |= {"importance.json", "attributions.parquet"}
    assert changed(finished, other) == measured | weights
    losses = [[row["train_loss"] for row in each.model.history()] for each in (finished, other)]
    assert losses[0] == losses[1]
    features = np.random.default_rng(1).normal([20, 1, 0, 0], 1, (50, 4)).astype(np.float32)
    kept = [each.model.predict_probabilities(features) for each in (finished, other)]
    assert np.array_equal(*kept) == (not weights)


def test_a_fit_that_was_cut_short_goes_on_from_its_last_epoch(
    training_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from skymill.models.mlp_training import Training

    caplog.set_level("INFO", logger="skymill.models.mlp_training")
    begin_epoch = Training.on_train_epoch_start

    def cut_short(self: Training) -> None:
        if self.current_epoch == 2:
            raise OSError("power cut")
        begin_epoch(self)

    with monkeypatch.context() as patched, pytest.raises(OSError, match="power cut"):
        patched.setattr(Training, "on_train_epoch_start", cut_short)
        fit(training_set, tmp_path / "cut", "mlp")
    assert not (tmp_path / "cut" / "manifest.json").exists()
    cut = fit(training_set, tmp_path / "cut", "mlp")
    assert [record.args[0] for record in caplog.records] == [0, 1, 2, 3]
    assert not (tmp_path / "cut" / ".resume").exists()
    assert cut.manifest["files"] == fit(training_set, tmp_path / "whole", "mlp").manifest["files"]


def test_another_seed_gives_another_model(finished: training.Fit, training_set: Path, tmp_path: Path) -> None:
    kind = finished.manifest["kind"]
    training.fit(training_set, config(kind), seed=4, output_folder=tmp_path, device="cpu")
    weights = {"forest": "forest.npz", "mlp": "checkpoint.pt"}[kind]
    assert (tmp_path / weights).read_bytes() != (finished.folder / weights).read_bytes()


@pytest.mark.parametrize("calibration", ["temperature", "none"])
def test_balanced_weights_help_the_rare_class_and_their_bias_is_undone(tmp_path: Path, calibration: str) -> None:
    rows = table(6000)
    path = write(tmp_path / "set.parquet", rows)
    balanced = fit(path, tmp_path / "balanced", class_weight="balanced", calibration=calibration)
    test = rows.filter(pa.compute.equal(rows["split"], "test"))
    features = np.column_stack([test[name].to_numpy() for name in FEATURES])
    share = (test["label"].to_numpy() == 2).mean()
    assert balanced.model.predict_probabilities(features)[:, 2].mean() > share + 0.02
    assert balanced.predict_probabilities(features)[:, 2].mean() == pytest.approx(share, abs=0.015)


def test_groups_and_names_choose_features_in_the_order_of_the_set(training_set: Path, tmp_path: Path) -> None:
    chosen = fit(training_set, tmp_path, features=["log_trace_radius", "photometric"])
    assert [feature["name"] for feature in chosen.features] == ["r_asinh_mag", "g_minus_r", "log_trace_radius"]


def test_an_unknown_feature_lists_what_there_is(training_set: Path, tmp_path: Path) -> None:
    message = r"features r_mag: not among those of the survey.*; groups: .*photometric.*; features: .*r_asinh_mag"
    with pytest.raises(TrainingSetError, match=message):
        fit(training_set, tmp_path, features=["r_mag", "shape"])


def test_indicators_alone_measure_nothing(training_set: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingSetError, match="none of them measures anything"):
        fit(training_set, tmp_path, features=["missing"])


def test_a_suspected_feature_is_refused_unless_vouched_for(tmp_path: Path) -> None:
    suspect = {"name": "log_trace_radius", "reason": "score", "score": 0.9, "reference": 0.4}
    path = write(tmp_path / "set.parquet", table(), [suspect])
    with pytest.raises(LeakageError, match=r"log_trace_radius.*\n.*allow_features: \[log_trace_radius\]"):
        fit(path, tmp_path / "refused")
    fit(path, tmp_path / "without", features=["photometric"])
    fit(path, tmp_path / "vouched", allow_features=["log_trace_radius"])


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_a_class_missing_from_a_split_is_named_with_its_count(split: str, tmp_path: Path) -> None:
    rows = table()
    gone = (rows["label"].to_numpy() == 2) & (rows["split"].to_numpy(zero_copy_only=False) == split)
    path = write(tmp_path / "set.parquet", rows.filter(pa.array(~gone)))
    with pytest.raises(
        TrainingSetError, match=f"split '{split}': expected at least .* found 0 of QSO; give more labels"
    ):
        fit(path, tmp_path / "fit")


def test_too_few_labels_are_an_error(tmp_path: Path) -> None:
    path = write(tmp_path / "set.parquet", table(40))
    with pytest.raises(TrainingSetError, match="expected at least 10 labelled rows of each class"):
        fit(path, tmp_path / "fit")


def test_a_feature_never_measured_is_named(tmp_path: Path) -> None:
    rows = table()
    position = rows.column_names.index("g_minus_r")
    path = write(tmp_path / "set.parquet", rows.set_column(position, "g_minus_r", pa.nulls(len(rows), pa.float32())))
    with pytest.raises(TrainingSetError, match="features g_minus_r: not measured in any row of the train split"):
        fit(path, tmp_path / "fit")


def test_what_is_no_training_set_is_said_to_be_none(tmp_path: Path) -> None:
    broken, plain = tmp_path / "broken.parquet", tmp_path / "plain.parquet"
    broken.write_bytes(b"PAR1")
    pq.write_table(table(), plain)
    with pytest.raises(TrainingSetError, match=r"broken\.parquet: not a readable Parquet file"):
        fit(broken, tmp_path / "fit")
    with pytest.raises(TrainingSetError, match=r"plain\.parquet: no key-value metadata 'skymill'"):
        fit(plain, tmp_path / "fit")


def test_a_changed_file_is_found_when_a_fit_is_read(training_set: Path, tmp_path: Path) -> None:
    fit(training_set, tmp_path)
    (tmp_path / "calibration.json").write_text('{"method": "none"}')
    with pytest.raises(TrainingSetError, match=r"calibration\.json: expected SHA-256 \w{12}, found \w{12}"):
        training.load_fit(tmp_path)


def test_an_ensemble_is_named_after_the_fits_it_is_made_of(training_set: Path, tmp_path: Path) -> None:
    def named(*members: str) -> str:
        return fit_digest(config("ensemble", settings={"members": ["a", "b"]}), set_sha256="s", seed=1, members=members)

    assert len({named("1", "2"), named("1", "3"), named("2", "1")}) == 3

    members = {name: tmp_path / f"{number}{number}" for number, name in enumerate(("a", "b"))}
    for (name, folder), learning_rate in zip(members.items(), (0.1, 0.3)):
        model = config("boosting", name=name, settings={"rounds": 3, "learning_rate": learning_rate})
        training.fit(training_set, model, seed=1, output_folder=folder)
    ensemble = config("ensemble", settings={"members": ["a", "b"]})
    training.fit(training_set, ensemble, seed=1, output_folder=tmp_path / "pool", members=members)
    manifest = training.load_fit(tmp_path / "pool").manifest
    assert manifest["members"] == ["00", "11"]
    assert {"a/boosting.npz", "b/boosting.npz", "ensemble.json"} <= set(manifest["files"])

    other = write(tmp_path / "other.parquet", table(1500))
    with pytest.raises(TrainingSetError, match=r"fitted on the training set .* fit both on one"):
        training.fit(other, ensemble, seed=1, output_folder=tmp_path / "mixed", members=members)
