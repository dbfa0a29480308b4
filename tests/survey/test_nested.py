"""Nested columns: observations of each source, whichever way a file nests them, in the declared types."""

from __future__ import annotations

import re
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from skymill.config import ConfigError, SurveyConfig, load_survey
from skymill.survey import Gated, TableError, open_survey
from skymill.survey.ragged import Ragged

LC = {
    "mjd": {"column": "lc.mjd", "unit": "d"},
    "flux": {"column": "lc.flux", "unit": "nJy", "dtype": "float32", "missing": [-9.0]},
    "visit": {"column": "lc.visit", "unit": "", "dtype": "int32"},
    "band": {"column": "lc.band", "categories": ["g", "r"]},
}
OBSERVATIONS: list[list[dict[str, Any]] | None] = [
    [{"mjd": 1.5, "flux": 2.0, "visit": 7, "band": "r"}, {"mjd": 2.5, "flux": -9.0, "visit": 8, "band": "g"}],
    [],
    None,
    [{"mjd": None, "flux": -0.0, "visit": 2**31 - 1, "band": "w"}],
]


def nest(observations: list[list[dict[str, Any]] | None], way: str) -> dict[str, pa.Array]:
    """The same light curves as a list of structs, a struct of lists, or lists side by side."""
    types = {"mjd": pa.float64(), "flux": pa.float64(), "visit": pa.int64(), "band": pa.string()}
    if way == "list of structs":
        return {"lc": pa.array(observations, pa.list_(pa.struct(list(types.items()))))}
    lists = {
        key: pa.array([None if of is None else [each[key] for each in of] for of in observations], pa.list_(kind))
        for key, kind in types.items()
    }
    return lists if way == "lists" else {"lc": pa.StructArray.from_arrays(list(lists.values()), list(lists))}


def table(nested: dict[str, pa.Array]) -> pa.Table:
    n = len(next(iter(nested.values())))
    return pa.table({"id": pa.array(range(n), pa.int64()), "ra": np.arange(n) + 0.5, "dec": np.zeros(n), **nested})


def config(path: Path, nested: dict[str, Any], **keys: Any) -> SurveyConfig:
    place = {"ra": {"column": "ra", "unit": "deg"}, "dec": {"column": "dec", "unit": "deg"}}
    content = {"name": "s", "format": "parquet", "path": str(path), "bands": ["r"], "id": {"column": "id"}, **place}
    return load_survey({**content, "nested": nested, **keys})


def gated(path: Path, nested: dict[str, Any]) -> Gated:
    survey = open_survey(config(path, nested))
    [part] = survey.parts()
    [item] = survey.blocks(part)
    return item


@pytest.mark.parametrize("way", ["list of structs", "struct of lists", "lists"])
def test_observations_come_through_whichever_way_they_are_nested(tmp_path: Path, way: str) -> None:
    path = tmp_path / "t.parquet"
    pq.write_table(table(nest(OBSERVATIONS, way)), path)
    columns = LC if way != "lists" else {key: {**of, "column": key} for key, of in LC.items()}
    block = gated(path, {"lc": columns}).block
    assert block.nested["lc"].counts.tolist() == [2, 0, 0, 1]
    values = block.nested["lc"].values
    assert values.dtype == np.dtype([("mjd", "<f8"), ("flux", "<f4"), ("visit", "<i4"), ("band", "i1")])
    np.testing.assert_array_equal(values["mjd"], [1.5, 2.5, np.nan])
    np.testing.assert_array_equal(values["flux"], np.array([2, np.nan, 0], "f4"))
    assert not np.signbit(values["flux"][2])
    assert values["visit"].tolist() == [7, 8, 2**31 - 1]
    assert values["band"].tolist() == [1, 0, -1]
    assert (block.flags & 1 << 7).astype(bool).tolist() == [False, False, False, True]  # category_unknown


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ({"mjd": [1.0, 2.0], "visit": [1]}, "lists of different length"),
        ({"mjd": [1.0], "visit": [None]}, "an integer without a number"),
        ({"mjd": [1.0], "visit": [2**31]}, "an integer that does not fit"),
        ({"mjd": [1.0], "visit": [-(2**31) - 1]}, "an integer that does not fit, below"),
        ({"mjd": [1.0], "visit": None}, "one list only"),
    ],
)
def test_a_row_without_clear_observations_is_quarantined(tmp_path: Path, row: dict[str, Any], why: str) -> None:
    path = tmp_path / "t.parquet"
    sound = {"mjd": [1.0, 2.0, 3.0], "visit": [1, 2, -(2**31)]}
    lists = {key: pa.array([sound[key], row[key], sound[key]]) for key in sound}
    pq.write_table(table(lists), path)
    columns = {key: {**LC[key], "column": key} for key in ("mjd", "visit")}
    block, rejected = gated(path, {"lc": columns})
    assert block.object_id.tolist() == [0, 2], why
    assert (rejected.row.tolist(), rejected.reason.tolist()) == ([1], ["nested_misfit"])
    assert block.nested["lc"].values["visit"].tolist() == [1, 2, -(2**31)] * 2


def test_a_field_with_one_value_per_source_is_a_column_as_any_other(tmp_path: Path) -> None:
    alerts = [{"ra": 10.0, "flux": 5.0}, {"ra": None, "flux": 6.0}, None]
    kind = pa.struct([("ra", pa.float64()), ("flux", pa.float64())])
    pq.write_table(
        pa.table({"id": [1, 2, 3], "source": pa.array(alerts, kind), "dec": [0.0] * 3}), tmp_path / "t.parquet"
    )
    content = config(tmp_path / "t.parquet", {}).model_dump(exclude_none=True) | {
        "ra": {"column": "source.ra", "unit": "deg"},
        "photometry": {"psfFlux": {"column": "source.{band}", "unit": "nJy"}},
        "bands": ["flux"],
    }
    survey = open_survey(load_survey(content))
    [item] = survey.blocks(survey.parts()[0])
    assert item.block.photometry["psfFlux"].tolist() == [[5.0]]
    assert item.rejected.reason.tolist() == ["position_missing"] * 2


def test_the_light_curves_of_a_hats_catalogue_are_those_that_arrow_reads(data: Path) -> None:
    path = data / "catalogues/hats_samples/hats/small_sky_nested"
    lc = {
        "mjd": {"column": "lc.mjd", "unit": "d"},
        "source": {"column": "lc.source_id", "unit": "", "dtype": "int64"},
        "band": {"column": "lc.band", "categories": list("ugrizy")},
    }
    survey = config(path, {"lc": lc}, format="hats")
    opened = open_survey(survey)
    n = 0
    for part in opened.parts():
        [item] = opened.blocks(part)
        stored = pq.read_table(path / part.file)["lc"].combine_chunks()
        curve = item.block.nested["lc"]
        assert len(curve) == len(stored) == len(item.block)
        for key, field in {"mjd": "mjd", "source": "source_id"}.items():
            np.testing.assert_array_equal(curve.values[key], pc.list_flatten(pc.struct_field(stored, field)))
        letters = np.array(list("ugrizy"))[curve.values["band"]]
        assert letters.tolist() == pc.list_flatten(pc.struct_field(stored, "band")).to_pylist()
        n += len(curve)
    assert n == 131


def test_real_alerts_give_position_and_history(data: Path) -> None:
    """Rubin alerts: the triggering source is a struct of values, its predecessors a list of structs, often none."""
    path = data / "catalogues/lc_elasticc_fink/rubin_alert_schema10_0_sample.parquet"
    history = {
        "mjd": {"column": "prvDiaSources.midpointMjdTai", "unit": "d"},
        "psfFlux": {"column": "prvDiaSources.psfFlux", "unit": "nJy"},
        "band": {"column": "prvDiaSources.band", "categories": list("ugrizy")},
    }
    place = {name: {"column": f"diaSource.{name}", "unit": "deg"} for name in ("ra", "dec")}
    survey = config(path, {"history": history}, id={"column": "diaSourceId"}, **place)
    opened = open_survey(survey)
    [item] = opened.blocks(opened.parts()[0])
    stored = pq.read_table(path, columns=["diaSource", "prvDiaSources"]).to_pylist()
    assert len(item.block) == len(stored) and len(item.rejected) == 0
    np.testing.assert_allclose(item.block.ra, [row["diaSource"]["ra"] for row in stored])
    before = [row["prvDiaSources"] or [] for row in stored]
    assert item.block.nested["history"].counts.tolist() == [len(sources) for sources in before]
    fluxes = [source["psfFlux"] for sources in before for source in sources]
    assert len(fluxes) > 0
    np.testing.assert_allclose(item.block.nested["history"].values["psfFlux"], fluxes)


def test_what_is_not_declared_is_left_behind_with_a_word(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    nested = {**nest(OBSERVATIONS, "struct of lists"), "spectrum": pa.array([[1.0], [], None, [2.0]])}
    pq.write_table(table(nested), tmp_path / "t.parquet")
    open_survey(config(tmp_path / "t.parquet", {})).parts()
    assert (
        "survey 's': nested columns are left behind (lc, lc.mjd, lc.flux, lc.visit, lc.band, spectrum)" in caplog.text
    )
    caplog.clear()
    open_survey(config(tmp_path / "t.parquet", {"lc": LC})).parts()
    assert "nested columns are left behind (spectrum)" in caplog.text


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"column": "lc.visit", "unit": ""}, "expected lists of floats, found list of int64; for integers, set `dtype"),
        ({"column": "lc.mjd", "unit": "d", "dtype": "int32"}, "expected lists of integers, found list of double"),
        ({"column": "lc.mjd", "categories": ["g"]}, "expected lists of text, found list of double"),
        ({"column": "ra", "unit": "deg"}, r"column 'ra' \(observed number\): expected lists of floats, found double"),
        ({"column": "lc.mdj", "unit": "d"}, r"'lc.mdj' \(similar: lc.mjd"),
    ],
)
def test_a_column_that_does_not_hold_what_is_declared_is_named(tmp_path: Path, value: Any, message: str) -> None:
    pq.write_table(table(nest(OBSERVATIONS, "list of structs")), tmp_path / "t.parquet")
    with pytest.raises(TableError, match=message):
        open_survey(config(tmp_path / "t.parquet", {"lc": {"x": value}})).parts()


@pytest.mark.parametrize(
    ("nested", "message"),
    [
        ({"lc": {"mjd": {"column": "lc.mjd"}}}, "give a number its unit"),
        ({"lc": {"band": {"column": "b", "unit": "", "categories": ["g"]}}}, "give a number its unit"),
        ({"lc": {"band": {"column": "b", "categories": ["g", "g"]}}}, "each category may stand only once"),
        ({"lc": {"visit": {"column": "v", "unit": "", "dtype": "int8", "missing": [-1]}}}, "missing is for floats"),
        ({"lc": {"mjd": {"column": "lc.mjd", "unit": "days"}}}, "days"),
        ({"lc": {}}, "each nested column needs a value or more"),
    ],
)
def test_a_declaration_that_is_not_clear_is_refused(tmp_path: Path, nested: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        config(tmp_path, nested)


@pytest.mark.parametrize("keys", [{"format": "csv"}, {"format": "simulated", "simulation": {}}])
def test_only_formats_that_nest_may_declare_it(keys: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=f"read from parquet and hats, not from format '{keys['format']}'"):
        config(Path("t"), {"lc": LC}, **keys)


@pytest.mark.parametrize(
    ("nested", "named"),
    [
        ({"lc": {"count": LC["mjd"]}}, "lc_count"),
        ({"coord": {"ra": LC["mjd"]}}, "coord_ra"),
        ({"lc": {"a_mjd": LC["mjd"]}, "lc_a": {"mjd": LC["mjd"]}}, "lc_a_mjd"),
    ],
)
def test_arrays_of_one_name_are_refused(tmp_path: Path, nested: dict[str, Any], named: str) -> None:
    pq.write_table(table(nest(OBSERVATIONS, "list of structs")), tmp_path / "t.parquet")
    with pytest.raises(TableError, match=re.escape(f"two arrays would be named {named}; rename one")):
        open_survey(config(tmp_path / "t.parquet", nested))


@given(lists=st.lists(st.lists(st.integers(-9, 9), max_size=4), max_size=8), choice=st.data())
def test_rows_are_chosen_as_from_a_list_of_lists(lists: list[list[int]], choice: st.DataObject) -> None:
    column = Ragged(
        np.array([len(each) for each in lists], np.int64), np.array(list(chain.from_iterable(lists)), np.int64)
    )
    rows = choice.draw(st.lists(st.integers(0, max(len(lists) - 1, 0)), max_size=9 if lists else 0))
    mask = np.array(choice.draw(st.lists(st.booleans(), min_size=len(lists), max_size=len(lists))), bool)
    for what, expected in [
        (np.array(rows, np.int64), [lists[row] for row in rows]),
        (mask, [each for each, keep in zip(lists, mask) if keep]),
        (slice(1, 5), lists[1:5]),
    ]:
        chosen = column[what]
        assert chosen.counts.tolist() == [len(each) for each in expected]
        assert chosen.values.tolist() == list(chain.from_iterable(expected))


def test_equal_observations_have_equal_digests_and_others_do_not() -> None:
    values = np.array([1, 2, 1, 2, 2, 1, 1, 2], np.int16)
    digests = Ragged(np.array([2, 2, 2, 0, 2, 0]), values).digests()
    assert digests.shape == (6, 2)
    same = [[np.array_equal(a, b) for b in digests] for a in digests]
    assert np.flatnonzero(same[0]).tolist() == [0, 1, 4] and np.flatnonzero(same[3]).tolist() == [3, 5]
