"""Training on stamps: which share of a fit's steps the network works, and which it waits for stamps.

A fit of the kind `cnn` with Lightning, checkpoints and logs as the workflow runs it, on stamps that lie on the disk as
a fit's do. What is read of the disk is the wait; turning, moving and adding noise is done where the network is, and
counted apart. By the clock, of the steps alone: neither imports nor validation.

    python benchmarks/training_input.py --stamps 8000 --epochs 3
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from skymill.models import Examples, Place
from skymill.models import cnn_training as kind
from skymill.models.cnn import CnnSettings
from skymill.models.stamp_training import train_best

BANDS, NOISE = 6, 10.0


class Timed(kind.Training):
    """The course of a fit, with the time of its parts."""

    seconds: dict[str, float]

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.seconds, self._training = {"read": 0.0, "steps": 0.0}, False

    def on_train_batch_start(self, *_: Any) -> None:
        self._training, self._started = True, time.perf_counter()

    def on_train_batch_end(self, *_: Any) -> None:
        self._training = False
        self.seconds["steps"] += time.perf_counter() - self._started

    def stamps(self, *arguments: Any) -> Any:
        before = time.perf_counter()
        found = super().stamps(*arguments)
        self.seconds["read"] += (time.perf_counter() - before) * self._training
        return found


def main() -> None:
    """Measure and print one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stamps", type=int, default=8000)
    parser.add_argument("--size", type=int, default=32, help="of a stamp, pixels")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--folder", type=Path, help="where the stamps are made; default a temporary folder")
    arguments = parser.parse_args()
    settings = CnnSettings(epochs=arguments.epochs)
    augmenting = {"seconds": 0.0}
    kind.augmented = timed(kind.augmented, augmenting)
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        stamps = draw(Path(name) / "stamps.npy", arguments.stamps, arguments.size)
        examples = Examples(stamps, np.arange(len(stamps)) % 3, np.ones(len(stamps), np.float32), 3)
        held_out = Examples(stamps[:200], examples.labels[:200], examples.weights[:200], 3)
        course = train_best(Timed, (examples, held_out), settings, 1, Place(Path(name), arguments.device))
    steps, read = course.seconds["steps"], course.seconds["read"]
    told = {
        "stamps": len(stamps),
        "size": arguments.size,
        "device": arguments.device,
        "threads": torch.get_num_threads(),
        "stamps_per_s": round(arguments.epochs * len(stamps) / steps),
        "read": round(read / steps, 4),
        "augmenting": round(augmenting["seconds"] / steps, 4),
        "busy": round(1 - read / steps, 4),
        "reading_alone_stamps_per_s": round(arguments.epochs * len(stamps) / read),
    }
    print(json.dumps(told))


def timed(work: Callable[..., Any], told: dict[str, float]) -> Callable[..., Any]:
    """Give the same function, which tells how long it took."""

    def run(*arguments: Any) -> Any:
        before = time.perf_counter()
        found = work(*arguments)
        told["seconds"] += time.perf_counter() - before
        return found

    return run


def draw(path: Path, n: int, size: int) -> NDArray[np.float32]:
    """Write stamps of noise as a fit keeps them, (n, 2, bands, size, size), and open them from the disk."""
    stamps = np.lib.format.open_memmap(path, "w+", np.float32, (n, 2, BANDS, size, size))
    random = np.random.default_rng(0)
    for start in range(0, n, 500):
        stamps[start : start + 500, 0] = random.normal(0, NOISE, stamps[start : start + 500, 0].shape)
    stamps[:, 1] = NOISE**-2
    stamps.flush()
    return np.load(path, mmap_mode="r")


if __name__ == "__main__":
    main()
