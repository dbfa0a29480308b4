"""`skymill config`: check a run's files and print their schema."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from skymill.config import ConfigError, check_run, json_schemas

app = typer.Typer(no_args_is_help=True, help="Check configuration files, or print their JSON schema.")


@app.command()
def check(path: Annotated[Path, typer.Argument(help="A run's file.")] = Path("config/config.yaml")) -> None:
    """Check a run, its survey and its models, and name every fault with its file, key, value and mend.

    The tables' headers are opened and the labels are read; whether a unit is right, no header tells.
    """
    from skymill.cli.check import settings_faults, table_faults

    run, survey, models = check_run(path)
    faults = settings_faults(run, survey, models) or table_faults(run, survey, models)
    if faults:
        raise ConfigError("\n".join(faults))
    names = ", ".join(model.name for model in models) or "none"
    opened = "" if survey.format == "simulated" else "; its tables' headers were opened, their values were not read"
    typer.echo(f"{path}: run '{run.name}' is right: survey {survey.name} ({survey.format}), models {names}{opened}")


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
            typer.echo(write / f"{name}.schema.json")
        return
    if kind not in schemas:
        raise ValueError(f"'{kind}' is not a kind of file; choose from {', '.join(schemas)}")
    typer.echo(json.dumps(schemas[kind], indent=2))
