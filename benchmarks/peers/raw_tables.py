"""The raw table of the embedded survey as Parquet files of about a million rows each, in the order it is generated."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, islice
from multiprocessing import get_context
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from skymill.config import SimulationSettings
from skymill.survey import simulated

FILE_ROWS = 1_000_000


def write_tables(folder: Path, settings: SimulationSettings, workers: int) -> int:
    """Write the files unless they stand; give the number of rows."""
    cells = list(files_of(settings))
    if not (folder / "complete").is_file():
        folder.mkdir(parents=True, exist_ok=True)
        jobs = [(folder / f"{number:04d}.parquet", settings, some) for number, some in enumerate(cells)]
        with get_context("spawn").Pool(workers) as processes:
            processes.starmap(write_table, jobs, chunksize=1)
        (folder / "complete").touch()
    return sum(cell.n_rows for cell in chain.from_iterable(cells))


def files_of(settings: SimulationSettings) -> Iterator[list[simulated.Cell]]:
    """Give the cells of each file."""
    cells = simulated.cells(settings)
    per_file = max(1, round(FILE_ROWS * len(cells) / sum(cell.n_rows for cell in cells)))
    left = iter(cells)
    while some := list(islice(left, per_file)):
        yield some


def write_table(path: Path, settings: SimulationSettings, cells: list[simulated.Cell]) -> None:
    """Write one file."""
    blocks = chain.from_iterable(simulated.raw_blocks(settings, cell) for cell in cells)
    pq.write_table(pa.Table.from_batches([pa.record_batch(dict(block)) for block in blocks]), path)
