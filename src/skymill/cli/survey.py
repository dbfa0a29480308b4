"""`skymill survey`: draft a column map of a table, and look at its first rows through it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from skymill.cli.console import say
from skymill.config import load_survey

app = typer.Typer(no_args_is_help=True, help="Draft the column map of a table, and look at its first rows through it.")


@app.command()
def new(
    name: Annotated[str, typer.Argument(help="Name of the survey.")],
    table: Annotated[Path, typer.Option(help="A file, a folder of files, or a HATS catalogue or collection.")],
    write: Annotated[Path | None, typer.Option(help="File to write; config/surveys/NAME.yaml where not given.")] = None,
) -> None:
    """Draft a column map from the names and the declared units of a table's columns.

    What the table does not say is marked DECIDE, and nothing runs before a person has decided it.
    """
    from skymill.survey.draft import draft

    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name):
        raise ValueError(f"'{name}' cannot name a survey; use letters, digits and _, a letter first")
    path = write or Path("config") / "surveys" / f"{name}.yaml"
    if path.exists():
        raise FileExistsError(f"{path}: there is such a file already; choose another name, or --write another file")
    text = draft(name, table)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    say(f"{path}: written; decide what is marked DECIDE, then run `skymill survey check {path}`")


@app.command()
def check(
    path: Annotated[Path, typer.Argument(help="A survey's file.")],
    rows: Annotated[int, typer.Option(min=1, help="Rows to read.")] = 100_000,
) -> None:
    """Read the first rows of a survey through its map, and say what becomes of them and what looks wrong."""
    from skymill.survey import open_survey
    from skymill.survey.preview import preview

    survey = open_survey(load_survey(path))
    config = survey.config
    say(f"{path}: survey '{config.name}' ({config.format}), its first {rows} rows at most")
    for line in preview(survey, rows).lines(list(config.photometry), config.bands):
        say(line)
