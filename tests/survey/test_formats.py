"""The same table in every format gives the same sources."""

from __future__ import annotations

import csv
import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy.table import MaskedColumn, Table

from skymill.config import SurveyConfig
from skymill.survey import TableError, open_survey

ROWS = 300
Table_ = dict[str, np.ndarray]


@pytest.fixture
def table(columns: Callable[[int], Table_]) -> Table_:
    """Ids above 2^53, one of them empty; a flux that is NaN and one that is infinite; rows that are not primary."""
    found = columns(ROWS)
    ra = found["ra"]
    ra[:], found["dec"][:] = 45 + ra / 36, 30 + found["dec"] / 30  # inside one pixel of order 0, for HATS
    found["g_flux"][3], found["r_flux"][5], found["size"][7] = np.nan, np.inf, np.nan
    found["primary"] = np.arange(ROWS) % 10 != 0
    found["id"] = np.ma.MaskedArray(found["id"], mask=np.arange(ROWS) == 11)
    return found


def to_parquet(table: Table_, path: Path) -> Path:
    arrays = {name: pa.array(np.ma.getdata(values), mask=np.ma.getmaskarray(values)) for name, values in table.items()}
    pq.write_table(pa.table(arrays), path)
    return path


def to_hats(table: Table_, path: Path) -> Path:
    leaf = path / "dataset" / "Norder=0" / "Dir=0"
    leaf.mkdir(parents=True)
    to_parquet(table, leaf / "Npix=0.parquet")
    (path / "partition_info.csv").write_text("Norder,Npix\n0,0\n")
    (path / "hats.properties").write_text(
        f"obs_collection=t\ndataproduct_type=object\nhats_nrows={ROWS}\nhats_col_ra=ra\nhats_col_dec=dec\n"
    )
    return path


def to_astropy(table: Table_) -> Table:
    return Table({name: MaskedColumn(values) if np.ma.isMA(values) else values for name, values in table.items()})


def to_fits(table: Table_, path: Path) -> Path:
    to_astropy(table).write(path)
    return path


def to_votable(table: Table_, path: Path) -> Path:
    to_astropy(table).write(path, format="votable", tabledata_format="tabledata")
    return path


def to_binary_votable(table: Table_, path: Path) -> Path:
    to_astropy(table).write(path, format="votable", tabledata_format="binary2")
    return path


def to_csv(table: Table_, path: Path) -> Path:
    """Shortest exact decimals, empty fields for null, as any careful writer does."""
    with gzip.open(path, "wt") if path.suffix == ".gz" else path.open("w") as file:
        writer = csv.writer(file)
        writer.writerow(table)
        for row in zip(*(np.ma.getdata(values) for values in table.values()), strict=True):
            writer.writerow(
                "" if value == 0 and name == "id" else value for name, value in zip(table, row, strict=True)
            )
    return path


def to_hdf5_group(table: Table_, path: Path) -> Path:
    with h5py.File(path, "w") as file:
        for name, values in table.items():
            file[f"photometry/{name}"] = np.ma.getdata(values)
        file["photometry/id.mask"] = np.ma.getmaskarray(table["id"])
        file["photometry"].attrs["made_by"] = "a test"
    return path


def to_hdf5_records(table: Table_, path: Path) -> Path:
    to_astropy(table).write(path, path="data", serialize_meta=True)
    return path


WRITERS: dict[str, tuple[str, str, Callable[[Table_, Path], Path]]] = {
    "parquet": ("parquet", "t.parquet", to_parquet),
    "hats": ("hats", "t", to_hats),
    "fits": ("fits", "t.fits", to_fits),
    "csv": ("csv", "t.csv", to_csv),
    "gzipped csv": ("csv", "t.csv.gz", to_csv),
    "hdf5 group": ("hdf5", "t.h5", to_hdf5_group),
    "hdf5 records": ("hdf5", "t.hdf5", to_hdf5_records),
    "votable": ("votable", "t.vot", to_votable),
    "binary votable": ("votable", "t.xml", to_binary_votable),
}
"""Format, file name and writer of each kind of file."""


def sources(config: SurveyConfig) -> dict[str, Any]:
    """Everything that leaves the gate, as bytes."""
    survey = open_survey(config)
    gated = [item for part in survey.parts() for item in survey.blocks(part)]
    blocks, rejected = [item.block for item in gated], [item.rejected for item in gated]
    assert sum(map(len, blocks)) + sum(map(len, rejected)) == ROWS
    found = {name: [getattr(block, name) for block in blocks] for name in ("object_id", "ra", "dec", "healpix29")}
    found |= {"flags": [block.flags for block in blocks], "values": [block.values for block in blocks]}
    found |= {key: [block.photometry[key] for block in blocks] for key in survey.schema.photometry}
    found |= {f"rejected {key}": [getattr(some, key) for some in rejected] for key in ("row", "ra", "dec", "reason")}
    return {name: np.concatenate(arrays).tobytes() for name, arrays in found.items()}


@pytest.mark.parametrize("kind", WRITERS)
def test_the_same_table_gives_the_same_sources(table, survey_config, tmp_path: Path, kind: str) -> None:
    primary = {"column": "primary"}
    table["id"][11] = 0  # what stands behind the mask
    table["id"].mask[11] = True
    reference = sources(survey_config(to_parquet(table, tmp_path / "reference.parquet"), primary=primary))
    table_format, name, write = WRITERS[kind]
    found = sources(survey_config(write(table, tmp_path / name), format=table_format, primary=primary))
    assert found == reference


@pytest.mark.parametrize("kind", [kind for kind in WRITERS if kind != "hats"])
@pytest.mark.parametrize("share", [0.0, 0.3, 0.6, 0.95])
def test_a_truncated_file_is_named_with_its_mend(table, survey_config, tmp_path: Path, kind: str, share: float) -> None:
    table_format, name, write = WRITERS[kind]
    path = write(table, tmp_path / name)
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    config = survey_config(path, format=table_format)
    with pytest.raises(TableError, match=rf"{name}: .*(again|correct|write)"):
        sources(config)


@pytest.mark.parametrize("kind", [kind for kind in WRITERS if kind not in ("hats",)])
def test_a_file_of_another_kind_is_named(survey_config, tmp_path: Path, kind: str) -> None:
    table_format, name, _ = WRITERS[kind]
    (tmp_path / name).write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 40)
    with pytest.raises(TableError, match=rf"{name}: expected "):
        sources(survey_config(tmp_path / name, format=table_format))


@pytest.mark.parametrize("kind", [kind for kind in WRITERS if kind != "hats"])
def test_missing_columns_are_all_named(table, survey_config, tmp_path: Path, kind: str) -> None:
    table_format, name, write = WRITERS[kind]
    del table["ebv"], table["g_fluxErr"]
    with pytest.raises(TableError, match=r"2 of 9 mapped columns are missing: 'g_fluxErr' .*'ebv'"):
        sources(survey_config(write(table, tmp_path / name), format=table_format))
