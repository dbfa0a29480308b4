"""`skymill new-model`: what it writes works as it is, and goes through the whole chain; nothing shadows the zoo."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from typer.testing import CliRunner
from workbench_run import FEATURES, table, write_run

from skymill import training
from skymill.cli.chain import Chain
from skymill.cli.main import app
from skymill.cli.workbench.new_model import write_model
from skymill.config import ConfigError, ModelConfig, read_yaml
from skymill.export.stage import to_onnx
from skymill.features import make_recipe
from skymill.models import read_settings
from skymill.sessions.runtime import open_session
from skymill.training.arrays import TrainingSetError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    result = CliRunner().invoke(app, ["new-model", "my_net", "--folder", str(tmp_path / "models")])
    assert result.exit_code == 0
    return tmp_path / "models"


def own_run(folder: Path, **changes: Any) -> Path:
    """A run with the written model beside one of the zoo."""
    run = write_run(folder.parent)
    model = read_yaml(folder / "my_net.yaml") | {"features": list(FEATURES), "settings": {"epochs": 3}, **changes}
    (folder / "my_net.yaml").write_text(yaml.safe_dump(model))
    content = read_yaml(run)
    run.write_text(yaml.safe_dump({**content, "models": [*content["models"], str(folder / "my_net.yaml")]}))
    return run


def chain(run: Path) -> Chain:
    return Chain.from_config(read_yaml(run), [run])


def asked(run: Path) -> str:
    return chain(run).asked_fit("my_net", {"sha256": "a" * 64})


@pytest.mark.parametrize("stamps", [False, True])
def test_the_test_that_it_writes_passes(folder: Path, stamps: bool) -> None:
    if stamps:
        shutil.rmtree(folder)
        assert CliRunner().invoke(app, ["new-model", "my_net", "--folder", str(folder), "--stamps"]).exit_code == 0
    assert sorted(path.name for path in folder.iterdir()) == ["my_net.py", "my_net.yaml", "test_my_net.py"]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(folder / "test_my_net.py")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, check=False)
    assert done.returncode == 0, done.stdout
    assert "3 passed" in done.stdout


def test_it_is_fitted_exported_and_read_again_by_its_own_code(folder: Path) -> None:
    run = own_run(folder)
    found = chain(run)
    output, training_set = Path(found.output), json.loads((run.parent / "results/training/set.json").read_text())
    fit = output / "training" / "my_net" / found.asked_fit("my_net", training_set)
    model = found.models["my_net"]
    training.fit(output / "training" / training_set["file"], model, seed=1, output_folder=fit, device="cpu")
    (folder / "my_net.py").write_text("raise RuntimeError('changed after the fit')")  # the fit has a copy
    recipe = make_recipe(found.survey.config, found.run.features)
    manifest = json.loads(to_onnx(fit / "manifest.json", output=output, model=model, recipe=recipe).read_text())
    session = open_session((output / f"models/my_net/{manifest['onnx']}.onnx").read_bytes(), provider="cpu", source="")
    features = np.column_stack([table(50)[name].to_numpy() for name in FEATURES]).astype(np.float32)
    [exported] = session.run(["probabilities"], {"features": features})
    np.testing.assert_allclose(exported, training.load_fit(fit).predict_probabilities(features), atol=1e-5)
    (fit / "code.py").write_text((fit / "code.py").read_text() + "\n")
    with pytest.raises(TrainingSetError, match=r"code\.py: expected SHA-256"):
        training.load_fit(fit)


def test_its_fit_is_named_by_its_code_but_not_by_comments_or_where_it_lies(folder: Path) -> None:
    run = own_run(folder)
    before, code = asked(run), folder / "my_net.py"
    code.write_text(code.read_text() + "\n# a comment\n")
    assert asked(run) == before
    code.write_text(code.read_text().replace("torch.relu", "torch.tanh"))
    assert asked(run) != before
    changed = asked(run)
    (folder / "elsewhere.py").write_text(code.read_text())
    own_run(folder, code=str(folder / "elsewhere.py"))
    assert asked(run) == changed


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kind": "mlp"}, r"my_net\.yaml: kind: 'mlp' is a kind of the zoo already \(Mlp\)"),
        ({"kind": "other"}, r"expected one class with `kind = \"other\"`, found 0 \(kinds in the file: my_net\)"),
        ({"code": "nowhere.py"}, r"my_net\.yaml: code: nowhere\.py: no such file"),
        ({"settings": {"widht": 3}}, r"my_net\.yaml: settings: widht: unknown key .* did you mean 'width'"),
        ({"kind": "onnx", "path": "a.onnx"}, r"`code`: kind 'onnx' is a file made elsewhere"),
    ],
)
def test_what_is_wrong_is_named(folder: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        chain(own_run(folder, **changes))


def test_code_that_does_not_run_or_lacks_a_method_is_refused(folder: Path) -> None:
    run, code = own_run(folder), folder / "my_net.py"
    whole = code.read_text()
    code.write_text(whole.replace("def to_onnx", "def to_onx"))
    with pytest.raises(ConfigError, match=r"class MyNet has no to_onnx; `skymill new-model` writes a class"):
        chain(run)
    code.write_text("import nothing_of_this_name")
    with pytest.raises(ConfigError, match=r"my_net\.py: ModuleNotFoundError: No module named 'nothing_of_this_name'"):
        chain(run)


def test_a_kind_is_one_class_and_no_member_of_an_ensemble(folder: Path) -> None:
    run = own_run(folder)
    (folder / "twin.py").write_text((folder / "my_net.py").read_text())
    twin = read_yaml(folder / "my_net.yaml") | {"name": "twin", "code": str(folder / "twin.py")}
    pool = {
        "name": "pool",
        "kind": "ensemble",
        "features": list(FEATURES),
        "settings": {"members": ["small", "my_net"]},
    }
    for name, model in (("twin", twin), ("pool", pool)):
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(model))
    content = read_yaml(run)
    models = [*content["models"], str(folder / "twin.yaml"), str(folder / "pool.yaml")]
    run.write_text(yaml.safe_dump({**content, "models": models}))
    with pytest.raises(ConfigError) as raised:
        chain(run)
    assert "twin.py: kind 'my_net' is" in str(raised.value)
    assert "'my_net' is of a kind of your own; take it out" in str(raised.value)


def test_a_name_of_the_zoo_or_of_a_file_is_not_written_over(folder: Path) -> None:
    with pytest.raises(ValueError, match="'forest' is a kind of the zoo already"):
        write_model("forest", folder)
    with pytest.raises(FileExistsError, match=r"my_net\.py: there already"):
        write_model("my_net", folder)
    with pytest.raises(ValueError, match="'My-Net': expected small letters"):
        write_model("My-Net", folder)


def test_a_kind_without_its_code_says_how_to_name_it() -> None:
    with pytest.raises(ConfigError, match="for one of your own name its file by `code`"):
        read_settings("unheard_of", {}, source="a.yaml")
    with pytest.raises(ValueError, match="`code`"):
        ModelConfig(name="a", kind="onnx", path="a.onnx", code="a.py")
