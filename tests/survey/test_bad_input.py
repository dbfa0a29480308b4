"""Every kind of bad input ends where the documentation says, and the accounting closes."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from bad_files import FILE_CASES, FileCase
from bad_input import page
from bad_rows import BAD, ROW_CASES, ROWS, RowCase, column_map, write_parquet

from skymill.config import load_survey
from skymill.store import Accounting
from skymill.survey import SOURCE_FLAGS, Survey, TableError, open_survey

DOCS = Path(__file__).resolve().parents[2] / "docs" / "bad-input.md"


def accounting_of(survey: Survey) -> Accounting:
    """Count what becomes of a survey's rows."""
    flagged: Counter[str] = Counter()
    reasons: dict[str, Counter[str]] = {"quarantined": Counter(), "excluded": Counter()}
    n_in = n_flagged = n_sources = 0
    for part in survey.parts():
        assert part.n_rows in (None, ROWS)
        n_in += ROWS
        for block, rejected in survey.blocks(part):
            n_sources += len(block)
            n_flagged += int((block.flags != 0).sum())
            flagged.update({flag.name: int((block.flags & flag.mask != 0).sum()) for flag in SOURCE_FLAGS})
            for kind, reason in zip(rejected.kind.tolist(), rejected.reason.tolist(), strict=True):
                reasons[kind][reason] += 1
    counts = {kind: dict(counter) for kind, counter in reasons.items()}
    return Accounting(
        n_in=n_in, n_ok=n_sources - n_flagged, n_flagged=n_flagged, flagged=dict(+flagged), **counts
    ).check()


@pytest.mark.parametrize("case", ROW_CASES, ids=[case.what for case in ROW_CASES])
def test_a_bad_row_lands_in_its_counter_and_no_other_row_does(case: RowCase, tmp_path: Path) -> None:
    table = case.table()
    path = write_parquet(table, tmp_path / "t.parquet")
    survey = open_survey(load_survey(column_map(path, **case.changes)))
    found = accounting_of(survey)
    kind, _, names = case.counter.partition(": ")
    wanted = {name: 1 for name in names.split(", ") if name}
    assert found.n_ok == ROWS - (kind != "ok")
    for counter in ("flagged", "quarantined", "excluded"):
        assert dict(getattr(found, counter)) == (wanted if counter == kind else {})
    rejected = [row for part in survey.parts() for item in survey.blocks(part) for row in item.rejected.row.tolist()]
    assert rejected == ([BAD] if kind in ("quarantined", "excluded") else [])


@pytest.mark.parametrize("case", FILE_CASES, ids=[case.what for case in FILE_CASES])
def test_a_bad_file_is_named_or_read_whole(case: FileCase, tmp_path: Path) -> None:
    config = load_survey(column_map(case.write(tmp_path), case.table_format, **case.changes))
    if case.refused is None:
        assert accounting_of(open_survey(config)).n_ok == ROWS
        return
    with pytest.raises(TableError, match=case.refused) as caught:
        accounting_of(open_survey(config))
    assert str(config.path) in str(caught.value)


def test_there_are_enough_cases_and_each_once() -> None:
    names = [case.what for case in (*ROW_CASES, *FILE_CASES)]
    assert len(names) == len(set(names)) >= 40


def test_the_page_is_that_of_the_tests() -> None:
    assert DOCS.read_text() == page(), "run `PYTHONPATH=tests/helpers python -m bad_input > docs/bad-input.md`"
