"""The features of the embedded survey, once as our catalogue and once as a HATS catalogue of the same rows."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from embedded_survey import embedded_survey
from peers.hats_catalogue import leaf_path, write_description

from skymill import features, tiling
from skymill.compute.cluster import open_client
from skymill.config import ComputeSettings, RunConfig
from skymill.sky import Tile
from skymill.store import GroupManifest, Pool, group_file, open_tile
from skymill.survey import open_survey
from skymill.tiling.files import TilingFiles

IDENTITY = ("objectId", "_healpix_29", "coord_ra", "coord_dec", "flags")


def write_features(folder: Path, *, rows: int, tile_rows: int, workers: int) -> tuple[Path, Path]:
    """Make both catalogues unless they stand; give the manifest of ours and the folder of the other."""
    done, hats = folder / "features.json", folder / "hats_features"
    if not done.is_file():
        groups = compute_features(folder, rows=rows, tile_rows=tile_rows, workers=workers)
        manifest = as_one_group(groups)
        tiles = write_hats(manifest, hats)
        done.write_text(json.dumps({"manifest": str(manifest), "tiles": tiles}))
        shutil.rmtree(folder / "catalogues" / "sources")
        shutil.rmtree(folder / "tiling")
    return Path(json.loads(done.read_text())["manifest"]), hats


def compute_features(folder: Path, *, rows: int, tile_rows: int, workers: int) -> list[Path]:
    """Run the stages up to the features; give the manifests of the groups."""
    with open_client(workers, ComputeSettings()) as client:
        run = RunConfig(
            name="peers",
            survey="",
            output=str(folder),
            tiling={"group_order": 0, "max_rows": tile_rows},  # type: ignore[arg-type]
            compute={"scheduler": client.scheduler.address},  # type: ignore[arg-type]
        )
        config = embedded_survey(rows)
        survey = open_survey(config, part_rows=run.tiling.part_rows)
        tiling.plan(run, survey, folder, workers=workers)
        made = []
        for name, digest in tiling.groups(TilingFiles(folder).plan).items():
            group = TilingFiles(folder).group(name, digest)
            sources = tiling.partition(run, survey, group, folder, workers=workers)
            how = {"settings": run.features, "compute": run.compute, "workers": workers}
            made.append(features.compute(sources, output=folder, survey=config, **how))
    return made


def as_one_group(manifests: list[Path]) -> Path:
    """Put all tiles into one group, so that both sides have one queue of tiles for all workers."""
    groups = [GroupManifest.read(path) for path in manifests]
    tiles = tuple(entry for group in groups for entry in group.tiles)
    whole = GroupManifest(groups[0].catalogue, groups[0].settings, "whole", {}, tiles)
    path = group_file(manifests[0].parents[2], whole.settings, whole.group)
    whole.write(path)
    return path


def write_hats(manifest: Path, folder: Path) -> int:
    """Write the tiles as the leaves of a HATS catalogue; give their number."""
    pool, entries = Pool(manifest.parents[2]), GroupManifest.read(manifest).tiles
    for entry in entries:
        path = leaf_path(folder, entry.tile)
        path.parent.mkdir(parents=True, exist_ok=True)
        table = as_table(pool.path(entry.tile, entry.key))
        pq.write_table(table, path, compression="zstd")
    rows = sum(entry.n_rows for entry in entries)
    write_description(folder, [Tile(*entry.tile) for entry in entries], table.schema, rows=rows)
    return len(entries)


def as_table(path: Path) -> pa.Table:
    """Give a feature tile as a table with a column for each feature."""
    tile = open_tile(path)
    names = tile.arrays["features"].attrs["columns"]
    batches = []
    for block in tile.blocks():
        columns = {name: block[name] for name in IDENTITY}
        columns |= {name: block["features"][:, number] for number, name in enumerate(names)}
        batches.append(pa.record_batch(columns))
    return pa.Table.from_batches(batches)
