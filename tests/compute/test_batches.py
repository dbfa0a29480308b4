"""How tasks are put together."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from skymill.compute import Task
from skymill.compute.tasks import LARGEST_BATCH, make_batches


@given(st.lists(st.integers(0, 1000), max_size=200), st.integers(0, 2000))
def test_every_task_is_in_one_batch_and_no_batch_is_too_heavy(weights: list[int], largest: int) -> None:
    tasks = [Task(str(number), weight, None) for number, weight in enumerate(weights)]
    batches = make_batches(tasks, largest)
    assert sorted((task for batch in batches for task in batch), key=lambda task: int(task.name)) == tasks
    assert all(len(batch) == 1 or sum(task.weight for task in batch) <= largest for batch in batches)
    heaviest = [batch[0].weight for batch in batches]
    assert heaviest == sorted(weights, reverse=True)[:1] + heaviest[1:]
    assert heaviest == sorted(heaviest, reverse=True)


def test_weightless_tasks_do_not_make_one_giant_batch() -> None:
    batches = make_batches([Task(str(number), 0, None) for number in range(2 * LARGEST_BATCH + 1)], 10)
    assert [len(batch) for batch in batches] == [LARGEST_BATCH, LARGEST_BATCH, 1]
