"""What moved between two versions, against brute force with pandas."""

from __future__ import annotations

import shutil
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from answers import CLASSES, Answers, write_answers, write_motions
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.time import Time
from hypothesis import given
from hypothesis import strategies as st

from skymill.release import diff
from skymill.release.diffing.motions import Motions
from skymill.release.diffing.moved import FLOOR
from skymill.release.diffing.regions import pieces, regions
from skymill.report.diffing import diff_page
from skymill.sky import Tile, at_order, separation_arcsec, tile_range
from skymill.store import StoreError, open_catalogue
from skymill.store.paths import pool_file

N = 4000
FEATURES = {"magnitude": "i_asinh_mag"}


def retrained(before: Answers, *, seed: int = 9) -> Answers:
    """The same sky a release later: east of RA 0 sources gone, new, moved by degrees, in a quarter other answers."""
    rng = np.random.default_rng(seed)
    after = before[(rng.random(len(before)) > 0.05) | (before.ra > 180)]
    new = Answers.draw(300, seed)
    new = replace(new, object_id=new.object_id + 10 * N, ra=np.minimum(new.ra, 360 - new.ra))
    after = Answers(
        *(np.concatenate([getattr(after, name), getattr(new, name)]) for name in Answers.__dataclass_fields__)
    )
    touched = (after.ra < 180) & (after.dec > 0)
    p = after.probabilities.copy()
    p[touched] = rng.dirichlet([0.4] * 3, int(touched.sum()))
    far = (rng.random(len(after)) < 0.02) & (after.ra < 180)
    return replace(after, probabilities=p, dec=np.where(far, after.dec + 2.0, after.dec))


def frame(answers: Answers) -> pd.DataFrame:
    columns = {"ra": answers.ra, "dec": answers.dec, "kind": answers.kind, "magnitude": answers.magnitude}
    columns |= {name: answers.probabilities[:, place] for place, name in enumerate(CLASSES)}
    return pd.DataFrame(columns, index=answers.object_id)


@pytest.fixture(scope="module")
def told(tmp_path_factory, compute):
    """Two versions in differently deep tiles, and what is said of them."""
    folder = tmp_path_factory.mktemp("diff")
    before = Answers.draw(N, seed=1)
    after = retrained(before)
    write_answers(folder / "one" / "mlp", before)
    write_answers(folder / "two" / "mlp", after, order_of=lambda pixel: (5, 6, 7)[pixel % 3])
    features = (str(folder / "one" / "features"), str(folder / "two" / "features"))
    content = diff(
        folder / "one" / "mlp", folder / "two" / "mlp", folder / "diff", features=features, compute=compute, **FEATURES
    )
    both = frame(before).join(frame(after), how="inner", suffixes=("_before", "_after"))
    return folder, before, after, both, content


def changes(both: pd.DataFrame) -> pd.Series:
    """|Δp| of each source that both scored."""
    scored = both[(both.kind_before >= 0) & (both.kind_after >= 0)]
    return pd.concat([(scored[f"{name}_after"] - scored[f"{name}_before"]).abs() for name in CLASSES], axis=1).max(
        axis=1
    )


def test_every_row_is_accounted_for(told):
    _, before, after, both, content = told
    rows = content["rows"]
    assert (rows["before"], rows["after"]) == (len(before), len(after))
    assert rows["in_shared_tiles"] > 0
    assert rows["in_shared_tiles"] + rows["matched"] == len(both)
    assert rows["removed"] == len(before) - len(both) and rows["added"] == len(after) - len(both) == 300
    assert rows["moved_to_another_tile"] > 20


def test_transitions_and_flips_are_those_of_a_cross_table(told):
    *_, both, content = told
    table = pd.crosstab(both.kind_before, both.kind_after).reindex(index=[0, 1, 2, -1], columns=[0, 1, 2, -1])
    found, expected = np.array(content["transitions"]), table.to_numpy()
    off = ~np.eye(4, dtype=bool)
    assert content["classes"] == [*CLASSES, "not_scored"]
    assert (found[off] == expected[off]).all()
    # Who sits in a shared tile is not counted in the diagonal.
    assert found.sum() == expected.sum() - content["rows"]["in_shared_tiles"]
    scored = both[(both.kind_before >= 0) & (both.kind_after >= 0)]
    assert content["flips"]["count"] == (scored.kind_before != scored.kind_after).sum() > 100


def compared(told) -> pd.DataFrame:
    """The sources of tiles that the versions do not share."""
    folder, _, _, both, _ = told
    tables = [open_catalogue(folder / side / "mlp").tiles for side in ("one", "two")]
    same = [region.tile for region in regions(*tables) if region.is_shared]
    pixels = Answers(both.index.to_numpy(), both.ra_before.to_numpy(), both.dec_before.to_numpy(), *[both.index] * 3)
    shared = np.zeros(len(both), bool)
    for tile in same:
        shared |= at_order(pixels.healpix29, tile.order) == tile.pixel
    return both[~shared]


def test_changes_of_probability_are_those_of_numpy(told):
    content, both = told[-1], compared(told)
    change = changes(both)
    assert content["flips"]["n"] == len(change)
    for quantile in ("0.5", "0.9", "0.99"):
        expected = np.quantile(change, float(quantile), method="inverted_cdf")
        assert expected <= content["change"][quantile] <= expected + 0.0011
    assert content["change"]["largest"] == pytest.approx(change.max(), abs=1e-6)


def test_flips_are_told_by_magnitude(told):
    content, both = told[-1], compared(told)
    scored = both[(both.kind_before >= 0) & (both.kind_after >= 0)]
    flipped = scored.kind_before != scored.kind_after
    for one in content["by_magnitude"]:
        low, high = (-np.inf if one["low"] is None else one["low"]), (np.inf if one["high"] is None else one["high"])
        inside = (scored.magnitude_after >= low) & (scored.magnitude_after < high)
        inside = inside if one["known"] else scored.magnitude_after.isna()
        assert (one["flips"]["n"], one["flips"]["count"]) == (inside.sum(), flipped[inside].sum())
    assert sum(one["flips"]["n"] for one in content["by_magnitude"]) == len(scored)
    assert not content["by_magnitude"][-1]["known"] and content["by_magnitude"][-1]["flips"]["n"] > 100


def test_flips_stand_against_what_the_models_say(told):
    content, both = told[-1], compared(told)
    scored = both[(both.kind_before >= 0) & (both.kind_after >= 0)]
    here = scored[[f"{name}_before" for name in CLASSES]].to_numpy(float)
    there = scored[[f"{name}_after" for name in CLASSES]].to_numpy(float)
    flipped = (scored.kind_before != scored.kind_after).to_numpy()
    for one in content["stated"]:
        inside = (here.max(axis=1) >= one["low"]) & (here.max(axis=1) < one["high"] + (one["high"] == 1))
        assert (one["flips"]["n"], one["flips"]["count"]) == (inside.sum(), flipped[inside].sum())
        assert one["error"] == pytest.approx(1 - here[inside].max(axis=1).mean())
        assert one["disagree"] == pytest.approx(1 - (here[inside] * there[inside]).sum(axis=1).mean())


def test_the_most_surprising_flips_come_first(told):
    content, both = told[-1], compared(told)
    scored = both[(both.kind_before >= 0) & (both.kind_after >= 0) & (both.kind_before != both.kind_after)]
    surprise = {}
    for source, row in scored.iterrows():
        own, other = CLASSES[int(row.kind_before)], CLASSES[int(row.kind_after)]
        p = {side: {name: max(row[f"{name}_{side}"], FLOOR) for name in CLASSES} for side in ("before", "after")}
        surprise[source] = np.log(p["before"][own] / p["before"][other] * p["after"][other] / p["after"][own])
    expected = sorted(surprise, key=lambda source: -surprise[source])[:100]
    assert [one["objectId"] for one in content["surprising"]] == expected
    assert content["surprising"][0]["surprise"] == pytest.approx(surprise[expected[0]], rel=1e-4)


def test_the_map_adds_up(told):
    folder, *_, content = told
    table = pq.read_table(folder / "diff" / "map.parquet").to_pandas()
    assert table["pixel"].is_monotonic_increasing
    assert (table["n"].sum(), table["flips"].sum()) == (content["flips"]["n"], content["flips"]["count"])
    change = changes(compared(told))
    assert (table["n"] * table["change"]).sum() == pytest.approx(change.sum(), rel=1e-5)


def test_the_delta_catalogue_holds_exactly_what_changed(told):
    folder, before, after, both, content = told
    parts = [pq.read_table(part).to_pandas() for part in sorted((folder / "diff" / "delta").glob("*.parquet"))]
    assert all(part["_healpix_29"].is_monotonic_increasing for part in parts)
    delta = pd.concat(parts).set_index("objectId")
    assert delta.index.is_unique
    change = changes(both)
    expected = {*change.index[change >= content["least_change"]], *both.index[both.kind_before != both.kind_after]}
    assert set(delta.index[delta["what"] == "changed"]) == expected
    assert set(delta.index[delta["what"] == "removed"]) == set(before.object_id) - set(both.index)
    added = delta[delta["what"] == "added"]
    assert set(added.index) == set(after.object_id) - set(both.index)
    assert added["class_before"].isna().all() and added["p_STAR_before"].isna().all()
    changed = delta[delta["what"] == "changed"].join(both)
    names = np.array([*CLASSES, "not_scored"])
    assert (changed["class_after"] == names[changed["kind_after"]]).all()
    scored = changed[changed["kind_after"] >= 0]
    assert (scored["p_QSO_after"] == scored["QSO_after"]).all()


def test_neither_workers_nor_pieces_change_what_is_found(told, tmp_path, compute, monkeypatch):
    folder, *_, content = told
    monkeypatch.setattr("skymill.release.diffing.stage.PIECE_ROWS", 300)
    features = (str(folder / "one" / "features"), str(folder / "two" / "features"))
    one, _ = (
        diff(
            folder / "one" / "mlp",
            folder / "two" / "mlp",
            tmp_path / str(workers),
            workers=workers,
            features=features,
            compute=compute,
            **FEATURES,
        )
        for workers in (1, 2)
    )
    files = sorted(path.relative_to(tmp_path / "1") for path in (tmp_path / "1").rglob("*.*") if path.is_file())
    assert len(files) > 8
    assert all((tmp_path / "1" / name).read_bytes() == (tmp_path / "2" / name).read_bytes() for name in files)
    exact = ("rows", "transitions", "flips", "change", "by_magnitude", "surprising")
    assert {name: one[name] for name in exact} == {name: content[name] for name in exact}


def test_shared_tiles_are_not_read(tmp_path, compute):
    before = Answers.draw(N, seed=3)
    write_answers(tmp_path / "one" / "mlp", before)
    tiles = open_catalogue(tmp_path / "one" / "mlp").tiles
    place = at_order(before.healpix29, 6) == tiles["pixel"][0]
    other = replace(before, probabilities=np.where(place[:, None], before.probabilities[:, ::-1], before.probabilities))
    write_answers(tmp_path / "two" / "mlp", other)
    for row in tiles.iloc[2:].itertuples():  # the first tile is read for the names of the classes
        for side in ("one", "two"):
            (tmp_path / side / "mlp" / pool_file(Tile(row.order, row.pixel), row.key)).unlink()
    content = diff(tmp_path / "one" / "mlp", tmp_path / "two" / "mlp", tmp_path / "diff", compute=compute)
    assert content["tiles"]["shared"] == len(tiles) - 1
    assert content["rows"]["matched"] == place.sum() and content["rows"]["changed"] > 0
    assert content["rows"]["in_shared_tiles"] == N - place.sum()


def test_the_same_version_has_not_moved(told, tmp_path, compute):
    folder, before, *_ = told
    content = diff(folder / "one" / "mlp", folder / "one" / "mlp", tmp_path / "diff", compute=compute)
    assert content["rows"]["in_shared_tiles"] == len(before) and content["rows"]["matched"] == 0
    assert content["flips"]["value"] is None and not (tmp_path / "diff" / "delta").exists()


def mutual(before: Answers, after: Answers, radius: float) -> set[tuple[int, int]]:
    """Each other's nearest, by all distances."""
    apart = separation_arcsec(before.ra[:, None], before.dec[:, None], after.ra[None], after.dec[None])
    near, back = apart.argmin(axis=1), apart.argmin(axis=0)
    rows = np.arange(len(before))
    rows = rows[(back[near] == rows) & (apart[rows, near] <= radius)]
    return set(zip(before.object_id[rows].tolist(), after.object_id[near[rows]].tolist()))


def test_sources_with_new_ids_are_matched_by_position(tmp_path, compute):
    rng = np.random.default_rng(4)
    before = Answers.draw(2500, seed=5, spread_deg=1.0)
    # Some have a neighbour at a few arcsec, so that the nearest decides; all moved a little, some across a border.
    before = replace(
        before,
        ra=np.concatenate([before.ra[:2000], before.ra[:500] + rng.normal(0, 2e-3, 500)]) % 360,
        dec=np.concatenate([before.dec[:2000], before.dec[:500] + rng.normal(0, 2e-3, 500)]),
    )
    after = before[rng.permutation(2500)[:2400]]
    after = replace(
        after,
        object_id=2**61 + np.arange(2400),
        ra=(after.ra + rng.normal(0, 1e-3, 2400)) % 360,
        dec=after.dec + rng.normal(0, 1e-3, 2400),
    )
    write_answers(tmp_path / "one" / "mlp", before, order_of=lambda _: 8)
    write_answers(tmp_path / "two" / "mlp", after, order_of=lambda pixel: (7, 9)[pixel % 2])
    one, two = tmp_path / "one" / "mlp", tmp_path / "two" / "mlp"
    content = diff(one, two, tmp_path / "diff", radius_arcsec=10.0, least_change=0.0, compute=compute)
    expected = mutual(before, after, 10.0)
    assert 2000 < len(expected) < 2400
    assert content["rows"]["matched"] == len(expected)
    assert content["rows"]["removed"] == 2500 - len(expected) and content["rows"]["added"] == 2400 - len(expected)
    delta = pd.concat([pq.read_table(part).to_pandas() for part in (tmp_path / "diff" / "delta").glob("*.parquet")])
    pairs = delta[(delta["what"] == "changed")]
    found = set(zip(pairs["objectId_before"], pairs["objectId"]))
    assert (delta.loc[delta["what"] == "added", "objectId_before"] == -1).all()
    assert found <= expected
    scored = {
        (one, two)
        for one, two in expected
        if before.scored[before.object_id == one][0] or after.scored[after.object_id == two][0]
    }
    assert found == scored


def test_sources_that_move_are_matched_at_the_epoch_after(tmp_path, compute):
    """Positions after are astropy's; the fastest move by 100 arcsec, across the borders of tiles."""
    rng = np.random.default_rng(7)
    before = Answers.draw(1500, seed=8, spread_deg=0.5)
    motions = rng.normal(0, 2.0, (1500, 2)) * (rng.random((1500, 1)) < 0.7)  # arcsec/yr
    motions[:20] *= 4.9 / np.hypot(*motions[:20].T).clip(1e-9)[:, None]
    there = SkyCoord(
        *(before.ra * u.deg, before.dec * u.deg),
        pm_ra_cosdec=motions[:, 0] * u.arcsec / u.yr,
        pm_dec=motions[:, 1] * u.arcsec / u.yr,
        obstime=Time(2005.0, format="jyear"),
    ).apply_space_motion(Time(2025.0, format="jyear"))
    moved = replace(before, ra=there.ra.deg, dec=there.dec.deg)
    after = moved[rng.permutation(1500)]
    after = replace(after, object_id=2**61 + np.arange(1500), dec=after.dec + rng.normal(0, 1e-5, 1500))
    one, two, sources = tmp_path / "one" / "mlp", tmp_path / "two" / "mlp", tmp_path / "one" / "sources"
    write_answers(one, before, order_of=lambda _: 8)
    write_answers(two, after, order_of=lambda pixel: (7, 9)[pixel % 2])
    write_motions(sources, before, motions, unit="arcsec / yr")
    moving = Motions(str(sources), "pmRA", "pmDec", 20.0)
    content = diff(one, two, tmp_path / "diff", radius_arcsec=1.0, motions=moving, least_change=0.0, compute=compute)
    expected = mutual(moved, after, 1.0)
    assert len(expected) > 1450 > 2 * len(mutual(before, after, 1.0))
    assert content["rows"]["matched"] == len(expected)
    assert content["matched_by"] == "position, within 1 arcsec, proper motions of +20 yr applied"
    delta = pd.concat([pq.read_table(part).to_pandas() for part in (tmp_path / "diff" / "delta").glob("*.parquet")])
    pairs = delta[delta["what"] == "changed"]
    assert set(zip(pairs["objectId_before"], pairs["objectId"])) <= expected
    with pytest.raises(ValueError, match="give a radius too"):
        diff(one, two, tmp_path / "diff", motions=moving, compute=compute)


def test_motions_that_are_not_there_are_named(tmp_path):
    before = Answers.draw(50, seed=8)
    write_motions(tmp_path / "sources", before, np.zeros((50, 2)), unit="mas / yr")
    ranges = np.array([[0, 12 << 58]])
    with pytest.raises(StoreError, match="expected 'mu' among the values of sources"):
        Motions(str(tmp_path / "sources"), "mu", "pmDec", 1.0).carry(ranges, before.object_id, before.ra, before.dec)


def test_ids_that_changed_are_pointed_out(tmp_path, compute, caplog):
    before = Answers.draw(500, seed=5)
    write_answers(tmp_path / "one" / "mlp", before)
    write_answers(tmp_path / "two" / "mlp", replace(before, object_id=before.object_id + 10_000))
    content = diff(tmp_path / "one" / "mlp", tmp_path / "two" / "mlp", tmp_path / "diff", compute=compute)
    assert content["rows"]["matched"] == 0 and content["rows"]["added"] == content["rows"]["removed"] == 500
    assert "only 0 of 500 rows have an id that both versions know; where ids changed, match by position" in caplog.text


def test_a_class_that_only_one_model_knows_has_its_own_place(tmp_path, compute):
    before = Answers.draw(500, seed=6)
    write_answers(tmp_path / "one" / "mlp", before)
    write_answers(tmp_path / "two" / "mlp", before, classes=("GALAXY", "AGN", "STAR"))
    content = diff(tmp_path / "one" / "mlp", tmp_path / "two" / "mlp", tmp_path / "diff", compute=compute)
    assert content["classes"] == ["GALAXY", "QSO", "STAR", "AGN", "not_scored"]
    quasars = int((before.kind == 1).sum())
    assert content["transitions"][1] == [0, 0, 0, quasars, 0]


def test_another_kind_of_catalogue_is_refused(told, tmp_path, compute):
    folder, *_ = told
    with pytest.raises(StoreError, match=r"features.*expected classes \('probabilities'\) or numbers with errors"):
        diff(folder / "one" / "features", folder / "one" / "mlp", tmp_path / "diff", compute=compute)


@pytest.mark.parametrize("classes", [CLASSES, ()])
def test_numbers_are_compared_in_units_of_their_errors(tmp_path, compute, classes):
    before = Answers.draw(N, seed=1)
    after = retrained(before)
    write_answers(tmp_path / "one" / "m", before, classes=classes, sizes=True)
    write_answers(tmp_path / "two" / "m", after, classes=classes, sizes=True, order_of=lambda pixel: (5, 7)[pixel % 2])
    content = diff(tmp_path / "one" / "m", tmp_path / "two" / "m", tmp_path / "diff", compute=compute)
    columns = ["size", "size_err"]
    sides = [
        pd.DataFrame({name: getattr(side, name) for name in columns}, index=side.object_id) for side in (before, after)
    ]
    both = sides[0].join(sides[1], how="inner", suffixes=("_before", "_after"))
    shift = (both.size_after.astype(float) - both.size_before) / np.hypot(both.size_err_before, both.size_err_after)
    told = shift.dropna()
    found = content["numbers"]["size"]
    assert found["n"] == len(told) < len(both)
    for level, value in found["shift"].items():
        exact = told.abs().quantile(float(level), interpolation="inverted_cdf")
        assert value == pytest.approx(exact, abs=0.0101) if exact < 10 else value is None
    assert found["beyond_1"]["count"] == (told.abs() >= 1).sum()
    assert found["beyond_3"]["count"] == (told.abs() >= 3).sum()
    assert found["mean_shift"] == pytest.approx(told.clip(-10, 10).mean())
    assert found["up"] == (told > 0).mean()
    assert content["classes"] == [*classes, "not_scored"]

    delta = pd.concat(
        [pq.read_table(part).to_pandas() for part in sorted((tmp_path / "diff" / "delta").glob("*.parquet"))]
    )
    changed = delta[delta["what"] == "changed"].set_index("objectId")
    expected = set(both.index[(shift.abs() >= 1) | (both.size_before.isna() != both.size_after.isna())])
    assert expected == set(changed.index) if not classes else expected <= set(changed.index)
    for side in ("before", "after"):
        np.testing.assert_array_equal(changed[f"size_{side}"], both.loc[changed.index, f"size_{side}"])
    page = diff_page(content, tmp_path / "diff").read_text()
    assert "Numbers before and after" in page and ("Classes before and after" in page) == bool(classes)


def test_catalogues_with_nothing_in_common_are_refused(tmp_path, compute):
    answers = Answers.draw(100, seed=1)
    write_answers(tmp_path / "one" / "m", answers)
    write_answers(tmp_path / "two" / "m", answers, classes=(), sizes=True)
    with pytest.raises(StoreError, match="neither classes nor a number with its error in common"):
        diff(tmp_path / "one" / "m", tmp_path / "two" / "m", tmp_path / "diff", compute=compute)


def test_a_broken_tile_is_named(told, tmp_path, compute):
    folder, *_ = told
    shutil.copytree(folder / "two", tmp_path / "two", symlinks=True)
    last = open_catalogue(tmp_path / "two" / "mlp").tiles.iloc[-1]
    path = tmp_path / "two" / "mlp" / pool_file(Tile(last["order"], last["pixel"]), last["key"])
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(Exception, match=r"(?s)tiles from Norder=\d+/Npix=\d+ on could not be compared.*skymill verify"):
        diff(folder / "one" / "mlp", tmp_path / "two" / "mlp", tmp_path / "diff", compute=compute)


@st.composite
def tilings(draw) -> pd.DataFrame:
    """Tiles of orders 0 to 3 that do not overlap."""

    def below(tile: Tile) -> list[Tile]:
        choice = draw(st.sampled_from(["tile", "nothing", "deeper", "deeper"]))
        if choice == "nothing":
            return []
        if choice == "tile" or tile.order == 3:
            return [tile]
        return [each for number in range(4) for each in below(Tile(tile.order + 1, 4 * tile.pixel + number))]

    tiles = [each for pixel in range(2) for each in below(Tile(0, pixel))]
    keys = draw(st.lists(st.sampled_from("ab"), min_size=len(tiles), max_size=len(tiles)))
    columns = {"order": [t.order for t in tiles], "pixel": [t.pixel for t in tiles], "key": keys, "n_rows": 5}
    return pd.DataFrame(columns)


@given(tilings(), tilings())
def test_regions_hold_each_tile_once_and_do_not_overlap(before, after):
    found = list(regions(before, after))
    for word, table in (("before", before), ("after", after)):
        held = [(side.tile.order, side.tile.pixel) for region in found for side in getattr(region, word)]
        assert sorted(held) == sorted(zip(table["order"], table["pixel"]))
    ranges = [tile_range(region.tile) for region in found]
    assert all(one[1] <= other[0] for one, other in pairwise(ranges))
    for region in found:
        start, stop = tile_range(region.tile)
        inside = [tile_range(side.tile) for side in (*region.before, *region.after)]
        assert all(start <= low and high <= stop for low, high in inside)
    assert [region for piece in pieces(found, 20) for region in piece] == found
