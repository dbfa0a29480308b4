"""`skymill config`: check a run's files and print their schema."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from skymill.cli.console import say
from skymill.config import ConfigError, check_run, describe, json_schemas, load_survey, read_yaml
from skymill.config.describe import KINDS

app = typer.Typer(no_args_is_help=True, help="Check configuration files, or print their keys or JSON schema.")
PAGE = """\
# Configuration

Made by `skymill config keys --write docs/configuration.md`; a whole example is in [your own survey](own_survey.md).
Paths are relative to the working directory. Hyperparameters, `settings` in a model's file, are in [models](models.md).
"""


@app.command()
def check(
    path: Annotated[Path, typer.Argument(help="A run's file, or a survey's.")] = Path("config/config.yaml"),
) -> None:
    """Check a run, its survey and its models, and name every fault with its file, key, value and mend.

    The tables' headers are opened and the labels are read; whether a unit is right, no header tells.
    """
    from skymill.cli.check import settings_faults, table_faults

    if "bands" in read_yaml(path):
        survey = load_survey(path)
        say(f"{path}: survey '{survey.name}' ({survey.format}) is right")
        return
    run, survey, models = check_run(path)
    faults = settings_faults(run, survey, models) or table_faults(run, survey, models)
    if faults:
        raise ConfigError("\n".join(faults))
    names = ", ".join(model.name for model in models) or "none"
    opened = "" if survey.format == "simulated" else "; its tables' headers were opened, their values were not read"
    say(f"{path}: run '{run.name}' is right: survey {survey.name} ({survey.format}), models {names}{opened}")


@app.command()
def keys(
    kind: Annotated[str, typer.Argument(help="run, survey or model; all of them where left out.")] = "",
    write: Annotated[Path | None, typer.Option(help="Write the page of all keys into this file instead.")] = None,
) -> None:
    """Print every key that a kind of file may hold: values, default, meaning."""
    if kind and kind not in KINDS:
        raise ValueError(f"'{kind}' is not a kind of file; choose from {', '.join(KINDS)}")
    if write is not None:
        write.write_text(PAGE + "\n" + "\n".join(describe(each) for each in KINDS))
        return
    for each in [kind] if kind else KINDS:
        typer.echo(describe(each))


@app.command()
def schema(
    kind: Annotated[str, typer.Argument(help="run, survey or model.")] = "run",
    write: Annotated[Path | None, typer.Option(help="Write all schemas into this folder instead.")] = None,
) -> None:
    """Print the JSON schema of a kind of file, every key with its meaning and default."""
    schemas = json_schemas()
    if write is not None:
        write.mkdir(parents=True, exist_ok=True)
        for name, content in schemas.items():
            (write / f"{name}.schema.json").write_text(json.dumps(content, indent=2) + "\n")
            say(write / f"{name}.schema.json")
        return
    if kind not in schemas:
        raise ValueError(f"'{kind}' is not a kind of file; choose from {', '.join(schemas)}")
    typer.echo(json.dumps(schemas[kind], indent=2))
