"""HATS: each sample opens or fails with a named error, and agrees with the hats package."""

from __future__ import annotations

import shutil
from pathlib import Path

import hats
import numpy as np
import pyarrow.parquet as pq
import pytest

from skymill.config import ValueColumn, load_survey
from skymill.sky import Tile
from skymill.survey import Survey, TableError, open_survey
from skymill.survey.readers import TableFile, shape

OPENS = {
    "small_sky": 131,
    "small_sky_healpix13": 131,
    "small_sky_nested": 131,
    "small_sky_npix_alt_suffix": 131,
    "small_sky_npix_as_dir": 131,
    "small_sky_o1_collection": 131,
    "small_sky_o1_collection/small_sky_order1": 131,
    "small_sky_source": 17_161,
}
"""Samples that open, and their rows."""
REFUSED = {
    "info_only/catalog": "expected partition_info.csv beside the properties",
    "info_only/collection": "its primary catalogue 'small_sky_order1' is not there",
    "info_only/dataset": "expected partition_info.csv beside the properties",
    "info_only/index_catalog": "found type 'index'",
    "info_only/margin_cache": "found type 'margin'",
    "small_sky_o1_collection/small_sky_order1_id_index": "found type 'index'",
    "small_sky_o1_collection/small_sky_order1_margin": "found type 'margin'",
    "small_sky_o1_collection/small_sky_order1_margin_10arcs": "found type 'margin'",
    "small_sky_source_object_index": "found type 'index'",
    "small_sky_to_small_sky_order1": "found type 'association'",
    "square_map": "found type 'map'",
    ".": "found neither hats.properties nor collection.properties",
}
"""Samples that hold no table of sources, and what is said."""


@pytest.fixture
def samples(data: Path) -> Path:
    return data / "catalogues" / "hats_samples" / "hats"


def open_sample(path: Path) -> Survey:
    prefix = "source_" if path.name == "small_sky_source" else ""
    config = {
        "name": "sample",
        "format": "hats",
        "path": str(path),
        "bands": ["r"],
        "id": {"column": f"{prefix}id"},
        "ra": {"column": f"{prefix}ra", "unit": "deg"},
        "dec": {"column": f"{prefix}dec", "unit": "deg"},
    }
    return open_survey(load_survey(config))


def test_every_sample_has_a_stated_outcome(samples: Path) -> None:
    found = {str(file.parent.relative_to(samples)) for file in samples.rglob("*properties")}
    assert found == set(OPENS) | set(REFUSED) - {"."}


@pytest.mark.parametrize("name", OPENS)
def test_a_catalogue_opens_with_its_own_tiles_and_rows(samples: Path, name: str) -> None:
    survey = open_sample(samples / name)
    gated = [(part, item) for part in survey.parts() for item in survey.blocks(part)]
    assert sum(len(item.block) for _, item in gated) == OPENS[name]
    assert sum(len(item.rejected) for _, item in gated) == 0
    catalogue = hats.read_hats(samples / name)
    catalogue = getattr(catalogue, "main_catalog", catalogue)
    pixels = [Tile(int(pixel.order), int(pixel.pixel)) for pixel in catalogue.get_healpix_pixels()]
    assert survey.native_tiles() == sorted(pixels)
    for part, item in gated:
        assert part.tile is not None
        assert np.all(item.block.healpix29 >> 2 * (29 - part.tile.order) == part.tile.pixel)
    if catalogue.catalog_info.healpix_order == 29 and name != "small_sky_nested":
        folder = Path(str(catalogue.catalog_base_dir)) / "dataset"
        theirs = pq.read_table(folder, columns=["_healpix_29"], partitioning=None)["_healpix_29"].to_numpy()
        ours = np.concatenate([item.block.healpix29 for _, item in gated])
        np.testing.assert_array_equal(np.sort(ours), np.sort(theirs))


@pytest.mark.parametrize("name", REFUSED)
def test_what_holds_no_sources_is_refused_by_name(samples: Path, name: str) -> None:
    with pytest.raises(TableError, match=REFUSED[name]):
        open_sample(samples / name).parts()


def test_a_partition_without_its_file_is_named(samples: Path, tmp_path: Path) -> None:
    shutil.copytree(samples / "small_sky_source", tmp_path / "copy")
    (tmp_path / "copy/dataset/Norder=2/Dir=0").chmod(0o755)
    (tmp_path / "copy/dataset/Norder=2/Dir=0/Npix=180.parquet").unlink()
    with pytest.raises(TableError, match=r"1 partitions .* first of them Norder=2/Npix=180"):
        open_sample(tmp_path / "copy").parts()


def test_broken_properties_are_named(samples: Path, tmp_path: Path) -> None:
    folder = tmp_path / "broken"
    folder.mkdir()
    (folder / "hats.properties").write_text("obs_collection=x\ndataproduct_type=galaxy\n")
    with pytest.raises(TableError, match="the HATS properties are not valid"):
        open_sample(folder).parts()


def test_rows_that_do_not_belong_to_their_partition_are_quarantined(samples: Path) -> None:
    survey = open_sample(samples / "small_sky_o1_collection")
    part = survey.parts()[0]
    assert part.tile == Tile(1, 44)
    moved = type(part)(**{**part.__dict__, "tile": Tile(1, 45)})
    [item] = survey.blocks(moved)
    assert len(item.block) == 0 and set(item.rejected.reason) == {"outside_tile"}


def test_a_nested_column_is_left_behind_with_a_word(samples: Path, caplog: pytest.LogCaptureFixture) -> None:
    open_sample(samples / "small_sky_nested").parts()
    assert "survey 'sample': nested columns are left behind (lc, lc.source_id," in caplog.text
    caplog.clear()
    open_sample(samples / "small_sky").parts()
    assert not caplog.text


def test_a_nested_column_that_the_map_names_is_refused(samples: Path) -> None:
    survey = open_sample(samples / "small_sky_nested")
    config = survey.config.model_copy(update={"values": {"lc": ValueColumn(column="lc", unit="")}})
    with pytest.raises(
        TableError,
        match=r"column 'lc' \(number\): expected numbers, found struct<.*name it, or its fields, under `nested`",
    ):
        open_survey(config).parts()


def test_light_curves_of_alerts_are_nested(data: Path) -> None:
    path = data / "catalogues/lc_elasticc_fink/rubin_alert_schema10_0_sample.parquet"
    columns = shape(TableFile(path.name, str(path)), "parquet").columns
    nested = {"diaSource", "prvDiaSources", "prvDiaForcedSources", "diaObject"}
    assert nested <= {name for name, (kind, _) in columns.items() if kind == "nested"}
