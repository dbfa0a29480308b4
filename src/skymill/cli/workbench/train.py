"""`skymill train`: fit one model of a run alone, with other settings if wanted."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from skymill.cli.console import Console
from skymill.cli.operating.commands import DEFAULT, ConfigFile
from skymill.cli.workbench.inputs import Inputs
from skymill.models import Watch

SHOWN = ("accuracy", "balanced_accuracy", "log_loss", "ece", "roc_auc")
ModelName = Annotated[str, typer.Argument(metavar="MODEL", help="A model that the run fits.")]
Device = Annotated[str, typer.Option(help="cpu, cuda, or auto: a GPU where there is one.")]
Threads = Annotated[int, typer.Option(help="CPU threads; no result depends on them.", min=1)]


def train(
    model: ModelName,
    configfile: ConfigFile = DEFAULT,
    epochs: Annotated[int | None, typer.Option(help="Instead of those in the model's file.", min=1)] = None,
    changes: Annotated[
        list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="Change one of its settings; repeatable.")
    ] = None,
    device: Device = "auto",
    threads: Threads = 1,
) -> None:
    """Fit one model of a run, with settings of your choice, and judge it.

    Everything goes to workbench/train/MODEL/ in the run's folder: the fit with its card, and its logs (metrics.csv and
    TensorBoard). The run's own fits stay as they are; to have the settings in the run, write them into the model's
    file. A fit that was interrupted goes on when the same command is given again. What it learns from is made by the
    workflow first, where it is not there yet.

    It is judged by the test split: to choose between settings, use `skymill sweep`, which never reads it.
    """
    from skymill.training import fit

    changed = dict(_change(each) for each in changes or ())
    inputs = Inputs.find(configfile, model, changed | ({"epochs": epochs} if epochs else {}))
    folder, console = inputs.folder("train", inputs.fit), Console()
    if not (folder / "manifest.json").exists():
        with epochs_bar(model) as progress:
            fit(
                inputs.path,
                inputs.model,
                seed=inputs.chain.run.seed,
                output_folder=folder,
                device=device,
                threads=threads,
                members=inputs.members,
                importance=inputs.importance(inputs.path),
                images=inputs.images,
                watch=Watch(folder / "logs", progress),
            )
    _show(folder, console)


@contextmanager
def epochs_bar(name: str) -> Iterator[Callable[[Mapping[str, float], int], None]]:
    """Show a bar of epochs, and give what has to be told of each."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[told]}"))
    with Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(name, total=None, told="")

        def progress(epoch: Mapping[str, float], epochs: int) -> None:
            told = f"train loss {epoch['train_loss']:.4f}, validation log-loss {epoch['validation_log_loss']:.4f}"
            bar.update(task, completed=int(epoch["epoch"]) + 1, total=epochs, told=told)

        yield progress


def _change(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals:
        raise ValueError(f"--set: expected NAME=VALUE, like learning_rate=0.001, found '{text}'")
    return name, yaml.safe_load(value)


def _show(folder: Path, console: Console) -> None:
    overall = json.loads((folder / "metrics.json").read_text())["overall"]
    table = Table("on the test split", "value", "95 % interval", box=None, pad_edge=False)
    for name in SHOWN:
        metric = overall[name]
        interval = "" if metric["low"] is None else f"{metric['low']:.4f} to {metric['high']:.4f}"
        table.add_row(name, "not defined" if metric["value"] is None else f"{metric['value']:.4f}", interval)
    console.print(table)
    console.print(f"Fit  {folder}\nCard {folder / 'card.md'}", highlight=False, soft_wrap=True)
    if (folder / "logs").is_dir():
        console.print(f"Logs {folder / 'logs'}: metrics.csv, tensorboard/", highlight=False, soft_wrap=True)
