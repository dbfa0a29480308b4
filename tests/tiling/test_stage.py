"""Plan and partition together: accounting, invariance, resuming, faults of the input."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from skymill import tiling
from skymill.compute import GroupLockedError, group_lock
from skymill.config import ComputeSettings
from skymill.sky import Tile, order29
from skymill.store import Accounting, GroupManifest, open_catalogue, open_tile, seal
from skymill.store.algorithm import ROOT, algorithm_digest
from skymill.tiling.conflicts import IDS_AT_ONCE
from skymill.tiling.files import TilingFiles
from skymill.tiling.grouping import Group
from skymill.tiling.partitioning import PartitionError
from skymill.tiling.reading import key_parts, read_parts
from skymill.tiling.settings import gate_modules, part_key, tile_algorithm
from skymill.tiling.spill import PartRecord, holders

from .conftest import group_files, partition_all, pool, run_config, toy_survey, toy_table, write_parts

N = 3000


def with_rows(table: pa.Table, extra: list[dict[str, float]]) -> pa.Table:
    """Append copies of row 0 with some values changed."""
    first = table.slice(0, 1).to_pylist()[0]
    return pa.concat_tables([table, pa.Table.from_pylist([{**first, **row} for row in extra], schema=table.schema)])


def ids_written(output: Path) -> list[int]:
    root = output / "catalogues" / "sources" / "tiles"
    found = [open_tile(path).rows(columns=["objectId"])["objectId"] for path in root.rglob("*.zarr.zip")]
    return sorted(np.concatenate([np.empty(0, np.int64), *found]).tolist())


def quarantined(output: Path) -> pa.Table:
    return pa.concat_tables([pq.read_table(path) for path in output.rglob("groups/*/*.quarantine.parquet")])


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory, compute: ComputeSettings) -> Path:
    """The output of the toy survey in one file."""
    folder = tmp_path_factory.mktemp("plain")
    write_parts(toy_table(N), folder / "in", 1)
    run = run_config(compute)
    partition_all(run, toy_survey(folder / "in", run), folder / "out")
    return folder / "out"


def test_values_arrive_unchanged(plain: Path) -> None:
    expected = {row["id"]: row for row in toy_table(N).to_pylist()}
    for path in (plain / "catalogues").rglob("*.zarr.zip"):
        tile = open_tile(path)
        assert tile.receipt["ingredients"]["algorithm"] == tile_algorithm()
        rows = tile.rows()
        source = [expected.pop(number) for number in rows["objectId"].tolist()]
        assert np.array_equal(rows["coord_ra"], [row["ra"] for row in source])
        assert np.array_equal(rows["coord_dec"], [row["dec"] for row in source])
        flux = np.array([[row["g_flux"], row["r_flux"]] for row in source], np.float32)
        assert np.array_equal(rows["psfFlux"], flux, equal_nan=True)
        assert np.array_equal(rows["values"][:, 0], np.array([row["size"] for row in source], np.float32))
        assert np.array_equal(rows["flags"] != 0, np.isnan(flux).any(axis=1))
    assert not expected


def test_order_and_files_of_the_input_do_not_matter(tmp_path: Path, compute: ComputeSettings, plain: Path) -> None:
    shuffled = toy_table(N).take(np.random.default_rng(3).permutation(N))
    write_parts(shuffled, tmp_path / "in", 5)
    run = run_config(compute)
    partition_all(run, toy_survey(tmp_path / "in", run), tmp_path / "out")
    assert pool(tmp_path / "out") == pool(plain)
    tables = [pq.read_table(output / "tiling" / "tiles.parquet") for output in (tmp_path / "out", plain)]
    assert tables[0].equals(tables[1])


@pytest.mark.parametrize("ids_at_once", [IDS_AT_ONCE, 500], ids=["one range of ids", "several ranges of ids"])
def test_accounting_closes_with_copies_conflicts_and_refused_rows(
    tmp_path: Path, compute: ComputeSettings, monkeypatch: pytest.MonkeyPatch, ids_at_once: int
) -> None:
    monkeypatch.setattr("skymill.tiling.conflicts.IDS_AT_ONCE", ids_at_once)
    table = toy_table(N)
    row = table.slice(0, 2).to_pylist()
    extra = [
        {},  # an exact copy of row 0
        {},
        {**row[1], "r_flux": 1.0},  # the id and place of row 1 with another flux: in the same tile
        {"id": 5, "ra": 40.0, "dec": 60.0},  # one id at two places: in two groups
        {"id": 5, "ra": 80.0, "dec": -10.0},
        {"id": 6, "ra": 10.5, "dec": -4.5},  # and close by: in the same group
        {"id": 6, "ra": 10.5, "dec": -4.4999},
        {"id": 7, "ra": float("nan")},  # refused by the gate
        {"id": 8, "ra": 5.88e8},
        {"id": 9, "ra": -1.0, "dec": 20.0},  # wraps
    ]
    write_parts(with_rows(table, extra), tmp_path / "in", 3)
    run = run_config(compute)
    manifests = partition_all(run, toy_survey(tmp_path / "in", run), tmp_path / "out")
    plan = json.loads((tmp_path / "out" / "tiling" / "plan.json").read_bytes())
    assert plan["gate"]["n_in"] == N + len(extra)
    assert plan["gate"]["quarantined"] == {"position_missing": 1, "ra_out_of_range": 1}
    total = Accounting.total(manifest.accounting for manifest in manifests).check()
    assert total.n_in == plan["gate"]["n_rows"] == N + 8
    assert total.excluded == {"exact_duplicate": 2}
    assert total.quarantined == {"conflicting_id": 6}
    kept = set(table["id"].to_pylist()) - {row[1]["id"]} | {9}
    assert ids_written(tmp_path / "out") == sorted(kept)
    assert sorted(quarantined(tmp_path / "out")["objectId"].to_pylist()) == [5, 5, 6, 6] + [row[1]["id"]] * 2
    refused = pq.read_table(tmp_path / "out" / "tiling" / "quarantine.parquet")
    assert sorted(refused["objectId"].to_pylist()) == [7, 8]


def test_a_file_read_twice_is_all_copies(tmp_path: Path, compute: ComputeSettings) -> None:
    for name in ("a", "b"):
        write_parts(toy_table(N), tmp_path / "in" / name, 1)
    run = run_config(compute, max_rows=600)
    manifests = partition_all(run, toy_survey(tmp_path / "in", run), tmp_path / "out")
    assert sum(manifest.accounting.excluded["exact_duplicate"] for manifest in manifests) == N
    assert ids_written(tmp_path / "out") == sorted(toy_table(N)["id"].to_pylist())


def test_an_empty_table_gives_an_empty_plan(tmp_path: Path, compute: ComputeSettings) -> None:
    write_parts(toy_table(N).slice(0, 0), tmp_path / "in", 1)
    run = run_config(compute)
    assert partition_all(run, toy_survey(tmp_path / "in", run), tmp_path / "out") == []
    assert pq.read_table(tmp_path / "out" / "tiling" / "tiles.parquet").num_rows == 0


def test_one_source_is_one_tile(tmp_path: Path, compute: ComputeSettings) -> None:
    write_parts(toy_table(1), tmp_path / "in", 1)
    run = run_config(compute)
    (manifest,) = partition_all(run, toy_survey(tmp_path / "in", run), tmp_path / "out")
    assert [(entry.order, entry.n_rows) for entry in manifest.tiles] == [(0, 1)]


def test_a_tile_that_loses_all_rows_stands_empty(tmp_path: Path, compute: ComputeSettings) -> None:
    table = with_rows(toy_table(1), [{"r_flux": 1.0}])
    write_parts(table, tmp_path / "in", 1)
    run = run_config(compute)
    (manifest,) = partition_all(run, toy_survey(tmp_path / "in", run), tmp_path / "out")
    assert [(entry.n_rows, entry.accounting.n_quarantined) for entry in manifest.tiles] == [(0, 2)]
    assert ids_written(tmp_path / "out") == []


def test_an_id_that_tells_nothing_apart_is_refused(tmp_path: Path, compute: ComputeSettings) -> None:
    table = toy_table(N)
    table = table.set_column(0, "id", pa.array(np.full(N, 2**60)))
    write_parts(table, tmp_path / "in", 2)
    run = run_config(compute)
    with pytest.raises(ValueError, match=r"expected objectId to tell sources apart, found 1 ids .* correct `id`"):
        tiling.plan(run, toy_survey(tmp_path / "in", run), tmp_path / "out", workers=2)


def test_many_small_groups_are_hinted_at(tmp_path: Path, compute: ComputeSettings, caplog) -> None:
    write_parts(toy_table(N), tmp_path / "in", 1)
    for order in (2, 0):
        caplog.clear()
        run = run_config(compute, group_order=order)
        tiling.plan(run, toy_survey(tmp_path / "in", run), tmp_path / f"out{order}", workers=1)
        assert ("a lower tiling.group_order (now 2) makes fewer" in caplog.text) == (order == 2)


def test_both_bounds_hold(tmp_path: Path, compute: ComputeSettings) -> None:
    write_parts(toy_table(N * 2), tmp_path / "in", 1)
    run = run_config(compute, max_rows=10**6, max_bytes=100_000)
    survey = toy_survey(tmp_path / "in", run)
    tiling.plan(run, survey, tmp_path / "out", workers=2)
    n_rows = pq.read_table(tmp_path / "out" / "tiling" / "tiles.parquet")["n_rows"]
    assert 1 < pc.max(n_rows).as_py() <= 100_000 // survey.schema.row_bytes


def test_a_changed_file_is_read_alone_and_changes_its_tile_alone(tmp_path: Path, compute: ComputeSettings) -> None:
    table = toy_table(N)
    write_parts(table, tmp_path / "in", 6)
    run, output = run_config(compute), tmp_path / "out"
    partition_all(run, toy_survey(tmp_path / "in", run), output)
    before, groups_before, parts_before = pool(output), set(group_files(output)), _records(output)
    changed = pq.read_table(tmp_path / "in" / "part3.parquet")
    flux = changed["r_flux"].to_numpy().copy()
    flux[11] += 1
    pq.write_table(
        changed.set_column(changed.schema.get_field_index("r_flux"), "r_flux", pa.array(flux)),
        tmp_path / "in" / "part3.parquet",
    )
    partition_all(run, toy_survey(tmp_path / "in", run), output)
    assert len(_records(output).keys() - parts_before.keys()) == 1
    assert parts_before.items() <= _records(output).items()
    assert len(set(group_files(output)) - groups_before) == 1
    new = set(pool(output)) - set(before)
    position = order29(changed["ra"][11].as_py(), changed["dec"][11].as_py())
    (path,) = new
    assert position in open_tile(output / "catalogues" / "sources" / "tiles" / path).rows()["_healpix_29"]


def test_a_part_that_cannot_be_read_is_named_and_the_others_are_kept(tmp_path: Path, compute: ComputeSettings) -> None:
    write_parts(toy_table(N), tmp_path / "in", 4)
    run, output = run_config(compute), tmp_path / "out"
    damaged = tmp_path / "in" / "part2.parquet"
    whole = damaged.read_bytes()
    spoiled = bytearray(whole)
    spoiled[100:2000] = bytes(1900)  # the pages, not the footer: found only when it is read
    damaged.write_bytes(spoiled)
    with pytest.raises(RuntimeError, match=r"1 of 4 parts cannot be read:\n.*part2\.parquet"):
        tiling.plan(run, toy_survey(tmp_path / "in", run), output, workers=2)
    assert len(_records(output)) == 3
    before = _records(output)
    damaged.write_bytes(whole)
    tiling.plan(run, toy_survey(tmp_path / "in", run), output, workers=2)
    assert before.items() <= _records(output).items() and len(_records(output)) == 4


def test_a_tile_that_cannot_be_written_fails_the_group_or_is_quarantined_and_sealed_as_failed(
    tmp_path: Path, compute: ComputeSettings, plain: Path
) -> None:
    write_parts(toy_table(N), tmp_path / "in", 1)
    run, output = run_config(compute), tmp_path / "out"
    survey = toy_survey(tmp_path / "in", run)
    tiling.plan(run, survey, output, workers=2)
    settings = tiling.settings_digest(run, survey.config)
    taken = next(iter(pool(plain)))
    (output / "catalogues" / "sources" / "tiles" / taken).mkdir(parents=True)  # in the way
    tile = Tile(*(int(part.split("=")[1]) for part in Path(taken).parts if part.startswith(("Norder", "Npix"))))
    with pytest.raises(PartitionError, match=rf"1 tiles failed, compute\.max_quarantined_tiles allows 0:\n  {tile}: "):
        for group in group_files(output):
            tiling.partition(run, survey, group, output, workers=2)
    assert not (output / "catalogues/sources/groups" / settings / f"{Group.read(group).name}.json").exists()
    patient = run.model_copy(update={"compute": compute.model_copy(update={"max_quarantined_tiles": 1})})
    manifests = [
        GroupManifest.read(tiling.partition(patient, survey, group, output, workers=2)) for group in group_files(output)
    ]
    [lost] = [entry for manifest in manifests for entry in manifest.quarantined]
    assert lost.tile == tile and "Is a directory" in lost.reason
    assert {*pool(plain)} - {taken} == {name for name in pool(output) if name != taken}
    seal(output / "catalogues" / "sources", manifests, n_in=N)
    catalogue = open_catalogue(output / "catalogues" / "sources")
    assert catalogue.manifest["accounting"]["quarantined"] == {"tile_failed": lost.n_in}
    assert len(catalogue) == N - lost.n_in


def test_spilled_rows_can_be_deleted_at_any_time(tmp_path: Path, compute: ComputeSettings, plain: Path) -> None:
    write_parts(toy_table(N), tmp_path / "in", 4)
    run, output = run_config(compute), tmp_path / "out"
    survey = toy_survey(tmp_path / "in", run)
    tiling.plan(run, survey, output, workers=2)
    assert tiling.clean_spill(output) > N * survey.schema.row_bytes
    assert tiling.clean_spill(output) == 0
    for group in group_files(output):
        tiling.partition(run, survey, group, output, workers=2)
    assert pool(output) == pool(plain)


def test_a_group_opens_the_records_of_its_own_parts_only(tmp_path: Path, compute: ComputeSettings) -> None:
    run, output = run_config(compute), tmp_path / "out"
    table = toy_table(N)
    order = np.argsort(table["ra"].to_numpy())
    write_parts(table.take(order), tmp_path / "in", 8)  # by right ascension: most groups need a few of them
    tiling.plan(run, toy_survey(tmp_path / "in", run), output, workers=2)
    files = TilingFiles(output)
    groups = [Group.read(path) for path in group_files(output)]
    found = [holders(group.buckets, files) for group in groups]
    for group, names in zip(groups, found):
        held = [bucket for name in names for bucket in PartRecord.read(files.part(name).record).buckets]
        assert set(group.buckets) <= set(held)
    assert min(len(names) for names in found) < 8
    files.buckets.unlink()  # as in the folder of a plan made before there was the table
    assert all(len(holders(group.buckets, files)) == 8 for group in groups)


def test_rows_that_are_read_again_leave_what_the_plan_keeps_as_it_is(tmp_path: Path, compute: ComputeSettings) -> None:
    write_parts(toy_table(N), tmp_path / "in", 2)
    run, output = run_config(compute), tmp_path / "out"
    survey = toy_survey(tmp_path / "in", run)
    tiling.plan(run, survey, output, workers=2)
    kept = {path: path.stat().st_mtime_ns for path in (output / "tiling" / "parts").iterdir()}
    tiling.clean_spill(output)
    read_parts(key_parts(survey, run.tiling), run, survey, TilingFiles(output), workers=1)
    assert {path: path.stat().st_mtime_ns for path in (output / "tiling" / "parts").iterdir()} == kept
    assert len(list((output / "tiling" / "spill").glob("*.npy"))) == 2


def test_a_bit_that_flips_in_the_spill_changes_no_tile(tmp_path: Path, compute: ComputeSettings, plain: Path) -> None:
    write_parts(toy_table(N), tmp_path / "in", 2)
    run, output = run_config(compute), tmp_path / "out"
    survey = toy_survey(tmp_path / "in", run)
    tiling.plan(run, survey, output, workers=2)
    for path in (output / "tiling" / "spill").glob("*.npy"):
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 0x40
        path.write_bytes(content)
    for group in group_files(output):
        tiling.partition(run, survey, group, output, workers=2)
    assert pool(output) == pool(plain)


def test_a_reader_that_loses_rows_is_noticed(tmp_path: Path, compute: ComputeSettings) -> None:
    write_parts(toy_table(N), tmp_path / "in", 1)
    run, output = run_config(compute), tmp_path / "out"
    survey = toy_survey(tmp_path / "in", run)
    (item,) = key_parts(survey, run.tiling)
    longer = item._replace(part=replace(item.part, n_rows=N + 1))
    with pytest.raises(RuntimeError, match=rf"part0\.parquet.*expected {N + 1} rows, found {N}"):
        read_parts([longer], run, survey, TilingFiles(output), workers=1)
    assert not _records(output)


def test_a_survey_that_changed_after_the_plan_is_noticed(tmp_path: Path, compute: ComputeSettings) -> None:
    write_parts(toy_table(N), tmp_path / "in", 1)
    run, output = run_config(compute), tmp_path / "out"
    tiling.plan(run, toy_survey(tmp_path / "in", run), output, workers=2)
    tiling.clean_spill(output)
    write_parts(toy_table(N, seed=1), tmp_path / "in", 1)
    with pytest.raises(RuntimeError, match="changed since the plan; run `tiling_plan` again"):
        tiling.partition(run, toy_survey(tmp_path / "in", run), group_files(output)[0], output, workers=2)


def test_planning_twice_reads_nothing_and_writes_the_same(tmp_path: Path, compute: ComputeSettings) -> None:
    write_parts(toy_table(N), tmp_path / "in", 3)
    run, output = run_config(compute), tmp_path / "out"
    survey = toy_survey(tmp_path / "in", run)
    files = TilingFiles(output)
    tiling.plan(run, survey, output, workers=2)
    before, records = [path.read_bytes() for path in (files.plan, files.tiles, files.quarantine)], _records(output)
    groups = {path: path.stat().st_mtime_ns for path in group_files(output)}
    tiling.plan(run, survey, output, workers=2)
    assert before == [path.read_bytes() for path in (files.plan, files.tiles, files.quarantine)]
    assert _records(output) == records
    assert groups == {path: path.stat().st_mtime_ns for path in group_files(output)}


def test_a_plan_that_another_run_makes_is_refused_and_a_dead_one_is_swept_up(
    tmp_path: Path, compute: ComputeSettings, leave: Callable[[Path], Path]
) -> None:
    write_parts(toy_table(10), tmp_path / "in", 1)
    run, files = run_config(compute), TilingFiles(tmp_path / "out")
    survey = toy_survey(tmp_path / "in", run)
    left = leave(files.staging)
    with group_lock(files.root / ".lock"), pytest.raises(GroupLockedError, match=f"by process {os.getpid()} on"):
        tiling.plan(run, survey, files.output, workers=2)
    assert left.exists() and not files.plan.exists()
    tiling.plan(run, survey, files.output, workers=2)
    assert not left.exists() and files.plan.exists()


def test_settings_digest_knows_settings_and_columns_but_no_data(tmp_path: Path, compute: ComputeSettings) -> None:
    write_parts(toy_table(10), tmp_path / "in", 1)
    run = run_config(compute)
    here, there = toy_survey(tmp_path / "in", run).config, toy_survey(tmp_path, run).config
    digest = tiling.settings_digest(run, here)
    assert len(digest) == 12
    assert tiling.settings_digest(run_config(compute, part_rows=5000), there) == digest
    assert tiling.settings_digest(run_config(compute, max_rows=301), here) != digest
    renamed = toy_survey(tmp_path, run, values={"radius": {"column": "size", "unit": "arcsec"}}).config
    assert tiling.settings_digest(run, renamed) != digest


BASE = {"extinction": {"column": "size", "coefficients": {"g": 3.65, "r": 2.7}}}


@pytest.mark.parametrize(
    ("bounds", "changes", "same_parts", "same_tiles"),
    [
        ({"highest_order": 7}, BASE, False, True),  # the count map of a part is another
        ({}, {"extinction": {"column": "size", "coefficients": {"g": 3.3, "r": 2.7}}}, True, True),
        ({}, BASE | {"epoch": 2015.5, "name": "other"}, True, True),
        ({}, {"extinction": {"column": "g_err", "coefficients": {"g": 3.65, "r": 2.7}}}, False, False),
        ({}, BASE | {"values": {"size": {"column": "r_err", "unit": "arcsec"}}}, False, False),
    ],
)
def test_settings_that_change_no_source_read_and_write_nothing_again(
    tmp_path: Path, compute: ComputeSettings, bounds: dict, changes: dict, same_parts: bool, same_tiles: bool
) -> None:
    write_parts(toy_table(10), tmp_path / "in", 1)
    before, after = run_config(compute), run_config(compute, **bounds)
    old, new = (toy_survey(tmp_path / "in", before, **each).config for each in (BASE, changes))
    assert (part_key("", old, before.tiling) == part_key("", new, after.tiling)) == same_parts
    assert (tiling.settings_digest(before, old) == tiling.settings_digest(after, new)) == same_tiles


def test_suspicious_values_are_logged_and_stand_in_the_plan(
    tmp_path: Path, compute: ComputeSettings, caplog: pytest.LogCaptureFixture
) -> None:
    table = toy_table(N).to_pandas()
    table["g_err"] = table["r_err"] = 8.0
    write_parts(pa.Table.from_pandas(table), tmp_path / "sound", 3)
    table["ra"], table["dec"] = np.radians(table["ra"]), np.radians(table["dec"])
    table["r_err"] = 0.0
    write_parts(pa.Table.from_pandas(table), tmp_path / "wrong", 3)
    run = run_config(compute)
    plans = {}
    for name in ("wrong", "sound"):
        tiling.plan(run, toy_survey(tmp_path / name, run), tmp_path / "out" / name, workers=2)
        plans[name] = json.loads((tmp_path / "out" / name / "tiling" / "plan.json").read_bytes())
    assert plans["sound"]["warnings"] == []
    radians, errors = plans["wrong"]["warnings"]
    assert "declare unit 'rad'" in radians and "r: no flux has an error above zero" in errors
    assert f"survey 'toy': {radians}" in caplog.messages


@pytest.mark.parametrize(
    ("table_format", "module"),
    [
        ("parquet", "readers/parquet.py"),
        ("fits", "readers/fits.py"),
        ("hats", "readers/hats.py"),
        ("hats", "readers/parquet.py"),
        ("csv", "readers/csv.py"),
        ("hdf5", "readers/hdf5.py"),
        ("votable", "readers/votable.py"),
        ("parquet", "gate.py"),
    ],
)
def test_code_that_reads_tables_is_part_of_what_makes_tiles(
    tmp_path: Path, compute: ComputeSettings, table_format: str, module: str
) -> None:
    write_parts(toy_table(10), tmp_path / "in", 1)
    modules = gate_modules(toy_survey(tmp_path / "in", run_config(compute), format=table_format).config)
    copy = tmp_path / "src"
    shutil.copytree(ROOT / "skymill", copy / "skymill", ignore=shutil.ignore_patterns("__pycache__"))
    before = algorithm_digest(1, modules, root=copy)
    with (copy / "skymill" / "survey" / module).open("a") as file:
        file.write("NULLS_ARE_ZERO = True\n")
    assert algorithm_digest(1, modules, root=copy) != before


KILLED = """
import sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from conftest import run_config, toy_survey
from skymill import tiling
from skymill.config import ComputeSettings
folder = Path(sys.argv[1])
if __name__ == "__main__":
    run = run_config(ComputeSettings(), part_rows=1000)
    tiling.plan(run, toy_survey(folder / "in", run), folder / "out", workers=int(sys.argv[2]))
"""


@pytest.mark.slow
def test_a_killed_plan_goes_on_where_it_was_with_any_number_of_workers(
    tmp_path: Path, compute: ComputeSettings
) -> None:
    write_parts(toy_table(20_000), tmp_path / "in", 40)
    script = tmp_path / "plan.py"
    script.write_text(KILLED.format(tests=str(Path(__file__).parent)))
    process = subprocess.Popen([sys.executable, str(script), str(tmp_path), "1"], start_new_session=True)
    while len(_records(tmp_path / "out")) < 5 and process.poll() is None:
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    before = _records(tmp_path / "out")
    assert 5 <= len(before) < 40
    subprocess.run([sys.executable, str(script), str(tmp_path), "2"], check=True)
    assert before.items() <= _records(tmp_path / "out").items()
    run = run_config(compute, part_rows=1000)
    tiling.plan(run, toy_survey(tmp_path / "in", run), tmp_path / "undisturbed", workers=2)
    for name in ("plan.json", "tiles.parquet", "quarantine.parquet"):
        assert (tmp_path / "out/tiling" / name).read_bytes() == (tmp_path / "undisturbed/tiling" / name).read_bytes()


def _records(output: Path) -> dict[str, int]:
    """The parts that have been read, and when."""
    return {path.name: path.stat().st_mtime_ns for path in (output / "tiling" / "parts").glob("*.json")}
