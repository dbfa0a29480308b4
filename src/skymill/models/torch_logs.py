"""What a training says of itself: CSV and TensorBoard always, MLflow where it is installed.

No result depends on it, and none of it is among the files of a fit.
"""

from __future__ import annotations

import csv
import os
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import CSVLogger, Logger, MLFlowLogger, TensorBoardLogger

from skymill.models.torch_file import load_tensors

if TYPE_CHECKING:
    from skymill.models.registry import Place

METRICS = "metrics.csv"
MLFLOW_RUN = "mlflow_run.txt"


def open_logs(place: Place, last: Path | None) -> list[Logger]:
    """Give the loggers of a training, below `place.watch.logs` (or where the fit keeps its epochs).

    A training that goes on from the checkpoint `last` goes on with the same logs: what was said of steps after the
    checkpoint is said again, once.
    """
    folder = place.watch.logs or place.workdir / "logs"
    step = load_tensors(last)["global_step"] if last else 0
    return [_csv(folder, step), _tensorboard(folder, step), *_mlflow(folder, resumed=step > 0)]


def _csv(folder: Path, step: int) -> CSVLogger:
    """Lightning deletes the file that it finds: what it holds of the steps that stand is written first."""
    rows: list[Any] = []
    if step and (folder / METRICS).exists():
        with (folder / METRICS).open(newline="") as file:
            rows = [row for row in csv.DictReader(file) if int(row["step"]) < step]
    logs = CSVLogger(folder, name="", version="", flush_logs_every_n_steps=1)
    logs.experiment.metrics += rows
    logs.save()
    return logs


def _tensorboard(folder: Path, step: int) -> TensorBoardLogger:
    """`purge_step` has TensorBoard forget what an interrupted process wrote of later steps; its file is left."""
    return TensorBoardLogger(
        folder,
        name="",
        version="tensorboard",
        default_hp_metric=False,
        purge_step=step,
        flush_secs=1,
        filename_suffix=f".{step}",
    )


def _mlflow(folder: Path, *, resumed: bool) -> list[MLFlowLogger]:
    """Log to the server that MLFLOW_TRACKING_URI names, else to a file beside the other logs."""
    if find_spec("mlflow") is None:
        return []
    run, server = folder / MLFLOW_RUN, os.environ.get("MLFLOW_TRACKING_URI")
    logs = MLFlowLogger(
        "skymill",
        run_name=folder.name,
        tracking_uri=server or f"sqlite:///{(folder / 'mlflow.db').absolute()}",
        run_id=run.read_text() if resumed and run.exists() else None,
    )
    run.write_text(str(logs.run_id))
    return [logs]


class Watching(Callback):
    """Logs the loss and the learning rate of each step, and of each epoch what the module adds to its `epochs`."""

    def __init__(self, place: Place, epochs: int) -> None:
        self.progress, self.epochs = place.watch.progress, epochs

    def on_train_batch_start(self, trainer: Trainer, *_: Any) -> None:
        """Keep the rate that the step is made with: afterwards it is that of the next one."""
        self.learning_rate = trainer.optimizers[0].param_groups[0]["lr"]

    def on_train_batch_end(self, trainer: Trainer, module: LightningModule, outputs: Any, *_: Any) -> None:
        """Log one step."""
        told = {"loss": float(outputs["loss"]), "learning_rate": self.learning_rate, "epoch": trainer.current_epoch}
        _log(trainer, told, trainer.global_step - 1)

    def on_validation_end(self, trainer: Trainer, module: LightningModule) -> None:
        """Log one epoch, at its last step, and tell whoever watches."""
        epoch: dict[str, float] = module.epochs[-1]  # type: ignore[index, assignment]
        _log(trainer, epoch, trainer.global_step - 1)
        if self.progress is not None:
            self.progress(epoch, self.epochs)


def _log(trainer: Trainer, told: dict[str, float], step: int) -> None:
    for logs in trainer.loggers:
        logs.log_metrics(told, step)
