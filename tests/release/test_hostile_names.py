"""Names that mean something to a shell, a browser, a terminal or a parser are text, wherever they come from."""

from __future__ import annotations

import base64
import json
import re
import unicodedata
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from answers import Answers, make_run, write_answers
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.figure import Figure
from pydantic import ValidationError
from rich.table import Table
from typer.testing import CliRunner

from skymill.cli.console import Console
from skymill.cli.main import app
from skymill.config import ModelConfig, RunConfig
from skymill.config.run import GateSettings
from skymill.config.text import OBEYED, plain
from skymill.release import Override, Releases, copy_release, publish
from skymill.report.diffing import diff_page
from skymill.report.gallery import embed
from skymill.survey.draft import draft

HOSTILE = [
    "$(touch x)",
    "`touch x`",
    "; touch x #",
    "<script>alert(1)</script>",
    "\" onload=alert(1) '",
    "../../x",
    "a\nevil: 1",
    "a\x85evil: 1",
    "a\u2028evil: 1",
    "a, b: [c]",
    "{{ 7 * 7 }}",
    "\x1b]0;owned\x07\x1b[2J",
    "\x9b2J",
    "gpj\u202etxt",
    "[red]a[/]",
    "[/]",
    "$x_{\\frac$",
]


def obeyed(text: str) -> set[str]:
    """What a terminal would obey, but for ends of lines."""
    return {one for one in text if unicodedata.category(one) in OBEYED} - {"\n"}


def run_command(*words: str) -> str:
    done = CliRunner().invoke(app, list(words), catch_exceptions=False)
    return done.output


@settings(deadline=None)
@given(st.text())
def test_what_is_printed_holds_no_control_characters(text):
    assert {unicodedata.category(one) for one in plain(text)}.isdisjoint(OBEYED)
    assert obeyed(plain(text, keep="\n")) == set() and plain(text, keep="\n").count("\n") == text.count("\n")
    if not obeyed(text):
        assert plain(text, keep="\n") == text


@pytest.mark.parametrize("name", HOSTILE)
def test_a_console_prints_texts_and_tables_literally(name, capsys):
    console = Console(markup=False, highlight=False, width=200)
    table = Table("name", title=name)
    table.add_row(name)
    console.print(name)
    console.print(table)
    said = capsys.readouterr().out
    assert obeyed(said) == set() and plain(name, keep="\n").split("\n")[0] in said


@pytest.fixture(scope="module")
def published(tmp_path_factory, compute) -> Path:
    """A run of hostile classes, published twice, the second time by an override whose author and reason are hostile."""
    folder = tmp_path_factory.mktemp("hostile") / "results"
    answers = Answers.draw(400, seed=5, spread_deg=0.8)
    turned = replace(answers, probabilities=answers.probabilities[:, ::-1])
    for name, each in (("DR1", answers), ("DR2", turned)):
        content = make_run(folder, each)
        write_answers(folder / "catalogues" / "mlp", each, classes=CLASSES)
        by = Override("\n".join(HOSTILE), " ".join(HOSTILE))
        publish(content, name, gate=GateSettings(), page=diff_page, override=by, compute=compute)
    return folder


CLASSES = (HOSTILE[3], HOSTILE[11], HOSTILE[14] + HOSTILE[16])
"""Markup for a browser, controls for a terminal, markup for rich and for matplotlib."""


def test_hostile_classes_are_text_in_the_page_of_a_release(published):
    page = (published / "releases" / "DR2" / "diff" / "mlp" / "index.html").read_text()
    assert "<script" not in page and "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    told = json.loads((published / "releases" / "DR2" / "diff" / "mlp" / "diff.json").read_text())
    assert tuple(told["classes"][:3]) == CLASSES and told["flips"]["count"] > 100


def test_reason_and_author_are_kept_and_take_one_line(published):
    history = (published / "releases" / "history.jsonl").read_text(encoding="utf-8")
    assert history.isascii() and len(history.splitlines()) == 3  # the last one ends it
    kept = Releases(published).history()[-1]["override"]
    assert kept == {"reason": "\n".join(HOSTILE), "author": " ".join(HOSTILE)}
    assert Releases(published).read("DR2")["gate"]["override"] == kept


@pytest.mark.parametrize("words", [["list"], ["show", "DR2"], ["show", "DR2", "--json"], ["verify", "DR2"]])
def test_commands_show_them_literally(published, words):
    said = run_command("release", *words, "--run", str(published))
    assert obeyed(said) == set()
    if words[0] != "verify" and "--json" not in words:
        assert "\\x1b]0;owned" in said and "[red]a[/]" in said and "$(touch x)" in said


def test_files_of_hostile_names_are_named_literally_each_on_a_line(published, tmp_path):
    copy_release(published, "DR2", tmp_path / "copy")
    names = [name for name in HOSTILE if "/" not in name]
    for name in names:
        (tmp_path / "copy" / name).write_text("")
    said = run_command("verify", str(tmp_path / "copy")).splitlines()
    extra = [line for line in said if line.startswith("extra: ")]
    assert obeyed("".join(said)) == set() and len(extra) == len(names)
    assert {f"extra: {tmp_path}/copy/{plain(name)}: " for name in names} == {
        line[: line.index("no manifest")] for line in extra
    }


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_of_releases_models_and_runs_are_refused(published, tmp_path, name):
    for words in (["show", name], ["rollback", name], ["copy", name, str(tmp_path / "copy")], ["verify", name]):
        done = CliRunner().invoke(app, ["release", *words, "--run", str(published)])
        assert done.exit_code != 0 and "expected a name of up to 64 letters" in str(done.exception)
    for form in (ModelConfig, RunConfig):
        with pytest.raises(ValidationError, match="name"):
            form.model_validate({"name": name, "kind": "forest", "survey": "x"})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_columns_and_units_add_nothing_to_a_drafted_survey(tmp_path, name):
    columns = {"objectId": [1], "ra": [1.0], "dec": [1.0], name: [1.0], f"{name}_list": [[1.0]]}
    columns |= {f"{band}_flux{name}": [1.0] for band in "gr"} | {f"{band}_flux{name}Err": [1.0] for band in "gr"}
    table = pa.table(columns)
    fields = [field.with_metadata({"unit": f"nJy{name}"}) for field in table.schema]
    file = tmp_path / f"{re.sub('/', '', name)}.parquet"
    pq.write_table(table.cast(pa.schema(fields)), file)
    known = {"name", "format", "path", "bands", "id", "ra", "dec", "photometry"}
    found = yaml.safe_load(draft("new", file))
    assert found.keys() == known and found["path"] == str(file)
    for flux in found["photometry"].values() if "{\\" not in name else ():  # which is no template
        assert flux["column"] == f"{{band}}_flux{name}" and flux.keys() <= {"column", "error", "unit"}


@pytest.mark.parametrize("name", HOSTILE)
def test_figures_draw_names_as_they_are(name):
    figure = Figure()
    axes = figure.subplots()
    axes.plot([1, 1000], [1, 2], label=name)
    axes.set_yticks([1], [name])
    axes.set_xscale("log")
    axes.legend()
    svg = base64.b64decode(embed(figure, "", "").uri.removeprefix("data:image/svg+xml;base64,"))
    assert ElementTree.fromstring(svg).tag.endswith("svg")
