"""The `skymill` command."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Annotated

import typer

from skymill.cli import config, release, survey
from skymill.cli.console import Console, say, terminal_handler
from skymill.cli.explain import explain
from skymill.cli.gc import gc
from skymill.cli.neighbours import neighbours
from skymill.cli.operating import commands
from skymill.cli.where import what_stands
from skymill.cli.workbench.explain_model import explain_model
from skymill.cli.workbench.new_model import new_model
from skymill.cli.workbench.sweep import sweep
from skymill.cli.workbench.train import train
from skymill.compute import ComputeError, GroupLockedError

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="From source tables to machine-learning catalogues.\n\n"
    "The whole chain runs with `snakemake --cores all`; these commands check what goes in and read what comes out.",
)
app.add_typer(config.app, name="config")
app.add_typer(survey.app, name="survey")
app.add_typer(release.app, name="release")
for command in (
    commands.plan,
    commands.status,
    commands.why,
    commands.retry,
    release.diff,
    explain,
    neighbours,
    gc,
    train,
    sweep,
    new_model,
    explain_model,
):
    app.command()(command)
console = Console(stderr=True)


def main() -> None:
    """Run the command; an error is one readable line, not a traceback."""
    logging.basicConfig(level=logging.WARNING, handlers=[terminal_handler()])
    try:
        app()
    except (ValueError, OSError, GroupLockedError, ComputeError) as error:
        console.print("[bold red]skymill:[/]", end=" ")
        console.print(str(error), markup=False, highlight=False, soft_wrap=True)
        sys.exit(1)


@app.command()
def verify(
    path: Annotated[Path, typer.Argument(help="A run's folder, a catalogue, a sealed version or a release.")] = Path(
        "results"
    ),
) -> None:
    """Recompute every digest below PATH and name what is missing, changed or too much.

    Of a run's folder that is every tile, version, training set, fit and ONNX file.

    Exit status 0 when all is well, 1 otherwise.
    """
    from skymill.release import verify as verify_below

    report = verify_below(path)
    for line in report.lines():
        say(line)
    raise typer.Exit(0 if report.ok else 1)


@app.command()
def clean(output: Annotated[Path, typer.Argument(help="The folder a run wrote.")] = Path("results")) -> None:
    """Delete the survey's sorted rows, a cache that a finished run needs no more.

    A group that has to be sorted again reads its part of the survey again.
    """
    from skymill.tiling.files import clean_spill

    typer.echo(f"{output}: {clean_spill(output) / 1e6:,.1f} MB freed")


@app.command()
def where(output: Annotated[Path, typer.Argument(help="The folder a run wrote.")] = Path("results")) -> None:
    """Name the catalogues and the report of a finished run, and show how to open them."""
    lines = what_stands(output)
    if not lines:
        raise FileNotFoundError(f"{output}: no sealed catalogue here; run `snakemake --cores all` first")
    for line in lines:
        say(line)
