"""Where torch trains: the device, and what makes training give the same bits each time."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal, TypeVar

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint

from skymill.models.registry import Place
from skymill.models.torch_file import load_tensors
from skymill.models.torch_logs import Watching, open_logs

Module = TypeVar("Module", bound=LightningModule)
LAST = "last.ckpt"
INTERVAL = timedelta(minutes=5)
"""How often the state of a training is kept, besides after every epoch."""
logger = logging.getLogger(__name__)
WARM_UP = 0.1
"""Share of the steps in which the learning rate rises."""


def train(
    make: Callable[[], Module],
    place: Place,
    *,
    seed: int,
    epochs: int,
    precision: Literal["32", "bf16-mixed", "16-mixed"],
    batch: str,
    **options: Any,
) -> Module:
    """Train to the end, from `place.workdir`'s last epoch where there is one, and give the module.

    Parameters
    ----------
    make : callable
        Gives the module; its first weights come from `seed`.
    place : Place
    seed, epochs : int
    precision : {'32', 'bf16-mixed', '16-mixed'}
    batch : str
        What a step holds and how to make it smaller, for the message where memory runs out.
    options : any
        Further ones of Lightning's Trainer.

    Raises
    ------
    ValueError
        If the precision or the device is not possible here.
    MemoryError
        If a batch does not fit; the message says what to set.
    """
    accelerator = accelerator_for(place.device, precision)
    last = _kept(place.workdir / LAST)
    with reproducible(seed):
        module = make()
        trainer = Trainer(
            accelerator=accelerator,
            devices=1,
            max_epochs=epochs,
            precision="32-true" if precision == "32" else precision,
            callbacks=[
                *(
                    ModelCheckpoint(place.workdir, "last", enable_version_counter=False, **when)
                    for when in ({"save_on_train_epoch_end": True}, {"train_time_interval": INTERVAL})
                ),
                Watching(place, epochs),
            ],
            default_root_dir=place.workdir,
            deterministic=True,
            logger=open_logs(place, last),
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            **options,
        )
        try:
            trainer.fit(module, ckpt_path=last, weights_only=True)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            raise MemoryError(f"out of memory on {accelerator} with {batch}") from error
    if trainer.interrupted:
        raise KeyboardInterrupt
    return module


def _kept(last: Path) -> Path | None:
    """Give the file that a killed training goes on from; one that cannot be read goes, and the training starts anew."""
    if not last.exists():
        return None
    try:
        load_tensors(last)
    except Exception as error:  # torch raises what it finds: RuntimeError, EOFError, those of pickle
        logger.warning("%s: cannot be read, so the training starts anew: %s", last, error)
        last.unlink()
        return None
    return last


def one_cycle(
    parameters: Iterable[torch.nn.Parameter], *, learning_rate: float, weight_decay: float, steps: int
) -> dict[str, Any]:
    """Give AdamW (Loshchilov & Hutter 2019, arXiv:1711.05101), its learning rate rising to the highest over a tenth of
    the steps and then falling to nothing along a cosine, as Lightning's `configure_optimizers` gives them."""
    optimiser = torch.optim.AdamW(parameters, learning_rate, weight_decay=weight_decay)
    steps = max(2, steps)
    warm_up = max(WARM_UP, 1.5 / steps)  # torch divides by the steps of the rise less one
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, learning_rate, total_steps=steps, pct_start=warm_up)
    return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def accelerator_for(device: str, precision: str) -> str:
    """Choose `gpu` or `cpu`.

    Raises
    ------
    ValueError
        If a GPU is asked for and there is none, or the precision needs one.
    """
    gpu = torch.cuda.is_available()
    if device == "cuda" and not gpu:
        raise ValueError(
            "device 'cuda': torch sees no GPU here; use device 'cpu' or 'auto', or install a CUDA build of torch"
        )
    accelerator = "gpu" if gpu and device != "cpu" else "cpu"
    if accelerator == "cpu" and precision == "16-mixed":
        raise ValueError("settings.precision '16-mixed' needs a GPU; use 'bf16-mixed' or '32' on the CPU")
    return accelerator


def is_out_of_memory(error: BaseException) -> bool:
    """Say whether memory ran out: on the CPU torch raises a plain RuntimeError, known by its text alone."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "allocate memory" in str(error)


@contextmanager
def reproducible(seed: int) -> Iterator[None]:
    """One thread, seeded, deterministic kernels; the process is left as it was found."""
    threads = torch.get_num_threads()
    loud = {name: logging.getLogger(name).level for name in ("lightning.pytorch", "lightning.fabric")}
    state = torch.get_rng_state()
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    for name in loud:
        logging.getLogger(name).setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="lightning")
            yield
    finally:
        torch.use_deterministic_algorithms(False)
        torch.set_num_threads(threads)
        torch.set_rng_state(state)
        for name, level in loud.items():
            logging.getLogger(name).setLevel(level)
