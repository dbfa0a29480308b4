"""Identifiers are exact."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from skymill.config.survey import IdColumn
from skymill.survey.ids import object_ids

INT64 = st.integers(-(2**63), 2**63 - 1)


@given(st.lists(INT64), st.sampled_from(["<i8", ">i8"]))
def test_an_integer_column_is_taken_as_it_is(ids: list[int], dtype: str) -> None:
    found, missing, out = object_ids({"id": np.array(ids, dtype=dtype)}, IdColumn(column="id"))
    assert found.tolist() == ids and not missing.any() and not out.any()


@given(st.lists(st.integers(0, 2**64 - 1)))
def test_unsigned_ids_above_int64_are_out_of_range(ids: list[int]) -> None:
    found, _, out = object_ids({"id": np.array(ids, dtype=np.uint64)}, IdColumn(column="id"))
    assert out.tolist() == [value >= 2**63 for value in ids]
    assert found.tolist() == [value if value < 2**63 else 0 for value in ids]


def test_the_neighbour_of_2_to_the_53_survives() -> None:
    ids = np.ma.MaskedArray([2**53 + 1, 0], mask=[False, True], dtype=np.int64)
    found, missing, _ = object_ids({"id": ids}, IdColumn(column="id"))
    assert found.tolist() == [2**53 + 1, 0] and missing.tolist() == [False, True]


@given(st.lists(st.tuples(st.integers(0, 2**16 - 1), st.integers(0, 2**17 - 1), st.integers(0, 2**12 - 1)), min_size=1))
def test_packing_is_reversible(rows: list[tuple[int, int, int]]) -> None:
    columns = dict(zip(("plate", "mjd", "fiber"), np.array(rows, dtype=">i4").T, strict=True))
    ids, _, out = object_ids(columns, IdColumn(pack={"plate": 16, "mjd": 17, "fiber": 12}))
    assert not out.any()
    assert [(value >> 29, value >> 12 & (1 << 17) - 1, value & (1 << 12) - 1) for value in ids.tolist()] == rows


def test_a_part_wider_than_its_bits_is_out_of_range() -> None:
    columns = {"a": np.array([1, 1, -1, 2**62]), "b": np.array([255, 256, 0, 0])}
    ids, _, out = object_ids(columns, IdColumn(pack={"a": 55, "b": 8}))
    assert out.tolist() == [False, True, True, True] and ids.tolist() == [511, 0, 0, 0]


def test_hashes_never_change() -> None:
    """These numbers are in catalogues: a change here renames every source of a survey with text ids."""
    names = np.array(["OGLE-LMC-ACEP-001", "α Cen", ""], dtype=object)
    ids, missing, _ = object_ids({"name": names}, IdColumn(hash=["name"]))
    assert ids.tolist() == [103718115202335114, 2704532844040339750, 0] and missing.tolist() == [False, False, True]


@pytest.mark.parametrize(
    "values",
    [
        np.array(["abc", "d"], dtype=object),
        np.array(["abc", "d"]),
        np.array([b"abc", b"d  "]),
        np.ma.MaskedArray(["abc", "d"], mask=[False, False]),
    ],
)
def test_the_same_text_hashes_the_same_from_any_file(values: np.ndarray) -> None:
    reference = object_ids({"name": np.array(["abc", "d"])}, IdColumn(hash=["name"]))[0]
    np.testing.assert_array_equal(object_ids({"name": values}, IdColumn(hash=["name"]))[0], reference)


@given(st.lists(st.tuples(st.text(st.characters(codec="ascii", exclude_categories=["C", "Z"]), min_size=1), INT64)))
def test_different_rows_hash_differently_and_fit_63_bits(rows: list[tuple[str, int]]) -> None:
    columns = {
        "field": np.array([text for text, _ in rows], dtype=object),
        "number": np.array([number for _, number in rows], dtype=np.int64),
    }
    ids, _, _ = object_ids(columns, IdColumn(hash=["field", "number"]))
    assert np.all(ids >= 0) and len(set(ids.tolist())) == len(set(rows))


def test_empty_parts_of_a_hashed_id_are_missing() -> None:
    columns = {"a": np.array(["x", None, "y"], dtype=object), "b": np.array([1.5, 2.0, np.nan])}
    _, missing, _ = object_ids(columns, IdColumn(hash=["a", "b"]))
    assert missing.tolist() == [False, True, True]
