"""The logs of a training: what they say, that a kill leaves no gap and no double, that no result depends on them."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from tensorboardX.proto.event_pb2 import Event

from skymill.models import Examples, Mlp, Place, Watch
from skymill.models.mlp import MlpSettings
from skymill.models.torch_place import one_cycle

SETTINGS = MlpSettings(members=1, width=8, depth=1, epochs=4, batch_size=50, learning_rate=0.01, patience=99)
STEPS = 4
"""Of an epoch."""


def draw(n: int, seed: int) -> Examples:
    random = np.random.default_rng(seed)
    labels = random.integers(0, 2, n)
    features = (labels[:, None] + random.normal(size=(n, 3))).astype(np.float32)
    return Examples(features, labels, np.ones(n, np.float32), 2)


def train(folder: Path, **watched: object) -> Mlp:
    watch = Watch(logs=folder / "logs", **watched)  # type: ignore[arg-type]
    return Mlp.fit(draw(200, 1), draw(100, 2), SETTINGS, seed=3, place=Place(folder, "cpu", watch=watch))


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "logs" / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def scalars(folder: Path) -> dict[str, dict[int, float]]:
    """Read event files as TensorBoard does: in the order of their names, dropping what a later start purges."""
    found: dict[str, dict[int, float]] = {}
    for path in sorted((folder / "logs" / "tensorboard").glob("events.*"), key=lambda path: path.stat().st_mtime_ns):
        content, at = path.read_bytes(), 0
        while at < len(content):
            length = int.from_bytes(content[at : at + 8], "little")
            event = Event.FromString(content[at + 12 : at + 12 + length])
            at += length + 16
            if event.HasField("session_log") and event.session_log.status == event.session_log.START:
                found = {tag: {s: v for s, v in each.items() if s < event.step} for tag, each in found.items()}
            for value in event.summary.value:
                found.setdefault(value.tag, {})[event.step] = value.simple_value
    return found


class Killed(Exception):
    pass


def killed_in(epoch: int) -> object:
    def progress(row: Mapping[str, float], epochs: int) -> None:
        assert epochs == SETTINGS.epochs
        if row["epoch"] == epoch:
            raise Killed

    return progress


@pytest.mark.parametrize("steps", [1, 2, 3, 9, 10, 11, 40])
def test_the_rate_rises_and_falls_over_any_number_of_steps(steps: int) -> None:
    made = one_cycle([torch.nn.Parameter(torch.zeros(1))], learning_rate=0.1, weight_decay=0, steps=steps)
    rates = []
    for _ in range(steps):
        rates.append(made["optimizer"].param_groups[0]["lr"])
        made["optimizer"].step()
        made["lr_scheduler"]["scheduler"].step()
    assert all(0 < rate <= 0.1 for rate in rates)
    assert steps < 10 or (max(rates) > 0.09 and rates[-1] < 0.01)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Mlp]:
    folder = tmp_path_factory.mktemp("whole")
    return folder, train(folder)


def test_each_step_has_its_loss_and_rate_and_each_epoch_its_validation(whole: tuple[Path, Mlp]) -> None:
    folder, model = whole
    steps = [row for row in rows(folder) if row["loss"]]
    assert [int(row["step"]) for row in steps] == list(range(STEPS * SETTINGS.epochs))
    assert max(float(row["learning_rate"]) for row in steps) == pytest.approx(SETTINGS.learning_rate, rel=0.2)
    assert float(steps[-1]["learning_rate"]) < 0.1 * SETTINGS.learning_rate
    epochs = [row for row in rows(folder) if row["validation_log_loss"]]
    assert [float(row["validation_log_loss"]) for row in epochs] == [
        epoch["validation_log_loss"] for epoch in model.history()
    ]
    means = np.array([float(row["loss"]) for row in steps]).reshape(-1, STEPS).mean(axis=1)
    np.testing.assert_allclose(means, [epoch["train_loss"] for epoch in model.history()], rtol=1e-5)


def test_tensorboard_is_told_the_same(whole: tuple[Path, Mlp]) -> None:
    folder, _ = whole
    for name in ("loss", "learning_rate", "validation_log_loss"):
        in_csv = {int(row["step"]): float(row[name]) for row in rows(folder) if row[name]}
        assert scalars(folder)[name] == pytest.approx(in_csv, rel=1e-6)


def test_a_training_that_was_ended_goes_on_in_the_same_logs(whole: tuple[Path, Mlp], tmp_path: Path) -> None:
    with pytest.raises(Killed):
        train(tmp_path, progress=killed_in(2))
    assert len([row for row in rows(tmp_path) if row["loss"]]) == 3 * STEPS  # one epoch more than the checkpoint holds
    model = train(tmp_path)
    assert rows(tmp_path) == rows(whole[0])
    assert {tag: each.keys() for tag, each in scalars(tmp_path).items()} == {
        tag: each.keys() for tag, each in scalars(whole[0]).items()
    }
    (tmp_path / "a").mkdir()
    [name] = model.save(tmp_path / "a")
    whole[1].save(tmp_path)
    assert (tmp_path / "a" / name).read_bytes() == (tmp_path / name).read_bytes()
