"""Every task ends as a result or a failure of its own, whatever it does to its worker."""

from __future__ import annotations

import errno
import os
import random
from pathlib import Path

import psutil
import pytest
from deeds import calls, do

from skymill.compute import ComputeError, Outcome, Task, run_tasks
from skymill.compute.runner import IN_FLIGHT_PER_WORKER
from skymill.compute.worker import call_batch
from skymill.config import ComputeSettings

INNOCENTS = 40
DEEDS = ("raise", "raise_once", "exit", "return_unpicklable", "kill", "kill_once", "segfault", "hang")
TIMEOUT_S = 2.0


def task(deed: str, folder: Path, number: int) -> Task:
    return Task(f"{deed} {number}", 10, (deed, str(folder), number))


def squares(folder: Path, n: int) -> list[Task]:
    return [task("square", folder, number) for number in range(n)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("calls")


@pytest.fixture(scope="module")
def outcome(folder: Path) -> Outcome:
    """One run of two workers, in which eight misbehaving tasks share batches with forty innocent ones."""
    tasks = squares(folder, INNOCENTS) + [task(deed, folder, 7) for deed in DEEDS]
    random.Random(1).shuffle(tasks)
    settings = ComputeSettings(task_timeout_s=TIMEOUT_S, retries=1)
    return run_tasks(do, tasks, workers=2, settings=settings, describe="mixed")


def test_innocent_tasks_are_all_done(outcome: Outcome) -> None:
    found = {name: value for name, value in outcome.results.items() if name.startswith("square")}
    assert found == {f"square {number}": number**2 for number in range(INNOCENTS)}


def test_only_the_guilty_fail(outcome: Outcome) -> None:
    guilty = {"raise", "exit", "return_unpicklable", "kill", "segfault", "hang"}
    assert set(outcome.failures) == {f"{deed} 7" for deed in guilty}


def test_reason_of_an_error_tells_what_and_where(outcome: Outcome) -> None:
    first, *where = outcome.failures["raise 7"].splitlines()
    assert first == "ValueError: tile 7 is broken"
    assert where[-1].strip().startswith("compute/deeds.py:")
    assert where[-1].endswith('in _raise: raise ValueError(f"tile {number} is broken")')


def test_sys_exit_in_a_task_is_its_failure(outcome: Outcome) -> None:
    assert outcome.failures["exit 7"].startswith("SystemExit: 7")


def test_value_that_cannot_be_sent_is_its_failure(outcome: Outcome) -> None:
    assert "pickle" in outcome.failures["return_unpicklable 7"]


@pytest.mark.parametrize("deed", ["raise_once", "kill_once"])
def test_passing_trouble_is_survived(outcome: Outcome, folder: Path, deed: str) -> None:
    assert outcome.results[f"{deed} 7"] == 7
    assert calls(folder, deed, 7) >= 2


def test_error_is_retried_as_often_as_allowed(tmp_path: Path) -> None:
    tasks = [task(deed, tmp_path, 7) for deed in ("raise", "raise_once", "square")]
    found = run_tasks(do, tasks, workers=1, settings=ComputeSettings(retries=2), describe="retries")
    assert list(found.failures) == ["raise 7"]
    assert [calls(tmp_path, deed, 7) for deed in ("raise", "raise_once", "square")] == [3, 2, 1]


def test_a_run_in_which_everything_kills_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("skymill.compute.runner.MOST_DEADLY", 1)
    monkeypatch.setattr("skymill.compute.runner.DEATHS_ALONE", 1)
    tasks = [task("kill", tmp_path, number) for number in range(4)]
    with pytest.raises(ComputeError, match=r"all: 2 tasks killed their worker, 'kill \d' was the last; .*\(3GB\)"):
        run_tasks(do, tasks, workers=1, settings=ComputeSettings(), describe="all")


@pytest.mark.parametrize("deed", ["kill", "segfault"])
def test_killer_is_given_three_workers_of_its_own(outcome: Outcome, folder: Path, deed: str) -> None:
    assert outcome.failures[f"{deed} 7"].startswith("killed its worker 3 times")
    assert 3 <= calls(folder, deed, 7) <= 4  # at most one in the crowd


def test_hang_ends_at_the_time_limit(outcome: Outcome, folder: Path) -> None:
    assert outcome.failures["hang 7"].startswith("took longer than compute.task_timeout_s (2 s)")
    assert 1 <= calls(folder, "hang", 7) <= 2


@pytest.mark.parametrize("workers", [1, 2])
def test_order_of_results_is_that_of_the_tasks(tmp_path: Path, workers: int) -> None:
    tasks = [
        Task(f"t{number}", random.Random(number).randrange(100), ("square", str(tmp_path), number))
        for number in range(60)
    ]
    random.Random(workers).shuffle(tasks)
    seen: dict[str, int] = {}
    found = run_tasks(
        do, tasks, workers=workers, settings=ComputeSettings(), describe="squares", on_result=seen.__setitem__
    )
    assert list(found.results.items()) == [(task.name, task.payload[2] ** 2) for task in tasks]
    assert seen == found.results
    assert not found.failures
    assert {calls(tmp_path, "square", number) for number in range(60)} == {1}


def test_work_is_spread_over_single_threaded_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "64")  # as Snakemake sets it
    tasks = [task("process", tmp_path, number) for number in range(20)]
    found = run_tasks(do, tasks, workers=2, settings=ComputeSettings(scratch=str(tmp_path)), describe="processes")
    pids, threads = zip(*found.results.values())
    assert len(set(pids)) == 2
    assert os.getpid() not in pids
    assert set(threads) == {"1"}
    assert os.environ["OMP_NUM_THREADS"] == "64"
    assert not list(tmp_path.glob("skymill-*"))


def test_scratch_is_used_and_left_clean(tmp_path: Path) -> None:
    (scratch := tmp_path / "node").mkdir()
    settings = ComputeSettings(scratch=str(scratch))
    found = run_tasks(do, [task("scratch", tmp_path, 0)], workers=1, settings=settings, describe="scratch")
    assert Path(found.results["scratch 0"]).is_relative_to(scratch)
    assert not list(scratch.iterdir())


@pytest.mark.parametrize("batch_rows", [10, 500_000], ids=["alone", "in batches"])
def test_tasks_that_travel_alone_do_not_share_the_fate_of_others(tmp_path: Path, batch_rows: int) -> None:
    """The last of ten kills the worker: in one batch with the nine before it, they are called again."""
    tasks = squares(tmp_path, INNOCENTS)
    tasks.insert(9, task("kill_once", tmp_path, 7))
    settings = ComputeSettings(batch_rows=batch_rows)
    found = run_tasks(do, tasks, workers=1, settings=settings, describe="alone")
    assert len(found.results) == len(tasks)
    again = [number for number in range(INNOCENTS) if calls(tmp_path, "square", number) > 1]
    if batch_rows == 10:  # but for those whose values had not been fetched
        assert len(again) <= IN_FLIGHT_PER_WORKER
    else:
        assert set(range(9)) <= set(again)


def test_few_tasks_start_few_workers(tmp_path: Path) -> None:
    others = {child.pid for child in psutil.Process().children()}  # of the cluster that tests of this process share
    found = run_tasks(do, [task("name_workers", tmp_path, 0)], workers=64, settings=ComputeSettings(), describe="one")
    assert len(set(found.results["name_workers 0"]) - others) == 1


def test_full_disk_stops_the_run_and_names_the_place(tmp_path: Path) -> None:
    tasks = [task("fill_disk", tmp_path, 1), *squares(tmp_path, 50)]
    with pytest.raises(ComputeError, match=f"stopped at 'fill_disk 1'.*{tmp_path}/tile.zarr.zip"):
        run_tasks(do, tasks, workers=1, settings=ComputeSettings(), describe="writing")


def _cannot_write(number: int) -> None:
    try:
        raise OSError(number, os.strerror(number), "/results/tiles")
    except OSError as error:
        raise RuntimeError("could not write the tile") from error


@pytest.mark.parametrize("name", ["ENOSPC", "EDQUOT", "EFBIG", "EROFS", "EACCES", "EPERM"])
def test_what_every_task_would_meet_is_no_task_s_fault(name: str) -> None:
    [answer, other] = call_batch(_cannot_write, [getattr(errno, name), errno.EIO], 60.0)
    assert (answer.kind, other.kind) == ("infrastructure", "failed")


def _hopeless(text: str) -> None:
    raise ComputeError(text)


def test_a_task_may_say_that_no_other_can_succeed() -> None:
    [answer] = call_batch(_hopeless, ["the model cannot be opened"], 60.0)
    assert answer.kind == "infrastructure" and "the model cannot be opened" in answer.value


def test_a_worker_that_does_not_see_the_folder_says_so(tmp_path: Path) -> None:
    [answer] = call_batch(str, [1], 60.0, str(tmp_path / "elsewhere"))
    assert answer.kind == "infrastructure" and "does not see the run's folder" in answer.value


def test_no_tasks_need_no_cluster() -> None:
    assert run_tasks(do, [], workers=1, settings=ComputeSettings(), describe="nothing") == Outcome({}, {})


def test_names_must_be_unique() -> None:
    with pytest.raises(ValueError, match="unique, found 'a' twice"):
        run_tasks(do, [Task("a", 1, None), Task("a", 1, None)], workers=1, settings=ComputeSettings(), describe="twins")


def test_workers_must_be_at_least_one() -> None:
    with pytest.raises(ValueError, match="workers must be at least 1, found 0"):
        run_tasks(do, [Task("a", 1, None)], workers=0, settings=ComputeSettings(), describe="nobody")
