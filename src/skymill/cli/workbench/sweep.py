"""`skymill sweep`: look for better settings of one model; the test split takes no part."""

from __future__ import annotations

import csv
import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
import yaml
from pydantic import ValidationError, model_validator

from skymill.cli.console import Console
from skymill.cli.operating.commands import DEFAULT, ConfigFile
from skymill.cli.workbench.inputs import Inputs
from skymill.cli.workbench.train import Device, ModelName, Threads
from skymill.config import read_yaml
from skymill.config.base import Settings
from skymill.config.errors import explain
from skymill.models import Watch, find, read_settings
from skymill.store import digest, short
from skymill.store.durable import write_bytes

if TYPE_CHECKING:
    import optuna

Choice = str | int | float | bool


class Range(Settings):
    """Numbers that a setting is tried with; whole ones where both ends are."""

    low: int | float
    high: int | float
    log: bool = False
    """Try as many between 1 and 10 as between 10 and 100."""

    @model_validator(mode="after")
    def _in_order(self) -> Range:
        if self.low >= self.high or (self.log and self.low <= 0):
            raise ValueError(f"expected low < high, and low > 0 with `log`, found {self.low} and {self.high}")
        return self


class Space(Settings):
    """What a sweep tries: by name of a setting a range, or a list of values."""

    settings: dict[str, Range | list[Choice]]


def sweep(
    model: ModelName,
    space: Annotated[Path, typer.Option(help="YAML: by setting, {low, high, log} or a list of values.")],
    trials: Annotated[int, typer.Option(help="How many in all, those of earlier calls included.", min=1)] = 20,
    configfile: ConfigFile = DEFAULT,
    device: Device = "auto",
    threads: Threads = 1,
) -> None:
    """Look for settings of one model with a lower log-loss on the validation split.

    The test split takes no part: the trials read a copy of the training set without it. A trial whose epochs do worse
    than half of the earlier ones' is ended early. The study (Optuna, SQLite) lies in workbench/sweep/MODEL/ in the
    run's folder, with trials.csv and best.yaml, a model's file; the same command with more --trials goes on with it.

    The best of many trials looks better on the validation split than it is: judge it with `skymill train`, once.

    \b
    learning_rate: {low: 0.0003, high: 0.01, log: true}
    width: {low: 16, high: 64}
    activation: [relu, gelu]
    """
    if find_spec("optuna") is None:
        raise ValueError("optuna is not installed: `pip install 'skymill[sweep]'`")
    tried = read_space(space)
    inputs = Inputs.find(configfile, model, {})
    unknown = sorted(set(tried.settings) - set(find(inputs.model.kind).Settings.model_fields))
    if unknown:
        known = ", ".join(find(inputs.model.kind).Settings.model_fields)
        raise ValueError(
            f"{space}: {', '.join(unknown)}: no setting of kind '{inputs.model.kind}'; choose from {known}"
        )
    name = short(digest({"fit": inputs.fit, "space": tried.model_dump(mode="json")}))
    study = run_trials(inputs, tried, inputs.folder("sweep", name), trials, device=device, threads=threads)
    best = study.best_trial
    console = Console()
    console.print(f"best of {len(study.trials)}: log-loss {best.value:.5f} on the validation split, {best.params}")
    console.print(str(inputs.folder("sweep", name) / "best.yaml"), highlight=False, soft_wrap=True)


def read_space(path: Path) -> Space:
    """Read a sweep's file.

    Raises
    ------
    ConfigError
        Naming the file, the setting and what is wrong with it.
    """
    try:
        return Space.model_validate({"settings": read_yaml(path)})
    except ValidationError as error:
        raise explain(error, source=str(path), model=Space, keys="`skymill sweep --help`") from None


def run_trials(
    inputs: Inputs, space: Space, folder: Path, trials: int, *, device: str, threads: int
) -> optuna.study.Study:
    """Go on with a study until it has so many finished trials, and write what it has found."""
    import optuna

    from skymill.training.trial import validation_log_loss, write_without_test

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    set_path = folder / "set.parquet"
    if not set_path.exists():
        write_without_test(inputs.path, set_path)
    importance = inputs.importance(set_path)
    storage = f"sqlite:///{(folder / 'study.db').absolute()}"
    study = optuna.create_study(storage=storage, study_name=inputs.model.name, load_if_exists=True)
    done = [trial for trial in study.trials if trial.state.is_finished()]
    study.sampler = optuna.samplers.TPESampler(seed=inputs.chain.run.seed + len(study.trials))
    study.pruner = optuna.pruners.MedianPruner()
    console, work = Console(stderr=True), folder / "trial"

    def objective(trial: optuna.Trial) -> float:
        settings = {
            **inputs.model.settings,
            **{name: _suggest(trial, name, tries) for name, tries in space.settings.items()},
        }
        read_settings(inputs.model.kind, settings, source=f"trial {trial.number}")
        shutil.rmtree(work, ignore_errors=True)  # of the trial before, which is not gone on with

        def progress(epoch: Any, epochs: int) -> None:
            trial.report(epoch["validation_log_loss"], int(epoch["epoch"]))
            if trial.should_prune():
                raise optuna.TrialPruned

        loss = validation_log_loss(
            set_path,
            inputs.model.model_copy(update={"settings": settings}),
            seed=inputs.chain.run.seed,
            folder=work,
            device=device,
            threads=threads,
            members=inputs.members,
            importance=importance,
            images=inputs.images,
            watch=Watch(folder / "logs" / f"trial-{trial.number:04d}", progress),
        )
        console.print(f"trial {trial.number}: log-loss {loss:.5f}, {trial.params}", highlight=False)
        return loss

    study.optimize(objective, n_trials=max(0, trials - len(done)), catch=(MemoryError,))
    _write(study, inputs, folder)
    return study


def _suggest(trial: optuna.Trial, name: str, tries: Range | list[Choice]) -> Any:
    if isinstance(tries, list):
        return trial.suggest_categorical(name, tries)
    if isinstance(tries.low, int) and isinstance(tries.high, int):
        return trial.suggest_int(name, tries.low, tries.high, log=tries.log)
    return trial.suggest_float(name, tries.low, tries.high, log=tries.log)


def _write(study: optuna.study.Study, inputs: Inputs, folder: Path) -> None:
    """Write the trials, and a model's file with the best settings."""
    names = sorted({name for trial in study.trials for name in trial.params})
    with (folder / "trials.csv").open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["trial", "state", "validation_log_loss", *names])
        for trial in study.trials:
            values = [trial.params.get(name, "") for name in names]
            writer.writerow([trial.number, trial.state.name.lower(), trial.value, *values])
    model = inputs.model.model_dump(mode="json", exclude_defaults=True)
    model["settings"] = {**inputs.model.settings, **study.best_params}
    write_bytes(folder / "best.yaml", yaml.safe_dump(model, sort_keys=False).encode())
