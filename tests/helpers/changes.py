"""Changes to the small survey and to a finished run of it, each of one thing."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from astropy.io import fits
from survey_files import edit_yaml, patch_table, write_labels, write_yaml

from skymill.config import load_run, load_survey
from skymill.features import compute
from skymill.store import GroupManifest, Pool


def nothing(folder: Path) -> None:
    """Change nothing."""


def label(folder: Path) -> None:
    """Change the class of one source."""
    write_labels(folder, flip=7)


def pinned_label(folder: Path) -> None:
    """Change the class of one source, and keep one of the models as it is."""
    exported = json.loads((folder / "results" / "models" / "forest" / "manifest.json").read_text())
    edit_yaml(folder / "forest.yaml", pin=exported["fit"])
    write_labels(folder, flip=7)


def input_file(folder: Path) -> None:
    """Add sources to one of the tables."""
    pq.write_table(patch_table("wrap", rows=3100).drop_columns(["class"]), folder / "tables" / "wrap.parquet")


def model(folder: Path) -> None:
    """Change a model's hyperparameter."""
    edit_yaml(folder / "forest.yaml", settings={"trees": 12, "max_depth": 6})


def baseline(folder: Path) -> None:
    """Add a model that is only compared with the others."""
    write_yaml(folder / "baseline.yaml", {"name": "baseline", "kind": "linear_cut", "catalogue": False})
    edit_yaml(folder / "config.yaml", models=["forest.yaml", "mlp.yaml", "baseline.yaml"])


def inference_setting(folder: Path) -> None:
    """Change how models are run."""
    edit_yaml(folder / "config.yaml", inference={"block_rows": 1024})


def feature_setting(folder: Path) -> None:
    """Change what features are."""
    edit_yaml(folder / "config.yaml", features={"deredden": False})


def tile_setting(folder: Path) -> None:
    """Change the bounds of tiles."""
    edit_yaml(folder / "config.yaml", tiling={"max_rows": 1000, "highest_order": 8, "group_order": 0})


def parity_limit(folder: Path) -> None:
    """Change the limit of the export's gate."""
    edit_yaml(folder / "mlp.yaml", parity={"max_flip_rate": 0.01})


def lost_manifest(folder: Path) -> None:
    """Delete the manifest of a group."""
    next(folder.glob("results/catalogues/features/groups/*/o0p0.json")).unlink()


def lost_tile(folder: Path) -> None:
    """Delete a tile, which no manifest knows."""
    sorted(folder.glob("results/catalogues/mlp/tiles/*/*/*/*.zarr.zip"))[0].unlink()


def depth_map(folder: Path) -> None:
    """Declare a map of the survey's depth."""
    table = fits.BinTableHDU.from_columns([fits.Column("DEPTH", "E", unit="mag", array=np.full(12, 26.0))])
    table.header.update({"PIXTYPE": "HEALPIX", "NSIDE": 1, "ORDERING": "NESTED", "COORDSYS": "C"})
    table.writeto(folder / "depth.fits")
    edit_yaml(folder / "survey.yaml", maps={"depth_i": {"path": "depth.fits", "unit": "mag"}})


def lost_report(folder: Path) -> None:
    """Delete the report."""
    (folder / "results" / "report" / "index.html").unlink()


def lost_card(folder: Path) -> None:
    """Delete a model card that says how the survey differs from the training rows."""
    (folder / "results" / "training" / "shift" / "forest" / "card.md").unlink()


def lost_model_page(folder: Path) -> None:
    """Delete one of the report's further pages."""
    (folder / "results" / "report" / "model-mlp.html").unlink()


def quarantined_tile(folder: Path) -> None:
    """Have the features of a tile fail: its source tile is damaged."""
    manifest = next(folder.glob("results/catalogues/sources/groups/*/o0p0.json"))
    entry = GroupManifest.read(manifest).tiles[0]
    damaged = Pool(folder / "results" / "catalogues" / "sources").path(entry.tile, entry.key)
    damaged.write_bytes(damaged.read_bytes()[:-2000])
    features = next(folder.glob("results/catalogues/features/groups/*/o0p0.json"))
    made = next(tile for tile in GroupManifest.read(features).tiles if tile.tile == entry.tile)
    Pool(folder / "results" / "catalogues" / "features").path(made.tile, made.key).unlink()
    settings = load_run(folder / "config.yaml")
    allowed = settings.compute.model_copy(update={"max_quarantined_tiles": 1, "retries": 0})
    compute(
        manifest,
        output="results",
        survey=load_survey(folder / "survey.yaml"),
        settings=settings.features,
        compute=allowed,
        workers=1,
    )
