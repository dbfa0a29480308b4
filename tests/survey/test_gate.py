"""The gate: declared dtypes and units, whatever comes in; every row accounted for."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from skymill.config import SurveyConfig, load_survey
from skymill.sky import Tile, order29
from skymill.survey import REASONS, SOURCE_FLAGS, TableError
from skymill.survey.gate import gate

PLAIN = load_survey(
    {
        "name": "plain",
        "format": "parquet",
        "path": "x",
        "bands": ["g", "r"],
        "id": {"column": "id"},
        "ra": {"column": "ra", "unit": "deg"},
        "dec": {"column": "dec", "unit": "deg"},
        "photometry": {
            "flux": {
                "column": "{band}",
                "error": "{band}e",
                "unit": "nJy",
                "missing": [-9999.0],
                "not_detected": [-99.0],
            }
        },
        "values": {"size": {"column": "size", "unit": "arcsec"}},
        "extinction": {"column": "ebv", "coefficients": {"g": 3.65, "r": 2.7}},
    }
)


def flag(name: str) -> int:
    return next(flag.mask for flag in SOURCE_FLAGS if flag.name == name)


IDS = [0, 1, 2**53 - 1, 2**53 + 1, 2**63 - 1, 2**63, 2**64 - 1]
WIDE = {"ra": (-360, 719), "dec": (-90, 90)}
SPECIAL = [-9999.0, -99.0, 0.0, -1.0, 12.5, np.nan, np.inf, 3e38]


def numbers(kind: str, name: str) -> st.SearchStrategy[float]:
    """Positions are mostly on the sphere, fluxes often a code; the rest is any float there is."""
    anything = hnp.from_dtype(np.dtype(kind))
    if name in WIDE:
        return st.one_of([st.floats(*WIDE[name], width=32)] * 7 + [anything])
    return st.sampled_from(SPECIAL).map(np.float32) | anything


@st.composite
def tables(draw: st.DrawFn) -> dict[str, np.ndarray]:
    """Any table of the mapped columns: all floats there are, both byte orders, widths, strides and masks."""
    n_rows = draw(st.integers(0, 12))
    table: dict[str, np.ndarray] = {}
    id_type = draw(st.sampled_from(["<i8", ">i8", "<u8", ">u8", ">i4", "<u2"]))
    fitting = [value for value in IDS if value <= np.iinfo(id_type).max]
    table["id"] = draw(
        hnp.arrays(id_type, n_rows, elements=st.sampled_from(fitting) | hnp.from_dtype(np.dtype(id_type)))
    )
    for name in ("ra", "dec", "g", "r", "ge", "re", "size", "ebv"):
        kind = draw(st.sampled_from(["<f8", ">f8", "<f4", ">f4"]))
        table[name] = draw(hnp.arrays(kind, n_rows, elements=numbers(kind, name)))
    for name in table:
        if draw(st.integers(0, 3)) == 0:
            table[name] = np.ma.MaskedArray(table[name], mask=draw(hnp.arrays(bool, n_rows)))
        if draw(st.booleans()):
            table[name] = (
                np.ma.repeat(table[name], 2)[::2] if np.ma.isMA(table[name]) else np.repeat(table[name], 2)[::2]
            )
    return table


def fate(table: dict[str, np.ndarray], row: int) -> str:
    """Why a row is not kept, '' if it is, by plain arithmetic."""
    identity, ra, dec = (table[name][row] for name in ("id", "ra", "dec"))
    if identity is np.ma.masked:
        return "id_missing"
    if int(identity) >= 2**63:
        return "id_out_of_range"
    if any(angle is np.ma.masked or not np.isfinite(angle) for angle in (ra, dec)):
        return "position_missing"
    if not -360 <= ra < 720:
        return "ra_out_of_range"
    return "" if -90 <= dec <= 90 else "dec_out_of_range"


@given(tables())
@settings(deadline=None, max_examples=100)
def test_whatever_comes_in_sound_arrays_come_out_and_no_row_is_lost(table: dict[str, np.ndarray]) -> None:
    n_rows = len(table["id"])
    block, rejected = gate(table, PLAIN, part="p", first_row=100)
    assert len(block) + len(rejected) == n_rows
    fates = np.array([fate(table, row) for row in range(n_rows)], dtype="U24")
    kept = np.flatnonzero(fates == "")
    assert dict(zip((rejected.row - 100).tolist(), rejected.reason.tolist(), strict=True)) == {
        row: reason for row, reason in enumerate(fates.tolist()) if reason
    }
    arrays = {
        "int64": [block.object_id, block.healpix29, rejected.row, rejected.object_id],
        "float64": [block.ra, block.dec, rejected.ra, rejected.dec],
        "float32": [*block.photometry.values(), block.values],
        "int32": [block.flags],
    }
    for dtype, found in arrays.items():
        for array in found:
            assert type(array) is np.ndarray
            assert array.dtype == np.dtype(dtype) and array.dtype.isnative and array.flags.c_contiguous
    assert list(block.photometry) == ["flux", "fluxErr"]
    assert block.photometry["flux"].shape == (len(block), 2) and block.values.shape == (len(block), 2)
    assert np.all((block.ra >= 0) & (block.ra < 360) & (np.abs(block.dec) <= 90))
    np.testing.assert_array_equal(block.healpix29, order29(block.ra, block.dec))
    assert [int(value) for value in np.ma.getdata(table["id"])[kept]] == block.object_id.tolist()
    for array in (*block.photometry.values(), block.values):
        assert not np.isinf(array).any()
    missing, without_error = np.isnan(block.photometry["flux"]), np.isnan(block.photometry["fluxErr"])
    undetected = np.stack([np.ma.filled(np.ma.asarray(table[band]) == -99, False)[kept] for band in "gr"], axis=1)
    assert (block.photometry["flux"][undetected] == 0).all() and without_error[undetected].all()
    ra = np.ma.getdata(table["ra"])[kept]
    expected = {
        "ra_wrapped": (ra < 0) | (ra >= 360),
        "flux_missing": missing.any(axis=1),
        "all_flux_missing": missing.all(axis=1),
        "flux_not_detected": undetected.any(axis=1),
        "flux_err_missing": (without_error & ~missing & ~undetected).any(axis=1),
        "value_missing": np.isnan(block.values[:, 0]),
        "ebv_missing": np.isnan(block.values[:, 1]),
        "category_unknown": np.zeros(len(block), bool),  # this survey nests nothing
    }
    assert list(expected) == [each.name for each in SOURCE_FLAGS]
    for name, where in expected.items():
        np.testing.assert_array_equal((block.flags & flag(name)) > 0, where, name)
    assert all(kind == REASONS[reason].kind for kind, reason in zip(rejected.kind, rejected.reason, strict=True))


def test_big_endian_columns_give_the_same_block(columns, survey_config) -> None:
    table = columns(500)
    swapped = {name: values.astype(values.dtype.newbyteorder(">")) for name, values in table.items()}
    native, foreign = gate(table, survey_config()).block, gate(swapped, survey_config()).block
    for name in ("object_id", "ra", "dec", "healpix29", "flags", "values"):
        np.testing.assert_array_equal(getattr(native, name), getattr(foreign, name))
    for name, flux in native.photometry.items():
        np.testing.assert_array_equal(flux, foreign.photometry[name])


def test_every_bad_position_has_its_reason(columns, survey_config) -> None:
    table = columns(9)
    table["ra"][:] = [-1, 361, 5.88e8, np.nan, 10, 10, 360, -360.5, np.inf]
    table["dec"][:] = [0, 0, 0, 0, 90.001, np.nan, 0, 0, 0]
    block, rejected = gate(table, survey_config())
    np.testing.assert_array_equal(block.ra, [359, 1, 0])
    assert np.all(block.flags & flag("ra_wrapped"))
    found = dict(zip(rejected.row.tolist(), rejected.reason.tolist(), strict=True))
    assert found == {
        2: "ra_out_of_range",
        3: "position_missing",
        4: "dec_out_of_range",
        5: "position_missing",
        7: "ra_out_of_range",
        8: "position_missing",
    }
    assert set(rejected.kind) == {"quarantined"}
    assert rejected.ra[rejected.row == 2] == 5.88e8
    np.testing.assert_array_equal(rejected.object_id, table["id"][rejected.row])


def test_rows_that_are_not_primary_are_excluded_before_anything_else(columns, survey_config) -> None:
    table = columns(4)
    table["primary"] = np.ma.MaskedArray([True, False, False, True], mask=[False, False, False, True])
    table["ra"][2] = np.nan
    config = survey_config(primary={"column": "primary"})
    block, rejected = gate(table, config)
    assert block.object_id.tolist() == [2**60]
    assert rejected.reason.tolist() == ["not_primary", "not_primary", "primary_missing"]
    assert rejected.kind.tolist() == ["excluded", "excluded", "quarantined"]


def test_primary_may_be_a_number(columns, survey_config) -> None:
    table = columns(3) | {"mode": np.array([2, 1, 0], dtype=">i2")}
    block, _ = gate(table, survey_config(primary={"column": "mode", "keep": 1}))
    assert block.object_id.tolist() == [2**60 + 1]
    block, _ = gate(table, survey_config(primary={"column": "mode", "keep": 2}))
    assert block.object_id.tolist() == [2**60]


def test_rows_outside_the_tile_of_their_file_are_quarantined(columns, survey_config) -> None:
    table = columns(200)
    block, rejected = gate(table, survey_config(), tile=Tile(0, 4))
    inside = order29(table["ra"], table["dec"]) >> 58 == 4
    np.testing.assert_array_equal(block.object_id, table["id"][inside])
    assert set(rejected.reason) == {"outside_tile"} and len(rejected) == int((~inside).sum())


def test_reddening_is_the_last_value_and_its_absence_is_flagged(columns, survey_config) -> None:
    table = columns(3)
    table["ebv"][1] = np.nan
    block, _ = gate(table, survey_config())
    np.testing.assert_array_equal(block.values[:, 1], table["ebv"])
    np.testing.assert_array_equal(block.flags, [0, flag("ebv_missing"), 0])


def test_an_empty_table_flows_through(columns, survey_config) -> None:
    block, rejected = gate(columns(0), survey_config())
    assert len(block) == len(rejected) == 0
    assert block.photometry["psfFlux"].shape == (0, 2) and block.values.shape == (0, 2)


def test_all_missing_columns_are_named_at_once_with_similar_ones(columns, survey_config) -> None:
    table = columns(2)
    table["R_Flux"] = table.pop("r_flux")
    del table["size"], table["ebv"]
    with pytest.raises(
        TableError, match=r"3 of 9 mapped columns are missing: 'r_flux' \(similar: .*R_Flux.*'size', 'ebv'"
    ):
        gate(table, survey_config(), part="file.parquet")


@pytest.mark.parametrize(
    ("column", "values", "message"),
    [
        (
            "id",
            np.array([1.0, 2.0]),
            r"column 'id' \(integer id\): expected integers, found float64; a float cannot hold",
        ),
        ("g_flux", np.array(["1", "2"]), r"column 'g_flux' \(flux\): expected numbers, found <U1"),
        ("ra", np.array(["00:00:01", "1"]), r"column 'ra' \(angle\): expected numbers, found <U8; .*sexagesimal"),
        ("size", np.zeros((2, 3)), r"column 'size' \(number\): expected numbers, found float64 vector of shape \(3,\)"),
        (
            "ebv",
            np.array(["2020-01-01"] * 2, dtype="M8[D]"),
            r"column 'ebv' \(number\): expected numbers, found datetime64",
        ),
    ],
)
def test_a_column_of_the_wrong_type_is_refused(columns, survey_config, column, values, message) -> None:
    with pytest.raises(TableError, match=message):
        gate(columns(2) | {column: values}, survey_config(), part="part")


def test_columns_of_different_lengths_are_refused(columns, survey_config) -> None:
    with pytest.raises(TableError, match="expected columns of one length"):
        gate(columns(3) | {"size": np.zeros(2)}, survey_config())


def test_a_map_without_positions_is_refused() -> None:
    with pytest.raises(TableError, match="must name id, ra and dec"):
        gate({}, SurveyConfig(name="s", format="simulated", bands=["g"], simulation={}))


def test_fluxes_are_found_under_the_tables_own_spelling_of_a_band(survey_config, columns) -> None:
    table = columns(5)
    spelt = {name.replace("r_flux", "R_flux"): values for name, values in table.items()}
    as_usual = gate(table, survey_config()).block.photometry
    found = gate(spelt, survey_config(band_names={"r": "R"})).block.photometry
    assert list(found) == list(as_usual)
    for name, values in as_usual.items():
        np.testing.assert_array_equal(found[name], values)
