"""`verify` reads not only catalogues: a flipped byte in a training set, a fit or a model is named too."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from skymill import export, release
from skymill.store import file_sha256
from skymill.store.document import to_document

FILES = [
    "training/set.json",
    "training/sets/*.parquet",
    "training/mlp/temperature/manifest.json",
    "training/mlp/temperature/checkpoint.pt",
    "training/mlp/temperature/metrics.json",
    "training/forest/isotonic/forest.npz",
    "models/mlp/*.onnx",
    "models/mlp/manifest.json",
    "models/mlp/parity.json",
]


@pytest.fixture(scope="module")
def finished(lab, tmp_path_factory) -> Path:
    """A run's folder with models; its only catalogue is empty."""
    output = tmp_path_factory.mktemp("run") / "results"
    shutil.copytree(lab.output, output)
    [training_set] = (output / "training" / "sets").iterdir()
    files = {f"sets/{training_set.name}": file_sha256(training_set)}
    (output / "training" / "set.json").write_bytes(to_document({"files": files}))
    export.to_onnx(lab.fit("mlp", "temperature"), output=output, model=lab.config("mlp"), recipe=lab.recipe)
    (output / "catalogues" / "sources" / "tiles").mkdir(parents=True)
    return output


def test_what_is_whole_is_well(finished):
    report = release.verify(finished)
    assert report.lines() == [report.lines()[-1]]
    fits = [json.loads(path.read_text()) for path in finished.glob("training/*/*/manifest.json")]
    named = sum(len(fit["files"]) for fit in fits)
    # the fits' manifests; the model's files; set and set.json
    assert report.n_files == named + len(fits) + len(FILES[6:]) + 2


@pytest.mark.parametrize("pattern", FILES)
def test_two_flipped_bytes_are_named_with_the_way_to_mend_them(finished, pattern):
    [file] = finished.glob(pattern)
    before = file.read_bytes()
    middle = len(before) // 2
    file.write_bytes(before[:middle] + bytes(255 - byte for byte in before[middle : middle + 2]) + before[middle + 2 :])
    report = release.verify(finished)
    file.write_bytes(before)
    assert {problem.path for problem in report.problems} == {file}
    assert "run `snakemake --cores all`" in str(report.problems[0])


@pytest.mark.parametrize("pattern", FILES[3:7])
def test_a_missing_file_is_named(finished, pattern):
    [file] = finished.glob(pattern)
    before = file.read_bytes()
    file.unlink()
    report = release.verify(finished)
    file.write_bytes(before)
    assert [(problem.kind, problem.path) for problem in report.problems] == [("missing", file)]
