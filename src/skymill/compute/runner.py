"""Run independent tasks on a Dask cluster: what can be done is done, whatever single tasks do to their workers.

First the crowd: batches of tasks, a few in flight per worker. A task that raises is tried again; whoever was on a
worker that died becomes a suspect. Then the suspects, one at a time with nothing else running, so that nobody is blamed
for another's crash.
"""

from __future__ import annotations

import logging
import queue
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from skymill.compute.cluster import open_client
from skymill.compute.progress import ProgressBar, ProgressLog, open_progress
from skymill.compute.stop import stop_on_signals
from skymill.compute.tasks import ComputeError, Outcome, Task, check_tasks, make_batches
from skymill.compute.worker import Answer, call_batch, explain

if TYPE_CHECKING:
    from skymill.config import ComputeSettings

logger = logging.getLogger(__name__)

IN_FLIGHT_PER_WORKER = 2
BATCHES_PER_WORKER = 4
DEATHS_ALONE = 3
MOST_DEADLY = 20
LOOK_S = 1.0
SHORT_LOOK_S = 0.05
WAIT_FOR_WORKERS_S = 300.0
LOST = "lost the Dask scheduler; run again, what is finished is kept"


def run_tasks(
    function: Callable[[Any], Any],
    tasks: Iterable[Task],
    *,
    workers: int,
    settings: ComputeSettings,
    describe: str,
    unit: str = "rows",
    on_result: Callable[[str, Any], None] | None = None,
) -> Outcome:
    """Call `function(task.payload)` for each task, each at least once, in worker processes.

    Parameters
    ----------
    function : callable
        Module-level function or `functools.partial` of one. It may be called again for the same payload and must then
        find or redo its work; it returns a small picklable value and writes its data itself.
    tasks : iterable of Task
        Independent of each other, names unique.
    workers : int
        Processes of the local cluster, fewer where there are fewer batches; on a joined cluster the least number to
        keep busy.
    settings : ComputeSettings
        Where and how.
    describe, unit : str
        Words for the progress display and the messages.
    on_result : callable, optional
        Called here with name and value when a task is done, in the order they finish.

    Returns
    -------
    Outcome
        Results and failures, each in the order of `tasks`, whatever the timing was.

    Raises
    ------
    ComputeError
        If the run cannot go on through no task's fault: disk full, no permission, no workers left.
    Stopped
        On SIGINT or SIGTERM, when the workers are gone.
    """
    tasks = list(tasks)
    check_tasks(tasks)
    if workers < 1:
        raise ValueError(f"{describe}: workers must be at least 1, found {workers}")
    if not tasks:
        return Outcome({}, {})
    total = sum(task.weight for task in tasks)
    batches = make_batches(tasks, min(settings.batch_rows, total // (BATCHES_PER_WORKER * workers)))
    workers = min(workers, len(batches))
    with (
        stop_on_signals(describe),
        open_client(workers, settings) as client,
        open_progress(describe, total, unit) as progress,
    ):
        run = _Run(client, function, workers, settings, describe, progress, on_result)
        run.crowd(batches)
        run.suspects_alone()
    return Outcome(
        {task.name: run.results[task.name] for task in tasks if task.name in run.results},
        {task.name: run.failures[task.name] for task in tasks if task.name in run.failures},
    )


class _Run:
    """State of one run; see the module's docstring for its course."""

    def __init__(
        self,
        client: Any,
        function: Callable[[Any], Any],
        workers: int,
        settings: ComputeSettings,
        describe: str,
        progress: ProgressBar | ProgressLog,
        on_result: Callable[[str, Any], None] | None,
    ) -> None:
        self.client, self.function, self.workers, self.settings = client, function, workers, settings
        self.describe, self.progress, self.on_result = describe, progress, on_result
        self.results: dict[str, Any] = {}
        self.failures: dict[str, str] = {}
        self.flying: dict[Any, list[Task]] = {}  # by future: Dask forgets a task whose future nobody holds
        self.suspects: list[Task] = []
        self.raised: Counter[str] = Counter()
        self.finished: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.looked, self.last_worker = 0.0, time.monotonic()

    def crowd(self, batches: deque[list[Task]]) -> None:
        """Run all batches; tasks whose worker died are left in `suspects`."""
        while batches or self.flying:
            while batches and len(self.flying) < IN_FLIGHT_PER_WORKER * self.workers:
                self._submit(batches.popleft())
            future = self._next()
            batch = self.flying.pop(future)
            for task, answer in zip(batch, self._answers(future, batch), strict=True):
                if answer.kind == "dead":
                    logger.info("%s: '%s' was on a worker that died", self.describe, task.name)
                    self.suspects.append(task)
                elif not self._settle(task, answer):
                    batches.append([task])

    def suspects_alone(self) -> None:
        """Try each suspect with nothing else running, so that a further death is its own."""
        deadly = 0
        for task in self.suspects:
            deadly += self._alone(task)
            if deadly > max(MOST_DEADLY, self.settings.max_quarantined_tiles):
                raise ComputeError(
                    f"{self.describe}: {deadly} tasks killed their worker, '{task.name}' was the last; so many point "
                    "at the machine or the settings, not at the tasks: is compute.memory_per_worker "
                    f"({self.settings.memory_per_worker}) enough?"
                )

    def _alone(self, task: Task) -> bool:
        """Run one suspect to its end; True if it kills its workers."""
        deaths = 0
        while deaths < DEATHS_ALONE:
            while not self._look():
                time.sleep(SHORT_LOOK_S)
            start = time.monotonic()
            self._submit([task])
            future = self._next()
            [answer] = self._answers(future, self.flying.pop(future))
            if answer.kind != "dead":
                if self._settle(task, answer):
                    return False
                continue
            deaths += 1
            logger.warning("%s: '%s' lost its worker while it ran alone (%d)", self.describe, task.name, deaths)
            limit_s = self.settings.task_timeout_s
            if time.monotonic() - start >= limit_s:  # waiting for it twice more would cost hours and teach nothing
                self._fail(task, f"took longer than compute.task_timeout_s ({limit_s:g} s), also when run alone")
                return True
        limit = self.settings.memory_per_worker
        self._fail(
            task,
            f"killed its worker {DEATHS_ALONE} times (a crash, or more memory than compute.memory_per_worker {limit})",
        )
        return True

    def _submit(self, batch: list[Task]) -> None:
        """Hand a batch to Dask, which puts its future into `finished` whatever becomes of it."""
        payloads = [task.payload for task in batch]
        how = (self.settings.task_timeout_s, str(Path.cwd()))
        future = self.client.submit(call_batch, self.function, payloads, *how, pure=False)
        self.flying[future] = batch
        future.add_done_callback(self.finished.put)

    def _next(self) -> Any:
        """Wait for a future to end, looking after the cluster now and then."""
        while True:
            if time.monotonic() - self.looked >= LOOK_S:
                self._look()
            with suppress(queue.Empty):
                return self.finished.get(timeout=LOOK_S)

    def _look(self) -> int:
        """See that scheduler and workers are there; give the number of workers."""
        self.looked = time.monotonic()
        if self.client.status != "running":
            raise ComputeError(f"{self.describe}: {LOST}")
        threads = self.client.nthreads()
        for address, number in threads.items():
            if number > 1:  # one alarm per process, and one thread's crash is the other's death
                raise ComputeError(
                    f"{self.describe}: worker {address} has {number} threads; start workers with --nthreads 1"
                )
        self.workers = max(self.workers, len(threads))
        if threads:
            self.last_worker = self.looked
        elif self.looked - self.last_worker > WAIT_FOR_WORKERS_S:
            raise ComputeError(
                f"{self.describe}: no Dask worker for {WAIT_FOR_WORKERS_S:g} s; start workers and run again"
            )
        return len(threads)

    def _answers(self, future: Any, batch: list[Task]) -> list[Answer]:
        from distributed import KilledWorker
        from distributed.client import FutureCancelledError

        try:
            answers: list[Answer] = future.result()
        except KilledWorker:
            answers = [Answer("dead", None)] * len(batch)
        except FutureCancelledError as error:  # we cancel none; Dask does so when its scheduler does not answer
            raise ComputeError(f"{self.describe}: {LOST}") from error
        except Exception as error:  # calls never raise: neither the function nor its tasks are at fault
            raise ComputeError(f"{self.describe}: Dask could not run '{batch[0].name}': {explain(error)}") from error
        return answers

    def _settle(self, task: Task, answer: Answer) -> bool:
        """Enter an answer; False if the task is to be tried again."""
        if answer.kind == "infrastructure":
            raise ComputeError(
                f"{self.describe}: stopped at '{task.name}', for every other task would meet the same: {answer.value}\n"
                "mend it and run again; what is finished is kept"
            )
        if answer.kind == "failed":
            self.raised[task.name] += 1
            if self.raised[task.name] <= self.settings.retries:
                logger.info("%s: '%s' is tried again after %s", self.describe, task.name, answer.value)
                return False
            self._fail(task, answer.value)
            return True
        self.results[task.name] = answer.value
        self.progress.advance(task.weight)
        if self.on_result:
            self.on_result(task.name, answer.value)
        return True

    def _fail(self, task: Task, reason: str) -> None:
        logger.warning("%s: '%s' failed: %s", self.describe, task.name, reason)
        self.failures[task.name] = reason
        self.progress.advance(task.weight, failed=True)
