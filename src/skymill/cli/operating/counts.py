"""How much there is to do, before anything runs: rows, tiles, groups; from the plan, else from the survey's headers."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from skymill.cli.operating.jobs import Workflow
from skymill.sky import Tile
from skymill.survey import Part
from skymill.tiling.settings import max_rows

FILLING = 0.54
"""Mean rows of a tile over the most rows: a split leaves a quarter, so the logarithm is even over [1/4, 1]."""


@dataclass(frozen=True)
class Sky:
    """What a run works on.

    Attributes
    ----------
    n_in, n_rows, n_tiles : int
        Rows of the input, of the source catalogue, and tiles of each catalogue.
    groups : mapping
        Rows of each group; where positions are not known before reading, groups of equal size under made-up names.
    parts : int
        Pieces in which the input is read.
    labels : int
        Labelled sources; 0 where the run has none.
    certain : bool
        Whether rows, tiles and groups are those of a plan.
    how : str
        Where the numbers come from.
    images : mapping
        Image tiles of each group; none where the survey has tables.
    """

    n_in: int
    n_rows: int
    n_tiles: int
    groups: Mapping[str, int]
    parts: int
    labels: int
    certain: bool
    how: str
    images: Mapping[str, int] = field(default_factory=dict)


def count_sky(workflow: Workflow) -> Sky:
    """Count rows, tiles and groups.

    Raises
    ------
    TableError
        If the survey has images that are not measured yet: nobody knows their sources.
    """
    run, survey, planned = workflow.chain.run, workflow.chain.survey, workflow.groups
    parts = (survey if planned is None else workflow.chain.sources()).parts()
    if planned is not None:
        rows = {group: about["n_rows"] for group, about in planned.items()}
        n_tiles = sum(about["n_tiles"] for about in planned.values())
        n_in = sum(part.n_rows or 0 for part in parts)
        labels = _labels(workflow, n_in)
        images = {group: about["n_tiles"] for group, about in workflow.image_groups.items()}
        return Sky(n_in, sum(rows.values()), n_tiles, rows, len(parts), labels, True, "tiling/plan.json", images)
    n_rows = sum(part.n_rows or 0 for part in parts)
    native = survey.native_tiles()
    largest = max_rows(run.tiling, survey.schema.row_bytes)
    n_tiles = len(native) if native is not None else math.ceil(n_rows / (FILLING * largest))
    cells = _cells(parts, survey.config.format)
    if cells:
        groups = _groups(cells, run.tiling.group_order)
        # A group of few rows is a tile of its own.
        n_tiles = n_tiles if native is not None else max(n_tiles, len(groups))
    else:
        count = max(1, min(12 * 4**run.tiling.group_order, n_tiles))
        groups = {f"estimated {number}": n_rows // count for number in range(count)}
    how = "the simulation's settings" if survey.config.format == "simulated" else "the headers of the survey's files"
    return Sky(n_rows, n_rows, n_tiles, groups, len(parts), _labels(workflow, n_rows), False, how)


def _cells(parts: Iterable[Part], form: str) -> list[tuple[Tile, int]]:
    """Give the parts of the input whose place on the sky is known before they are read, with their rows."""
    if form == "hats":
        return [(part.tile, part.n_rows or 0) for part in parts if part.tile is not None]
    if form == "simulated":
        places = [[int(number) for number in part.file.split("/")] for part in parts]
        return [(Tile(order, pixel), rows) for order, pixel, rows in places]
    return []


def _groups(cells: Iterable[tuple[Tile, int]], group_order: int) -> dict[str, int]:
    """Sum the rows of cells by their ancestor at the order of groups."""
    rows: Counter[str] = Counter()
    for cell, n_rows in cells:
        order = min(cell.order, group_order)
        rows[f"o{order}p{cell.pixel >> 2 * (cell.order - order)}"] += n_rows
    return dict(rows)


def _labels(workflow: Workflow, n_rows: int) -> int:
    """Count labelled sources: of the training set, else the rows of the label table, else a share of a simulation."""
    chain = workflow.chain
    if not chain.trained_models or chain.run.labels is None:
        return 0
    made = workflow.training_set
    if made is not None:
        return int(made["sources"]["used"])
    from skymill.survey.labels import count_labels

    simulation = chain.survey.config.simulation
    return int(n_rows * simulation.labelled * FAINT) if simulation else count_labels(chain.run.labels)


FAINT = 0.21
"""Share of the simulated sources that are labelled at `labelled` = 1: 20,933 of 199,209 at 0.5."""
