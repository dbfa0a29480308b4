"""The peer of partitioning, in its own environment: hats-import's map and reduce, joined to workers that stand."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from answering import answer
from distributed import Client, LocalCluster
from hats_import.catalog.arguments import ImportArguments
from hats_import.pipeline import pipeline_with_client


def main() -> None:
    """Start the workers, do the jobs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    with (
        LocalCluster(arguments.workers, threads_per_worker=1, dashboard_address=None, host="127.0.0.1") as cluster,
        Client(cluster) as client,
    ):

        def job(tables: str, output: str, tile_rows: int, level: int | None) -> dict[str, Any]:
            how = {} if level is None else {"write_table_kwargs": {"compression": "zstd", "compression_level": level}}
            settings = ImportArguments(
                output_path=output,
                output_artifact_name="imported",
                input_file_list=sorted(Path(tables).glob("*.parquet")),
                file_reader="parquet",
                ra_column="coord_ra",
                dec_column="coord_dec",
                sort_columns="objectId",
                pixel_threshold=tile_rows,
                drop_empty_siblings=False,  # as ours: the tiles are then the same
                progress_bar=False,
                **how,
            )
            pipeline_with_client(settings, client)
            return {}

        answer(job, {})


if __name__ == "__main__":
    main()
