"""The documentation does what it says: the walked-through example runs, and so does every Python snippet."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from snakemake_run import REPOSITORY, environment
from survey_files import edit_yaml

PAGES = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").glob("*.md"))]
EXAMPLE = REPOSITORY / "examples" / "own_survey"


def fenced(page: Path, language: str) -> list[str]:
    """The blocks of a language on a page."""
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)


def shell(lines: str, folder: Path) -> str:
    """Run lines as a user does who has a copy of skymill at home."""
    done = subprocess.run(
        ["bash", "-ec", lines],
        cwd=folder,
        env={**environment(), "HOME": str(folder)},
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the commands of "Your own survey" were given; the embedded survey is there too, made small."""
    home = tmp_path_factory.mktemp("home")
    (home / "skymill").symlink_to(REPOSITORY)
    shell("".join(fenced(REPOSITORY / "docs/own_survey.md", "sh")), home)
    folder = home / "my_survey"
    shutil.copytree(REPOSITORY / "config", folder / "config")
    edit_yaml(folder / "config/surveys/embedded.yaml", simulation={"rows": 10_000, "area_deg2": 60})
    edit_yaml(folder / "config/catalogue.yaml", tiling={"max_rows": 20_000, "group_order": 0})
    return folder


def test_the_page_shows_the_files_of_the_example():
    shown = fenced(REPOSITORY / "docs/own_survey.md", "yaml")
    assert shown == [(EXAMPLE / name).read_text() for name in ("survey.yaml", "mlp.yaml", "run.yaml")]


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("page", [page for page in PAGES if fenced(page, "python")], ids=lambda page: page.stem)
def test_snippets_run(folder: Path, page: Path):
    script = folder / f"{page.stem}.py"
    script.write_text("\n".join(fenced(page, "python")))
    shell(f"python {script.name}", folder)


@pytest.mark.slow
def test_the_cones_shown_hold_sources(folder: Path):
    program = """import skymill
print(len(skymill.open_catalogue("results/catalogues/mlp").cone(ra=0.0, dec=-30.0, radius_deg=0.5)["objectId"]))"""
    assert int(shell(f"python -c '{program}'", folder)) > 50
