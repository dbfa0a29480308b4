"""A fitted model and its ONNX file give the same, and the gate says where they do not."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from skymill import export
from skymill.export import stage
from skymill.export.oblivious import GROUP
from skymill.export.parity import ParityError
from skymill.models import LOOK
from skymill.models.conformal import ConformalSets
from skymill.training.fitting import load_fit

OF_FEATURES = [name for name in stage.CONVERTERS if name not in LOOK]
"""Those that look at pixels: tests/models/test_cnn.py."""
EVERY = [(name, calibration) for name in OF_FEATURES for calibration in ("temperature", "isotonic")]


def exported(lab, output: Path, name: str, calibration: str) -> onnxruntime.InferenceSession:
    (output / "training").mkdir()
    (output / "training" / "sets").symlink_to(lab.output / "training" / "sets")
    manifest = export.to_onnx(lab.fit(name, calibration), output=output, model=lab.config(name), recipe=lab.recipe)
    named = json.loads(manifest.read_text())
    file = manifest.parent / f"{named['onnx']}.onnx"
    assert hashlib.sha256(file.read_bytes()).hexdigest() == named["sha256"]
    assert named["sha256"].startswith(named["onnx"]) and named["parity"]["rows"] >= 10_000
    return onnxruntime.InferenceSession(file)


@pytest.mark.parametrize(("name", "calibration"), EVERY)
def test_onnx_equals_the_fitted_model_on_ordinary_and_hard_rows(lab, tmp_path, name, calibration):
    session = exported(lab, tmp_path, name, calibration)
    features, _ = lab.sources(5_000, seed=9)
    features[0], features[1], features[2] = np.nan, np.inf, -np.inf
    features[3], features[4] = 3e38, -3e38
    features[5:25, 1] = np.inf
    fit = load_fit(lab.fit(name, calibration).parent)
    found, distance = session.run(["probabilities", "training_distance"], {"features": features})
    # The weights of an svm's landmarks have both signs, so that rounding weighs more.
    np.testing.assert_allclose(found, fit.predict_probabilities(features), atol=5e-5 if name == "svm" else 5e-6)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found[0], found[1])
    expected = fit.distance(features)
    np.testing.assert_allclose(distance, expected, rtol=1e-3, atol=1e-3)
    assert distance.dtype == np.float32 and (expected > 1).any()


def test_forest_takes_the_same_branch_at_every_threshold(lab, tmp_path):
    session = exported(lab, tmp_path, "forest", "temperature")
    fit = load_fit(lab.fit("forest", "temperature").parent)
    thresholds = np.unique(np.concatenate([tree.tree_.threshold for tree in fit.model.estimator.estimators_]))
    exact = np.random.default_rng(0).choice(thresholds.astype(np.float32), size=(5_000, len(lab.features)))
    above = np.nextafter(exact, np.float32(np.inf))
    for rows in (exact, above):
        [found] = session.run(["probabilities"], {"features": rows})
        np.testing.assert_allclose(found, fit.predict_probabilities(rows), atol=5e-6)


def test_boosting_takes_the_same_branch_at_every_threshold(lab, tmp_path):
    session = exported(lab, tmp_path, "boosting", "temperature")
    fit = load_fit(lab.fit("boosting", "temperature").parent)
    thresholds = fit.model.trees.threshold
    exact = np.random.default_rng(0).choice(thresholds[np.isfinite(thresholds)], size=(5_000, len(lab.features)))
    for rows in (exact, np.nextafter(exact, np.float32(np.inf))):
        [found] = session.run(["probabilities"], {"features": rows})
        np.testing.assert_allclose(found, fit.predict_probabilities(rows), atol=5e-6)


def test_oblivious_trees_take_the_same_branch_at_every_threshold(lab, tmp_path):
    session = exported(lab, tmp_path, "oblivious", "temperature")
    fit = load_fit(lab.fit("oblivious", "temperature").parent)
    assert len(fit.model.trees.feature) > GROUP, "expected more trees than one group holds"
    thresholds = fit.model.trees.threshold
    exact = np.random.default_rng(0).choice(thresholds[np.isfinite(thresholds)], size=(5_000, len(lab.features)))
    for rows in (exact, np.nextafter(exact, np.float32(np.inf))):
        [found] = session.run(["probabilities"], {"features": rows})
        np.testing.assert_allclose(found, fit.predict_probabilities(rows), atol=5e-6)


def test_metadata_say_what_the_graph_eats_and_gives(lab, tmp_path):
    session = exported(lab, tmp_path, "mlp", "temperature")
    entry = json.loads(session.get_modelmeta().custom_metadata_map["skymill"])
    assert entry["format"] == 1 and entry["kind"] == "mlp" and entry["task"] == "classification"
    assert entry["classes"] == lab.classes
    assert [column["name"] for column in entry["inputs"]] == lab.features
    assert [column["indicator"] for column in entry["inputs"]] == [False] * 4 + [True]
    assert [column["group"] for column in entry["inputs"]] == ["photometric"] * 3 + ["value", "missing"]
    fitted = load_fit(lab.fit("mlp", "temperature").parent)
    assert ConformalSets.from_dict(entry["conformal"], lab.classes) == fitted.sets
    assert len(entry["training_set"]) == 64 and 0 < entry["metrics"]["accuracy"] < 1
    assert all("+" not in version for version in entry["versions"].values())


def test_graph_holds_no_trace_of_the_machine(lab, tmp_path):
    exported(lab, tmp_path, "mlp", "temperature")
    [file] = (tmp_path / "models" / "mlp").glob("*.onnx")
    content = file.read_bytes()
    for trace in (b"stack_trace", b"site-packages", b".py", str(Path.home()).encode() + b"/", str(tmp_path).encode()):
        assert trace not in content, trace
    model = onnx.load(file)
    assert [entry.key for entry in model.metadata_props] == ["skymill"]
    assert [opset.domain for opset in model.opset_import] == sorted(opset.domain for opset in model.opset_import)


BYTES_IN_A_NEW_PROCESS = """
import hashlib, sys
from pathlib import Path
from skymill.export.stage import _schema, convert
from skymill.training.fitting import load_fit
from skymill.config import ModelConfig
for name in sys.argv[2:]:
    fit = load_fit(Path(sys.argv[1]) / name / "isotonic")
    model = ModelConfig(name=name, kind=name)
    print(hashlib.sha256(convert(fit, _schema(fit, model))).hexdigest())
"""


@pytest.mark.slow
def test_bytes_are_the_same_for_every_hash_seed_and_folder(lab, tmp_path):
    def started(seed: str, folder: Path) -> subprocess.Popen[str]:
        folder.mkdir()
        return subprocess.Popen(
            [sys.executable, "-c", BYTES_IN_A_NEW_PROCESS, str(lab.output / "training"), *OF_FEATURES],
            env={**os.environ, "PYTHONHASHSEED": seed, "OMP_NUM_THREADS": "1"},
            cwd=folder,
            stdout=subprocess.PIPE,
            text=True,
        )

    processes = [started("0", tmp_path / "a"), started("4321", tmp_path / "b")]
    first, second = [process.communicate()[0] for process in processes]
    assert first == second and len(first.split()) == len(OF_FEATURES)


def test_exporting_again_keeps_the_file(lab, tmp_path):
    exported(lab, tmp_path, "forest", "temperature")
    [file] = (tmp_path / "models" / "forest").glob("*.onnx")
    before = file.stat().st_mtime_ns, file.stat().st_ino
    export.to_onnx(lab.fit("forest", "temperature"), output=tmp_path, model=lab.config("forest"), recipe=lab.recipe)
    assert (file.stat().st_mtime_ns, file.stat().st_ino) == before


def test_a_broken_export_fails_with_its_worst_rows(lab, tmp_path, monkeypatch):
    """Imputation with zeros in place of medians: ordinary rows agree, rows with NaN do not."""
    true_convert = stage.CONVERTERS["mlp"]

    def convert_badly(model):
        graph = true_convert(model)
        [imputation] = [c for c in graph.graph.initializer if c.name == "imputation"]
        values = onnx.numpy_helper.to_array(imputation)
        imputation.CopyFrom(onnx.numpy_helper.from_array(np.zeros_like(values), "imputation"))
        return graph

    monkeypatch.setitem(stage.CONVERTERS, "mlp", convert_badly)
    with pytest.raises(ParityError, match=r"max_probability_difference is 0\.\d+, the limit 0\.0001") as caught:
        exported(lab, tmp_path, "mlp", "temperature")
    rows = [line for line in str(caught.value).splitlines() if line.startswith("  row ")]
    assert len(rows) == 5
    assert "nan" in rows[0] or "inf" in rows[0]
    assert "model 'mlp'" in str(caught.value) and "fitted [0." in rows[0]
    assert not (tmp_path / "models").exists()


def test_settings_digest_follows_limits_and_files(lab, tmp_path):
    file = tmp_path / "m.onnx"
    file.write_bytes(b"one")
    model = lab.config("forest")
    strict = model.model_copy(update={"parity": model.parity.model_copy(update={"max_flip_rate": 0.0})})
    assert export.settings_digest(model, provider="cpu") != export.settings_digest(strict, provider="cpu")
    external = model.model_copy(update={"kind": "onnx", "path": str(file)})
    before = export.settings_digest(external, provider="cpu")
    file.write_bytes(b"two")
    assert export.settings_digest(external, provider="cpu") != before
