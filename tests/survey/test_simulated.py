"""The embedded survey as a table: cells, blocks, faults, labels."""

from __future__ import annotations

import pickle  # noqa: TID251 (what Dask does with it)
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from skymill.config import SimulationSettings, SurveyConfig, load_survey
from skymill.sky import at_order, order29, separation_arcsec, tile_centres
from skymill.survey import simulated
from skymill.survey.simulated import Cell, Fault, footprint
from skymill.survey.simulated.generate import ROWS_AT_ONCE

SETTINGS = SimulationSettings(rows=40_000, area_deg2=60, seed=3)
BANDS = "ugrizy"


def table(settings: SimulationSettings, cell: Cell) -> dict[str, np.ndarray]:
    blocks = list(simulated.raw_blocks(settings, cell))
    return {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}


def whole(function, settings: SimulationSettings = SETTINGS) -> dict[str, np.ndarray]:
    tables = [function(settings, cell) for cell in simulated.cells(settings)]
    return {name: np.concatenate([part[name] for part in tables]) for name in tables[0]}


@pytest.fixture(scope="module")
def raw() -> dict[str, np.ndarray]:
    return whole(table)


@pytest.fixture(scope="module")
def truth() -> dict[str, np.ndarray]:
    return whole(simulated.truth)


@pytest.fixture(scope="module")
def labels() -> dict[str, np.ndarray]:
    tables = list(simulated.labels(SETTINGS))
    return {name: np.concatenate([part[name] for part in tables]) for name in tables[0]}


class TestCells:
    """Cells are small, many enough, and cover what the settings ask for."""

    def test_rows_add_up_to_the_setting_within_noise(self):
        total = sum(cell.n_rows for cell in simulated.cells(SETTINGS))
        assert abs(total - SETTINGS.rows) < 5 * np.sqrt(SETTINGS.rows)

    def test_area_is_that_of_the_setting_within_half_a_cell(self):
        cells = simulated.cells(SETTINGS)
        area = footprint.area_deg2(cells[0].order)
        assert abs(len(cells) * area - SETTINGS.area_deg2) <= area / 2

    def test_footprint_reaches_the_pole_both_sides_of_ra_0_and_the_galactic_plane(self, truth):
        assert truth["dec"].min() < -89
        northern = truth["dec"] > -60
        assert np.any(northern & (truth["ra"] < 2))
        assert np.any(northern & (truth["ra"] > 358))
        assert np.any(np.abs(truth["ra"] - 95) < 1)

    def test_density_differs_by_more_than_a_third_between_cells(self):
        rows = [cell.n_rows for cell in simulated.cells(SETTINGS)]
        assert max(rows) > 1.33 * min(rows)

    @pytest.mark.parametrize(("rows", "area"), [(10_000, 0.5), (10**9, 60), (10**9, 18_000), (20_000, 41_252)])
    def test_any_size_gives_bounded_cells(self, rows, area):
        cells = simulated.cells(SimulationSettings(rows=rows, area_deg2=area))
        assert abs(sum(cell.n_rows for cell in cells) - rows) < 5 * np.sqrt(rows)
        assert max(cell.n_rows for cell in cells) < 4 * footprint.MOST_ROWS or cells[0].order == footprint.PATCH_ORDER

    def test_cell_is_picklable_and_knows_its_tile(self):
        cell = simulated.cells(SETTINGS)[0]
        assert pickle.loads(pickle.dumps(cell)) == cell  # noqa: S301
        assert cell.tile == (cell.order, cell.pixel)


class TestDeterminism:
    """A cell depends on the settings and on itself, on nothing else."""

    def test_same_bytes_whatever_the_order_of_the_cells(self):
        cells = simulated.cells(SETTINGS)[:4]
        forwards = [table(SETTINGS, cell) for cell in cells]
        backwards = [table(SETTINGS, cell) for cell in reversed(cells)][::-1]
        for one, other in zip(forwards, backwards):
            assert {n: c.tobytes() for n, c in one.items()} == {n: c.tobytes() for n, c in other.items()}

    def test_a_cell_is_the_same_in_a_larger_footprint(self):
        cell = simulated.cells(SETTINGS)[0]
        wider = SETTINGS.model_copy(update={"area_deg2": 75.0, "rows": 50_000})
        assert table(wider, cell)["i_psfFlux"].tobytes() == table(SETTINGS, cell)["i_psfFlux"].tobytes()

    def test_seed_and_neighbour_change_everything(self):
        cell, neighbour = simulated.cells(SETTINGS)[:2]
        reference = table(SETTINGS, cell)["i_psfFlux"]
        reseeded = table(SETTINGS.model_copy(update={"seed": 4}), cell)["i_psfFlux"]
        beside = table(SETTINGS, Cell(neighbour.order, neighbour.pixel, cell.n_rows))["i_psfFlux"]
        assert not np.any(reference == reseeded)
        assert not np.any(reference == beside)

    def test_labels_do_not_touch_the_sources(self):
        cell = simulated.cells(SETTINGS)[0]
        fewer = SETTINGS.model_copy(update={"labelled": 0.1})
        assert table(fewer, cell)["i_psfFlux"].tobytes() == table(SETTINGS, cell)["i_psfFlux"].tobytes()


def test_memory_is_that_of_a_block_however_large_the_cell():
    def peak(n_rows: int) -> int:
        tracemalloc.start()
        rows = [len(block["objectId"]) for block in simulated.raw_blocks(SETTINGS, Cell(5, 4111, n_rows))]
        size = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert sum(rows) == n_rows
        assert max(rows) <= ROWS_AT_ONCE
        return size

    table(SETTINGS, Cell(5, 4111, 100))  # the shared tables are made once
    assert peak(4 * ROWS_AT_ONCE + 1) < 1.2 * peak(ROWS_AT_ONCE)


class TestTable:
    """The raw table looks like LSST's Object table and gives nothing away."""

    def test_column_map_makes_a_valid_survey_that_names_exactly_the_columns(self, raw):
        config = SurveyConfig.model_validate(
            {
                "name": "embedded",
                "format": "simulated",
                "bands": list(BANDS),
                "simulation": {},
                **simulated.column_map(),
            }
        )
        assert config.id and config.ra and config.dec and config.extinction
        named = {config.id.column, config.ra.column, config.dec.column, config.extinction.column}
        named |= {value.column for value in config.expanded_values().values()}
        for photometry in config.photometry.values():
            assert photometry.error
            named |= {pattern.replace("{band}", b) for b in BANDS for pattern in (photometry.column, photometry.error)}
        assert named == set(raw)

    def test_dtypes_are_those_of_lsst_dp1(self, raw):
        assert raw["objectId"].dtype == np.int64
        assert raw["coord_ra"].dtype == raw["coord_dec"].dtype == np.float64
        rest = set(raw) - {"objectId", "coord_ra", "coord_dec"}
        assert {raw[name].dtype for name in rest} == {np.dtype(np.float32)}

    def test_ids_do_not_survive_a_float(self, raw):
        assert raw["objectId"].min() > 2**53
        assert np.any(raw["objectId"].astype(np.float64).astype(np.int64) != raw["objectId"])

    def test_ids_are_unique_but_for_the_duplicates(self, raw, truth):
        repeated = np.isin(truth["fault"], [Fault.EXACT_DUPLICATE, Fault.CONFLICTING_DUPLICATE])
        assert len(np.unique(raw["objectId"])) == len(raw["objectId"]) - repeated.sum()
        assert len(np.unique(truth["objectId"])) == len(truth["objectId"])

    def test_negative_fluxes_are_kept(self, raw):
        assert 0.001 < np.mean(raw["u_psfFlux"] < 0) < 0.2

    def test_errors_tell_the_scatter(self, raw, truth):
        sound = truth["fault"] == Fault.NONE
        for band in BANDS:
            pull = (raw[f"{band}_cModelFlux"] - truth[f"{band}_flux"])[sound] / raw[f"{band}_cModelFluxErr"][sound]
            low, high = np.nanquantile(pull, [0.1587, 0.8413])
            assert (high - low) / 2 == pytest.approx(1, abs=0.03)
            assert np.nanmedian(pull) == pytest.approx(0, abs=0.03)


class TestSky:
    """Positions, holes, missing bands and dust belong to places."""

    def test_positions_lie_in_the_cell(self):
        for cell in simulated.cells(SETTINGS):
            truth = simulated.truth(SETTINGS, cell)
            assert np.all((truth["ra"] >= 0) & (truth["ra"] < 360))
            assert np.all(at_order(order29(truth["ra"], truth["dec"]), cell.order) == cell.pixel)

    def test_holes_are_empty_and_cover_percents_of_the_sky(self, truth):
        cells = simulated.cells(SETTINGS)
        pixels = np.concatenate([footprint.patches_of(cell.order, cell.pixel) for cell in cells])
        sky = footprint.patches(SETTINGS, pixels)
        holes = np.flatnonzero(sky.hole_radius > 0)
        assert 0.15 < holes.size / pixels.size < 0.25
        own = np.searchsorted(pixels, at_order(order29(truth["ra"], truth["dec"]), footprint.PATCH_ORDER))
        ra, dec = tile_centres(footprint.PATCH_ORDER, pixels)
        away = separation_arcsec(truth["ra"], truth["dec"], ra[own], dec[own])
        assert np.all(away >= 3600 * sky.hole_radius[own])
        near = (away < 3600 * sky.hole_radius[own] * 1.5) & (sky.hole_radius[own] > 0)
        assert near.sum() > 100  # the rims are populated

    def test_bands_are_missing_patch_by_patch(self, raw, truth):
        sound = truth["fault"] == Fault.NONE
        patch = at_order(order29(truth["ra"], truth["dec"]), footprint.PATCH_ORDER)
        for band, share in (("u", 0.05), ("y", 0.03)):
            missing = np.isnan(raw[f"{band}_psfFlux"])
            assert np.mean(missing[sound]) == pytest.approx(share, abs=0.02)
            assert not set(patch[missing & sound]) & set(patch[~missing & sound])

    def test_stars_and_dust_rise_towards_the_galactic_plane(self, truth):
        plane, pole = np.abs(truth["ra"] - 95) < 6, (truth["dec"] > -60) & (np.abs(truth["ra"] - 95) > 60)
        stars = truth["class"] == "STAR"
        assert stars[plane].mean() > 1.5 * stars[pole].mean()
        assert np.median(truth["ebv"][plane]) > 2 * np.median(truth["ebv"][pole])
        assert 0.01 < np.median(truth["ebv"]) < 0.1


class TestFaults:
    """Bad rows are few, of every kind, and exactly as described."""

    def test_shares(self, truth):
        assert np.mean(truth["fault"] > 0) == pytest.approx(SETTINGS.bad_rows, abs=0.004)
        assert set(np.unique(truth["fault"])) == set(Fault)

    def test_each_kind(self, raw, truth):
        def rows(kind: Fault) -> dict[str, np.ndarray]:
            return {name: column[truth["fault"] == kind] for name, column in raw.items()}

        assert np.all(np.isnan(rows(Fault.NO_POSITION)["coord_ra"]))
        assert np.all(rows(Fault.ABSURD_POSITION)["coord_ra"] == 5.88e8)
        assert np.all(rows(Fault.DEC_OUT_OF_RANGE)["coord_dec"] == 95)
        wrapped = rows(Fault.RA_WRAPPED)["coord_ra"]
        assert np.all((wrapped < 0) | (wrapped >= 360))
        np.testing.assert_allclose(wrapped % 360, truth["ra"][truth["fault"] == Fault.RA_WRAPPED], atol=1e-9)
        no_flux, no_error = rows(Fault.NO_FLUX), rows(Fault.NO_ERROR)
        for band in BANDS:
            assert np.all(np.isnan(no_flux[f"{band}_psfFlux"]) & np.isnan(no_flux[f"{band}_cModelFlux"]))
            assert np.all(np.isnan(no_error[f"{band}_psfFluxErr"]))
        assert np.all(np.isfinite(no_error["i_psfFlux"]))

    @pytest.mark.parametrize("kind", [Fault.EXACT_DUPLICATE, Fault.CONFLICTING_DUPLICATE])
    def test_duplicates_repeat_a_sound_row(self, raw, truth, kind):
        first = {object_id: row for row, object_id in enumerate(raw["objectId"]) if truth["fault"][row] == Fault.NONE}
        for row in np.flatnonzero(truth["fault"] == kind):
            original = first[raw["objectId"][row]]
            assert raw["coord_ra"][row] == raw["coord_ra"][original]
            same = [np.array_equal(raw[name][row], raw[name][original], equal_nan=True) for name in raw]
            assert all(same) == (kind == Fault.EXACT_DUPLICATE)

    def test_none_when_none_are_wanted(self):
        clean = SETTINGS.model_copy(update={"bad_rows": 0.0})
        cell = simulated.cells(clean)[0]
        assert np.all(simulated.truth(clean, cell)["fault"] == Fault.NONE)
        assert np.all(np.isfinite(table(clean, cell)["coord_ra"]))

    def test_a_cell_of_one_row_has_nothing_to_repeat(self):
        bad = SETTINGS.model_copy(update={"bad_rows": 0.2})
        faults = [simulated.truth(bad, Cell(5, pixel, 1))["fault"][0] for pixel in range(100)]
        assert max(faults) < Fault.EXACT_DUPLICATE
        assert np.mean(np.array(faults) > 0) == pytest.approx(0.2, abs=0.14)


class TestLabels:
    """Labels are the true classes of sound sources, the fainter the fewer."""

    def test_they_are_true_and_of_sound_rows(self, labels, truth):
        rows = np.searchsorted(truth["objectId"], labels["objectId"])
        assert np.array_equal(truth["objectId"][rows], labels["objectId"])
        for name in ("class", "redshift", "ra", "dec"):
            assert np.array_equal(truth[name][rows], labels[name])
        assert np.all(truth["fault"][rows] == Fault.NONE)
        assert set(labels["class"]) == set(simulated.CLASSES)

    def test_share_falls_with_magnitude(self, labels, truth):
        magnitude = 31.4 - 2.5 * np.log10(truth["i_flux"]) - 2.06 * truth["ebv"]
        known = np.isin(truth["objectId"], labels["objectId"])
        bright, faint = magnitude < 20, (magnitude > 24) & (magnitude < 25)
        assert known[bright].mean() == pytest.approx(SETTINGS.labelled * (1 - SETTINGS.bad_rows), abs=0.03)
        assert known[faint].mean() == pytest.approx(SETTINGS.labelled * 10**-0.9, abs=0.02)


def test_the_shipped_configuration_is_valid():
    config = load_survey(Path(__file__).parents[2] / "config/surveys/embedded.yaml")
    assert config.simulation == SimulationSettings(rows=200_000, area_deg2=60, seed=1)


def test_truth_is_one_block_after_another():
    cell = Cell(5, 4111, ROWS_AT_ONCE + 10)
    blocks = list(simulated.truth_blocks(SETTINGS, cell))
    assert [len(block["objectId"]) for block in blocks] == [ROWS_AT_ONCE, 10]
    assert len(np.unique(np.concatenate([block["objectId"] for block in blocks]))) == cell.n_rows
    assert simulated.truth(SETTINGS, Cell(5, 4111, 0)) == {}


def test_data_digest_is_that_of_the_files():
    assert len(simulated.data_digest()) == 64
