"""The documentation's page of bad input.

``PYTHONPATH=tests/helpers python -m bad_input > docs/bad-input.md`` writes it.
"""

from __future__ import annotations

from bad_files import FILE_CASES
from bad_image_cases import IMAGE_CASES
from bad_rows import ROW_CASES

STOPS = "the run stops at once, naming the file"
PUT_ASIDE = "quarantined, with its reason"
IMAGES = """\
All of these are tiles of one survey, which is planned, measured and sealed: what is wrong with a tile is its reason in
`quarantine.parquet`, the others are measured, and the sealed catalogue verifies. More than
`compute.max_quarantined_tiles` in a group fail its rule; what is measured stays."""
LIMITS = """\
A tile whose place cannot be read is no neighbour, so that others own all that they overlap. One whose headers are sound
and whose pixels are not still owns its share, which is missing until the tile is mended (`skymill retry`). A file that
must not be read is a fault of its tile, as a link that leads nowhere is. A tile all of whose images are missing is
unknown. Positions to be measured at (`features.measure.positions`) beyond the edge belong to no tile; those on it have
the flag `edge`.

Headers take no memory for what they announce. A packed file unpacks to at most 256 MiB, or 100 times its size; a
tile-compressed image has as many tiles as its header says, none larger than these; arrays in `.npz` are stored or
deflated, and as long as they announce; a chunk of a Zarr array (zstd, gzip, zlib, bzip2, blosc, lz4) unpacks to no more
than it holds. What the chunks inside a shard unpack to is held by `compute.memory_per_worker` alone."""


def page() -> str:
    """The page of the documentation."""
    rows = [f"| {case.what} | {_becomes(case.counter)} | `{case.counter}` |" for case in ROW_CASES]
    files = [
        f"| {case.what} | {'all rows are read' if case.refused is None else STOPS} | {case.said} |"
        for case in FILE_CASES
    ]
    images = [
        f"| {case.what} | {PUT_ASIDE if case.refused else case.said} | {case.said if case.refused else 'none needed'} |"
        for case in IMAGE_CASES
    ]
    return "\n".join(
        [
            "# Bad input",
            "",
            "Generated from the tests (`bad_rows.py`, `bad_files.py`, `bad_image_cases.py` in `tests/helpers`), which "
            f"make each of these {len(rows) + len(files) + len(images)} cases",
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
            "## Image tiles",
            "",
            *IMAGES.splitlines(),
            "",
            "| what comes | what becomes of the tile | mend, named in the reason |",
            "|---|---|---|",
            *images,
            "",
            *LIMITS.splitlines(),
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
