"""Real catalogues from file to release: cones against brute force here and over the web, accounting, damage."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray

from skymill.config import ComputeSettings, SurveyConfig, load_survey
from skymill.sky import Tile, unit_vectors
from skymill.store import Catalogue, open_catalogue, verify
from skymill.store.paths import pool_file
from skymill.survey.ids import object_ids

from .conftest import Made, make

pytestmark = pytest.mark.slow

REPOSITORY = Path(__file__).resolve().parents[2]
ROWS = {"gaia_bright": 482_176, "ogle3": 399_679}
HOUR = 15.0
CONES = 1000


@dataclass(frozen=True)
class Truth:
    """The table as it was given, and a search through all its rows."""

    object_id: NDArray[np.int64]
    vectors: NDArray[np.float64]
    lacks_value: NDArray[np.bool_]

    @classmethod
    def read(cls, config: SurveyConfig) -> Truth:
        assert config.id is not None and config.ra is not None and config.dec is not None
        values = [value.column for value in config.expanded_values().values()]
        columns = [*config.id.sources, config.ra.column, config.dec.column, *values]
        table = {
            name: column.to_numpy()
            for name, column in zip(columns, pq.read_table(config.path, columns=columns).columns)
        }
        ra = table[config.ra.column] * (HOUR if config.ra.unit == "hourangle" else 1.0)
        ids, missing, out_of_range = object_ids(table, config.id)
        assert not missing.any() and not out_of_range.any()
        lacking = np.isnan(np.stack([table[name] for name in values])).any(axis=0)
        return cls(ids, unit_vectors(ra, table[config.dec.column]), lacking)

    def cone(self, ra: float, dec: float, radius: float) -> NDArray[np.int64]:
        """Give the ids within a circle, sorted; by the length of chords."""
        centre, angle = unit_vectors(ra, dec), np.radians(radius)
        near = np.flatnonzero(self.vectors @ centre > np.cos(angle) - 1e-12)
        chords = np.linalg.norm(self.vectors[near] - centre, axis=1)
        return np.sort(self.object_id[near[chords <= 2 * np.sin(angle / 2)]])

    def cones(self, seed: int) -> list[tuple[float, float, float]]:
        """Draw circles: a quarter each around sources, at the poles, across RA 0, and anywhere, empty sky included."""
        random = np.random.default_rng(seed)
        ra, dec = random.uniform(0, 360, CONES), np.degrees(np.arcsin(random.uniform(-1, 1, CONES)))
        x, y, z = self.vectors[random.integers(0, len(self.vectors), CONES)].T
        ra[::4], dec[::4] = np.degrees(np.arctan2(y, x))[::4] % 360, np.degrees(np.arcsin(z))[::4]
        dec[1::4] = np.sign(dec[1::4]) * (90 - np.minimum(random.exponential(3, CONES // 4), 90))
        ra[2::4] = random.normal(0, 1, CONES // 4)
        dec[1], dec[5] = 90, -90
        radius = 10 ** random.uniform(-3, np.log10(30), CONES)
        return list(zip(ra.tolist(), dec.tolist(), radius.tolist()))


@dataclass(frozen=True)
class Release:
    """A sealed source catalogue and the truth about it."""

    made: Made
    version: str
    truth: Truth


@pytest.fixture(scope="module", params=list(ROWS))
def release(
    request: pytest.FixtureRequest, data: Path, compute: ComputeSettings, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Release]:
    """The survey of the repository's own configuration, tiled, partitioned and sealed; tests only read it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SKYMILL_TEST_DATA", str(data))
        survey = load_survey(REPOSITORY / "config" / "surveys" / f"{request.param}.yaml")
    made = make(tmp_path_factory.mktemp(request.param), survey, compute, max_rows=20_000, group_order=0)
    yield Release(made, made.seal(), Truth.read(survey))


def check_cones(catalogue: Catalogue, truth: Truth, *, seed: int) -> None:
    found_some = 0
    for ra, dec, radius in truth.cones(seed):
        found = np.sort(catalogue.cone(ra, dec, radius, ["objectId"])["objectId"].values)
        np.testing.assert_array_equal(found, truth.cone(ra, dec, radius), str((ra, dec, radius)), strict=True)
        found_some += len(found) > 0
    assert CONES / 5 < found_some < CONES * 9 / 10  # both crowded and empty places were asked for


def test_a_thousand_cones_equal_brute_force(release: Release) -> None:
    check_cones(open_catalogue(release.made.catalogue), release.truth, seed=1)


def test_a_thousand_cones_over_http_equal_brute_force(release: Release, serve: Callable[..., str]) -> None:
    catalogue = open_catalogue(serve(release.made.catalogue))
    check_cones(catalogue, release.truth, seed=2)
    assert catalogue.location.startswith("http://127.0.0.1")


def test_every_row_of_the_file_is_accounted_for(release: Release) -> None:
    catalogue, truth = open_catalogue(release.made.catalogue), release.truth
    accounting = catalogue.manifest["accounting"]
    assert (
        accounting["n_in"]
        == release.made.plan["gate"]["n_in"]
        == len(truth.object_id)
        == ROWS[release.made.survey.name]
    )
    assert not accounting["quarantined"] and not accounting["excluded"]
    assert accounting["n_flagged"] == accounting["flagged"]["value_missing"] == truth.lacks_value.sum() > 0
    assert catalogue.n_rows == accounting["n_ok"] + accounting["n_flagged"] == catalogue.tiles["n_rows"].sum()
    ids = catalogue.to_xarray(["objectId"])["objectId"].values
    np.testing.assert_array_equal(np.sort(ids), np.sort(truth.object_id))
    quarantined = pq.read_table(release.made.catalogue / "versions" / release.version / "quarantined_rows.parquet")
    assert len(quarantined) == 0 and {"objectId", "reason", "part", "row", "tile"} <= set(quarantined.column_names)


def test_a_damaged_release_is_named_file_by_file(release: Release, tmp_path: Path) -> None:
    report = verify(release.made.output)
    assert report.ok and not report.extra and report.n_tiles == release.made.plan["n_tiles"], report.lines()

    root = shutil.copytree(release.made.catalogue, tmp_path / "sources", symlinks=True)
    tiles = open_catalogue(root).tiles.sample(3, random_state=4)
    flipped, deleted, cut = (root / pool_file(Tile(row.order, row.pixel), row.key) for row in tiles.itertuples())
    content = bytearray(flipped.read_bytes())
    content[len(content) // 3] ^= 16
    flipped.write_bytes(content)
    deleted.unlink()
    cut.write_bytes(cut.read_bytes()[:-1000])
    report = verify(root)
    found = {problem.path: problem.kind for problem in report.problems}
    assert found == {flipped: "corrupt", deleted: "missing", cut: "corrupt"}
    assert all(any(str(path) in line for line in report.lines()) for path in (flipped, deleted, cut))
