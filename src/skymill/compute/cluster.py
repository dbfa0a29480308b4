"""A Dask cluster for one run: started on this machine, or joined by its address."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing import forkserver
from typing import TYPE_CHECKING, Any

from skymill.compute.tasks import ComputeError

if TYPE_CHECKING:
    from skymill.config import ComputeSettings

logger = logging.getLogger(__name__)

CONNECT_S = 30.0
STARTS = 3
WORKER_SETUP = "skymill.compute.worker"
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS"), "1")
DASK_CONFIG: dict[str, Any] = {
    # A task whose worker dies is a suspect at once, not after it has taken three more workers with it.
    "distributed.scheduler.allowed-failures": 0,
    # Dask also sets MALLOC_TRIM_THRESHOLD_, which makes glibc hand back every large array and fault its pages in
    # again: 1.7 times the CPU for a tile of a million rows.
    "distributed.nanny.pre-spawn-environ": ONE_THREAD,
    # `task_timeout_s` decides how long a worker may be silent.
    "distributed.scheduler.worker-ttl": None,
    # Tasks return next to nothing, so there is nothing to spill, and a paused worker would never resume. Above
    # `terminate` (0.95 of the limit) the nanny kills the worker and its task becomes a suspect.
    "distributed.worker.memory.target": False,
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": False,
    # That of `_start_method`. Asked for a fork server by name, Dask would import all that it knows how to use.
    "distributed.worker.multiprocessing-method": None,
    # No pages are served; nobody looks at them and importing them takes a part of the start-up time.
    "distributed.scheduler.http.routes": [],
    "distributed.worker.http.routes": [],
    "distributed.worker.profile.enabled": False,
    # How long a dead worker may take to come back before it is given up.
    "distributed.deploy.lost-worker-timeout": "120s",
}


@contextmanager
def open_client(workers: int, settings: ComputeSettings) -> Iterator[Any]:
    """Give a `distributed.Client` with workers behind it; local ones are gone when the block ends.

    Raises
    ------
    ComputeError
        If the address in `settings.scheduler` cannot be reached.
    """
    with _local(workers, settings) if settings.scheduler == "local" else _joined(settings.scheduler) as client:
        yield client


@contextmanager
def _local(workers: int, settings: ComputeSettings) -> Iterator[Any]:
    with (
        tempfile.TemporaryDirectory(prefix="skymill-", dir=settings.scratch, ignore_cleanup_errors=True) as scratch,
        _environment(ONE_THREAD),
        _hidden_main(),
        _start(workers, settings, scratch) as cluster,
    ):
        from distributed import Client

        try:
            with Client(cluster, set_as_default=False) as client:
                yield client
        finally:
            _kill_workers(cluster)


@contextmanager
def _start(workers: int, settings: ComputeSettings, scratch: str) -> Iterator[Any]:
    """Start a `distributed.LocalCluster`."""
    with _start_method():
        import dask
        import distributed  # noqa: F401 (before its settings: else its defaults are merged into ours)

        with (
            dask.config.set(DASK_CONFIG),
            _quiet_dask(),
            _new_cluster(
                n_workers=workers,
                threads_per_worker=1,
                host="127.0.0.1",
                scheduler_kwargs={"dashboard": False, "dashboard_address": "127.0.0.1:0"},
                memory_limit=settings.memory_per_worker,
                local_directory=scratch,
                env=dict(os.environ),  # the server has that of its own start
                preload=[WORKER_SETUP],
                silence_logs=logging.CRITICAL,
            ) as cluster,
        ):
            yield cluster


def _new_cluster(**options: Any) -> Any:
    """Start a cluster, and again where a worker ends before it has begun: Dask gives the whole cluster up then."""
    from distributed import LocalCluster

    for left in reversed(range(STARTS)):
        try:
            return LocalCluster(**options)
        except RuntimeError as error:
            if not left:
                raise ComputeError(
                    f"Dask's workers ended {STARTS} times before they had begun ({error.__cause__ or error}); is there "
                    f"enough memory, and room in {options['local_directory']}?"
                ) from error
            logger.warning("a worker ended before it had begun (%s); starting again", error.__cause__ or error)


@contextmanager
def _start_method() -> Iterator[None]:
    """Choose how worker processes come to be.

    On Linux they are forked from a server process that imports Dask while we do: a new worker is there in 0.3 s instead
    of 1.6 s and takes 25 MB less. That server has a single thread and no session, so forking it is safe.
    """
    before = multiprocessing.get_start_method(allow_none=True)
    if sys.platform == "linux":
        multiprocessing.set_start_method("forkserver", force=True)
        multiprocessing.set_forkserver_preload(["skymill.compute.server"])
        forkserver.ensure_running()
    else:
        multiprocessing.set_start_method("spawn", force=True)
    try:
        yield
    finally:
        multiprocessing.set_start_method(before, force=True)


def _kill_workers(cluster: Any) -> None:
    """End the worker processes at once: they hold nothing worth saving and may be in the middle of a long task."""
    for nanny in cluster.workers.values():
        nanny.close_gracefully(reason="run ended")  # else it would start the worker again
        if nanny.pid:
            with suppress(ProcessLookupError):
                os.kill(nanny.pid, signal.SIGKILL)


@contextmanager
def _joined(address: str) -> Iterator[Any]:
    from distributed import Client

    try:
        client = Client(address, timeout=CONNECT_S, set_as_default=False)
    except (OSError, TimeoutError) as error:
        raise ComputeError(
            f"compute.scheduler: no Dask scheduler answers at {address} ({error}); start it, or use 'local'"
        ) from error
    with client:
        client.run_on_scheduler(_allow_no_failures)
        yield client


def _allow_no_failures(dask_scheduler: Any) -> None:
    dask_scheduler.allowed_failures = DASK_CONFIG["distributed.scheduler.allowed-failures"]


@contextmanager
def _environment(variables: dict[str, str]) -> Iterator[None]:
    """Set environment variables for the processes started meanwhile (Snakemake sets the same ones to its `threads`)."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


@contextmanager
def _hidden_main() -> Iterator[None]:
    """Keep new workers from importing the running script again, with all that it imports (Snakemake among it)."""
    main = sys.modules["__main__"]
    hidden: dict[str, Any] = {name: vars(main).pop(name) for name in ("__file__", "__spec__") if name in vars(main)}
    main.__spec__ = None
    try:
        yield
    finally:
        vars(main).update(hidden)


@contextmanager
def _quiet_dask() -> Iterator[None]:
    """Leave it to the runner to report what happens to workers."""
    logger = logging.getLogger("distributed")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(before)
