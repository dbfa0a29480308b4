"""Where tiles and versions come from is recorded, but makes no difference."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import skymill
from skymill.sky import Tile
from skymill.store import Accounting, GroupManifest, digest, made_with, receipt, seal, verify
from skymill.store.document import to_document

IDENTITY = ["-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]


def test_a_receipt_holds_what_the_key_is_made_of_and_all_versions():
    ingredients = {"input": "1" * 64, "algorithm": "2" * 64}
    accounting = Accounting(3, 2, 1, {"odd": 1})
    found = receipt(
        Tile(1, 2), digest(ingredients), ingredients, accounting, catalogue="c", versions={"onnxruntime": "9"}
    )
    assert digest(found["ingredients"]) == found["key"]
    assert Accounting.from_dict(found["accounting"]) == accounting
    assert (found["catalogue"], found["tile"]) == ("c", "Norder=1/Npix=2")
    assert found["versions"]["skymill"] == skymill.__version__ and found["versions"]["onnxruntime"] == "9"
    assert {"numpy", "zarr"} < set(found["versions"])
    assert found["digests"] == {"data": "1" * 64, "code": "2" * 64, "model": None, "configuration": None}


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository that holds skymill's sources."""
    if not shutil.which("git"):
        pytest.skip("git is not installed")
    folder = tmp_path_factory.mktemp("checkout")
    shutil.copytree(
        Path(skymill.__file__).parent, folder / "src" / "skymill", ignore=shutil.ignore_patterns("__pycache__")
    )
    for words in (["init", "-q"], ["add", "."], [*IDENTITY, "commit", "-qm", "first"], ["tag", "v1"]):
        subprocess.run(["git", "-C", str(folder), *words], check=True)
    return folder


def commit_seen_by(source: Path) -> str:
    """What a new process that takes skymill from a folder says."""
    ask = "from skymill.store import made_with; print(made_with()['commit'])"
    environment = {**os.environ, "PYTHONPATH": str(source), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(
        [sys.executable, "-c", ask], env=environment, capture_output=True, text=True, check=True
    ).stdout.strip()


def test_the_commit_is_that_of_the_checkout_and_changes_show(checkout: Path):
    head = subprocess.run(
        ["git", "-C", str(checkout), "rev-parse", "HEAD"], capture_output=True, text=True, check=True
    ).stdout.strip()
    assert commit_seen_by(checkout / "src") == head
    with (checkout / "src" / "skymill" / "__init__.py").open("a") as file:
        file.write("\n# changed\n")
    assert commit_seen_by(checkout / "src") == f"{head}-dirty"


def test_somebody_else_s_repository_is_not_skymill_s(checkout: Path):
    installed = checkout / "site-packages"
    shutil.copytree(checkout / "src" / "skymill", installed / "skymill", ignore=shutil.ignore_patterns("__pycache__"))
    assert commit_seen_by(installed) == "None"


def test_a_version_is_the_same_whichever_commit_sealed_it(small: Path):
    [path] = small.rglob("versions/*/manifest.json")
    manifest = json.loads(path.read_bytes())
    assert manifest["made_with"] == made_with() and manifest["made_with"]["skymill"] == skymill.__version__
    path.write_bytes(to_document({**manifest, "made_with": {"skymill": "0.0", "commit": "0" * 40}}))
    assert verify(small).ok
    groups = [GroupManifest.read(group) for group in small.rglob("groups/*/*.json")]
    assert seal(small, groups) == manifest["version"] and len(list(small.rglob("versions/*/manifest.json"))) == 1
