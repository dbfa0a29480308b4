"""The page of a comparison says what the JSON says, stands alone and shows no name as markup."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from answers import Answers, write_answers
from typer.testing import CliRunner

from skymill.cli.main import app

HOSTILE = ("<script>alert(1)</script>", "QSO", "a&b")


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder that the command wrote, and what it said."""
    folder = tmp_path_factory.mktemp("compared")
    before = Answers.draw(3000, seed=1)
    p = np.random.default_rng(2).dirichlet([0.4] * 3, 3000).astype(np.float32)
    write_answers(folder / "one" / "mlp", before, classes=HOSTILE)
    write_answers(folder / "two" / "mlp", replace(before, probabilities=p), classes=HOSTILE)
    one, two = (str(folder / side / "mlp") for side in ("one", "two"))
    features = str(folder / "one" / "features")
    command = ["diff", one, two, "--features-before", features, "--output", str(folder / "diff"), "--workers", "1"]
    outcome = CliRunner().invoke(app, command)
    assert outcome.exit_code == 0, outcome.output
    return folder / "diff", outcome.output


def test_the_command_tells_rows_flips_and_where_the_page_is(compared):
    folder, said = compared
    assert "3,000" in said and "flips" in said and f"{folder}/index.html" in said.replace("\n", "")


def test_the_page_stands_alone_and_shows_hostile_names_as_text(compared):
    text = (compared[0] / "index.html").read_text()
    assert "<script" not in text and "&lt;script&gt;alert(1)&lt;/script&gt;" in text and "a&amp;b" in text
    without = re.sub(r"base64,[A-Za-z0-9+/=]+", "", text)
    assert not re.search(r"(https?:)?//[a-z]", without) and "url(" not in without
    assert all(len(alt) > 20 for alt in re.findall(r'alt="([^"]*)"', text)) and text.count("<img") == 3
