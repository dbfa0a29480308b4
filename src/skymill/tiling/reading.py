"""Which parts of a survey are to be read, and reading them in parallel."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

from skymill.compute import Task, run_tasks
from skymill.config import RunConfig
from skymill.config.run import TilingSettings
from skymill.store.keys import digest
from skymill.survey import Part, Survey
from skymill.tiling.files import TilingFiles
from skymill.tiling.settings import count_order, part_settings
from skymill.tiling.spill import spill_part


class KeyedPart(NamedTuple):
    """A part of the survey and the digest of all that decides what is kept of it."""

    part: Part
    key: str


def key_parts(survey: Survey, tiling: TilingSettings) -> list[KeyedPart]:
    """Give the parts of a survey, by name, and their keys."""
    parts = sorted(survey.parts(), key=lambda part: part.name)
    settings = part_settings(survey.config, tiling)  # once: a large survey has thousands of parts
    return [KeyedPart(part, digest({"part": part.digest, **settings})) for part in parts]


def read_parts(parts: Sequence[KeyedPart], run: RunConfig, survey: Survey, files: TilingFiles, *, workers: int) -> None:
    """Read parts and keep what is needed of them.

    Raises
    ------
    RuntimeError
        Naming every part that cannot be read.
    """
    distinct = {item.key: item for item in parts}  # two files of the same content are read once
    tasks = [Task(item.part.name, item.part.n_rows or survey.part_rows, item) for item in distinct.values()]
    read = partial(_read_part, survey=survey, files=files, tiling=run.tiling)
    outcome = run_tasks(read, tasks, workers=workers, settings=run.compute, describe="reading the survey")
    if outcome.failures:
        reasons = "\n".join(f"{name}: {reason}" for name, reason in outcome.failures.items())
        raise RuntimeError(
            f"survey '{survey.config.name}': {len(outcome.failures)} of {len(tasks)} parts cannot be read:\n{reasons}"
        )


def _read_part(item: KeyedPart, *, survey: Survey, files: TilingFiles, tiling: TilingSettings) -> int:
    record = spill_part(
        item.part.name,
        survey.blocks(item.part),
        survey.config,
        files=files,
        key=item.key,
        group_order=tiling.group_order,
        count_order=count_order(tiling),
        n_rows=item.part.n_rows,
    )
    return record.n_in
