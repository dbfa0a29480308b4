"""One bad row among sound ones: what it holds, and where it is counted."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

ROWS, BAD = 50, 7
Columns = dict[str, np.ma.MaskedArray]


def sound_columns() -> Columns:
    """A table without fault: ids above 2^53, positions, two bands, a size, E(B-V), a mark of primary rows."""
    rng = np.random.default_rng(0)
    table: dict[str, Any] = {
        "id": 2**60 + np.arange(ROWS),
        "ra": rng.uniform(40, 50, ROWS),
        "dec": rng.uniform(-5, 5, ROWS),
        "size": rng.uniform(1, 2, ROWS),
        "ebv": rng.uniform(0, 1, ROWS),
        "mode": np.ones(ROWS, "i4"),
    }
    for band in "gr":
        table |= {f"{band}_flux": rng.uniform(10, 1e4, ROWS), f"{band}_err": rng.uniform(1, 2, ROWS)}
    table["part"] = np.arange(ROWS)
    return {name: np.ma.MaskedArray(values) for name, values in table.items()}


def column_map(path: Path, table_format: str = "parquet", **changes: Any) -> dict[str, Any]:
    """The map of `sound_columns`."""
    content = {
        "name": "bad", "format": table_format, "path": str(path), "bands": ["g", "r"], "id": {"column": "id"},
        "ra": {"column": "ra", "unit": "deg"}, "dec": {"column": "dec", "unit": "deg"},
        "photometry": {"psfFlux": {"column": "{band}_flux", "error": "{band}_err", "unit": "nJy"}},
        "values": {"size": {"column": "size", "unit": "arcsec"}},
        "extinction": {"column": "ebv", "coefficients": {"g": 3.65, "r": 2.7}},
        "primary": {"column": "mode", "keep": 1},
    }  # fmt: skip
    return content | changes


def write_parquet(table: Columns, path: Path) -> Path:
    """Write a table with its nulls."""
    arrays = {name: pa.array(np.ma.getdata(values), mask=np.ma.getmaskarray(values)) for name, values in table.items()}
    pq.write_table(pa.table(arrays), path)
    return path


@dataclass(frozen=True)
class RowCase:
    """One bad row among sound ones."""

    what: str
    counter: str
    """Where it is counted: ``ok``, ``flagged: ...``, ``excluded: ...`` or ``quarantined: ...``."""
    values: dict[str, Any]
    """What the bad row holds; None is null."""
    changes: dict[str, Any] = field(default_factory=dict)
    """Of the column map."""

    def table(self) -> Columns:
        """The table with the bad row."""
        table = sound_columns()
        for name, value in self.values.items():
            if isinstance(value, str):
                table[name] = np.ma.MaskedArray([f"{number}" for number in range(ROWS)], dtype=object)
            elif isinstance(value, np.generic):
                table[name] = table[name].astype(value.dtype)
            table[name][BAD] = np.ma.masked if value is None else value
        return table


FLUX = {"column": "{band}_flux", "error": "{band}_err", "unit": "nJy"}
WEIGHTS = {"photometry": {"psfFlux": {"column": "{band}_flux", "inverse_variance": "{band}_err", "unit": "nJy"}}}
CODES = {"photometry": {"psfFlux": FLUX | {"missing": [-9999.0], "not_detected": [99.0]}}}
NAMES = {"id": {"hash": ["id"]}}
PACKED = {"id": {"pack": {"mode": 10, "part": 6}}}
NAN, INF = float("nan"), float("inf")

ROW_CASES = (
    RowCase("right ascension null", "quarantined: position_missing", {"ra": None}),
    RowCase("right ascension NaN", "quarantined: position_missing", {"ra": NAN}),
    RowCase("declination infinite", "quarantined: position_missing", {"dec": INF}),
    RowCase("right ascension -1", "flagged: ra_wrapped", {"ra": -1.0}),
    RowCase("right ascension 361", "flagged: ra_wrapped", {"ra": 361.0}),
    RowCase("right ascension 720", "quarantined: ra_out_of_range", {"ra": 720.0}),
    RowCase("right ascension 5.88e8", "quarantined: ra_out_of_range", {"ra": 5.88e8}),
    RowCase("declination 90", "ok", {"dec": 90.0}),
    RowCase("declination -90", "ok", {"dec": -90.0}),
    RowCase("declination 90.0001", "quarantined: dec_out_of_range", {"dec": 90.0001}),
    RowCase("declination -999", "quarantined: dec_out_of_range", {"dec": -999.0}),
    RowCase("id null", "quarantined: id_missing", {"id": None}),
    RowCase("id 2^53 + 1, which no float holds", "ok", {"id": 2**53 + 1}),
    RowCase("id negative", "ok", {"id": -70}),
    RowCase("id 2^63", "quarantined: id_out_of_range", {"id": np.uint64(2**63)}),
    RowCase("id as text, not a number", "quarantined: id_out_of_range", {"id": "J0001+0203"}),
    RowCase("id as text with decimals", "quarantined: id_out_of_range", {"id": "12.0"}),
    RowCase("id as text, empty", "quarantined: id_missing", {"id": ""}),
    RowCase("name to be hashed empty", "quarantined: id_missing", {"id": " "}, NAMES),
    RowCase("name to be hashed null", "quarantined: id_missing", {"id": None}, NAMES),
    RowCase("part of a packed id too wide", "quarantined: id_out_of_range", {"part": np.int64(64)}, PACKED),
    RowCase("part of a packed id negative", "quarantined: id_out_of_range", {"part": np.int64(-1)}, PACKED),
    RowCase("flux NaN in one band", "flagged: flux_missing", {"g_flux": NAN}),
    RowCase("flux null in one band", "flagged: flux_missing", {"g_flux": None}),
    RowCase("flux infinite", "flagged: flux_missing", {"g_flux": -INF}),
    RowCase("flux above what float32 holds", "flagged: flux_missing", {"g_flux": 1e39}),
    RowCase("flux a code of `missing`", "flagged: flux_missing", {"g_flux": -9999.0}, CODES),
    RowCase("flux a code of `not_detected`", "flagged: flux_not_detected", {"g_flux": 99.0}, CODES),
    RowCase("fluxes missing in all bands", "flagged: flux_missing, all_flux_missing", {"g_flux": NAN, "r_flux": NAN}),
    RowCase("flux negative", "ok", {"g_flux": -5.0}),
    RowCase("flux zero", "ok", {"g_flux": 0.0}),
    RowCase("error zero", "flagged: flux_err_missing", {"g_err": 0.0}),
    RowCase("error negative", "flagged: flux_err_missing", {"g_err": -1.0}),
    RowCase("error NaN", "flagged: flux_err_missing", {"g_err": NAN}),
    RowCase("inverse variance zero: not observed", "flagged: flux_missing", {"g_err": 0.0}, WEIGHTS),
    RowCase("inverse variance negative", "flagged: flux_err_missing", {"g_err": -1.0}, WEIGHTS),
    RowCase("a value null", "flagged: value_missing", {"size": None}),
    RowCase("a value infinite", "flagged: value_missing", {"size": INF}),
    RowCase("E(B-V) NaN", "flagged: ebv_missing", {"ebv": NAN}),
    RowCase("not a primary detection", "excluded: not_primary", {"mode": 2}),
    RowCase("mark of primary rows null", "quarantined: primary_missing", {"mode": None}),
    RowCase("two faults: no position and no id", "quarantined: id_missing", {"id": None, "ra": NAN}),
)
