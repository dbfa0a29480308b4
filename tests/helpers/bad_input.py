"""The documentation's page of bad input.

``PYTHONPATH=tests/helpers python -m bad_input > docs/bad-input.md`` writes it.
"""

from __future__ import annotations

from bad_files import FILE_CASES
from bad_rows import ROW_CASES

STOPS = "the run stops at once, naming the file"


def page() -> str:
    """The page of the documentation."""
    rows = [f"| {case.what} | {_becomes(case.counter)} | `{case.counter}` |" for case in ROW_CASES]
    files = [
        f"| {case.what} | {'all rows are read' if case.refused is None else STOPS} | {case.said} |"
        for case in FILE_CASES
    ]
    return "\n".join(
        [
            "# Bad input",
            "",
            f"Generated from the tests (`tests/helpers/bad_rows.py`, `bad_files.py`), which make each of these "
            f"{len(rows) + len(files)} cases",
            "and look where it ends. In every one `n_in = n_ok + n_flagged + n_quarantined + n_excluded`.",
            "",
            "## Rows",
            "",
            "| what comes | what happens | counter |",
            "|---|---|---|",
            *rows,
            "",
            "Rows that share an id are settled where all rows are seen, in [tiling](tiling.md): exact copies are "
            "excluded (`exact_duplicate`),",
            "differing rows of one id quarantined (`conflicting_id`); a row of a HATS file outside the file's tile is "
            "quarantined (`outside_tile`).",
            "",
            "## Files",
            "",
            "| what comes | what happens | mend, named in the error |",
            "|---|---|---|",
            *files,
            "",
        ]
    )


def _becomes(counter: str) -> str:
    kind = counter.split(":")[0]
    return {
        "ok": "a source like any other",
        "flagged": "a source with a flag",
        "excluded": "left out, counted",
        "quarantined": "kept out, listed in `quarantine.parquet`",
    }[kind]


if __name__ == "__main__":
    print(page(), end="")
