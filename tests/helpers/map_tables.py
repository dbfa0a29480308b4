"""Tables that a column map can read, made from the map and, where there is one, the survey's list of columns."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as arrow_csv
import pyarrow.parquet as pq
from astropy.table import Table

from skymill.config import SurveyConfig, load_survey
from skymill.config.survey import Photometry
from skymill.survey.columns import as_read, source_roles
from skymill.survey.flux import softening_nJy

FOLDER = Path(__file__).resolve().parents[2] / "config" / "surveys"
VARIABLES = (
    "LSST_DP02_OBJECT", "LSST_DP1_OBJECT", "LSST_DP2_OBJECT",
    "HSC_PDR3", "DES_DR2", "LEGACY_DR10", "GAIA_DR3", "SDSS_PHOTOOBJ", "SDSS_FRAMES",
)  # fmt: skip
"""What the paths of the maps are made of."""
LSST = {"lsst_dp02": "dp02_dc2", "lsst_dp1": "dp1", "lsst_dp2": "dp2"}
"""Maps and the names of their lists of columns."""
OTHERS = ("hsc", "des", "legacy_surveys", "gaia", "sdss")
DTYPES = {"long": "i8", "int": "i4", "double": "f8", "float": "f4", "boolean": "?"}
ROLE_DTYPES = {"integer id": "i8", "packed id": "i4", "angle": "f8", "flux": "f4", "number": "f4", "mark": "?"}


def listed_dtypes(data: Path, name: str) -> dict[str, str]:
    """Types of the columns of a map's table, where there is a list of them."""
    listed = listed_columns(data, LSST[name]) if name in LSST else {}
    return {column: DTYPES[row["datatype"]] for column, row in listed.items() if row["datatype"] in DTYPES}


def listed_columns(data: Path, name: str) -> dict[str, dict[str, str]]:
    """Datatype and unit of each column of a release's table Object."""
    with (data / "schemas" / f"{name}_columns.csv").open() as file:
        return {row["column"]: row for row in csv.DictReader(file) if row["table"] == "Object"}


def map_table(config: SurveyConfig, rows: int, dtypes: dict[str, str], *, seed: int = 0) -> dict[str, np.ndarray]:
    """Sources of magnitude 18 to 21 with all the columns that a map names; a tenth of them are not primary."""
    rng = np.random.default_rng(seed)
    roles = as_read(source_roles(config))
    table: dict[str, np.ndarray] = {}
    for name, role in roles.items():
        dtype = dtypes.get(name, ROLE_DTYPES[role])
        if role == "integer id":
            values = 2**60 + np.arange(rows)
        elif role == "packed id":
            values = np.arange(rows) + 1
        elif role == "mark":
            values = np.arange(rows) % 10 != 0
            dtype = "i4" if config.primary and config.primary.keep is not True else dtype
        elif config.ra and name == config.ra.column:
            values = rng.uniform(0, 40, rows)
        elif config.dec and name == config.dec.column:
            values = rng.uniform(-30, 5, rows)
        else:
            values = rng.uniform(0.1, 1, rows)
        table[name] = values.astype(dtype)
    for photometry in config.photometry.values():
        magnitude = rng.uniform(18, 21, rows)
        for band in config.bands:
            column = config.in_band(photometry.column, band)
            value, error = _measured(magnitude, photometry, band)
            table[column] = value.astype(table[column].dtype)
            for template, values in ((photometry.error, error), (photometry.inverse_variance, error**-2.0)):
                if template:
                    table[config.in_band(template, band)] = values.astype(table[column].dtype)
    return table


def _measured(magnitude: np.ndarray, photometry: Photometry, band: str) -> tuple[np.ndarray, np.ndarray]:
    """A brightness in the unit of a photometry, and its error: that of the sky, which softens the magnitudes."""
    if photometry.unit.startswith("mag"):
        return magnitude, 1.0857 * softening_nJy(photometry)[band] * 10 ** (0.4 * (magnitude - 31.4))
    zero = photometry.zero_point[band] if isinstance(photometry.zero_point, dict) else photometry.zero_point
    zero = {"nJy": 31.4, "nanomaggy": 22.5}.get(photometry.unit, zero)
    sky = softening_nJy(photometry)[band] * 10 ** (0.4 * (zero - 31.4))
    return 10 ** (0.4 * (zero - magnitude)), np.full(len(magnitude), sky)


def write_map_table(config: SurveyConfig, table: dict[str, np.ndarray], folder: Path) -> SurveyConfig:
    """Write a table in the format of its map, Parquet in place of HATS; give the map that reads it."""
    table_format = "parquet" if config.format == "hats" else config.format
    path = folder / f"table.{table_format}"
    if table_format == "parquet":
        pq.write_table(pa.table(table), path)
    elif table_format == "csv":
        arrow_csv.write_csv(pa.table(table), path)
    else:
        Table(table).write(path)
    return config.model_copy(update={"format": table_format, "path": str(path)})


def load_map(name: str) -> SurveyConfig:
    """Load one of the maps that come with skymill."""
    return load_survey(FOLDER / f"{name}.yaml")
