"""Sealing what the real stages made of a table with every kind of bad row."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from skymill import release
from skymill.config import ComputeSettings, SurveyConfig
from skymill.store import AccountingError, GroupManifest, StoreError, open_catalogue, verify

from .conftest import Made, make

N = 300
FIRST_ID = 2**60
PLAIN = {"primary": 1, "g_flux": 100.0, "g_err": 1.0, "r_flux": 200.0, "r_err": 1.0}
BAD = [
    {"id": 1, "ra": np.nan, "dec": 0.0},
    {"id": 2, "ra": 10.0, "dec": np.nan},
    {"id": 3, "ra": 5.88e8, "dec": 0.0},
    {"id": 4, "ra": 10.0, "dec": 91.0},
    {"id": 5, "ra": 10.0, "dec": 0.0, "primary": None},
]
"""Rows the gate refuses, one reason each: two for position_missing."""
SECONDARY = [{"id": 6, "ra": 11.0, "dec": 1.0, "primary": 0}, {"id": 7, "ra": 12.0, "dec": 1.0, "primary": 0}]
WRAPPED = [{"id": 8, "ra": -1.0, "dec": 5.0}, {"id": 9, "ra": 361.0, "dec": 5.0}]
CONFLICTING = [
    {"id": 10, "ra": 20.0, "dec": 5.0},
    {"id": 10, "ra": 200.0, "dec": -40.0},  # the same id on the other side of the sky
    {"id": 11, "ra": 30.0, "dec": 5.0},
    {"id": 11, "ra": 30.0, "dec": 5.0, "g_flux": 101.0},  # the same id and place, another flux
]
EXACT_COPIES = 3
N_IN = N + len(BAD) + len(SECONDARY) + len(WRAPPED) + len(CONFLICTING) + EXACT_COPIES


def bad_table() -> pa.Table:
    """300 good sources, copies of the first three, and the rows above."""
    random = np.random.default_rng(0)
    good = [
        {"id": FIRST_ID + number, "ra": ra, "dec": dec}
        for number, (ra, dec) in enumerate(zip(random.uniform(5, 355, N), random.uniform(-60, 60, N)))
    ]
    rows = [*good, *BAD, *SECONDARY, *WRAPPED, *CONFLICTING, *good[:EXACT_COPIES]]
    columns = {"id": pa.int64(), "primary": pa.int8()} | dict.fromkeys(
        ("ra", "dec", "g_flux", "g_err", "r_flux", "r_err"), pa.float64()
    )
    return pa.Table.from_pylist([{**PLAIN, **row} for row in rows], schema=pa.schema(columns))


@pytest.fixture
def made(tmp_path: Path, compute: ComputeSettings) -> Made:
    """The source catalogue of that table, not sealed."""
    pq.write_table(bad_table(), tmp_path / "bad.parquet")
    survey = {
        "name": "bad", "format": "parquet", "path": str(tmp_path / "bad.parquet"), "bands": ["g", "r"],
        "id": {"column": "id"}, "ra": {"column": "ra", "unit": "deg"}, "dec": {"column": "dec", "unit": "deg"},
        "photometry": {"psfFlux": {"column": "{band}_flux", "error": "{band}_err", "unit": "nJy"}},
        "primary": {"column": "primary", "keep": 1},
    }  # fmt: skip
    return make(tmp_path / "results", SurveyConfig.model_validate(survey), compute, max_rows=150, group_order=0)


REFUSED = {"position_missing": 2, "ra_out_of_range": 1, "dec_out_of_range": 1, "primary_missing": 1}


def check_accounting(catalogue: Path) -> None:
    """The same rows are accounted for in every catalogue: gate and duplicates together."""
    opened = open_catalogue(catalogue)
    accounting = opened.manifest["accounting"]
    assert accounting["n_in"] == N_IN
    assert accounting["quarantined"] == {**REFUSED, "conflicting_id": len(CONFLICTING)}
    assert accounting["excluded"] == {"not_primary": len(SECONDARY), "exact_duplicate": EXACT_COPIES}
    assert accounting["n_ok"] + accounting["n_flagged"] == opened.n_rows == N + len(WRAPPED)
    ids = opened.to_xarray(["objectId"])["objectId"].values
    assert set(ids.tolist()) == {*range(FIRST_ID, FIRST_ID + N), 8, 9} and len(ids) == len(set(ids.tolist()))


def test_sources_account_for_every_row_and_list_the_quarantined(made: Made) -> None:
    version = made.seal()
    check_accounting(made.catalogue)
    assert open_catalogue(made.catalogue).manifest["accounting"]["flagged"] == {"ra_wrapped": 2}
    wrapped = open_catalogue(made.catalogue).cone(0.0, 5.0, 1.5)
    assert sorted(zip(wrapped["objectId"].values.tolist(), wrapped["coord_ra"].values.tolist())) == [(8, 359), (9, 1)]

    table = pq.read_table(made.catalogue / "versions" / version / "quarantined_rows.parquet")
    rows = {(row["objectId"], row["reason"]): row for row in table.to_pylist()}
    reasons = ["position_missing", "position_missing", "ra_out_of_range", "dec_out_of_range", "primary_missing"]
    expected = sorted([*zip([1, 2, 3, 4, 5], reasons), *[(row["id"], "conflicting_id") for row in CONFLICTING]])
    assert sorted(zip(table["objectId"].to_pylist(), table["reason"].to_pylist())) == expected
    absurd = rows[3, "ra_out_of_range"]
    assert absurd["coord_ra"] == 5.88e8 and absurd["row"] == N + 2 and absurd["part"].startswith("bad.parquet")
    conflicting = rows[11, "conflicting_id"]
    assert conflicting["tile"].startswith("Norder=") and conflicting["row"] is None
    assert verify(made.output).ok


def test_features_account_for_what_never_reached_them(made: Made) -> None:
    made.seal()
    release.seal("features", made.features(), sources=made.sources, output=made.output)
    check_accounting(made.output / "catalogues" / "features")
    report = verify(made.output)
    assert report.ok and report.n_catalogues == 2, report.lines()


def test_a_missing_group_is_noticed(made: Made) -> None:
    assert len(made.sources) > 2
    with pytest.raises(AccountingError, match=rf"expected {N_IN} sources, found .* a group manifest is missing or old"):
        release.seal("sources", made.sources[1:], sources=made.sources[1:], output=made.output)
    manifests = made.features()
    with pytest.raises(AccountingError, match=rf"expected {N_IN} sources, found .* a group manifest is missing or old"):
        release.seal("features", manifests[:-1], sources=made.sources, output=made.output)
    assert not (made.catalogue / "current.json").exists()


@pytest.mark.parametrize("table", ["tiling/quarantine.parquet", "catalogues/sources/groups/*/*.quarantine.parquet"])
def test_a_table_of_refused_rows_that_lost_some_is_noticed(made: Made, table: str) -> None:
    path = max(made.output.glob(table), key=lambda path: len(pq.read_table(path)))
    pq.write_table(pq.read_table(path).slice(1), path)
    with pytest.raises(AccountingError, match=r"expected the quarantined rows of the account in quarantined_rows"):
        made.seal()


def test_a_plan_of_other_tables_and_groups_of_other_inputs_are_noticed(made: Made) -> None:
    plan = made.output / "tiling" / "plan.json"
    [named] = plan.parent.glob("plan-*.json")
    assert named.read_bytes() == plan.read_bytes()
    common = {"sources": made.sources, "output": made.output}
    release.seal("sources", made.sources, **common, data=made.plan["data"])
    with pytest.raises(
        StoreError, match=r"plan\.json: expected the plan of a survey of digest 0000.*forcerun tiling_plan"
    ):
        release.seal("sources", made.sources, **common, data="0" * 64)
    features, first = made.features(), GroupManifest.read(made.sources[0])
    replace(first, inputs={"group": "0" * 64}).write(made.sources[0])
    with pytest.raises(StoreError, match=r"sources: group \w+ was made from group of digest 0000"):
        made.seal()
    with pytest.raises(StoreError, match=r"features: group \w+ was made from sources of digest"):
        release.seal("features", features, **common)


def test_a_missing_tile_is_noticed(made: Made) -> None:
    next(made.catalogue.glob("tiles/*/*/*/*.zarr.zip")).unlink()
    with pytest.raises(StoreError, match=r"expected every tile .* in the pool, found 1 missing or truncated"):
        made.seal()


def test_a_seal_that_fails_leaves_the_former_version_published(made: Made) -> None:
    version = made.seal()
    assert json.loads((made.catalogue / "seal.json").read_text()) == {"catalogue": "sources", "version": version}
    next(made.catalogue.glob("tiles/*/*/*/*.zarr.zip")).unlink()
    with pytest.raises(StoreError):
        made.seal()
    assert open_catalogue(made.catalogue).version == version


def test_equal_content_is_the_same_version_whatever_the_order(made: Made) -> None:
    first = made.seal()
    files = {path: path.stat().st_mtime_ns for path in (made.catalogue / "versions").rglob("*") if path.is_file()}
    backwards = made.sources[::-1]
    assert release.seal("sources", backwards, sources=backwards, output=made.output) == first
    assert {path: path.stat().st_mtime_ns for path in files} == files
    assert [path.name for path in (made.catalogue / "versions").iterdir()] == [first]


@pytest.mark.parametrize(("n", "refused"), [(0, {}), (50, {"position_missing": 50})])
def test_a_survey_without_sources_is_sealed(
    tmp_path: Path, compute: ComputeSettings, n: int, refused: dict[str, int]
) -> None:
    columns = {"id": np.arange(n), "ra": np.full(n, np.nan), "dec": np.zeros(n)}
    pq.write_table(pa.table(columns), tmp_path / "table.parquet")
    survey = {
        "name": "none", "format": "parquet", "path": str(tmp_path / "table.parquet"), "bands": ["g"],
        "id": {"column": "id"}, "ra": {"column": "ra", "unit": "deg"}, "dec": {"column": "dec", "unit": "deg"},
    }  # fmt: skip
    made = make(tmp_path / "results", SurveyConfig.model_validate(survey), compute, max_quarantined_share=1.0)
    for catalogue, manifests in (("sources", made.sources), ("features", made.features())):
        release.seal(catalogue, manifests, sources=made.sources, output=made.output, settings="0" * 12)
        opened = open_catalogue(made.output / "catalogues" / catalogue)
        assert opened.manifest["accounting"]["quarantined"] == refused
        assert opened.manifest["accounting"]["n_in"] == n and opened.cone(0, 0, 180)["objectId"].size == 0
    assert verify(made.output).ok
