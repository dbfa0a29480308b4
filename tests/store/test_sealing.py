"""Accounting, group manifests, sealed versions, verification."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mocpy import MOC
from typer.testing import CliRunner

from skymill.cli.main import app
from skymill.sky import at_order
from skymill.store import (
    Accounting,
    AccountingError,
    FormatError,
    GroupManifest,
    Pool,
    Quarantined,
    StoreError,
    TileEntry,
    group_file,
    open_catalogue,
    open_tile,
    seal,
    verify,
    write_tile,
)
from skymill.store.tables import table_digest

REASONS = st.dictionaries(st.sampled_from(["a", "b", "c"]), st.integers(1, 9), max_size=3)


@st.composite
def closed(draw):
    """Draw an accounting whose sum closes."""
    quarantined, excluded = draw(REASONS), draw(REASONS)
    n_ok, n_flagged = draw(st.integers(0, 99)), draw(st.integers(0, 9))
    n_in = n_ok + n_flagged + sum(quarantined.values()) + sum(excluded.values())
    flagged = {"odd": n_flagged} if n_flagged else {}
    return Accounting(n_in, n_ok, n_flagged, flagged, quarantined, excluded)


@given(closed(), closed())
def test_sums_of_closed_accountings_close(one, other):
    total = Accounting.total((one, other)).check()
    assert total.n_in == one.n_in + other.n_in and total.n_rows == one.n_rows + other.n_rows
    assert Accounting.from_dict(json.loads(json.dumps(total.as_dict()))) == total


@given(closed(), st.sampled_from(["n_in", "n_ok"]), st.integers(1, 5))
def test_a_lost_or_doubled_source_is_noticed(accounting, name, n):
    with pytest.raises(AccountingError, match="tile 7: expected n_in = n_ok"):
        replace(accounting, **{name: getattr(accounting, name) + n}).check("tile 7")


def test_impossible_counts_are_noticed():
    with pytest.raises(AccountingError, match="counts of zero or more"):
        Accounting(n_in=1, n_ok=2, n_flagged=-1).check()
    with pytest.raises(AccountingError, match="n_flagged to agree with the flags"):
        Accounting(n_in=1, n_ok=1, flagged={"odd": 1}).check()


def entry(pixel: int, order: int = 3) -> TileEntry:
    return TileEntry(order, pixel, "k" * 64, "s" * 64, 10, 1, Accounting(n_in=1, n_ok=1))


def test_a_manifest_comes_back_and_its_bytes_depend_on_its_content_only(tmp_path):
    failure = Quarantined(3, 9, "k" * 64, "out of memory", 5)
    one = GroupManifest("demo", "s" * 64, "g", {"b": 1, "a": 2}, (entry(2), entry(1)), (failure,))
    other = GroupManifest("demo", "s" * 64, "g", {"a": 2, "b": 1}, (entry(1), entry(2)), (failure,))
    one.write(tmp_path / "one.json")
    other.write(tmp_path / "other.json")
    assert (tmp_path / "one.json").read_bytes() == (tmp_path / "other.json").read_bytes()
    assert GroupManifest.read(tmp_path / "one.json") == one == other
    assert one.accounting == Accounting(n_in=7, n_ok=2, quarantined={"tile_failed": 5})


def test_bad_manifests_are_refused(tmp_path):
    with pytest.raises(StoreError, match=r"expected each tile once, found \['Norder=3/Npix=1'\] twice"):
        GroupManifest("demo", "s", "g", tiles=(entry(1), entry(1)))
    path = tmp_path / "g.json"
    path.write_text('{"skymill_format": 2}')
    with pytest.raises(FormatError, match=r"g\.json: expected a group manifest of format 1 or older, found 2"):
        GroupManifest.read(path)
    for text in ("{", "[]", '{"skymill_format": 1}'):
        path.write_text(text)
        with pytest.raises(StoreError, match=r"g\.json: expected a group manifest, found .*delete it and run again"):
            GroupManifest.read(path)


def test_a_version_has_what_others_read(sealed, sky):
    catalogue = open_catalogue(sealed)
    folder = sealed / "versions" / catalogue.version
    lines = (folder / "partition_info.csv").read_text().split()
    assert lines[0] == "Norder,Npix" and len(lines) == 49
    assert pq.read_table(folder / "tiles.parquet").num_rows == 48
    assert MOC.load(folder / "moc.fits", format="fits").sky_fraction == 1
    links = list(folder.glob("Norder=1/Dir=0/Npix=*.zarr.zip"))
    assert len(links) == 48
    for link in links:
        assert not link.readlink().is_absolute() and link.resolve().is_relative_to(sealed / "tiles")
    assert catalogue.manifest["accounting"]["n_in"] == len(sky.ra)


def test_sealing_again_gives_the_same_version_and_a_change_another(small):
    manifest = GroupManifest.read(next(small.glob("groups/*/*.json")))
    before = {path: path.stat().st_mtime_ns for path in small.rglob("*") if path.is_file()}
    first = open_catalogue(small).version
    assert seal(small, [manifest]) == first
    for path, changed in before.items():
        assert path.name == "current.json" or path.stat().st_mtime_ns == changed
    fewer = replace(manifest, tiles=manifest.tiles[:-1])
    second = seal(small, [fewer])
    assert second != first and open_catalogue(small).version == second
    assert len(open_catalogue(small / "versions" / first).tiles) == 12
    assert verify(small).ok


def test_sealing_refuses_what_does_not_add_up(small):
    manifest = GroupManifest.read(next(small.glob("groups/*/*.json")))
    versions = sorted(small.glob("versions/*"))
    lost = replace(manifest.tiles[0], accounting=replace(manifest.tiles[0].accounting, n_in=10**6))
    miscounted = replace(manifest.tiles[0], n_rows=7)
    nested = entry(0, order=1)
    for tiles, message in [
        ((lost, *manifest.tiles[1:]), "tile Norder=0/Npix=0: expected n_in"),
        ((miscounted, *manifest.tiles[1:]), r"expected as many rows as sources .* found 7"),
        ((nested, *manifest.tiles), "do not overlap on the sky, found Norder=0/Npix=0 and Norder=1/Npix=0"),
        ((replace(manifest.tiles[0], n_bytes=1), *manifest.tiles[1:]), r"1 missing or truncated: .* bytes, not 1\)"),
        ((replace(manifest.tiles[0], key="f" * 64), *manifest.tiles[1:]), r"1 missing or truncated: .*\(missing\)"),
    ]:
        with pytest.raises(StoreError, match=message):
            seal(small, [replace(manifest, tiles=tiles)])
    with pytest.raises(AccountingError, match="expected 2001 sources, found 2000 accounted for"):
        seal(small, [manifest], n_in=2001)
    with pytest.raises(StoreError, match="expected manifests of one catalogue and one settings digest"):
        seal(small, [manifest, replace(manifest, settings="other", tiles=())])
    assert sorted(small.glob("versions/*")) == versions


def test_sources_without_a_tile_enter_the_account(small):
    manifest = GroupManifest.read(next(small.glob("groups/*/*.json")))
    unplaced = Accounting(n_in=3, quarantined={"no_position": 3})
    version = seal(small, [manifest], unplaced=unplaced, n_in=2003)
    assert open_catalogue(small).manifest["accounting"]["quarantined"] == {"no_position": 3}
    assert verify(small / "versions" / version).ok


def spoil_tile(root):
    path = next(root.glob("tiles/*/*/*/*.zarr.zip"))
    path.write_bytes(path.read_bytes()[:-1])
    return path


def remove_tile(root):
    path = next(root.glob("tiles/*/*/*/*.zarr.zip"))
    path.unlink()
    return path


def swap_tiles(root):
    one, other = sorted(root.glob("tiles/*/*/*/*.zarr.zip"))[:2]
    shutil.copy(other, one)
    return one


def edit(pattern, old, new):
    def spoil(root):
        path = next(root.glob(pattern))
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new, 1))
        return path

    return spoil


def remove(pattern):
    def spoil(root):
        path = next(root.glob(pattern))
        path.unlink()
        return path

    return spoil


def rename_group(root):
    path = next(root.glob("groups/*/*.json"))
    return path.rename(path.with_name("other.json"))


@pytest.mark.parametrize(
    ("spoil", "kind"),
    [
        (spoil_tile, "corrupt"),
        (swap_tiles, "corrupt"),
        (remove_tile, "missing"),
        (edit("versions/*/manifest.json", '"n_tiles": 12', '"n_tiles": 11'), "corrupt"),
        (edit("versions/*/manifest.json", " ", ""), "corrupt"),
        (edit("versions/*/partition_info.csv", "0,11", "0,10"), "corrupt"),
        (remove("versions/*/moc.fits"), "missing"),
        (remove("versions/*/quarantine.parquet"), "missing"),
        (remove("versions/*/Norder=0/Dir=0/Npix=3.zarr.zip"), "missing"),
        (edit("groups/*/*.json", '"n_in": ', '"n_in": 9'), "corrupt"),
        (edit("groups/*/*.json", "{", ""), "corrupt"),
        (rename_group, "wrong"),
        (edit("current.json", '"version"', '"versions"'), "corrupt"),
    ],
)
def test_verify_names_what_is_wrong_and_how_to_mend_it(small, spoil, kind):
    assert verify(small).ok
    path = spoil(small)
    report = verify(small.parent.parent)
    assert not report.ok
    named = [problem for problem in report.problems if problem.path.resolve() == path.resolve()]
    assert kind in [problem.kind for problem in named]
    assert all(problem.mend for problem in named)
    assert any(line.startswith(f"{kind}: {path.resolve()}: ") for line in report.lines())
    assert report.lines()[-1].startswith(f"{len(report.problems)} problem")


def test_verify_blames_a_link_and_not_the_tile_it_leads_to(small):
    one, other = sorted(small.glob("versions/*/Norder=0/Dir=0/*.zarr.zip"))[:2]
    target = other.readlink()
    one.unlink()
    one.symlink_to(target)
    (problem,) = verify(small).problems
    assert (problem.kind, problem.path) == ("wrong", one) and f"found one to {target}" in problem.found


def test_verify_notes_what_nobody_names_and_is_content(small):
    extra = small / "tiles" / "Norder=0" / "Dir=0" / "Npix=0" / "aaaaaaaaaaaa.zarr.zip"
    extra.write_bytes(b"left over")
    (small / ".staging" / "half").write_bytes(b"")
    report = verify(small)
    assert report.ok and set(report.extra) == {extra, small / ".staging" / "half"}
    assert report.lines()[-1].startswith("all is well: read 12 tiles")


def test_verify_finds_a_manifest_that_was_changed_with_its_tiles(small):
    """The receipt inside the tile still tells."""
    path = next(small.glob("groups/*/*.json"))
    manifest = GroupManifest.read(path)
    first = manifest.tiles[0]
    renamed = small / "tiles/Norder=0/Dir=0/Npix=0" / f"{'f' * 12}.zarr.zip"
    shutil.copy(next((small / "tiles/Norder=0/Dir=0/Npix=0").glob("*.zip")), renamed)
    replace(manifest, tiles=(replace(first, key="f" * 64), *manifest.tiles[1:])).write(path)
    (problem,) = verify(small).problems
    assert problem.kind == "wrong" and "expected the receipt of key ffff" in problem.found


def test_verify_finds_a_receipt_that_tells_of_other_ingredients(tmp_path, sky, tiles_of):
    manifest = tiles_of(tmp_path, sky, order=0)
    first = manifest.tiles[0]
    path = Pool(tmp_path).path(first.tile, first.key)
    receipt = {**open_tile(path).receipt, "ingredients": {"tile": "another"}}
    path.unlink()
    file = write_tile(path, sky.variables(at_order(sky.healpix29, 0) == first.pixel), receipt=receipt)
    tiles = (replace(first, sha256=file.sha256, n_bytes=file.n_bytes), *manifest.tiles[1:])
    replace(manifest, tiles=tiles).write(group_file(tmp_path, manifest.settings, manifest.group))
    (problem,) = verify(tmp_path).problems
    assert problem.kind == "wrong" and f"expected ingredients of digest {first.key}, found" in problem.found


def test_the_command_tells_a_whole_catalogue_from_a_spoilt_one(small):
    whole = CliRunner().invoke(app, ["verify", str(small)])
    assert whole.exit_code == 0 and whole.stdout.startswith("all is well: read 12 tiles")
    path = spoil_tile(small)
    spoilt = CliRunner().invoke(app, ["verify", str(small)])
    assert spoilt.exit_code == 1 and f"corrupt: {path.resolve()}: expected sha256" in spoilt.stdout


def test_verify_needs_something_to_verify(tmp_path):
    with pytest.raises(FileNotFoundError, match="expected a results folder, a catalogue or a version, found none"):
        verify(tmp_path)


def test_group_files_are_named_by_settings_and_group(tmp_path):
    assert group_file(tmp_path, "s" * 64, "7-3") == tmp_path / "groups" / "ssssssssssss" / "7-3.json"


NO_POSITION = Accounting(n_in=2, quarantined={"no_position": 2})


def put_aside(ra: float | None = None, n: int = 2) -> pa.Table:
    columns = {"objectId": range(n), "coord_ra": pa.array([ra] * n, pa.float64()), "reason": ["no_position"] * n}
    return pa.table(columns)


def test_rows_put_aside_for_having_no_position_are_sealed(tmp_path, sky, tiles_of):
    manifest = tiles_of(tmp_path, sky)
    versions = set()
    for ra in (float("nan"), float("inf"), None, 0.0):
        rows = put_aside(ra)
        version = seal(tmp_path, [manifest], unplaced=NO_POSITION, quarantined_rows=rows)
        assert pq.read_table(tmp_path / "versions" / version / "quarantined_rows.parquet")["objectId"].equals(rows[0])
        versions.add(version)
    assert len(versions) == 4
    assert verify(tmp_path).ok


def test_the_rows_put_aside_are_those_of_the_account(small):
    manifest = GroupManifest.read(next(small.glob("groups/*/*.json")))
    other = put_aside().set_column(2, "reason", pa.array(["no_position", "absurd"]))
    for rows in (put_aside(n=1), put_aside(n=3), put_aside(n=0), other):
        with pytest.raises(AccountingError, match=r"expected the quarantined rows .*\{'no_position': 2\}, found"):
            seal(small, [manifest], unplaced=NO_POSITION, quarantined_rows=rows)
    failure = Quarantined(5, 12 * 4**5 - 1, "k" * 64, "out of memory", 5)
    tiles = manifest.tiles[:-1]
    seal(
        small,
        [replace(manifest, tiles=tiles, quarantined=(failure,))],
        unplaced=NO_POSITION,
        quarantined_rows=put_aside(),
    )
    assert verify(small).ok


def test_a_table_of_rows_is_the_same_however_it_is_cut():
    rows = put_aside(1.5, n=10)
    digests = {table_digest(rows.to_batches(max_chunksize=n), rows.schema.names) for n in (1, 3, 10, 99)}
    assert len(digests) == 1
    assert table_digest(put_aside(1.5, n=9).to_batches(), rows.schema.names) not in digests
    assert table_digest(rows.to_batches(), ["a", "b", "c"]) not in digests
