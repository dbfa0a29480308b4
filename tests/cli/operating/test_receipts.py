"""Differences between then and now are named by ingredient, in words."""

from __future__ import annotations

from pathlib import Path

import pytest

from skymill.cli.operating.receipts import Difference, Receipt, compare, receipt_path

DIGESTS = ["a" * 64, "b" * 64]


def test_equal_ingredients_have_no_difference():
    value = {"settings": {"tiling": {"max_rows": 10}}, "code": {"skymill.a": DIGESTS[0]}}
    assert compare(value, value) == []


def test_a_setting_is_named_with_both_values():
    then, now = ({"settings": {"tiling": {"max_rows": rows}}} for rows in (10, 20))
    assert compare(then, now) == [Difference("settings", "tiling.max_rows 10 is now 20")]


def test_digests_are_not_shown_but_their_names_are():
    then, now = ({"data": {"a.parquet": digest, "b.parquet": DIGESTS[0]}} for digest in DIGESTS)
    assert compare(then, now) == [Difference("data", "a.parquet has changed")]


def test_new_and_lost_files_are_told_apart():
    then, now = {"data": {"a.parquet": DIGESTS[0]}}, {"data": {"b.parquet": DIGESTS[0]}}
    assert compare(then, now) == [Difference("data", "a.parquet is gone, b.parquet is new")]


def test_of_many_differences_some_are_named_and_the_others_counted():
    then, now = ({"data": {f"{n}.fits": digest for n in range(9)}} for digest in DIGESTS)
    [(_, text)] = compare(then, now)
    assert text == "0.fits has changed, 1.fits has changed, 2.fits has changed, 6 more"


def test_a_bare_digest_shows_its_start():
    assert compare({"onnx": "a" * 12}, {"onnx": "b" * 12}) == [Difference("onnx", "aaaaaaaaaaaa is now bbbbbbbbbbbb")]


def test_a_setting_that_became_empty_is_seen():
    then, now = {"settings": {"features": {"extinction": [1.0]}}}, {"settings": {"features": {"extinction": None}}}
    assert compare(then, now) == [Difference("settings", "features.extinction [1.0] is now null")]


def test_a_receipt_comes_back_as_it_was_written(tmp_path):
    output = str(tmp_path / "results" / "tiling" / "plan.json")
    receipt = Receipt("tiling_plan", output, {"data": "x"}, {"data": {"a": "y"}}, {"in.json": "z"}, {"skymill": "1"})
    receipt.write(tmp_path / "results")
    path = receipt_path(tmp_path / "results", output)
    assert path == tmp_path / "results" / "receipts" / "tiling" / "plan.json"
    assert Receipt.read(path) == receipt
    assert Receipt.read(path.with_name("other.json")) is None


def test_a_damaged_receipt_names_its_file(tmp_path):
    path = tmp_path / "receipt.json"
    path.write_text('{"rule": "x"')
    with pytest.raises(ValueError, match=r"receipt\.json: expected a receipt"):
        Receipt.read(Path(path))
