"""What the linter forbids: running what a file says, and shells."""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FORBIDDEN = {
    "import pickle": "TID251",
    "from pickle import loads": "TID251",
    "import cloudpickle": "TID251",
    "import dill": "TID251",
    "import joblib": "TID251",
    "import marshal": "TID251",
    "import shelve": "TID251",
    "import pandas\npandas.read_pickle('x')": "S301",
    "import torch\ntorch.load('x')": "TID251",
    "import yaml\nyaml.load('x', yaml.Loader)": "S506",
    "import yaml\nyaml.unsafe_load('x')": "TID251",
    "import yaml\nyaml.full_load('x')": "TID251",
    "import subprocess\nsubprocess.run('ls', shell=True)": "S602",
    "import os\nos.system('ls')": "TID251",
    "import os\nos.popen('ls')": "TID251",
    "import subprocess\nsubprocess.getoutput('ls')": "TID251",
    "import asyncio\nasyncio.create_subprocess_shell('ls')": "TID251",
    "eval('1')": "S307",
    "exec('1')": "S102",
    "import tarfile\ntarfile.open('x').extractall('y')": "S202",
    "import jinja2\njinja2.Environment()": "S701",
    "import markupsafe\nmarkupsafe.Markup(input())": "S704",
}
"""By snippet, the rule that refuses it."""


def lint(snippet: str) -> str:
    """Run the linter with the project's settings on a file of the package."""
    command = [
        "ruff",
        "check",
        "--no-cache",
        "--output-format",
        "concise",
        "--stdin-filename",
        "src/skymill/new.py",
        "-",
    ]
    done = subprocess.run(command, input=snippet, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.stderr == "" or "Found" in done.stdout
    return done.stdout


def test_ruff_refuses_what_is_forbidden_and_nothing_else():
    parts = [f"def f{number}():\n    " + snippet.replace("\n", "\n    ") for number, snippet in enumerate(FORBIDDEN)]
    starts = [1 + sum(part.count("\n") + 1 for part in parts[:number]) for number in range(len(parts) + 1)]
    found = [line.split(":", 4) for line in lint("\n".join(parts) + "\n").splitlines() if line.startswith("src")]
    for start, stop, (snippet, rule) in zip(starts, starts[1:], FORBIDDEN.items()):
        rules = {words[3].split()[0] for words in found if start <= int(words[1]) < stop}
        assert rule in rules, snippet
    assert "All checks passed" in lint("import json\n\nprint(json.loads('{}'))\n")


def pickles(tree: ast.AST) -> Iterator[int]:
    """Give the lines of calls that let numpy or torch read or write pickles."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            options = {one.arg: one.value for one in node.keywords}
            if not _is(options.get("allow_pickle"), False) or not _is(options.get("weights_only"), True):
                yield node.lineno


def _is(value: ast.expr | None, expected: bool) -> bool:
    return value is None or (isinstance(value, ast.Constant) and value.value is expected)


def test_no_array_or_checkpoint_is_read_as_a_pickle():
    files = [path for folder in ("src", "scripts", "benchmarks", "tests") for path in (ROOT / folder).rglob("*.py")]
    assert len(files) > 300
    found = [f"{path}:{line}" for path in files for line in pickles(ast.parse(path.read_text(encoding="utf-8")))]
    assert found == []


@pytest.mark.parametrize(
    ("snippet", "lines"),
    [
        ("np.load(x, allow_pickle=True)", [1]),
        ("np.load(x, allow_pickle=flag)", [1]),
        ("np.load(x, allow_pickle=False)", []),
        ("torch.load(x, weights_only=False)", [1]),
        ("trainer.fit(x, weights_only=True)", []),
    ],
)
def test_pickles_are_seen(snippet, lines):
    assert list(pickles(ast.parse(snippet))) == lines


def test_no_template_of_a_page_lets_markup_pass():
    templates = list((ROOT / "src" / "skymill" / "report" / "templates").glob("*.html"))
    assert len(templates) > 5
    assert [path for path in templates if re.search(r"\|\s*safe|autoescape", path.read_text())] == []


def test_exceptions_to_what_is_forbidden_are_few_and_say_why():
    exceptions = [
        (path, line)
        for path in (ROOT / "src").rglob("*.py")
        for line in path.read_text(encoding="utf-8").splitlines()
        if "# noqa: S" in line or "# noqa: TID" in line
    ]
    assert len(exceptions) <= 4
    assert all("(" in line.split("# noqa:")[1] for _, line in exceptions), exceptions
